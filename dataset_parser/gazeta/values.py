"""What a value in a recipe may be.

Each check takes a value as YAML gives it and returns it in the form in which it is used, or raises ValueError
with the values that it allows.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import field
from datetime import date
from typing import Any

Check = Callable[[Any], Any]


def setting(default: Any, check: Check) -> Any:
    """A field of a section of a recipe: its default, and what may be given instead."""
    return field(default_factory=lambda: default, metadata={"check": check})


def number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"give a number from {low:g} to {high:g}")
        return value

    return check


def one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(suggestion(value, allowed))
        return value

    return check


def list_of(check: Check, what: str) -> Check:
    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"give a list of {what}, as [one, another]")
        return tuple(map(check, value))

    return checked


def by_column(check: Check) -> Check:
    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("give COLUMN: VALUE pairs")
        return {name: check(each) for name, each in value.items()}

    return checked


def or_off(check: Check) -> Check:
    def checked(value: Any) -> Any:
        try:
            return None if value is None else check(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null to switch the rule off") from None

    return checked


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text")
    return value


def day(value: Any) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError("give a day such as 1999-01-01") from None


def cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("give a text or a number for each column")
    return str(value)


def two_numbers(value: Any) -> tuple[float, float]:
    found = list_of(number(-1e15, 1e15), "two numbers")(value)
    if len(found) != 2 or found[0] > found[1]:
        raise ValueError("give [least, most]")
    return found


def names(value: Any) -> tuple[str, ...]:
    return list_of(text, "columns of the file")(value if isinstance(value, list) else [value])


def checked(key: str, value: Any, check: Check) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{key} is {shown(value)}; {error}") from None


def known_keys(given: dict[Any, Any], known: Collection[str], prefix: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{prefix}{key} is no setting; {suggestion(key, known)}")


def suggestion(name: Any, known: Iterable[str]) -> str:
    """What there is instead of an unknown name, the closest one first."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, 1, 0.5)
    return (
        f"did you mean {close[0]}? There are {', '.join(known)}" if close else f"there are {', '.join(known)}"
    )


def shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # an alias within itself
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
