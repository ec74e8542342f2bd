"""Names and numbers of a summary that its source text does not contain: where a summary may be inventing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from .served.support import WORD, Text, _stems, begins_sentence, fold, mentions, stems
from .served.support import unsupported as not_supported

# What opens a sentence before a name without being one: «В Твери …», «После Сомова …», «Но Сомов …».
_NO_NAME = re.compile(
    "а|без|во?|вокруг|даже|для|до|если|за|и|из|или|как|ко?|когда|лишь|между|на|над|но|о|обо?|однако|около|от|перед"
    "|по|под|пока|после|при|про|против|сам|со?|также|только|у|хотя|через|что|чтобы|это"
)
# Stems of so many words stay known from text to text. Training keeps more: it reads thousands of texts.
_MOST_STEMS = 5_000


@dataclass(frozen=True)
class Unsupported:
    """`text` = summary[start:end], which the source does not contain; kind is "name" or "number"."""

    text: str
    kind: str
    start: int
    end: int


class Evidence:
    """A source, title and text together: read when it is first asked, once for all summaries."""

    def __init__(self, source: str):
        self._source = source

    @cached_property
    def known(self) -> Text:
        return Text(self._source)


def find_unsupported(summary: str, source: Evidence | str) -> list[Unsupported]:
    """Names and numbers of `summary` that are not in `source`, in order.

    By the rule that training reports (`support.py`, the same file there): names by their stems, numbers by
    their values, in digits or in words. A capitalised word that opens a sentence is a name only in capitals
    throughout, or before another name that the source does not have. An empty list does not prove the
    summary true.
    """
    known = (source if isinstance(source, Evidence) else Evidence(source)).known
    found, _ = not_supported(summary, known, _opening_names(summary, known))
    if _stems.cache_info().currsize > _MOST_STEMS:
        _stems.cache_clear()
    return [Unsupported(mention.surface, mention.kind, mention.start, mention.end) for mention in found]


def _opening_names(summary: str, known: Text) -> frozenset[str]:
    """Stems of sentences' first words that are names by their neighbour: «Сообщается …» is capitalised and no
    name, «Пётр Сомов …» is one."""
    found: set[str] = set()
    unknown = {
        mention.start
        for mention in mentions(summary)
        if mention.kind == "name" and not known.supports_name(mention.surface)
    }
    for match in WORD.finditer(summary):
        word = match.group()
        touches = match.end() + 1 in unknown and summary[match.end()] == " "
        opens = word[0].isupper() and begins_sentence(summary, match.start())
        if touches and opens and not _NO_NAME.fullmatch(word.lower()):
            found |= stems(fold(word))
    return frozenset(found)
