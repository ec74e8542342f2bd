"""manage.py check: settings that are valid and probably a mistake."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import Tags, Warning, register

_LOCAL = ("127.0.0.1", "localhost", "::1")


@register(Tags.security)
def keys_are_usable(app_configs: object, **options: object) -> list:
    problems = []
    for key in settings.API_KEYS:
        if not key.startswith("sha256:") and len(key) < 20:
            problems.append(
                Warning(
                    "API_KEYS holds a key of fewer than 20 characters.",
                    hint="Short keys can be guessed; make one: python manage.py api_key",
                    id="topic_sum.W001",
                )
            )
    return problems


@register(Tags.security, deploy=True)
def open_to_the_network_on_purpose(app_configs: object, **options: object) -> list:
    problems = []
    if settings.HOST not in _LOCAL and not settings.API_KEYS:
        problems.append(
            Warning(
                f"HOST={settings.HOST} listens to the network, and anybody may use the API.",
                hint="Set API_KEYS, or listen on 127.0.0.1 or a private network.",
                id="topic_sum.W002",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        problems.append(
            Warning("ALLOWED_HOSTS allows every name.", hint="Name your hosts.", id="topic_sum.W003")
        )
    return problems
