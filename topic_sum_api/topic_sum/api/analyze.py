"""POST /analyze: the tasks `topic` and `summarize` of a news text at once."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from topic_sum.api.answering import Answering, describe_texts
from topic_sum.api.summarize import Summarize, SummaryFields, SummaryRequest
from topic_sum.api.topic import Topic, TopicFields, TopicRequest


class AnalyzeFields(SummaryFields, TopicFields):
    pass


class AnalyzeRequest(SummaryRequest, TopicRequest):
    pass


class Analyze(Answering):
    request_class = AnalyzeRequest
    tasks: ClassVar = Topic.tasks | Summarize.tasks

    @describe_texts("analyze", "Topic and summary at once", AnalyzeRequest, AnalyzeFields)
    def post(self, request: Request) -> Response:
        return super().post(request)
