"""GET /health/live, /health/ready and /metrics: how this process is, for those who operate it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from topic_sum import metrics
from topic_sum.api.exceptions import only_get
from topic_sum.serving import service


@only_get
def live(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "live"})


@only_get
def ready(request: HttpRequest) -> HttpResponse:
    """200 once a model has answered its trials, 503 with the reason before."""
    current = service().current
    if current.ready:
        return JsonResponse({"status": "ready"})
    return JsonResponse(
        {"status": "not ready", "detail": current.trouble},
        status=503,
        headers={"Retry-After": "5"},
        json_dumps_params={"ensure_ascii": False},
    )


@only_get
def prometheus(request: HttpRequest) -> HttpResponse:
    """Open without a key: do not expose it to the outside, see README.md."""
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    return HttpResponse(metrics.exposition(), content_type=content_type)
