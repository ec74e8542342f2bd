"""Russian sentences, and shortening at sentences and words."""

from __future__ import annotations

import re

from razdel import sentenize

# The gap between two groups of a number's digits, looked at from the digit before it.
_GROUPED = re.compile(r"\d\s\d{3}(?!\d)")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s(?=[—–]\s)")


def sentences(text: str) -> list[str]:
    """Russian sentences of `text` (razdel knows «г. Москва» and «т. д.»)."""
    return [part.text for part in sentenize(text)]


def shorten(text: str, max_chars: int) -> str:
    """The beginning of `text` that fits in `max_chars`: whole sentences, else a clause, else whole words.

    A summary cut inside a sentence ends with «…». A word is cut only where not even the first one fits: its
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
    room = text[: max_chars - 1]  # one place is for the «…»
    clauses = [match.start() for match in _CLAUSE_END.finditer(text[: max_chars + 1])]
    # A clause shorter than half of the room says too little: then as many words as fit.
    if clauses and clauses[-1] >= max_chars // 2 and _has_word(room[: clauses[-1]]):
        return room[: clauses[-1]].rstrip(" ,;:—–") + "…"
    words = room if text[max_chars - 1].isspace() else room.rpartition(" ")[0]
    # «1 500 000» is one number: its beginning is another.
    while words and _GROUPED.match(text, len(words) - 1):
        words = words.rpartition(" ")[0]
    words = words.rstrip(" ,;:—–-«(")
    return (words if _has_word(words) else room.rstrip()) + "…"


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
