"""Text in, label out: calibrated scores of every label, and the words that decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import ModelRefused
from ..served.classifier import _WORD, TextModel
from .base import REAL, ArrayTask, Context, Field, shown


@dataclass(frozen=True)
class Score:
    label: str
    name: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of the text, and how far the answer's log-odds fall without it."""

    word: str
    weight: float


@dataclass(frozen=True)
class Classified:
    """`label` is None if the text is too short (`reason` "too_short") or no label is clear ("unsure")."""

    label: str | None
    name: str | None
    scores: list[Score]
    reason: str | None
    explain: list[Word] | None
    words: dict[str, int]  # in what was read of each column


@dataclass(frozen=True)
class BeginningRead:
    """How much of the values was read: `read` of `chars` characters, with `words` words of two characters
    and more in them."""

    chars: int
    read: int
    words: int
    cut: bool


class Classify(ArrayTask):
    """Options: `top_k`, how many scores; `explain`, whether to name the words that decided."""

    kind: ClassVar[str] = "classify"
    section: ClassVar[dict[str, Field]] = ArrayTask.section | {"labels": list, "threshold": (REAL, 0, 1)}

    def __init__(self, name: str, section: Mapping[str, Any], model: TextModel):
        super().__init__(name, section, model)
        self.labels: list[tuple[str, str]] = [(label["label"], label["name"]) for label in section["labels"]]
        self._threshold: float = section["threshold"]
        if model.topics != len(self.labels):
            raise ModelRefused(
                f"{section['path']} has {model.topics} topics, tasks.json names {len(self.labels)}"
            )

    @classmethod
    def check(cls, name: str, section: Mapping[str, Any]) -> None:
        super().check(name, section)
        for label in section["labels"]:
            names = (label.get("label"), label.get("name")) if isinstance(label, dict) else ()
            if not names or not all(isinstance(each, str) for each in names):
                raise ModelRefused(f"tasks.json {name}.labels holds {shown(label)}")

    def trial(self) -> None:
        try:
            scores = self.classify(self.trial_values).scores
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise ModelRefused(f"{self.name} failed on the trial text: {error}") from None
        total = sum(score.score for score in scores)
        if not 0.98 < total < 1.02:
            raise ModelRefused(f"the scores of {self.name} for the trial text sum to {total:.3f}, not 1")

    def takes_slot(self, options: Mapping[str, Any]) -> bool:
        # `explain` takes hundreds of classifications. One of a usual beginning takes a few milliseconds.
        return bool(options.get("explain")) or super().takes_slot(options)

    def cache_key(self, values: Mapping[str, str], options: Mapping[str, Any]) -> tuple:
        return (*super().cache_key(values, options), bool(options.get("explain")))

    def compute(self, values: Mapping[str, str], options: Mapping[str, Any], context: Context) -> Classified:
        if not options.get("explain"):
            return self.classify(values)
        [found] = context.run([lambda: self.classify(values, explain=True)])
        return found

    def answer(self, result: Classified, values: Mapping[str, str], options: Mapping[str, Any]) -> Classified:
        return replace(result, scores=result.scores[: options.get("top_k")])

    def read(self, found: Classified, values: Mapping[str, str]) -> BeginningRead:
        """How much of the columns `values` was read for `found`."""
        chars = [len(value) for value in values.values()]
        read = sum(min(length, self.max_chars) for length in chars)
        return BeginningRead(sum(chars), read, sum(found.words[name] for name in values), read < sum(chars))

    def classify(self, values: Mapping[str, str], explain: bool = False) -> Classified:
        """The label of `values`, the scores of all labels best first, and with `explain` the words that
        decided."""
        source = self.source(values)
        [row] = self.model.predict_proba([source])
        order = np.argsort(-row, kind="stable")
        scores = [Score(*self.labels[i], round(float(row[i]), 4)) for i in order]
        reason = None
        if self.too_short(values):
            reason = "too_short"
        elif float(row[order[0]]) < self._threshold:
            reason = "unsure"
        return Classified(
            label=None if reason else scores[0].label,
            name=None if reason else scores[0].name,
            scores=scores,
            reason=reason,
            explain=self._explain(source, int(order[0])) if explain else None,
            words={name: len(_WORD.findall(values.get(name, "")[: self.max_chars])) for name in self.columns},
        )

    def _explain(self, source: str, label: int, count: int = 8) -> list[Word]:
        """The words whose removal lowers the log-odds of `label` most. Works for every classifier.

        Each distinct word (at most 300; the longest are kept) is removed everywhere in turn, all in one call
        of predict_proba, so this costs about as many classifications as the text has words.
        """
        words = list(dict.fromkeys(re.findall(r"[^\W\d_]{3,}", source)))
        if len(words) > 300:
            words = sorted(words, key=len, reverse=True)[:300]
        if not words:
            return []
        without = [re.sub(rf"\b{re.escape(word)}\b", " ", source) for word in words]
        rows = self.model.predict_proba([source, *without])
        # The other labels are added up, not taken as 1 - p: a sure model says 1.0 with and without the word.
        others = np.delete(rows, label, axis=1).sum(axis=1)
        odds = np.log(np.maximum(rows[:, label], 1e-300)) - np.log(np.maximum(others, 1e-300))
        drops = odds[0] - odds[1:]
        best = [i for i in np.argsort(-drops, kind="stable")[:count] if drops[i] > 0]
        return [Word(words[i], round(float(drops[i]), 4)) for i in best]
