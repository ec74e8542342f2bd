"""GET /schema and /docs, and what drf-spectacular cannot see: keys, and that requests are strict."""

from __future__ import annotations

import functools

from django.http import HttpRequest, HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularSwaggerSplitView

from topic_sum.api.exceptions import only_get


class BearerKey(OpenApiAuthenticationExtension):
    target_class = "topic_sum.api.access.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: object) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "Only if API_KEYS is set."}


def strict_requests(result: dict, **kwargs: object) -> dict:
    """No unknown fields, and either one text or several."""
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            # `not` keeps the headlines with their own kind: no `titles` beside one `text`.
            schema["oneOf"] = [
                {"required": ["text"], "not": {"required": ["titles"]}},
                {"required": ["texts"], "not": {"required": ["title"]}},
            ]
    return result


@functools.cache
def _schema(renderer: type) -> bytes:
    """Made once: it takes 50 ms, and everybody may ask for it."""
    return renderer().render(SchemaGenerator().get_schema(request=None, public=True), renderer_context={})


@only_get
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3: JSON for those who accept it, else YAML."""
    accepted = request.META.get("HTTP_ACCEPT", "")
    renderer = OpenApiJsonRenderer if "json" in accepted else OpenApiYamlRenderer
    return HttpResponse(_schema(renderer), content_type=renderer.media_type, headers={"Vary": "Accept"})


docs = SpectacularSwaggerSplitView.as_view(url_name="schema", permission_classes=[], throttle_classes=[])
