"""What drf-spectacular cannot see by itself: how a key is shown, and that requests are strict."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerKey(OpenApiAuthenticationExtension):
    target_class = "topic_sum.api.access.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: object) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "Only where API_KEYS is set."}


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
