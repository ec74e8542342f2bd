"""Kinds of events: one text file per kind in kinds/, with facts to draw and sentences that use them.

A file is sections of indented lines:

    rubric sport
    facts              one fact per line: its name, then what to draw (see `draw`)
    title, subtitle    variants
    hook               variants of the first sentence, which sets the scene and reveals little
    line               variants of one sentence that every article has; one section per sentence
    angle NAME         variants of the sentence that only articles with this angle have
    tail NAME          variants of the end of such an article's summary
    extra              sentences with facts that no summary names; an article has two or three
    summary            variants of the beginning of every summary

An article draws one angle, so only its text reveals how its summary ends.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from . import words

_FOLDER = Path(__file__).parent / "kinds"
COMMON = "common"  # the file of sentences that fit every kind
_NEEDED = ("rubric", "facts", "titles", "hooks", "lines", "angles", "extras", "summaries")
_SECTIONS = {"facts", "title", "subtitle", "hook", "line", "angle", "tail", "extra", "summary"}


@dataclass
class Kind:
    """One kind of event; `parse` checks that nothing is missing."""

    name: str
    rubric: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    subtitles: list[str] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    angles: dict[str, list[str]] = field(default_factory=dict)
    tails: dict[str, list[str]] = field(default_factory=dict)
    extras: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)


class Draws:
    """Draws the facts of one article; no city, surname or firm is drawn twice."""

    def __init__(self, rng: random.Random, day: date) -> None:
        self.rng = rng
        self.day = day
        self.cities = rng.sample(words.CITIES, len(words.CITIES))
        self.surnames = rng.sample(words.SURNAMES, len(words.SURNAMES))
        self.firms = rng.sample(words.FIRMS, len(words.FIRMS))
        self.numbers: set[str] = set()

    def draw(self, what: str) -> object:
        """Draw one fact.

        `city`, `person`, `man`, `woman` and `firm` draw one of these. `10..90/5` is a number with that step,
        `10..90/many` a number that takes "тысяч", `1.5..9.5` a decimal. `day` is the day of the article,
        `day+10..40` a day that many days later (earlier with a minus). `a | b | c` is one of these,
        `nom,gen: мост/моста | парк/парка` one of these with named forms.
        """
        if what == "city":
            return self.cities.pop()
        if what in ("person", "man", "woman"):
            woman = what == "woman" or (what == "person" and self.rng.random() < 0.5)
            first = self.rng.choice(words.WOMEN if woman else words.MEN)
            return words.Person(first, self.surnames.pop(), woman)
        if what == "firm":
            return f"«{self.firms.pop()}»"
        if match := re.fullmatch(r"day(?:([+-])(\d+)\.\.(\d+))?", what):
            sign, low, high = match.groups()
            shift = self.rng.randint(int(low), int(high)) if sign else 0
            return words.Day(self.day + timedelta(days=-shift if sign == "-" else shift))
        if match := re.fullmatch(r"(\d+)\.\.(\d+)(?:/(\d+|many))?", what):
            low, high, step = match.groups()
            numbers = range(int(low), int(high) + 1, int(step) if step and step != "many" else 1)
            if step == "many":
                numbers = [n for n in numbers if n % 10 in (0, 5, 6, 7, 8, 9) or 10 < n % 100 < 20]
            return words.Count(self._new_number(numbers))
        if match := re.fullmatch(r"(\d+)\.(\d)\.\.(\d+)\.(\d)", what):
            low, high = int(match[1] + match[2]), int(match[3] + match[4])
            tenths = self._new_number([n for n in range(low, high + 1) if n % 10])
            return f"{tenths // 10},{tenths % 10}"
        if match := re.match(r"([a-z_]+(?:,[a-z_]+)+): ", what):
            names = tuple(match.group(1).split(","))
            return words.Forms(names, tuple(self.rng.choice(what[match.end() :].split(" | ")).split("/")))
        if " | " in what:
            return self.rng.choice(what.split(" | "))
        raise ValueError(f"a fact cannot be drawn from {what!r}")

    def _new_number(self, choices: range | list[int]) -> int:
        """A number that no other fact of the article has, so that nobody can confuse two facts."""
        number = self.rng.choice([n for n in choices if n not in self.numbers] or choices)
        self.numbers.add(number)
        return number


def _capitalised(text: str) -> str:
    """The text with its first letter in upper case, also after a quotation mark."""
    at = 1 if text.startswith("«") else 0
    return text[:at] + text[at].upper() + text[at + 1 :]


def parse(name: str, text: str) -> Kind:
    """Parse one file's text. The ValueError names the file and what is wrong or missing."""
    kind = Kind(name)
    section: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if raw[0] == " ":
            section.append(line)
            continue
        head, _, label = line.partition(" ")
        if head == "rubric":
            kind.rubric = label
        elif head not in _SECTIONS:
            raise ValueError(f"{name}, line {number}: no section is called {head!r}")
        elif head == "line":
            kind.lines.append(section := [])
        elif head in ("angle", "tail"):
            section = (kind.angles if head == "angle" else kind.tails).setdefault(label, [])
        elif head == "facts":
            section = kind.facts
        else:
            section = getattr(kind, {"summary": "summaries"}.get(head, f"{head}s"))
    kind.facts = [tuple(fact.split(None, 1)) for fact in kind.facts]
    needs = ("facts", "extras") if name == COMMON else _NEEDED
    for needed in needs:
        if not getattr(kind, needed):
            raise ValueError(f"{name} has no {needed}")
    if kind.angles.keys() != kind.tails.keys():
        raise ValueError(f"{name}: angles {sorted(kind.angles)} and tails {sorted(kind.tails)} differ")
    return kind


def load() -> tuple[list[Kind], Kind]:
    """All kinds, sorted by file name, and the sentences common to all."""
    files = sorted(_FOLDER.glob("*.txt"))
    kinds = {path.stem: parse(path.stem, path.read_text(encoding="utf-8")) for path in files}
    return [kind for name, kind in kinds.items() if name != COMMON], kinds[COMMON]


def write_article(kind: Kind, common: Kind, rng: random.Random, day: date) -> dict[str, object]:
    """One article of this kind: title, subtitle, summary and the paragraphs of its body."""
    draws = Draws(rng, day)
    facts = {name: draws.draw(what) for name, what in kind.facts + common.facts}
    angle = rng.choice(sorted(kind.angles))

    def say(variants: list[str]) -> str:
        return _capitalised(rng.choice(variants).format_map(facts))

    body = [say(variants) for variants in kind.lines]
    # The angle goes anywhere after the first sentence, the extras anywhere: only the text distinguishes them.
    body.insert(rng.randint(1, len(body)), say(kind.angles[angle]))
    extras = rng.sample(kind.extras, rng.randint(2, 3)) + rng.sample(common.extras, rng.randint(1, 2))
    for extra in extras:
        body.insert(rng.randint(0, len(body)), say([extra]))
    body.insert(0, say(kind.hooks))
    cuts = [0, *sorted(rng.sample(range(1, len(body)), rng.randint(4, 8))), len(body)]
    paragraphs = [" ".join(body[start:end]) for start, end in itertools.pairwise(cuts)]
    return {
        "title": say(kind.titles),
        "subtitle": say(kind.subtitles) if kind.subtitles and rng.random() < 0.7 else "",
        "summary": f"{say(kind.summaries)} {say(kind.tails[angle])}",
        "paragraphs": paragraphs,
    }
