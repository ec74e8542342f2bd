"""GET /schema and /docs, and what drf-spectacular cannot see: keys, and that requests are strict."""

from __future__ import annotations

import functools

from django.conf import settings
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


TEXT = (
    "Чистая прибыль компании «Меридиум» выросла за год на 9 процентов, до 4,2 млрд рублей. Об этом сообщил "
    "её генеральный директор Павел Ясенский. По его словам, выручка увеличилась до 31 млрд рублей, а сеть "
    "столовых пополнилась двадцатью новыми. В следующем году компания вложит в стройку ещё 2 млрд рублей."
)
TITLE = "Прибыль «Меридиума» выросла на 9 процентов"
_ONE, _LIST = {"text": TEXT, "title": TITLE}, {"texts": [TEXT, TITLE]}
# Of each operation with a body: what Swagger UI fills in, and what else can be chosen.
EXAMPLES: dict[str, dict[str, dict]] = {
    "analyze": {"One text": _ONE | {"top_k": 3}, "Several texts": _LIST},
    "summarize": {"One text": _ONE | {"max_chars": 200}, "Several texts": _LIST},
    "topic": {"One text": _ONE | {"top_k": 3, "explain": True}, "Several texts": _LIST | {"top_k": 1}},
    "task": {"One item": {"text": TEXT}, "Several items": {"items": [{"text": TEXT}, {"text": TITLE}]}},
}
TAGS = {
    "news": ("Topic and summary of news texts.", ("analyze", "summarize", "topic")),
    "tasks": ("Whatever the model can do.", ("tasks", "task")),
    "operation": ("For those who run the server.", ("model", "live", "ready", "metrics")),
}
_TAG_OF = {operation: tag for tag, (_, operations) in TAGS.items() for operation in operations}


def _plain(operation: str, summary: str, kind: str, **answers: str) -> dict:
    """An address that is no view of REST framework and needs no key."""
    shape = {"type": "string"} if kind == "text/plain" else {
        "type": "object", "properties": {"status": {"type": "string"}, "detail": {"type": "string"}},
        "required": ["status"],
    }  # fmt: skip
    described = {
        status.removeprefix("s"): {"description": text, "content": {kind: {"schema": shape}}}
        for status, text in answers.items()
    }
    return {
        "get": {"operationId": operation, "summary": summary, "description": summary + ".", "security": [{}],
                "responses": described}
    }  # fmt: skip


OPERATION = {
    "/health/live": _plain("live", "Whether the process runs", "application/json", s200="It runs"),
    "/health/ready": _plain(
        "ready", "Whether a model serves", "application/json", s200="It does",
        s503="Not yet; `detail` says why",
    ),
    "/api/v1/metrics": _plain("metrics", "Numbers for Prometheus", "text/plain", s200="They are"),
}  # fmt: skip


def complete(result: dict, **kwargs: object) -> dict:
    """What the serializers do not say: that a body is needed, examples, tags, whether a key is needed, and
    the addresses for operators."""
    result["paths"] |= OPERATION
    result["tags"] = [{"name": tag, "description": text} for tag, (text, _) in TAGS.items()]
    for operation in (each for path in result["paths"].values() for each in path.values()):
        name = operation["operationId"]
        operation["tags"] = [_TAG_OF[name]]
        if not settings.API_KEYS and {"key": []} in operation["security"]:
            operation["security"] = [{}, {"key": []}]
        for parameter in operation.get("parameters", ()):
            parameter["example"] = "topic"
        if name in EXAMPLES:
            operation["requestBody"]["required"] = True
            operation["requestBody"]["content"]["application/json"]["examples"] = {
                key.replace(" ", ""): {"summary": key, "value": value}
                for key, value in EXAMPLES[name].items()
            }
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
