"""Names, places and numbers of a summary that its text does not support.

A rule of thumb with no model behind it, so that it is fast and can be checked by eye: a capitalised word must
occur in the text in some inflected form, a number must occur in digits or in words. It misses a true name in
a wrong role, and a name that the text only describes is listed though it may be right: read the list, and
compare rates between systems on the same articles.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

WORD = re.compile(r"[^\W\d_]+(?:[-‑’'][^\W\d_]+)*")
# 25 · 10 000 · 1,5 · 15.05.2020 · 12:30 · 10 000,5
NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:,\d+)?(?!\d)|\d+(?:[.,:]\d+)*")
MENTION = re.compile(f"(?P<number>{NUMBER.pattern})|(?P<word>{WORD.pattern})")
# What ends before a sentence's or a quotation's first word.
BEGINS = re.compile(r"(?:^|[.!?…:;]\s|[\n«\"“„(])[\s«»\"“„(–—-]*$")
# А. Иванов, г. Москва, ул. Мира: a full stop that ends no sentence.
ABBREVIATED = re.compile(r"(?:^|\W)(?:[А-ЯЁA-Z]|г|им|ул|св|пос|пл|р|о)\.\s*$")

# Case endings. Not "ов" and "ев": endings of common words, but the heart of a surname (Иванов is not Иван).
ENDINGS = """
    ого его ому ему ыми ими ами ями иях ией ьей иям ой ей ою ею ом ем ым им ах ях ам ям ых их ую юю ая яя ий
    ый ые ие ии ию ия ье ью ья у ю а я ы и е о ь й
"""
LONGEST_FIRST = sorted(ENDINGS.split(), key=len, reverse=True)
# Москва → московский, россиянин, украинец: what may follow the part two words share.
DERIVED = re.compile(r"[а-я]{0,3}(?:ск|цк|янин|анин|ян|ан|ич|ц|ец)|")
SHORTEST_STEM = 3
LONGEST_WORD = 64  # letters; what is longer is no name, and its endings are not looked at
SHARED_PART = 4
POLITE = {"вы", "вас", "вам", "вами", "ваш", "ваша", "ваше", "ваши", "вашей", "вашего", "вашу"}
SAME_PLACE = {"рф": "росс", "сша": "америк", "ес": "евросоюз", "евросоюз": "ес"}

UNITS = {
    1: "один одна одно одного одной одному одним одном одну первый первая первое первого первой первую",
    2: "два две двух двум двумя двое двоих второй вторая второе второго втором вторую",
    3: "три трех трем тремя трое троих третий третья третье третьего третьей третьем третью",
    4: "четыре четырех четырем четырьмя четверо четверых четвертый четвертая четвертое четвертого четвертой",
    5: "пять пяти пятью пятеро пятерых пятый пятая пятое пятого пятой",
    6: "шесть шести шестью шестеро шестерых шестой шестая шестое шестого",
    7: "семь семи семью семеро семерых седьмой седьмая седьмое седьмого",
    8: "восемь восьми восемью восьмеро восьмой восьмая восьмое восьмого",
    9: "девять девяти девятью девятый девятая девятое девятого девятой",
    10: "десять десяти десятью десятеро десятый десятая десятого десятой",
    11: "одиннадцать одиннадцати одиннадцатый одиннадцатого",
    12: "двенадцать двенадцати двенадцатый двенадцатого",
    13: "тринадцать тринадцати", 14: "четырнадцать четырнадцати", 15: "пятнадцать пятнадцати",
    16: "шестнадцать шестнадцати", 17: "семнадцать семнадцати", 18: "восемнадцать восемнадцати",
    19: "девятнадцать девятнадцати", 20: "двадцать двадцати", 30: "тридцать тридцати", 40: "сорок сорока",
    50: "пятьдесят пятидесяти", 60: "шестьдесят шестидесяти", 70: "семьдесят семидесяти",
    80: "восемьдесят восьмидесяти", 90: "девяносто девяноста", 100: "сто ста сотня сотни сотню",
    200: "двести двухсот", 300: "триста трехсот", 400: "четыреста четырехсот", 500: "пятьсот пятисот",
    600: "шестьсот шестисот", 700: "семьсот семисот", 800: "восемьсот восьмисот", 900: "девятьсот девятисот",
}  # fmt: skip
NUMERALS = {form: value for value, forms in UNITS.items() for form in forms.split()}
SCALE = re.compile(r"(?P<k>тыс|тысяч[а-я]*)|(?P<m>млн|миллион[а-я]*)|(?P<b>млрд|миллиард[а-я]*)")
SCALES = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


@dataclass(frozen=True)
class Mention:
    """A name or number of a summary, and where it stands: summary[start:end] == surface."""

    surface: str
    start: int
    end: int
    kind: str  # "name" or "number"


def fold(word: str) -> str:
    return word.lower().replace("ё", "е").replace("‑", "-")


def stems(word: str) -> frozenset[str]:
    """What may be left of a folded word once a Russian case ending is taken off; the word itself included."""
    return _stems(word) if len(word) <= LONGEST_WORD else frozenset({word})


@lru_cache(maxsize=200_000)
def _stems(word: str) -> frozenset[str]:
    found = {word}
    for ending in LONGEST_FIRST:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            found.add(word[: -len(ending)])
    # Павел, Павла: the vowel before the last consonant may vanish.
    if len(word) > SHORTEST_STEM + 1 and word[-2] in "ео" and word[-1] in "лкцрн":
        found.add(word[:-2] + word[-1])
    return frozenset(found)


class Text:
    """What a text supports: its words' stems, its numbers in digits and in words."""

    def __init__(self, text: str) -> None:
        spelled = WORD.findall(text)
        folded = [fold(word) for word in spelled]
        self.stems: set[str] = set()
        for word in set(folded):
            for part in {word, *word.split("-")}:
                self.stems |= stems(part)
        self.by_beginning: dict[str, set[str]] = defaultdict(set)
        for stem in self.stems:
            if len(stem) >= SHARED_PART:
                self.by_beginning[stem[:SHARED_PART]].add(stem)
        # Соединенные Штаты Америки supports США, where the first of the words is capitalised.
        capital = ["А" <= word[0] <= "Я" for word in spelled]
        letters = "".join(fold(word[0])[0] for word in spelled)
        # Those that begin with a capital, as initials begin: of at most six words.
        self.initials = {
            letters[at : at + length] for at, first in enumerate(capital) if first for length in range(2, 7)
        }
        self.numbers = numbers(text)

    def supports_name(self, name: str) -> bool:
        folded = fold(name)
        if self._supports_word(folded):
            return True
        parts = [part for part in folded.split("-") if len(part) > 1]
        if len(parts) > 1 and all(self._supports_word(part) for part in parts):
            return True
        if name.isupper() and 2 <= len(name) <= 6:
            return folded in self.initials
        return False

    def _supports_word(self, folded: str) -> bool:
        ours = stems(folded)
        if ours & self.stems:
            return True
        alias = SAME_PLACE.get(folded)
        if alias and any(alias in stem for stem in self.by_beginning.get(alias[:SHARED_PART], ())):
            return True
        for stem in ours:
            for other in self.by_beginning.get(stem[:SHARED_PART], ()):
                if _derived(stem, other):
                    return True
        return False


def _derived(a: str, b: str) -> bool:
    """Whether one is a place or a nation's name and the other made from it: москв, московск."""
    if len(a) < SHARED_PART or len(b) < SHARED_PART:
        return False
    short, long = sorted((a, b), key=len)
    for shared in (len(short), len(short) - 1):
        if shared >= SHARED_PART and long.startswith(short[:shared]) and DERIVED.fullmatch(long[shared:]):
            return long != short[:shared] and shared < len(long)
    return False


def numbers(text: str) -> set[str]:
    """Every number that `text` holds, in digits or in words, also times тысяч and the like."""
    found: set[str] = set()
    for match in NUMBER.finditer(text):
        found |= _readings(match.group(), text, match.end())
    total, run = 0, []
    for match in WORD.finditer(text):
        word = fold(match.group())
        value = NUMERALS.get(word)
        if value is not None:
            # двадцать пять is 25; пять двадцать is 5 and 20.
            total = (
                total + value if run and run[-1] > value and len(str(run[-1])) > len(str(value)) else value
            )
            run.append(value)
            found |= {str(value), str(total), *_scaled(total, text, match.end())}
        elif SCALE.fullmatch(word):
            found |= {str(SCALES[SCALE.fullmatch(word).lastgroup])} if not run else set()
            total, run = 0, []
        else:
            total, run = 0, []
    return found


def _readings(number: str, text: str, end: int) -> set[str]:
    plain = re.sub(r"[ \u00a0\u202f]", "", number)
    whole = plain.replace(",", ".")
    found = {whole, *re.split(r"[.,:]", plain)} if not re.fullmatch(r"\d+[.,]\d+", plain) else {whole}
    found |= {part.lstrip("0") or "0" for part in list(found)}
    if re.fullmatch(r"\d+(?:\.\d+)?", whole):
        found |= _scaled(float(whole), text, end)
    return found


def _scaled(value: float, text: str, end: int) -> set[str]:
    after = re.match(rf"\s*(?:{SCALE.pattern})\b", text[end : end + 20].lower())
    return {f"{value * SCALES[after.lastgroup]:.0f}"} if after else set()


def begins_sentence(text: str, start: int) -> bool:
    """Whether the word at `start` is the first of a sentence or a quotation."""
    before = text[max(0, start - 8) : start]
    return start == 0 or (BEGINS.search(before) is not None and not ABBREVIATED.search(before))


def mentions(summary: str, names: frozenset[str] = frozenset()) -> list[Mention]:
    """Names and numbers of a summary, in order.

    The first word of a sentence is capitalised anyway: it counts as a name only when it is in capitals
    throughout or one of its stems is in `names` (see `known_names`).
    """
    found = []
    for match in MENTION.finditer(summary):
        surface, start, end = match.group(), match.start(), match.end()
        if match["number"]:
            found.append(Mention(surface, start, end, "number"))
            continue
        if NUMERALS.get(fold(surface), 0) > 2:
            found.append(Mention(surface, start, end, "number"))
        elif len(surface) > 1 and surface[0].isupper() and fold(surface) not in POLITE:
            sure = surface.isupper() or bool(stems(fold(surface)) & names)
            if sure or not begins_sentence(summary, start):
                found.append(Mention(surface, start, end, "name"))
    return found


def known_names(texts: Iterable[str], share: float = 0.9, least: int = 2) -> frozenset[str]:
    """Stems of words that stand capitalised inside sentences nearly always: names, not openings."""
    upper: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    for text in texts:
        for match in WORD.finditer(text):
            word, start = match.group(), match.start()
            if len(word) < SHORTEST_STEM:
                continue
            if not word[0].isupper():
                lower[_shortest(fold(word))] += 1
            elif not begins_sentence(text, start):
                upper[_shortest(fold(word))] += 1
    return frozenset(
        stem for stem, count in upper.items() if count >= least and count >= share * (count + lower[stem])
    )


def _shortest(word: str) -> str:
    return min(stems(word), key=len)


def unsupported(
    summary: str, text: Text | str, names: frozenset[str] = frozenset()
) -> tuple[list[Mention], int]:
    """Mentions of `summary` that `text` does not support, and how many mentions there are in all."""
    known = text if isinstance(text, Text) else Text(text)
    found = mentions(summary, names)
    return [m for m in found if not _supported(m, summary, known)], len(found)


def _supported(mention: Mention, summary: str, text: Text) -> bool:
    if mention.kind == "name":
        return text.supports_name(mention.surface)
    value = NUMERALS.get(fold(mention.surface))
    if value is not None:
        return str(value) in text.numbers or bool(_whole_numeral(mention, summary) & text.numbers)
    exact = re.sub(r"[ \u00a0\u202f]", "", mention.surface).replace(",", ".")
    scaled = _scaled(float(exact), summary, mention.end) if re.fullmatch(r"\d+(?:\.\d+)?", exact) else set()
    same = {exact}
    if re.fullmatch(r"\d{1,2}[.:][0-5]\d", mention.surface):  # a time: 19.30 is 19:30
        same |= {exact.replace(":", "."), exact.replace(".", ":")}
    elif re.fullmatch(r"\d+\.\d+", exact):  # 2,0 is 2, and 2,50 is 2,5
        same.add(exact.rstrip("0").rstrip("."))
    if same & text.numbers or scaled & text.numbers:
        return True
    parts = [part.lstrip("0") or "0" for part in re.split(r"[.:]", exact)]
    return len(parts) > 1 and not re.fullmatch(r"\d+\.\d+", exact) and set(parts) <= text.numbers


def _whole_numeral(mention: Mention, summary: str) -> set[str]:
    """Readings of the numeral that `mention` is a word of: 25 for either word of «двадцать пять»."""
    begin = max(0, mention.start - 60)
    words: list[re.Match] = []
    for match in WORD.finditer(summary, begin, mention.end + 60):
        joined = not words or summary[words[-1].end() : match.start()].isspace()
        if fold(match.group()) in NUMERALS and joined:
            words.append(match)
        elif match.start() > mention.start:
            break
        else:
            words = [match] if fold(match.group()) in NUMERALS else []
    values = [NUMERALS[fold(match.group())] for match in words]
    falling = all(len(str(big)) > len(str(small)) for big, small in pairwise(values))
    if len(values) < 2 or not falling:
        return set()
    return {str(sum(values)), *_scaled(sum(values), summary, words[-1].end())}
