"""Russian sentences, and shortening of a text at sentences and words."""

from __future__ import annotations

import re

from razdel import sentenize

# The gap between two groups of a number's digits, seen from the digit before it.
_GROUPED = re.compile(r"\d\s\d{3}(?!\d)")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s(?=[—–]\s)")


def sentences(text: str) -> list[str]:
    """Russian sentences of `text` (razdel knows «г. Москва» and «т. д.»)."""
    return [part.text for part in sentenize(text)]


def shorten(text: str, max_chars: int) -> str:
    """The beginning of `text` that fits into `max_chars`: whole sentences, else a clause, else whole words.

    A text that is cut inside a sentence ends with «…». A word is cut only if not even the first one fits: its
    beginning says more than nothing.
    """
    if len(text) <= max_chars:
        return text
    kept = ""
    for sentence in sentences(text):
        longer = f"{kept} {sentence}".strip()
        if len(longer) > max_chars:
            break
        kept = longer
    if _has_word(kept):
        return kept
    start = text[: max_chars - 1]  # one character is for the «…»
    clauses = [match.start() for match in _CLAUSE_END.finditer(text[: max_chars + 1])]
    # A clause of less than half of max_chars says too little: then take as many words as fit.
    if clauses and clauses[-1] >= max_chars // 2 and _has_word(start[: clauses[-1]]):
        return start[: clauses[-1]].rstrip(" ,;:—–") + "…"
    words = start if text[max_chars - 1].isspace() else start.rpartition(" ")[0]
    # «1 500 000» is one number, and its beginning is another.
    while words and _GROUPED.match(text, len(words) - 1):
        words = words.rpartition(" ")[0]
    words = words.rstrip(" ,;:—–-«(")
    return (words if _has_word(words) else start.rstrip()) + "…"


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
