"""Fields of requests. Each one is documented by REST framework and read by `read`, which raises ApiError."""

from __future__ import annotations

import unicodedata
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from topic_sum.api.exceptions import ApiError
from topic_sum.inference.served.text import normalise

USUAL_VARIANTS, MOST_VARIANTS = 3, 5


class Text(serializers.CharField):
    """A string, normalised, of at most `max_length` characters before and after that."""

    def read(self, value: object, name: str) -> str:
        if not isinstance(value, str):
            raise ApiError("wrong_type", field=name, expected="string")
        if len(value) > self.max_length:
            raise ApiError("too_long", field=name, most=self.max_length)
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ApiError("bad_characters", field=name)  # half a surrogate pair: no UTF-8 can carry it
        text = normalise(value)
        # The tokenizer reads NFKC, in which one character can become eighteen.
        if len(unicodedata.normalize("NFKC", text)) > self.max_length:
            raise ApiError("too_long", field=name, most=self.max_length)
        if not text and not self.allow_blank:
            raise ApiError("empty", field=name)
        return text


class Option:
    """A field that may be absent or null; then it reads as None."""

    type: str  # of JSON

    def __init__(self, **options: Any):
        super().__init__(required=False, allow_null=True, **options)

    @property
    def described(self) -> dict[str, object]:
        """For GET /tasks."""
        bounds = {"minimum": getattr(self, "min_value", None), "maximum": getattr(self, "max_value", None)}
        return {"type": self.type} | {name: bound for name, bound in bounds.items() if bound is not None}


class WholeNumber(Option, serializers.IntegerField):
    type = "integer"

    def read(self, value: object, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ApiError("wrong_type", field=name, expected="integer")
        if not self.min_value <= value <= self.max_value:
            raise ApiError("out_of_range", field=name, least=self.min_value, most=self.max_value)
        return value


class Flag(Option, serializers.BooleanField):
    type = "boolean"

    def read(self, value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise ApiError("wrong_type", field=name, expected="boolean")
        return value


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1, "maximum": MOST_VARIANTS}, {"type": "boolean"}]}
)
class Variants(WholeNumber):
    """A number, or true for USUAL_VARIANTS."""

    def __init__(self, **options: Any):
        super().__init__(min_value=1, max_value=MOST_VARIANTS, **options)

    def read(self, value: object, name: str) -> int | None:
        if isinstance(value, bool):
            return USUAL_VARIANTS if value else None
        return super().read(value, name)
