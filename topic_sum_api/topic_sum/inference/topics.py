"""Topics of texts, with the words that decided."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import ModelRefused
from .served.classifier import TextModel
from .served.text import normalise

# What the classifier takes for a word.
_WORD = re.compile(r"\b\w\w+\b")


@dataclass(frozen=True)
class Score:
    topic: str
    name: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of the text and how much it spoke for the answer (the classifier's own units)."""

    word: str
    weight: float


@dataclass(frozen=True)
class TopicAnswer:
    """`topic` is None for a text too short (`reason` "too_short") or without a clear topic ("unsure").

    `read` is how many characters of the text decided: what comes after them was not looked at. `words` is
    how many words of two characters and more stand in them.
    """

    topic: str | None
    name: str | None
    scores: list[Score]
    reason: str | None
    explain: list[Word] | None
    read: int
    words: int


class TopicClassifier:
    """Topics of news texts with calibrated scores."""

    def __init__(self, folder: Path, settings: dict):
        self._labels: list[tuple[str, str]] = [
            (label["topic"], label["name"]) for label in settings["labels"]
        ]
        self._threshold: float = settings["threshold"]
        self._max_chars: int = settings["max_chars"]
        self._min_chars: int = settings["min_chars"]
        self._title_repeat: int = settings["title_repeat"]
        try:
            self._masks = [re.compile(pattern) for pattern in settings["mask"]]
        except re.error as error:
            raise ModelRefused(f"tasks.json topic.mask holds a bad regular expression: {error}") from None
        try:
            self._classifier = TextModel.load(folder / settings["path"])
        except ValueError as error:
            raise ModelRefused(f"{settings['path']} is refused: {error}") from None
        if self._classifier.topics != len(self._labels):
            raise ModelRefused(
                f"the topic model has {self._classifier.topics} topics, tasks.json names {len(self._labels)}"
            )

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Every topic with its Russian name."""
        return list(self._labels)

    def detect(self, text: str, title: str = "", explain: bool = False) -> TopicAnswer:
        """The topic of `text`, scores of all topics best first, and with `explain` the words that decided."""
        source = self.source(text, title)
        read = normalise(text)[: self._max_chars]
        [row] = self._classifier.predict_proba([source])
        order = np.argsort(-row, kind="stable")
        scores = [Score(*self._labels[i], round(float(row[i]), 4)) for i in order]
        letters = sum(character.isalpha() for character in title + text)
        reason = None
        if letters < self._min_chars:
            reason = "too_short"
        elif float(row[order[0]]) < self._threshold:
            reason = "unsure"
        return TopicAnswer(
            topic=None if reason else scores[0].topic,
            name=None if reason else scores[0].name,
            scores=scores,
            reason=reason,
            explain=self._explain(source, int(order[0])) if explain else None,
            read=len(read),
            words=len(_WORD.findall(read)),
        )

    def source(self, text: str, title: str = "") -> str:
        """The string the classifier reads, as tasks.json defines it."""
        head = normalise(title)
        source = f"{head}\n" * self._title_repeat if head else ""
        source += normalise(text)[: self._max_chars]
        for mask in self._masks:
            source = mask.sub(" ", source)
        return source

    def _explain(self, source: str, label: int, count: int = 8) -> list[Word]:
        """The words whose removal lowers the answer's log-odds most. Works for every kind of
        classifier.

        Every distinct word (at most 300, longest first out) is removed everywhere in turn, all in one
        predict_proba call, so this costs about as many detections as the text has words.
        """
        words = list(dict.fromkeys(re.findall(r"[^\W\d_]{3,}", source)))
        if len(words) > 300:
            words = sorted(words, key=len, reverse=True)[:300]
        if not words:
            return []
        without = [re.sub(rf"\b{re.escape(word)}\b", " ", source) for word in words]
        rows = self._classifier.predict_proba([source, *without])
        # The other topics are added up, not taken as 1 - p: a sure model says 1.0 with and without the word.
        others = np.delete(rows, label, axis=1).sum(axis=1)
        odds = np.log(np.maximum(rows[:, label], 1e-300)) - np.log(np.maximum(others, 1e-300))
        drops = odds[0] - odds[1:]
        best = [i for i in np.argsort(-drops, kind="stable")[:count] if drops[i] > 0]
        return [Word(words[i], round(float(drops[i]), 4)) for i in best]
