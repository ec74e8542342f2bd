"""Names and numbers of a generated text that its source does not contain: it may have made them up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .served.support import WORD, Text, _stems, begins_sentence, fold, mentions, stems
from .served.support import unsupported as not_supported

# Words that open a sentence before a name: «В Твери …», «После Сомова …», «Но Сомов …».
_NO_NAME = re.compile(
    "а|без|во?|вокруг|даже|для|до|если|за|и|из|или|как|ко?|когда|лишь|между|на|над|но|о|обо?|однако|около|от|перед"
    "|по|под|пока|после|при|про|против|сам|со?|также|только|у|хотя|через|что|чтобы|это"
)
# The stems of this many words are cached from text to text. Training keeps more: it reads thousands of texts.
_MOST_STEMS = 5_000


@dataclass(frozen=True)
class Unsupported:
    """`text` = summary[start:end], which the source does not contain; kind is "name" or "number"."""

    text: str
    kind: str
    start: int
    end: int


def find_unsupported(summary: str, source: Text | str) -> list[Unsupported]:
    """Names and numbers of `summary` that are not in `source`, in order.

    The rule is the one of training's report (served/support.py): names are compared by their stems, numbers
    by their values, in digits or in words. A capitalised word that opens a sentence counts as a name only if
    it is all capitals or comes before another name that the source lacks. An empty list does not prove that
    the summary is true.
    """
    known = source if isinstance(source, Text) else Text(source)
    found, _ = not_supported(summary, known, _opening_names(summary, known))
    if _stems.cache_info().currsize > _MOST_STEMS:
        _stems.cache_clear()
    return [Unsupported(mention.surface, mention.kind, mention.start, mention.end) for mention in found]


def _opening_names(summary: str, known: Text) -> frozenset[str]:
    """Stems of sentences' first words that are names because of their neighbour: «Пётр Сомов …» opens with a
    name, «Сообщается …» does not."""
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
