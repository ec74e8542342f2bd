"""What a summary is like compared with its text: length, how much is new, copied or repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

# A run of this many words of the text, in its order, is a copy and not a coincidence.
COPIED_SPAN = 5
REPEATED_ORDER = 3

TRAITS = {
    "characters": "characters",
    "words": "words",
    "novel1": "new words, %",
    "novel2": "new 2-grams, %",
    "novel3": "new 3-grams, %",
    "copied": f"words in copied spans of {COPIED_SPAN} or more, %",
    "longest_copy": "longest copied span, words",
    "repeated": f"repeated {REPEATED_ORDER}-grams, %",
}


class TextWords:
    """A text's words, taken apart once for all the systems' summaries."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.ngrams = [set(ngrams(self.words, n)) for n in (1, 2, 3)]
        self.places: dict[str, list[int]] = defaultdict(list)
        for place, word in enumerate(self.words):
            self.places[word].append(place)


def traits(summary: str, summary_words: Sequence[str], text: TextWords) -> dict[str, float]:
    """TRAITS of one summary; shares in percent, nan if the summary is too short to have such n-grams."""
    spans = copied_spans(summary_words, text)
    copied = sum(span for span in spans if span >= COPIED_SPAN)
    again = ngrams(summary_words, REPEATED_ORDER)
    return {
        "characters": len(summary),
        "words": len(summary_words),
        **{f"novel{n}": _percent_new(ngrams(summary_words, n), text.ngrams[n - 1]) for n in (1, 2, 3)},
        "copied": _percent(copied, len(summary_words)),
        "longest_copy": max(spans, default=0),
        "repeated": _percent(len(again) - len(set(again)), len(again)),
    }


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")


def _percent_new(found: list[tuple[str, ...]], known: set[tuple[str, ...]]) -> float:
    return _percent(sum(gram not in known for gram in found), len(found))


def copied_spans(summary: Sequence[str], text: TextWords) -> list[int]:
    """Lengths of the runs of words that also stand in the text, longest first from the left.

    The extractive fragments of Grusky et al. 2018 ("Newsroom").
    """
    spans, at = [], 0
    while at < len(summary):
        best = 0
        for place in text.places.get(summary[at], ()):
            # A longer match must also hold at its last word: most places fail here at once.
            if place + best >= len(text.words) or at + best >= len(summary):
                continue
            if best and text.words[place + best] != summary[at + best]:
                continue
            length = 1
            while (
                at + length < len(summary)
                and place + length < len(text.words)
                and summary[at + length] == text.words[place + length]
            ):
                length += 1
            best = max(best, length)
        if best:
            spans.append(best)
        at += max(best, 1)
    return spans
