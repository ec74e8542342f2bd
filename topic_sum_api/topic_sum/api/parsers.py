"""JSON as the standard says it: UTF-8, no NaN, not nested without end."""

from __future__ import annotations

import json
from typing import IO, NoReturn

from django.http import UnreadablePostError
from rest_framework.parsers import BaseParser

from topic_sum.api.exceptions import ApiError


class StrictJSONParser(BaseParser):
    """application/json → Python values."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: dict | None = None
    ) -> object:
        try:
            raw = stream.read()
        except (UnreadablePostError, OSError):
            raise ApiError("body_not_received") from None
        try:
            return json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            raise ApiError("bad_json", detail=f"not UTF-8 at byte {error.start}") from None
        except json.JSONDecodeError as error:
            raise ApiError(
                "bad_json", detail=f"{error.msg} (line {error.lineno}, column {error.colno})"
            ) from None
        except RecursionError:
            raise ApiError("bad_json", detail="nested too deeply") from None
        except ValueError as error:  # NaN, or a number of more digits than Python converts
            raise ApiError("bad_json", detail=str(error)[:100]) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
