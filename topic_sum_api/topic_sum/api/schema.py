"""What drf-spectacular cannot see by itself: how a key is shown."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerKey(OpenApiAuthenticationExtension):
    target_class = "topic_sum.api.access.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: object) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "Only where API_KEYS is set."}
