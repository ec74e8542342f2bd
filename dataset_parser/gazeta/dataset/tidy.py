"""White space, invisible characters and paragraphs that belong to no story. Pure: text in, text out.

Tidying a tidy text changes nothing.
"""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls but the line feed, zero-width and bidirectional marks, the soft hyphen, the BOM.
_INVISIBLE = re.compile(
    "[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
# A tab, a carriage return or a file separator separates two words; the others above are inside one.
_BREAKS = str.maketrans({"\t": " "} | dict.fromkeys("\r\v\f\u0085\u2028\u2029", "\n"))
_SPACES = re.compile(r"[^\S\n]+")
# Marks over and under letters. NFC needs quadratic time for a long row of them, and no word has more than a
# few: Unicode's Stream-Safe Text Format allows 30.
_MARKS = "".join(
    mark
    for mark in map(chr, range(0x300, 0x20000))
    if unicodedata.combining(unicodedata.normalize("NFD", mark)[0])
)
_MARK = re.compile(f"[{_MARKS}]")
_STACKED = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")
_AROUND_LINES = re.compile(r" ?\n[ \n]*")

# Paragraphs that are never part of the story. A pattern must match the whole paragraph, in lower case.
BOILERPLATE_PARAGRAPHS = re.compile(
    r"реклама\W*"
    r"|на правах рекламы\W*"
    r"|что думаешь\s?\?\W*"
    r"|(читайте|смотрите) (также|еще|ещё|по теме)\b.{0,200}"
    r"|(новости|материалы) по теме\W*"
    r"|подпис(ывайтесь|аться|ывайся)\b.{0,200}"
    r"|(комментарии|поделиться|распечатать|обсудить)\W*"
    r"|(больше|главные|самые важные) новост(ей|и)\b.{0,120}(telegram|телеграм|канал)\S*.{0,60}"
    r"|продолжение следует\W*"
)


def unstacked(value: str) -> str:
    """`value` with at most 30 marks in a row."""
    # A longer row holds every 31st character at least once, and looking at those costs next to nothing.
    return _STACKED.sub(r"\1", value) if _MARK.search(value[::31]) else value


def tidy(value: str) -> str:
    """NFC, no invisible characters, single spaces, one line feed between paragraphs, nothing at the ends."""
    value = unicodedata.normalize("NFC", unstacked(value))
    # Printable text has no control, no format character and no space but U+0020: most articles come so.
    if not value.replace("\n", " ").isprintable():
        value = _INVISIBLE.sub("", value.translate(_BREAKS))
        # Taking an invisible character out can bring a letter and its accent together.
        value = _SPACES.sub(" ", unicodedata.normalize("NFC", unstacked(value)))
    if "  " in value:
        value = _SPACES.sub(" ", value)
    if "\n\n" in value or " \n" in value or "\n " in value:
        value = _AROUND_LINES.sub("\n", value)
    return value.strip()


def tidy_text(value: str) -> str:
    return without_boilerplate(tidy(value))


def tidy_line(value: str) -> str:
    return tidy(value).replace("\n", " ")


def without_boilerplate(text: str) -> str:
    """The paragraphs of a tidy text that belong to the story."""
    return "\n".join(
        paragraph
        for paragraph in text.split("\n")
        # All of these are short; the bound spares the patterns the work on real paragraphs.
        if len(paragraph) > 260 or not BOILERPLATE_PARAGRAPHS.fullmatch(paragraph.lower())
    )
