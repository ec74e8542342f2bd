"""Addresses under /api/."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from topic_sum.api import views

urlpatterns = [
    path("v1/analyze", views.Analyze.as_view(), name="analyze"),
    path("v1/summarize", views.Summarize.as_view(), name="summarize"),
    path("v1/topic", views.Topic.as_view(), name="topic"),
    path("v1/model", views.ModelView.as_view(), name="model"),
    path("v1/metrics", views.prometheus, name="metrics"),
    path("schema", SpectacularAPIView.as_view(permission_classes=[], throttle_classes=[]), name="schema"),
    path(
        "docs",
        SpectacularSwaggerSplitView.as_view(url_name="schema", permission_classes=[], throttle_classes=[]),
        name="docs",
    ),
]
