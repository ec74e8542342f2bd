"""For every request: an id, a log line, a limit on its body, and headers that protect the page."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from topic_sum import metrics
from topic_sum.api.access import client_address
from topic_sum.api.exceptions import answer

log = logging.getLogger("topic_sum.requests")

Next = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestLog:
    """One log line per request, with its id: the client's own X-Request-ID, or a new one."""

    def __init__(self, get_response: Next):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        begun = time.monotonic()
        asked = request.META.get("HTTP_X_REQUEST_ID", "")
        request.id = asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        response = self.get_response(request)
        took = time.monotonic() - begun
        response["X-Request-ID"] = request.id
        if not response.streaming:
            # Else gunicorn sends it in chunks, and an HTTP/1.0 client cannot keep its connection.
            response.headers.setdefault("Content-Length", str(len(response.content)))
        self._count(request, response, took)
        return response

    def _count(self, request: HttpRequest, response: HttpResponse, took: float) -> None:
        match = request.resolver_match
        endpoint = (
            (match.url_name or "other") if match else ("static" if response.status_code < 400 else "other")
        )
        metrics.REQUESTS.labels(endpoint, str(response.status_code)).inc()
        metrics.LATENCY.labels(endpoint).observe(took)
        code = getattr(request, "error_code", None)
        if code:
            metrics.ERRORS.labels(code).inc()
        # Probes and scrapes come every few seconds and are of no interest.
        level = logging.DEBUG if endpoint in ("live", "ready", "metrics", "static") else logging.INFO
        log.log(
            level,
            "%s %s %d %.0f ms%s",
            request.method,
            request.path[:200].encode("ascii", "backslashreplace").decode(),
            response.status_code,
            took * 1000,
            f" {code}" if code else "",
            extra={
                "request_id": request.id,
                "method": request.method,
                "path": request.path[:200],
                "status": response.status_code,
                "milliseconds": round(took * 1000, 1),
                "code": code,
                "client": client_address(request),
                **getattr(request, "log_fields", {}),
            },
        )


class Gate:
    """Refuses foreign host names, and too large a body by its announced length before it is read."""

    # Probes use the address of the machine, which may change.
    ANY_HOST = ("/health/", "/api/v1/health/", "/api/v1/metrics")

    def __init__(self, get_response: Next):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(self.ANY_HOST):
            try:
                request.get_host()
            except DisallowedHost:
                return answer(request, "bad_host")
        if not request.META.get("HTTP_ACCEPT", "*/*").strip():
            del request.META["HTTP_ACCEPT"]  # an empty one asks for nothing in particular
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            return answer(request, "length_required")
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return answer(request, "bad_request")
        if length > settings.MAX_BODY_BYTES:
            return answer(request, "body_too_large", most=settings.MAX_BODY_BYTES)
        return self.get_response(request)


CODES = {405: "method_not_allowed", 406: "not_acceptable", 416: "bad_range"}


class OneShape:
    """Gives errors that a library answers in its own form the shape of all others."""

    KEPT = ("Allow", "Content-Range")

    def __init__(self, get_response: Next):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 301 and request.method not in ("GET", "HEAD"):
            # To https. After a 301 clients ask again with GET and without the body.
            return answer(request, "https_required", {"Location": response["Location"]})
        kind = response.headers.get("Content-Type", "")
        if response.status_code < 400 or kind.startswith("application/json"):
            return response
        headers = {name: response[name] for name in self.KEPT if name in response}
        response.close()
        unknown = "bad_request" if response.status_code < 500 else "server_error"
        code = CODES.get(response.status_code, unknown)
        return answer(request, code, headers, method=request.method, request_id=request.id)


class ContentSecurityPolicy:
    """Nothing from other origins, nothing inline. Only Swagger UI needs inline styles and data: images."""

    STRICT = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    DOCS = STRICT.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
        "img-src 'self'", "img-src 'self' data:"
    )

    DOCS_PAGES = ("/api/docs", "/api/v1/docs")

    def __init__(self, get_response: Next):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["Content-Security-Policy"] = self.DOCS if request.path in self.DOCS_PAGES else self.STRICT
        # Django's own middleware is behind Gate and would not add this to Gate's refusals.
        response["X-Content-Type-Options"] = "nosniff"
        response["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if request.path.startswith("/api/v1/"):
            response["Cache-Control"] = "no-store"
        return response


class Cors:
    """Allows requests from pages of CORS_ORIGINS. Off if that is empty."""

    def __init__(self, get_response: Next):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        origin = request.META.get("HTTP_ORIGIN", "")
        allowed = origin in settings.CORS_ORIGINS and request.path.startswith("/api/")
        if allowed and request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META:
            response = HttpResponse(status=204)
            response["Access-Control-Allow-Methods"] = "GET, POST"
            response["Access-Control-Allow-Headers"] = (
                "authorization, content-type, accept-language, x-request-id"
            )
            response["Access-Control-Max-Age"] = "600"
        else:
            response = self.get_response(request)
        if settings.CORS_ORIGINS:
            patch_vary_headers(response, ["Origin"])
        if allowed:
            response["Access-Control-Allow-Origin"] = origin
            response["Access-Control-Expose-Headers"] = "retry-after, x-request-id"
        return response
