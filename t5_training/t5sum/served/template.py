"""Source templates: what of a row or a request a model reads, as one line of a recipe.

    "summarize: {text}"              a column in braces is replaced by its value
    "summarize: [{title}. ]{text}"   a part in square brackets is left out if a column in it is empty

A brace or bracket that is meant as text is written twice: "{{", "]]".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

_SYMBOL = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{[^{}\[\]]*\}|[\[\]{}]|[^\[\]{}]+")
_COLUMN = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_DOUBLED = {"{{": "{", "}}": "}", "[[": "[", "]]": "]"}


class BadTemplate(ValueError):
    """The template cannot be read; the message says why."""


@dataclass(frozen=True)
class Part:
    """A piece of text or the name of a column; `optional` numbers its square brackets, 0 for none."""

    value: str
    is_column: bool
    optional: int


@dataclass(frozen=True)
class Template:
    """A checked template. Raises BadTemplate."""

    text: str

    def __post_init__(self) -> None:
        if not self.columns:
            raise BadTemplate(f"the template {self.text!r} names no column; write one as {{text}}")

    @cached_property
    def parts(self) -> list[Part]:
        parts: list[Part] = []
        optional = groups = 0
        for symbol in _SYMBOL.findall(self.text):
            if symbol == "[" and not optional:
                groups += 1
                optional = groups
            elif symbol == "]" and optional:
                optional = 0
            elif symbol in _DOUBLED:
                parts.append(Part(_DOUBLED[symbol], False, optional))
            elif match := _COLUMN.fullmatch(symbol):
                parts.append(Part(match[1], True, optional))
            elif symbol[0] in "[]{}":
                raise BadTemplate(f"the template {self.text!r} has a {symbol} that fits nowhere")
            else:
                parts.append(Part(symbol, False, optional))
        if optional:
            raise BadTemplate(f"the template {self.text!r} has a [ without its ]")
        return parts

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, in the order in which they first stand there."""
        return tuple(dict.fromkeys(part.value for part in self.parts if part.is_column))

    @cached_property
    def required(self) -> frozenset[str]:
        """The columns that stand outside of square brackets at least once."""
        return frozenset(part.value for part in self.parts if part.is_column and not part.optional)

    def fill(self, values: Mapping[str, str]) -> str:
        """The source of one row or request. A column that is absent counts as empty."""
        empty = {part.optional for part in self.parts if part.is_column and not values.get(part.value)}
        return "".join(
            (values.get(part.value) or "") if part.is_column else part.value
            for part in self.parts
            if not part.optional or part.optional not in empty
        )
