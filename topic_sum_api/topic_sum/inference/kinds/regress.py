"""Text in, number out: a linear regression over hashed n-grams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ModelRefused
from ..served.classifier import TextModel
from .base import REAL, ArrayTask, Context, Field, check_fields


@dataclass(frozen=True)
class Value:
    """`value` is None for a text that is too short (`reason` "too_short")."""

    value: float | None
    reason: str | None


class Regress(ArrayTask):
    """No options. A prediction is clipped to `minimum` and `maximum`."""

    kind: ClassVar[str] = "regress"
    section: ClassVar[dict[str, Field]] = ArrayTask.section | {
        "minimum": (REAL, -1e12, 1e12), "maximum": (REAL, -1e12, 1e12),
    }  # fmt: skip

    def __init__(self, name: str, section: Mapping[str, Any], model: TextModel):
        super().__init__(name, section, model)
        self.minimum: float = section["minimum"]
        self.maximum: float = section["maximum"]
        if model.topics:
            raise ModelRefused(f"{section['path']} holds a classifier, and {name} is to be a number")

    @classmethod
    def check(cls, name: str, section: Mapping[str, Any]) -> None:
        super().check(name, section)
        check_fields(name, section, {"maximum": (REAL, section["minimum"], 1e12)})

    def trial(self) -> None:
        try:
            value = self.predict(self.trial_values)
        except (ValueError, TypeError, IndexError) as error:
            raise ModelRefused(f"{self.name} failed on the trial text: {error}") from None
        if not math.isfinite(value):
            raise ModelRefused(f"{self.name} answered the trial text with {value}")

    def predict(self, values: Mapping[str, str]) -> float:
        [value] = self.model.predict([self.source(values)])
        return min(max(float(value), self.minimum), self.maximum)

    def compute(self, values: Mapping[str, str], options: Mapping[str, Any], context: Context) -> Value:
        if self.too_short(values):
            return Value(None, "too_short")
        return Value(round(self.predict(values), 4), None)

    def answer(self, result: Value, values: Mapping[str, str], options: Mapping[str, Any]) -> Value:
        return result
