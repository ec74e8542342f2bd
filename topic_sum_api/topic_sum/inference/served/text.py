"""Cleaning of a text before a model reads it: the same in training and in the API."""

from __future__ import annotations

import re
import unicodedata

# Controls that are not white space, then zero-width, direction and other format characters: nobody sees them,
# and each would cost a token or split a word. White space controls become spaces.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# An opening bracket of a <word>, in the three forms that the tokenizer folds into the plain one.
BRACKET = re.compile("([<\ufe64\uff1c])(?=[^\\s<\ufe64\uff1c>\ufe65\uff1e]+[>\ufe65\uff1e])")
# Combining marks. NFC needs quadratic time for a long row of them, and no word has more than a few: Unicode's
# Stream-Safe Text Format allows 30.
MARKS = "".join(
    mark
    for mark in map(chr, range(0x300, 0x20000))
    if unicodedata.combining(unicodedata.normalize("NFD", mark)[0])
)
MARK = re.compile(f"[{MARKS}]")
STACKED = re.compile(f"([{MARKS}]{{30}})[{MARKS}]+")


def unstacked(text: str) -> str:
    """`text` with at most 30 combining marks in a row."""
    # A longer row holds at least one of every 31st character, and looking at those costs next to nothing.
    return STACKED.sub(r"\1", text) if MARK.search(text[::31]) else text


def normalise(text: str) -> str:
    """NFC, no invisible characters, every run of white space one space, none at either end."""
    text = unicodedata.normalize("NFC", unstacked(text))
    # Once the invisible characters between them are gone, marks can stand in a row again.
    return " ".join(unstacked(INVISIBLE.sub("", text)).split())


def literal(text: str) -> str:
    """`text` with a space after the opening bracket of every <word>.

    All tokens with a meaning of their own (</s>, <pad>, <extra_id_0>) look like that. The tokenizer's
    split_special_tokens alone does not keep them out of a text: a Unigram model finds the token of that name
    in the split text again.
    """
    return BRACKET.sub(r"\1 ", text)
