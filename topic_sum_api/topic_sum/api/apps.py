"""The API's Django application."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "topic_sum.api"

    def ready(self) -> None:
        from topic_sum.api import checks, schema  # noqa: F401  importing them registers them
