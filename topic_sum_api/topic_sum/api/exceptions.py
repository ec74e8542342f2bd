"""Every error has one shape: {"error": {"code", "message", "field"}}, in the client's language."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from topic_sum.api.messages import MESSAGES, language, words
from topic_sum.inference.errors import Busy, ClientGone, NotReady, TaskNotServed, TimeLimit

log = logging.getLogger("topic_sum")

NOT_READY_RETRY_SECONDS = 5


class ApiError(Exception):
    """An error for the client: a code of MESSAGES, the field that is wrong, and the values of the message."""

    def __init__(
        self, code: str, field: str | None = None, headers: dict[str, str] | None = None, **values: object
    ):
        super().__init__(code)
        self.code = code
        self.field = field
        self.headers = headers or {}
        self.values = values

    @property
    def status(self) -> int:
        return settings.BUSY_STATUS if self.code == "busy" else MESSAGES[self.code].status

    def body(self, lang: str) -> dict:
        return {"code": self.code, "message": words(self.code, lang, **self.values), "field": self.field}


def translate(error: Exception) -> ApiError | None:
    """`error` as an ApiError, or None if it is a bug."""
    match error:
        case ApiError():
            return error
        case Busy():
            return ApiError("busy", headers={"Retry-After": str(error.retry_after)}, wait=error.retry_after)
        case NotReady():
            return ApiError("not_ready", headers={"Retry-After": str(NOT_READY_RETRY_SECONDS)})
        case TimeLimit():
            return ApiError("time_limit", headers={"Retry-After": "10"}, limit=settings.REQUEST_SECONDS)
        case TaskNotServed():
            return ApiError("task_not_served", task=error.name[:100], tasks=", ".join(error.served))
        case ClientGone():
            return ApiError("client_gone")
        case drf.ParseError():
            return ApiError("bad_request")
        case drf.MethodNotAllowed():
            return ApiError("method_not_allowed", method=error.args[0] if error.args else "")
        case drf.NotAcceptable():
            return ApiError("not_acceptable")
        case drf.UnsupportedMediaType():
            return ApiError("unsupported_media_type")
        case drf.AuthenticationFailed():
            return ApiError("wrong_key", headers={"WWW-Authenticate": "Bearer"})
        case drf.NotAuthenticated():
            return ApiError("no_key", headers={"WWW-Authenticate": "Bearer"})
        case drf.Throttled():
            wait = math.ceil(error.wait or 1)
            return ApiError("rate_limited", headers={"Retry-After": str(wait)}, wait=wait)
        case drf.NotFound() | Http404():
            return ApiError("not_found")
        case PermissionDenied():
            return ApiError("forbidden")
    return None


def handle(error: Exception, context: dict) -> Response:
    """REST framework's exception handler."""
    request = context["request"]
    known = translate(error)
    if known is None:
        request_id = getattr(request, "id", "")
        log.exception("error: a bug in answering %s", request.path, extra={"request_id": request_id})
        known = ApiError("server_error", request_id=request_id)
    request._request.error_code = known.code
    lang = language(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))
    headers = dict(known.headers)
    if known.code == "method_not_allowed":
        known.values["method"] = request.method
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(
        {"error": known.body(lang)}, status=known.status, headers=headers | {"Content-Language": lang}
    )


def answer(
    request: HttpRequest, code: str, headers: dict[str, str] | None = None, **values: object
) -> JsonResponse:
    """The same shape for errors outside of REST framework's views."""
    lang = language(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))
    error = ApiError(code, headers=headers, **values)
    request.error_code = code
    response = JsonResponse(
        {"error": error.body(lang)}, status=error.status, json_dumps_params={"ensure_ascii": False}
    )
    for name, value in (error.headers | {"Content-Language": lang}).items():
        response[name] = value
    return response


def only_get(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Django's require_safe with the API's own error."""

    @functools.wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            allowed = {"Allow": "GET, HEAD"}
            return answer(request, "method_not_allowed", allowed, method=str(request.method)[:20])
        return view(request)

    return answered


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, "bad_request")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, "forbidden")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, "not_found")


def server_error(request: HttpRequest) -> HttpResponse:
    request_id = getattr(request, "id", "")
    log.exception("error: a bug in answering %s", request.path, extra={"request_id": request_id})
    return answer(request, "server_error", request_id=request_id)
