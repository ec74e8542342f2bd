"""POST /summarize: the task `summarize` of a news text."""

from functools import partial
from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from topic_sum.api.answering import Answering, describe_texts
from topic_sum.api.kinds import GenerateOptions, generated, generated_fields
from topic_sum.api.requests import TextRequest
from topic_sum.inference.kinds.generate import Generate

SummaryFields = generated_fields("summary")


class SummaryRequest(GenerateOptions, TextRequest):
    pass


class Summarize(Answering):
    request_class = SummaryRequest
    tasks: ClassVar = {"summarize": (Generate, partial(generated, key="summary"))}

    @describe_texts("summarize", "A short summary of a text", SummaryRequest, SummaryFields)
    def post(self, request: Request) -> Response:
        return super().post(request)
