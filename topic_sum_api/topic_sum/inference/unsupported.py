"""Names and numbers of a summary that its source text does not contain: where a summary may be inventing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .text import sentences

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
# Groups of three digits are one number («1 000 000»), other neighbours are two («14 1945»): as in training.
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:,\d+)?(?!\d)|\d+(?:[.,:]\d+)*")
# Endings of Russian nouns, adjectives and surnames. Crude next to a real morphology, but a name in another
# case must count as the same name, and two names that differ only so are rarely two people.
_ENDINGS = re.compile(
    r"(?:ствами|ство|ству|ством|стве|ства|иями|ами|ями|ыми|ими|ого|его|ому|ему|иям|иях|ией|ой|ей|ою|ею|ом|ем|ам|ям"
    r"|ах|ях|ов|ев|ий|ый|ая|яя|ое|ее|ые|ие|ым|им|ых|их|ую|юю|ью|ия|ии|ию|а|я|о|е|ы|и|у|ю|й|ь)$"
)
_SPELLED = {
    word: digit
    for digit, words in {
        "1": "один одна одно одного одной одному одним одном одну первый первая первое первого первой первом",
        "2": "два две двух двум двумя двое второй вторая второе второго втором",
        "3": "три трех трем тремя трое третий третья третье третьего третьей третьем",
        "4": "четыре четырех четырем четырьмя четверо четвертый четвертая четвертого четвертой",
        "5": "пять пяти пятью пятеро пятый пятая пятого пятой",
        "6": "шесть шести шестью шестеро шестой шестая шестого",
        "7": "семь семи семью семеро седьмой седьмая седьмого",
        "8": "восемь восьми восемью восьмой восьмая восьмого",
        "9": "девять девяти девятью девятый девятая девятого",
        "10": "десять десяти десятью десятый десятая десятого",
        "11": "одиннадцать одиннадцати",
        "12": "двенадцать двенадцати",
        "15": "пятнадцать пятнадцати",
        "20": "двадцать двадцати",
        "30": "тридцать тридцати",
        "40": "сорок сорока",
        "50": "пятьдесят пятидесяти",
        "100": "сто ста сотня сотни",
        "1000": "тысяча тысячи тысячу тысяч",
    }.items()
    for word in words.split()
}

# What opens a sentence before a name without being one: «В Твери …», «После Сомова …», «Но Сомов …».
_NO_NAME = re.compile(
    "а|без|во?|вокруг|даже|для|до|если|за|и|из|или|как|ко?|когда|лишь|между|на|над|но|о|обо?|однако|около|от|перед"
    "|по|под|пока|после|при|про|против|сам|со?|также|только|у|хотя|через|что|чтобы|это"
)


@dataclass(frozen=True)
class Unsupported:
    """`text` = summary[start:end], which the source does not contain; kind is "name" or "number"."""

    text: str
    kind: str
    start: int
    end: int


def find_unsupported(summary: str, source: str) -> list[Unsupported]:
    """Names and numbers of `summary` that are not in `source` (pass title and text together), in order.

    Names are capitalised words that do not open a sentence (or open it before another such name, or are
    abbreviations such as МЧС), compared by stem and without regard to case and ё. Numbers are compared as
    values of their digits, with a few numerals in words. An empty list does not prove the summary true.
    """
    folded = _fold(source)
    stems = {_stem(word) for word in _WORD.findall(folded)}
    stems |= {_stem(part) for word in _WORD.findall(folded) if "-" in word for part in word.split("-")}
    numbers = {_digits(match) for match in _NUMBER.findall(source)}
    numbers |= {_SPELLED[word] for word in _WORD.findall(folded) if word in _SPELLED}
    found = [
        Unsupported(match.group(), "number", match.start(), match.end())
        for match in _NUMBER.finditer(summary)
        if _digits(match.group()) not in numbers
    ]
    found += [
        Unsupported(summary[start:end], "name", start, end)
        for start, end in _names(summary, lambda word: _known(_fold(word), stems))
    ]
    return sorted(found, key=lambda item: item.start)


def _names(summary: str, known: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Spans of words that look like names and are not known."""
    position = 0
    for sentence in sentences(summary):
        position = summary.index(sentence, position)
        opening: re.Match | None = None
        for index, match in enumerate(_WORD.finditer(sentence)):
            word = match.group()
            if index == 0 and not (len(word) > 1 and word.isupper()):
                # «Сообщается …» is capitalised and no name; «Пётр Сомов …» is one. Its neighbour decides.
                opening = None if _NO_NAME.fullmatch(word.lower()) else match
                continue
            if word[0].isupper() and not known(word):
                if index == 1 and opening and opening.group()[0].isupper():
                    touching = sentence[opening.end() : match.start()] == " "
                    if touching and not known(opening.group()):
                        yield position + opening.start(), position + opening.end()
                yield position + match.start(), position + match.end()
        position += len(sentence)


def _known(word: str, stems: set[str]) -> bool:
    parts = [word, *word.split("-")] if "-" in word else [word]
    return _stem(parts[0]) in stems or (len(parts) > 1 and all(_stem(part) in stems for part in parts[1:]))


def _stem(word: str) -> str:
    bare = _ENDINGS.sub("", word)
    return bare if len(bare) >= 3 else word


def _digits(number: str) -> str:
    """The number without grouping and with a point for decimals, so 1 000,5 equals 1000.5 and 07 equals 7."""
    bare = re.sub(r"[ \u00a0\u202f]", "", number).replace(",", ".")
    return bare.lstrip("0") or "0"


def _fold(text: str) -> str:
    return text.lower().replace("ё", "е")
