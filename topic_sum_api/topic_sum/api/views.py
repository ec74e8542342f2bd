"""Validate, call the engine, answer, say which model answered."""

from __future__ import annotations

import functools
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from topic_sum.api import metrics, serializers
from topic_sum.api.exceptions import answer, translate
from topic_sum.api.messages import language
from topic_sum.api.serializers import Item, Question, read_question
from topic_sum.api.throttles import counters
from topic_sum.inference.model import Model
from topic_sum.inference.room import Visit
from topic_sum.inference.service import Service
from topic_sum.serving import service

log = logging.getLogger("topic_sum.requests")

_ERRORS = {
    status: OpenApiResponse(serializers.ErrorAnswer, description=words)
    for status, words in {
        400: "The body or a field is wrong; `field` names it",
        401: "A key is needed (only where API_KEYS is set)",
        406: "Accept asks for something else than JSON",
        408: "The body did not arrive",
        411: "Content-Length is missing",
        413: "Too long or too many",
        415: "Not application/json",
        422: "A text without words",
        429: "Over the rate limit; Retry-After says when to come back",
        503: "Busy, out of time or no model yet; Retry-After says when to come back",
    }.items()
}


def _describe(name: str, summary: str, asked: type, one: type, many: type) -> Callable:
    return extend_schema(
        operation_id=name,
        summary=summary,
        description="One `text`, or `texts` for a list with a result or an error of its own for each.",
        request=asked,
        responses={
            200: PolymorphicProxySerializer(
                component_name=f"{name.capitalize()}Response",
                serializers=[one, many],
                resource_type_field_name=None,
            ),
            **_ERRORS,
        },
    )


class LimitedView(APIView):
    """REST framework counts a request once its key was found right; here those without one count, too, for
    their address."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except (AuthenticationFailed, NotAuthenticated):
            self.check_throttles(request)
            raise


class Answering(LimitedView):
    """One POST address: `options` it knows, and `answer_one` for one text."""

    options_known: frozenset[str] = frozenset()

    def post(self, request: Request) -> Response:
        begun = time.monotonic()
        served = service()
        model = served.model
        question = read_question(request.data, self.options_known)
        request._request.log_fields = {"chars": sum(len(item.text) for item in question.items)}
        if settings.LOG_TEXTS:
            request._request.log_fields["text"] = " | ".join(item.text for item in question.items)
        results = self.answer_all(served, model, question, request)
        end = {"milliseconds": round((time.monotonic() - begun) * 1000, 1), "model": model_named(model)}
        return Response((results[0] if question.single else {"results": results}) | end)

    def answer_all(self, served: Service, model: Model, question: Question, request: Request) -> list[dict]:
        raise AssertionError("each address answers in its own way")

    def one_by_one(
        self, question: Question, request: Request, answer_one: Callable[[Item], dict]
    ) -> list[dict]:
        """An answer or an error for every text; a single text's error is the request's error."""
        lang = language(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))

        def answer(item: Item) -> dict:
            try:
                if item.error:
                    raise item.error
                return answer_one(item)
            except Exception as error:
                known = translate(error)
                if known is None or question.single or known.code == "client_gone":
                    raise
                metrics.ERRORS.labels(known.code).inc()
                return {"error": known.body(lang)}

        if len(question.items) == 1:
            return [answer(question.items[0])]
        # A list uses all cores; the room sees to it that it does not use them alone.
        with ThreadPoolExecutor(min(len(question.items), service().room.at_once)) as pool:
            return list(pool.map(answer, question.items))


def place(
    served: Service, model: Model, question: Question, visit: Visit, summary: bool
) -> AbstractContextManager:
    """A place in the room, which a topic without `explain` and what lies in the cache do not need."""

    def known(item: Item) -> bool:
        return (
            not summary or served.knows_summary(model, item.text, item.title, question.variants or 1)
        ) and (not question.explain or served.knows_topic(model, item.text, item.title, True))

    if all(item.error or known(item) for item in question.items):
        return nullcontext()
    return served.room.place(visit)


class Topic(Answering):
    options_known = serializers.TOPIC_OPTIONS

    @_describe(
        "topic",
        "What a text is about",
        serializers.TopicRequest,
        serializers.TopicAnswer,
        serializers.TopicAnswers,
    )
    def post(self, request: Request) -> Response:
        return super().post(request)

    def answer_all(self, served: Service, model: Model, question: Question, request: Request) -> list[dict]:
        visit = served.visit(client_gone(request))
        with place(served, model, question, visit, summary=False):
            return self.one_by_one(
                question, request, lambda item: topic_of(served, model, item, question, visit)
            )


class Summarize(Answering):
    options_known = serializers.SUMMARY_OPTIONS

    @_describe(
        "summarize",
        "A short summary of a text",
        serializers.SummaryRequest,
        serializers.SummaryAnswer,
        serializers.SummaryAnswers,
    )
    def post(self, request: Request) -> Response:
        return super().post(request)

    def answer_all(self, served: Service, model: Model, question: Question, request: Request) -> list[dict]:
        visit = served.visit(client_gone(request))
        with place(served, model, question, visit, summary=True):
            return self.one_by_one(
                question, request, lambda item: summary_of(served, model, item, question, visit)
            )


class Analyze(Answering):
    options_known = serializers.TOPIC_OPTIONS | serializers.SUMMARY_OPTIONS

    @_describe(
        "analyze",
        "Topic and summary at once",
        serializers.AnalyzeRequest,
        serializers.AnalyzeAnswer,
        serializers.AnalyzeAnswers,
    )
    def post(self, request: Request) -> Response:
        return super().post(request)

    def answer_all(self, served: Service, model: Model, question: Question, request: Request) -> list[dict]:
        visit = served.visit(client_gone(request))

        def both(item: Item) -> dict:
            topic = topic_of(served, model, item, question, visit)
            summary = summary_of(served, model, item, question, visit)
            cached = topic.pop("cached") and summary.pop("cached")
            return topic | summary | {"cached": cached}

        with place(served, model, question, visit, summary=True):
            return self.one_by_one(question, request, both)


class ModelView(LimitedView):
    """What serves now."""

    @extend_schema(
        operation_id="model",
        summary="The model that serves: revisions, metrics, limits",
        responses={
            200: serializers.ModelAnswer,
            401: _ERRORS[401],
            406: _ERRORS[406],
            429: _ERRORS[429],
            503: _ERRORS[503],
        },
    )
    def get(self, request: Request) -> Response:
        served = service()
        model = served.model
        return Response(
            model_named(model)
            | {
                "requested_revision": served.source.revision,
                "metrics": model.metrics,
                "topics": [{"topic": topic, "name": name} for topic, name in model.topics.labels],
                "loaded_at": model.loaded_at,
                "from_local_copy": served.from_local_copy,
                "trouble": served.trouble or None,
                "limits": {
                    "max_text_chars": settings.MAX_TEXT_CHARS,
                    "max_texts": settings.MAX_TEXTS,
                    "max_total_chars": settings.MAX_TOTAL_CHARS,
                    "max_variants": serializers.MOST_VARIANTS,
                    "request_seconds": settings.REQUEST_SECONDS,
                    "rate_limit": "/".join(map(str, settings.RATE_LIMIT)) if settings.RATE_LIMIT else None,
                    "rate_limit_shared": bool(settings.RATE_LIMIT) and counters(settings.REDIS_URL).shared,
                },
            }
        )


def topic_of(served: Service, model: Model, item: Item, question: Question, visit: Visit) -> dict:
    found, cached = served.detect(model, item.text, item.title, explain=question.explain, visit=visit)
    metrics.TEXTS.labels("topic").inc()
    if found.reason:
        metrics.UNSURE.labels(found.reason).inc()
    body = {
        "topic": found.topic,
        "name": found.name,
        "reason": found.reason,
        "scores": [asdict(score) for score in found.scores[: question.top_k]],
        "topic_source": {
            "chars": len(item.text),
            "read": found.read,
            "words": found.words,
            "cut": found.read < len(item.text),
        },
    }
    if found.explain is not None:
        body["explain"] = [asdict(word) for word in found.explain]
    return body | {"cached": cached}


def summary_of(served: Service, model: Model, item: Item, question: Question, visit: Visit) -> dict:
    found = served.summarize(
        model,
        item.text,
        item.title,
        variants=question.variants or 1,
        max_chars=question.max_chars,
        visit=visit,
    )
    metrics.TEXTS.labels("summarize").inc()
    metrics.TOKENS.inc(0 if found.cached else found.source.tokens)
    metrics.CACHE_HITS.inc(found.cached)
    metrics.WINDOWED.inc(found.source.windows > 1)
    metrics.CUT.inc(found.source.cut)
    drafts = [
        {"summary": draft.summary, "unsupported": [asdict(part) for part in draft.unsupported]}
        for draft in found.drafts
    ] or [{"summary": "", "unsupported": []}]
    metrics.UNSUPPORTED.inc(len(drafts[0]["unsupported"]))
    body = dict(drafts[0])
    if question.variants is not None:
        body["variants"] = drafts
    return body | {"source": {"chars": len(item.text)} | asdict(found.source), "cached": found.cached}


def model_named(model: Model) -> dict:
    return {
        "repo": model.repo,
        "revision": model.revision,
        "dataset_repo": model.dataset_repo,
        "dataset_revision": model.dataset_revision,
    }


def client_gone(request: Request) -> Callable[[], bool]:
    """A question a waiting request can ask: has its client hung up?"""
    if disconnected := request.META.get("waitress.client_disconnected"):
        return disconnected
    connection = request.META.get("gunicorn.socket")
    if connection is None:
        return lambda: False

    def hung_up() -> bool:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return hung_up


def only_get(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Django's require_safe with the API's own error."""

    @functools.wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            allowed = {"Allow": "GET, HEAD"}
            return answer(request, "method_not_allowed", allowed, method=str(request.method)[:20])
        return view(request)

    return answered


@only_get
def live(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "live"})


@only_get
def ready(request: HttpRequest) -> HttpResponse:
    """200 once a model answered its trial, 503 with the reason before."""
    served = service()
    if served.ready:
        return JsonResponse({"status": "ready"})
    return JsonResponse(
        {"status": "not ready", "detail": served.trouble},
        status=503,
        headers={"Retry-After": "5"},
        json_dumps_params={"ensure_ascii": False},
    )


@only_get
def prometheus(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format. Open without a key: keep it inside, see README.md."""
    return HttpResponse(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


@functools.cache
def _schema(renderer: type) -> bytes:
    """Made once: it takes 50 ms, and everybody may ask for it."""
    return renderer().render(SchemaGenerator().get_schema(request=None, public=True), renderer_context={})


@only_get
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3: JSON for those who accept it, else YAML."""
    accepted = request.META.get("HTTP_ACCEPT", "")
    renderer = OpenApiJsonRenderer if "json" in accepted else OpenApiYamlRenderer
    return HttpResponse(_schema(renderer), content_type=renderer.media_type, headers={"Vary": "Accept"})
