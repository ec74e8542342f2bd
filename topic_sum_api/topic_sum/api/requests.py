"""Requests: the serializers that OpenAPI documents also read them. Each one is made once and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from topic_sum.api.exceptions import ApiError
from topic_sum.api.fields import Option, Text


@dataclass(frozen=True)
class Item:
    """One text to answer: its normalised columns, or the error if this item of a list cannot be answered."""

    values: dict[str, str] = field(default_factory=dict)
    error: ApiError | None = None

    @property
    def text(self) -> str:
        """The column `text`, or all columns joined by spaces."""
        return self.values.get("text") or " ".join(self.values.values())


@dataclass(frozen=True)
class Question:
    """A checked request. `single` if it had one text and not a list, so that its answer is no list either."""

    items: list[Item]
    single: bool
    options: dict[str, Any]


class StrictRequest(serializers.Serializer):
    """A request in which no field is unknown. Errors name the first field that is wrong."""

    @classmethod
    @functools.cache
    def reader(cls) -> StrictRequest:
        """The one object of this class that reads requests: making one costs more than reading one."""
        return cls()

    def read(self, body: object) -> Question:
        """Raises ApiError. What is wrong with one text of a list is that text's own error."""
        if not isinstance(body, dict):
            raise ApiError("not_an_object")
        refuse_unknown(body, self.fields)
        single, items = self.read_items(body)
        options = {
            name: None if body.get(name) is None else option.read(body[name], name)
            for name, option in self.fields.items()
            if isinstance(option, Option)
        }
        return Question(items, single, options)

    def read_items(self, body: dict[str, object]) -> tuple[bool, list[Item]]:
        raise NotImplementedError


class TextRequest(StrictRequest):
    """One `text` with its `title`, or `texts` with their `titles`."""

    NULLABLE: ClassVar = {"title", "texts", "titles"}  # null is the same as absent

    text = Text(required=False, max_length=settings.MAX_TEXT_CHARS, help_text="A news text: this or `texts`.")
    title = Text(
        required=False, allow_null=True, allow_blank=True, max_length=settings.MAX_TITLE_CHARS,
        help_text="Its headline, if there is one: it helps the topic. The summary reads it only if the model "
        "was trained so.",
    )  # fmt: skip
    texts = serializers.ListField(
        child=serializers.CharField(), required=False, allow_null=True,
        min_length=1, max_length=settings.MAX_TEXTS,
        help_text=f"Several texts, together at most {settings.MAX_TOTAL_CHARS} characters. "
        "Each gets a result or an error of its own.",
    )  # fmt: skip
    titles = serializers.ListField(
        child=serializers.CharField(allow_null=True, allow_blank=True), required=False, allow_null=True,
        help_text="Their headlines, as many as texts; null if there is none.",
    )  # fmt: skip

    def read_items(self, body: dict[str, object]) -> tuple[bool, list[Item]]:
        body = {name: value for name, value in body.items() if value is not None or name not in self.NULLABLE}
        single = "text" in body
        if single == ("texts" in body):
            raise ApiError("text_or_texts" if single else "required", field="text")
        if single:
            if "titles" in body:
                raise ApiError("text_or_texts", field="titles")
            return True, [self._item(body["text"], body.get("title"), "text", "title")]
        if "title" in body:
            raise ApiError("text_or_texts", field="title")
        texts, titles = check_list(body["texts"], "texts", "list"), body.get("titles")
        if titles is None:
            titles = [None] * len(texts)
        if not isinstance(titles, list):
            raise ApiError("wrong_type", field="titles", expected="list")
        if len(titles) != len(texts):
            raise ApiError("titles_do_not_match", field="titles")
        check_total(texts, "texts")
        return False, [
            own_error(self._item, text, title, f"texts[{at}]", f"titles[{at}]")
            for at, (text, title) in enumerate(zip(texts, titles, strict=True))
        ]

    def _item(self, text: object, title: object, text_name: str, title_name: str) -> Item:
        read = self.fields["text"].read(text, text_name)
        check_words([read], text_name)
        headline = "" if title is None else self.fields["title"].read(title, title_name)
        return Item({"title": headline, "text": read} if headline else {"text": read})


class ColumnsRequest(StrictRequest):
    """The columns of a task, or `items`: a list of objects with these columns."""

    items = serializers.ListField(child=serializers.DictField(), required=False)

    @functools.cached_property
    def columns(self) -> dict[str, Text]:
        return {name: field for name, field in self.fields.items() if isinstance(field, Text)}

    def read_items(self, body: dict[str, object]) -> tuple[bool, list[Item]]:
        named = [name for name in self.columns if name in body]
        if "items" not in body:
            values = {name: body[name] for name in named}
            check_total(values.values(), next(iter(named or self.columns)))
            return True, [self._item(values, "")]
        if named:
            raise ApiError("fields_or_items", field=named[0])
        items = check_list(body["items"], "items", "objects")
        check_total((value for item in items if isinstance(item, dict) for value in item.values()), "items")
        return False, [own_error(self._item, item, f"items[{at}]") for at, item in enumerate(items)]

    def _item(self, values: object, where: str) -> Item:
        if not isinstance(values, dict):
            raise ApiError("wrong_type", field=where, expected="object")
        prefix = f"{where}." if where else ""
        refuse_unknown(values, self.columns, prefix)
        read = {}
        for name, column in self.columns.items():
            if column.required and name not in values:
                raise ApiError("required", field=prefix + name)
            if column.required or values.get(name) is not None:
                read[name] = column.read(values[name], prefix + name)
        first = prefix + next(iter(read or self.columns))
        if not any(read.values()):
            raise ApiError("required", field=first)
        check_words(read.values(), first)
        return Item(read)


def refuse_unknown(body: Iterable[str], known: Iterable[str], prefix: str = "") -> None:
    for name in body:
        if name not in known:
            # Half a surrogate pair can be sent but not be answered.
            name = prefix + name[:100].encode("utf-8", "replace").decode()
            raise ApiError("unknown_field", field=name)


def check_list(value: object, name: str, expected: str) -> list:
    if not isinstance(value, list):
        raise ApiError("wrong_type", field=name, expected=expected)
    if not value:
        raise ApiError("empty", field=name)
    if len(value) > settings.MAX_TEXTS:
        raise ApiError("too_many", field=name, most=settings.MAX_TEXTS)
    return value


def check_total(values: Iterable[object], name: str) -> None:
    if sum(len(value) for value in values if isinstance(value, str)) > settings.MAX_TOTAL_CHARS:
        raise ApiError("too_long", field=name, most=settings.MAX_TOTAL_CHARS)


def check_words(values: Iterable[str], name: str) -> None:
    if not any(character.isalpha() for value in values for character in value):
        raise ApiError("no_words", field=name)


def own_error(read: Callable[..., Item], *arguments: object) -> Item:
    """The item of a list that `read` gives, or its error, which fails no other item."""
    try:
        return read(*arguments)
    except ApiError as error:
        return Item(error=error)
