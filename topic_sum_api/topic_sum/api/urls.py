"""Addresses under /api/, all of them under v1/; schema and docs without it as well."""

from django.urls import path

from topic_sum.api.analyze import Analyze
from topic_sum.api.health import live, prometheus, ready
from topic_sum.api.model import ModelView
from topic_sum.api.schema import docs, schema
from topic_sum.api.summarize import Summarize
from topic_sum.api.tasks import AskTask, Tasks
from topic_sum.api.topic import Topic

urlpatterns = [
    path("v1/analyze", Analyze.as_view(), name="analyze"),
    path("v1/summarize", Summarize.as_view(), name="summarize"),
    path("v1/topic", Topic.as_view(), name="topic"),
    path("v1/tasks", Tasks.as_view(), name="tasks"),
    path("v1/tasks/<str:name>", AskTask.as_view(), name="task"),
    path("v1/model", ModelView.as_view(), name="model"),
    path("v1/metrics", prometheus, name="metrics"),
    path("v1/health/live", live, name="live"),
    path("v1/health/ready", ready, name="ready"),
    path("v1/schema", schema, name="schema"),
    path("v1/docs", docs, name="docs"),
    path("schema", schema, name="schema"),
    path("docs", docs, name="docs"),
]
