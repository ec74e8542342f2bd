"""What all addresses that answer texts have in common: read the request, ask the tasks, name the model."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from topic_sum import metrics
from topic_sum.api.exceptions import translate
from topic_sum.api.messages import language
from topic_sum.api.requests import Item, Question, StrictRequest, TextRequest
from topic_sum.inference.admission import Job
from topic_sum.inference.errors import TaskNotServed
from topic_sum.inference.kinds import Task
from topic_sum.inference.model import Model
from topic_sum.inference.service import Service
from topic_sum.serving import service

log = logging.getLogger("topic_sum.requests")


class ModelNamed(serializers.Serializer):
    repo = serializers.CharField()
    revision = serializers.CharField(help_text="The commit of the model that answered.")
    dataset_repo = serializers.CharField()
    dataset_revision = serializers.CharField(help_text="The commit of the dataset it was trained on.")


class ErrorBody(serializers.Serializer):
    code = serializers.CharField(help_text="For programs: one of a fixed set.")
    message = serializers.CharField(help_text="For people, in a language of Accept-Language or English.")
    field = serializers.CharField(allow_null=True, help_text="The field of the request that is wrong.")


class ErrorAnswer(serializers.Serializer):
    error = ErrorBody()


ERRORS = {
    status: OpenApiResponse(ErrorAnswer, description=description)
    for status, description in {
        400: "The body or a field is wrong; `field` names it",
        401: "A key is needed (only if API_KEYS is set)",
        404: "The model has no such task; the message names those that it has",
        406: "Accept asks for something else than JSON",
        408: "The body did not arrive",
        411: "Transfer-Encoding is something else than chunked",
        413: "Too long or too many",
        415: "Not application/json",
        422: "A text without words",
        429: "Over the rate limit; Retry-After says when to come back",
        503: "Busy, out of time or no model yet; Retry-After says when to come back",
    }.items()
}
ERRORS_OF_GET = {status: ERRORS[status] for status in (401, 406, 429, 503)}


def describe_texts(
    name: str,
    summary: str,
    asked: object,
    *results: type[serializers.Serializer],
    texts: str = "`text`, or `texts`",
) -> Callable:
    """The schema of an address that answers one text, or several with a result or an error for each.

    `results` are the shapes that a result may have, without what all have in common.
    """
    title = name.capitalize()
    cached = serializers.BooleanField(help_text="Whether all of the answer had been computed before.")
    end = {"milliseconds": serializers.FloatField(), "model": ModelNamed()}

    def made(of: type[serializers.Serializer], what: str, more: dict) -> type[serializers.Serializer]:
        called = title + (of.__name__.capitalize() if len(results) > 1 else "") + what
        return type(called, (of,), {"cached": cached} | more)

    def any_of(what: str, serializers: list, many: bool = False) -> PolymorphicProxySerializer:
        return PolymorphicProxySerializer(
            component_name=title + what, serializers=serializers, resource_type_field_name=None, many=many
        )

    each = any_of("ResultOrError", [*(made(of, "Result", {}) for of in results), ErrorAnswer], many=True)
    listed = extend_schema_field(each)(type(f"{title}Results", (serializers.ListField,), {}))()
    singles = [made(of, "Answer", end) for of in results]
    several = type(f"{title}Answers", (serializers.Serializer,), {"results": listed} | end)
    return extend_schema(
        operation_id=name,
        summary=summary,
        description=f"One {texts} for a list with a result or an error of its own for each.",
        request=asked,
        responses={200: any_of("Response", [*singles, several]), **ERRORS},
    )


class LimitedView(APIView):
    """REST framework counts a request once its key was found right. Here requests without a right key count,
    too, for their address."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except (AuthenticationFailed, NotAuthenticated):
            self.check_throttles(request)
            raise


# The part of an answer that a task gives: of what it answered to an item with these options.
Body = Callable[[Task, Any, Item, dict[str, Any]], dict]


@dataclass(frozen=True)
class Asked:
    """A request on its way to its answer."""

    service: Service
    model: Model
    tasks: list[tuple[Task, Body]]
    question: Question
    job: Job

    @property
    def needs_slot(self) -> bool:
        return any(
            self.service.needs_slot(self.model, task, item.values, self.question.options)
            for item in self.question.items
            if not item.error
            for task, _ in self.tasks
        )

    def answer(self, item: Item) -> dict:
        if item.error:
            raise item.error
        answer, all_cached = {}, True
        for task, body in self.tasks:
            found, cached = self.service.answer(
                self.model, task, item.values, self.question.options, self.job
            )
            metrics.TEXTS.labels(task.name).inc()
            if task.kind == "generate":
                metrics.CACHE_HITS.inc(cached)
                metrics.TOKENS.inc(0 if cached else found.source.tokens)
            answer |= body(task, found, item, self.question.options)
            all_cached = all_cached and cached
        return answer | {"cached": all_cached}


class Answering(LimitedView):
    """An address that answers news texts: the tasks that it asks, their kinds, and how their answers look."""

    request_class: ClassVar[type[TextRequest]]
    tasks: ClassVar[dict[str, tuple[type[Task], Body]]]

    def tasks_of(self, model: Model) -> list[tuple[Task, Body]]:
        """Raises TaskNotServed."""
        found = []
        for name, (kind, body) in self.tasks.items():
            task = model.task(name)
            reads_news = "text" in task.columns and task.template.required <= {"text", "title"}
            if not isinstance(task, kind) or not reads_news:  # another recipe may use the name otherwise
                raise TaskNotServed(f"{name} of news texts", model.tasks)
            found.append((task, body))
        return found

    def reader(self, model: Model) -> StrictRequest:
        return self.request_class.reader()

    def post(self, request: Request, **_: str) -> Response:
        began = time.monotonic()
        served = service()
        model = served.current.model
        tasks = self.tasks_of(model)
        question = self.reader(model).read(request.data)
        texts = [item.text for item in question.items]
        request._request.log_fields = {"chars": sum(map(len, texts))}
        if settings.LOG_TEXTS:
            request._request.log_fields["text"] = " | ".join(texts)
        asked = Asked(served, model, tasks, question, served.job(client_gone(request)))
        with served.scheduler.slot(asked.job) if asked.needs_slot else nullcontext():
            results = answer_all(asked, language(request.META.get("HTTP_ACCEPT_LANGUAGE", "")))
        end = {"milliseconds": round((time.monotonic() - began) * 1000, 1), "model": model_named(model)}
        return Response((results[0] if question.single else {"results": results}) | end)


def answer_all(asked: Asked, lang: str) -> list[dict]:
    """An answer or an error for each text; a single text's error is the request's error."""

    def answer(item: Item) -> dict:
        try:
            return asked.answer(item)
        except Exception as error:
            known = translate(error)
            if known is None or asked.question.single or known.code == "client_gone":
                raise
            metrics.ERRORS.labels(known.code).inc()
            return {"error": known.body(lang)}

    items = asked.question.items
    if len(items) == 1:
        return [answer(items[0])]
    # A list uses all cores. The scheduler sees to it that other requests get their share.
    with ThreadPoolExecutor(min(len(items), asked.service.scheduler.per_request)) as pool:
        return list(pool.map(answer, items))


def model_named(model: Model) -> dict[str, str]:
    return {
        "repo": model.repo,
        "revision": model.revision,
        "dataset_repo": model.dataset_repo,
        "dataset_revision": model.dataset_revision,
    }


def client_gone(request: Request) -> Callable[[], bool]:
    """A function by which a waiting request learns whether its client closed the connection."""
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
