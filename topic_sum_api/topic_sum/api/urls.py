"""Addresses under /api/, all of them under v1/; schema and docs without it as well."""

from django.urls import path
from drf_spectacular.views import SpectacularSwaggerSplitView

from topic_sum.api import views

docs = SpectacularSwaggerSplitView.as_view(url_name="schema", permission_classes=[], throttle_classes=[])

urlpatterns = [
    path("v1/analyze", views.Analyze.as_view(), name="analyze"),
    path("v1/summarize", views.Summarize.as_view(), name="summarize"),
    path("v1/topic", views.Topic.as_view(), name="topic"),
    path("v1/model", views.ModelView.as_view(), name="model"),
    path("v1/metrics", views.prometheus, name="metrics"),
    path("v1/health/live", views.live, name="live"),
    path("v1/health/ready", views.ready, name="ready"),
    path("v1/schema", views.schema, name="schema"),
    path("v1/docs", docs, name="docs"),
    path("schema", views.schema, name="schema"),
    path("docs", docs, name="docs"),
]
