"""The labels of a classifier: those that the recipe lists, and values of the target that it does not list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from t5sum import StageError
from t5sum.config import ClassifyTask
from t5sum.data import Row
from t5sum.sources import text_of


@dataclass(frozen=True)
class Labels:
    """The labels of one task, as its recipe lists them."""

    task: ClassifyTask

    @cached_property
    def label_of(self) -> dict[str, str]:
        """value of the target → its label."""
        return {value: label for label, each in self.task.labels.items() for value in each.takes or [label]}

    def label(self, row: Row) -> str | None:
        """A row's label; None for excluded values. A value that is not listed is a label of its own."""
        value = self.value(row)
        return None if not value or value in self.task.excluded else self.label_of.get(value, value)

    def value(self, row: Row) -> str:
        return text_of(row.get(self.task.target)).strip().lower()

    def name(self, label: str) -> str:
        known = self.task.labels.get(label)
        return known.name if known and known.name else label


@dataclass(frozen=True)
class Chosen:
    """labels: those with enough rows, in a fixed order. left_out: the others. excluded: value → rows.
    unlisted: values that the recipe does not list and that became labels of their own."""

    labels: list[str]
    left_out: list[dict[str, Any]]
    excluded: dict[str, int]
    unlisted: list[str]


def choose(name: str, train: Sequence[Row], labels: Labels) -> Chosen:
    """The labels that this task's training rows are enough for. Raises StageError (3) for fewer than two."""
    counts: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    unlisted: set[str] = set()
    least = labels.task.min_rows
    for row in train:
        value, label = labels.value(row), labels.label(row)
        if label is None:
            excluded[value] += 1
        else:
            counts[label] += 1
            if value not in labels.label_of:
                unlisted.add(value)
    enough = {label for label, count in counts.items() if count >= least}
    order = [label for label in labels.task.labels if label in enough]
    order += sorted(enough - set(labels.task.labels))
    left_out = [
        {"label": label, "name": labels.name(label), "rows": count, "wanted": least}
        for label, count in sorted(counts.items())
        if label not in enough
    ]
    if len(order) < 2:
        found = ", ".join(f"{label} {count}" for label, count in counts.most_common(5))
        raise StageError(
            f"task {name} needs at least two labels with {least} training rows each; found: "
            f"{found or 'no row with a label'}. Collect more articles or lower tasks.{name}.min_rows",
            3,
        )
    return Chosen(order, left_out, dict(excluded.most_common()), sorted(unlisted))
