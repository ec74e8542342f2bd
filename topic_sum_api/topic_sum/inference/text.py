"""Text in, text out: normalisation as in training, Russian sentences, shortening at sentences and words."""

from __future__ import annotations

import re
import unicodedata

from razdel import sentenize

# C0 and C1 controls that are not white space, then zero-width, bidi and other invisible format characters.
# White space controls (tab, line feed, NEL …) become spaces below.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_SPACES = re.compile(r"\s+")
# Marks over and under letters. NFC needs quadratic time for a long row of them, and no word has more than a
# few: Unicode's Stream-Safe Text Format allows 30.
_MARKS = "".join(
    mark
    for mark in map(chr, range(0x300, 0x20000))
    if unicodedata.combining(unicodedata.normalize("NFD", mark)[0])
)
_MARK = re.compile(f"[{_MARKS}]")
_STACKED = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")
# What opens a bracketed word, in the three forms that the tokenizer makes the plain one of.
_BRACKET = re.compile("([<\ufe64\uff1c])(?=[^\\s<\ufe64\uff1c>\ufe65\uff1e]+[>\ufe65\uff1e])")
# The gap between two groups of a number's digits, looked at from the digit before it.
_GROUPED = re.compile(r"\d\s\d{3}(?!\d)")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s(?=[—–]\s)")


def unstacked(text: str) -> str:
    """`text` with at most 30 marks in a row."""
    # A longer row holds every 31st character at least once, and looking at those costs next to nothing.
    return _STACKED.sub(r"\1", text) if _MARK.search(text[::31]) else text


def normalise(text: str) -> str:
    """NFC, invisible characters removed, every run of white space one space: as in training."""
    text = unicodedata.normalize("NFC", unstacked(text))
    # Without the invisible between them, marks can stand in a row again.
    return _SPACES.sub(" ", unstacked(_INVISIBLE.sub("", text))).strip()


def literal(text: str) -> str:
    """`text` with a space after the bracket of every <word>, as in training.

    All pieces with a meaning of their own (</s>, <pad>, <extra_id_0>) look like that, and a Unigram tokenizer
    finds them by their letters even where it is told to take them as text.
    """
    return _BRACKET.sub(r"\1 ", text)


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
