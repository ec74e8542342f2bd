"""GET /model: the revision that serves."""

from __future__ import annotations

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from topic_sum.api.answering import ERRORS_OF_GET, LimitedView, ModelNamed, model_named
from topic_sum.api.fields import MOST_VARIANTS
from topic_sum.api.throttles import counters
from topic_sum.inference.kinds.classify import Classify
from topic_sum.serving import recipe, service


class ModelAnswer(ModelNamed):
    requested_revision = serializers.CharField()
    recipe = serializers.CharField(allow_null=True, help_text="The recipe that made it, if it names one.")
    recipe_note = serializers.CharField(
        allow_null=True, help_text="How it differs from the recipe of this server, if it does."
    )
    tasks = serializers.ListField(child=serializers.CharField(), help_text="Their names; see GET /tasks.")
    metrics = serializers.DictField()
    topics = serializers.ListField(
        child=serializers.DictField(), help_text="The labels of the task `topic`, if there is one."
    )
    loaded_at = serializers.DateTimeField()
    from_local_copy = serializers.BooleanField(help_text="True if the Hub could not be asked.")
    trouble = serializers.CharField(
        allow_null=True, help_text="What the Hub or a new revision last failed with."
    )
    limits = serializers.DictField()


class ModelView(LimitedView):
    """What serves now."""

    @extend_schema(
        operation_id="model",
        summary="The model that serves: revisions, metrics, limits",
        responses={200: ModelAnswer, **ERRORS_OF_GET},
    )
    def get(self, request: Request) -> Response:
        current = service().current
        model = current.model
        topic = model.tasks.get("topic")
        labels = topic.labels if isinstance(topic, Classify) else []
        return Response(
            model_named(model)
            | {
                "requested_revision": current.source.revision,
                "recipe": model.recipe,
                "recipe_note": recipe().difference(model),
                "tasks": list(model.tasks),
                "metrics": model.metrics,
                "topics": [{"topic": label, "name": name} for label, name in labels],
                "loaded_at": model.loaded_at,
                "from_local_copy": current.from_local_copy,
                "trouble": current.trouble or None,
                "limits": {
                    "max_text_chars": settings.MAX_TEXT_CHARS,
                    "max_texts": settings.MAX_TEXTS,
                    "max_total_chars": settings.MAX_TOTAL_CHARS,
                    "max_variants": MOST_VARIANTS,
                    "request_seconds": settings.REQUEST_SECONDS,
                    "rate_limit": "/".join(map(str, settings.RATE_LIMIT)) if settings.RATE_LIMIT else None,
                    "rate_limit_shared": bool(settings.RATE_LIMIT) and counters(settings.REDIS_URL).shared,
                },
            }
        )
