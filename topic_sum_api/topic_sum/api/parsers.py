"""JSON as the standard defines it: UTF-8, no NaN, and not nested without end."""

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
        request = (parser_context or {}).get("request")
        if request is not None:
            encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
            if encoding not in ("", "identity") or not _is_utf8(request.content_type):
                raise ApiError("unsupported_media_type")
        try:
            raw = stream.read()
        except (UnreadablePostError, OSError):
            raise ApiError("body_not_received") from None
        try:
            return json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            raise ApiError("not_utf8", byte=error.start + 1) from None
        except json.JSONDecodeError as error:
            raise ApiError("bad_json", line=error.lineno, column=error.colno) from None
        except RecursionError:
            raise ApiError("json_too_deep") from None
        except ValueError:  # NaN, or a number of more digits than Python converts
            raise ApiError("bad_number") from None


def _is_utf8(content_type: str) -> bool:
    """Whether a Content-Type names no charset, or UTF-8, or ASCII, which is a part of it."""
    parameters = [part.strip().lower().partition("=") for part in content_type.split(";")[1:]]
    named = [value.strip('"') for name, _, value in parameters if name == "charset"]
    return all(charset in ("utf-8", "utf8", "us-ascii", "ascii") for charset in named)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
