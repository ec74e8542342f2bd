"""GET /tasks: what the model can do. POST /tasks/NAME: one of its tasks, whatever it is about."""

from __future__ import annotations

import functools

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from topic_sum.api.answering import (
    ERRORS_OF_GET,
    Answering,
    Body,
    LimitedView,
    ModelNamed,
    describe_texts,
    model_named,
)
from topic_sum.api.fields import Text
from topic_sum.api.kinds import (
    BODIES,
    OPTIONS,
    RegressedFields,
    classified_fields,
    generated_fields,
)
from topic_sum.api.requests import ColumnsRequest, StrictRequest
from topic_sum.inference.kinds import Task
from topic_sum.inference.kinds.classify import Classify
from topic_sum.inference.kinds.regress import Regress
from topic_sum.inference.model import Model
from topic_sum.serving import service


class Column(serializers.Serializer):
    name = serializers.CharField()
    required = serializers.BooleanField()


class TaskDescribed(serializers.Serializer):
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=list(OPTIONS))
    columns = Column(many=True, help_text="The fields of a request, or of each of its `items`.")
    options = serializers.DictField(
        child=serializers.DictField(), help_text="Further fields of a request: the type and range of each."
    )
    metrics = serializers.DictField(help_text="What the task reached on the test split.")
    labels = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="Of a classify task: its labels."
    )
    minimum = serializers.FloatField(required=False, help_text="Of a regress task: its lowest value.")
    maximum = serializers.FloatField(required=False)


class TasksAnswer(serializers.Serializer):
    tasks = TaskDescribed(many=True)
    model = ModelNamed()


def described(task: Task) -> dict:
    found = {
        "name": task.name,
        "kind": task.kind,
        "columns": [{"name": name, "required": name in task.template.required} for name in task.columns],
        "options": {name: option.described for name, option in OPTIONS[task.kind]().fields.items()},
        "metrics": task.metrics,
    }
    if isinstance(task, Classify):
        found["labels"] = [{"label": label, "name": name} for label, name in task.labels]
    if isinstance(task, Regress):
        found |= {"minimum": task.minimum, "maximum": task.maximum}
    return found


class Tasks(LimitedView):
    """The tasks of the model that serves."""

    @extend_schema(
        operation_id="tasks", summary="The tasks of the model", responses={200: TasksAnswer, **ERRORS_OF_GET}
    )
    def get(self, request: Request) -> Response:
        model = service().current.model
        return Response(
            {"tasks": [described(task) for task in model.tasks.values()], "model": model_named(model)}
        )


@functools.lru_cache(maxsize=64)
def reader_for(kind: str, columns: tuple[str, ...], required: frozenset[str]) -> StrictRequest:
    """Reads requests to a task of this kind with these columns."""
    made = {
        name: Text(
            required=name in required, allow_blank=name not in required, max_length=settings.MAX_TEXT_CHARS
        )
        for name in columns
    }
    return type("TaskRequest", (OPTIONS[kind], ColumnsRequest), made)()


class AskTask(Answering):
    def tasks_of(self, model: Model) -> list[tuple[Task, Body]]:
        task = model.task(self.kwargs["name"])
        return [(task, BODIES[task.kind])]

    def reader(self, model: Model) -> StrictRequest:
        task = model.task(self.kwargs["name"])
        return reader_for(task.kind, task.columns, task.template.required)

    @extend_schema(
        parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, description="One of GET /tasks.")]
    )
    @describe_texts(
        "task",
        "One task of the model",
        # The columns are the model's, so the schema cannot name them.
        {
            "application/json": {
                "type": "object",
                "description": "Columns and options as GET /tasks names them.",
            }
        },
        generated_fields("text"),
        classified_fields("label", "source"),
        RegressedFields,
        texts="object of columns, or `items`",
    )
    def post(self, request: Request, name: str) -> Response:
        return super().post(request)
