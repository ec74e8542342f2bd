"""Row → what a model of a task reads. The API does the same from what tasks.json says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5sum import StageError
from t5sum.config import AnyTask
from t5sum.data import SPLITS, Row, Rows
from t5sum.served.template import Template
from t5sum.served.text import literal, normalise

LEAST_LEFT = 16  # tokens that optional columns leave at least for the others, in training and in the API


def text_of(value: Any) -> str:
    return "" if value is None else str(value)


def is_empty(value: Any) -> bool:
    """Whether nothing is left of a column's value once it is normalised, such as of zero-width characters."""
    text = text_of(value)
    return not normalise(text[:100]) and not normalise(text)  # the beginning says it of nearly every text


def values_of(row: Mapping[str, Any], template: Template, most: int | None = None) -> dict[str, str]:
    """The template's columns, normalised and cut to `most` characters."""
    return {column: normalise(text_of(row.get(column)))[:most] for column in template.columns}


def prompt(row: Mapping[str, Any], template: Template) -> str:
    """What the encoder of a generate task reads: nothing in it means anything but text."""
    return literal(template.fill(values_of(row, template)))


def fitting(row: Mapping[str, Any], template: Template, most: int, count: Callable[[str], int]) -> str:
    """The prompt; without its optional columns if they leave fewer than LEAST_LEFT of `most` tokens.

    The API leaves them out, too: a long title must not displace the text. count: a text's tokens.
    """
    whole, values, required = prompt(row, template), values_of(row, template), template.required
    if not required or len(required) == len(template.columns):
        return whole
    longest = max(sorted(required), key=lambda column: len(values[column]))
    frame, room = literal(template.fill({**values, longest: ""})), most - 1 - LEAST_LEFT
    if len(frame.encode("utf-8", "surrogatepass")) < room or count(frame) <= room or count(whole) < most:
        return whole
    return literal(template.fill({column: values[column] for column in required}))


def answer(row: Mapping[str, Any], column: str) -> str:
    """What the decoder of a generate task should write."""
    return literal(normalise(text_of(row.get(column))))


def masked(row: Mapping[str, Any], template: Template, max_chars: int, mask: Sequence[str]) -> str:
    """What a classifier or a regression reads: every match of a mask is a space."""
    source = template.fill(values_of(row, template, max_chars))
    for pattern in mask:
        source = re.sub(pattern, " ", source)
    return source


def number_of(value: Any) -> float | None:
    """A regression's target; None for what is no number."""
    try:
        number = float(text_of(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def usable(rows: Rows, name: str, task: AnyTask) -> tuple[Rows, dict[str, int]]:
    """The rows that a task can use, and how many of each split it cannot: their target or source is empty.

    A source is empty if one of its required columns is, or all of them if none is required. Raises StageError
    (3) if nothing of a split is left.
    """
    columns, required = task.template.columns, task.template.required

    def is_usable(row: Row) -> bool:
        if task.kind == "regress" and number_of(row.get(task.target)) is None:
            return False
        if all(is_empty(row.get(column)) for column in columns):
            return False
        return not any(is_empty(row.get(column)) for column in (task.target, *required))

    kept = {split: [row for row in rows[split] if is_usable(row)] for split in SPLITS}
    if empty := [split for split in SPLITS if not kept[split]]:
        wanted = ", ".join(sorted(required) or columns)
        raise StageError(
            f"task {name}: no {' nor '.join(empty)} row has {wanted} and {task.target}: "
            "collect more articles, or look at the dataset", 3)  # fmt: skip
    return kept, {split: len(rows[split]) - len(kept[split]) for split in SPLITS}
