"""POST /topic: the task `topic` of a news text."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from topic_sum.api.answering import Answering, describe_texts
from topic_sum.api.kinds import ClassifyOptions, classified, classified_fields
from topic_sum.api.requests import Item, TextRequest
from topic_sum.inference.kinds.classify import Classified, Classify

TopicFields = classified_fields("topic", "topic_source")


def topic(task: Classify, found: Classified, item: Item, options: dict[str, Any]) -> dict:
    # This address speaks of how much of the text was read; a title is read besides.
    body = classified(task, found, Item({"text": item.text}), options, label="topic")
    return {"topic_source" if name == "source" else name: value for name, value in body.items()}


class TopicRequest(ClassifyOptions, TextRequest):
    pass


class Topic(Answering):
    request_class = TopicRequest
    tasks: ClassVar = {"topic": (Classify, topic)}

    @describe_texts("topic", "What a text is about", TopicRequest, TopicFields)
    def post(self, request: Request) -> Response:
        return super().post(request)
