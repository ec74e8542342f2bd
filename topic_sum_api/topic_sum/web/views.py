"""The page in Russian."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from topic_sum.api.exceptions import only_get


@only_get
def page(request: HttpRequest) -> HttpResponse:
    shown = {
        "max_chars": settings.MAX_TEXT_CHARS,
        "keys": bool(settings.API_KEYS),
        "log_texts": settings.LOG_TEXTS,
    }
    return render(request, "web/page.html", shown)
