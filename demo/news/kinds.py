"""Kinds of events: one text file each in kinds/, with facts to draw and sentences to tell them in.

A file is sections of indented lines:

    rubric sport
    facts              one fact a line: its name, then what to draw (see `draw`)
    title, subtitle    variants
    hook               the scene-setting first sentence; it gives little away
    line               variants of one paragraph every article has; as many sections as there are paragraphs
    angle NAME         variants of the paragraph that only articles with this angle have
    tail NAME          how the summary of such an article ends
    extra              paragraphs with facts that no summary names; two or three of them are taken
    summary            how every summary begins

An article draws one angle, so what its summary ends with can only be known by reading the text.
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
COMMON = "common"  # the file of paragraphs that fit every kind
_NEEDED = ("rubric", "facts", "titles", "hooks", "lines", "angles", "extras", "summaries")
_SECTIONS = {"facts", "title", "subtitle", "hook", "line", "angle", "tail", "extra", "summary"}


@dataclass
class Kind:
    """One kind of event. Raises nothing by itself; `load` checks that nothing is missing."""

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
    """Draws the facts of one article; no city, surname or firm comes twice."""

    def __init__(self, rng: random.Random, day: date) -> None:
        self.rng = rng
        self.day = day
        self.cities = rng.sample(words.CITIES, len(words.CITIES))
        self.surnames = rng.sample(words.SURNAMES, len(words.SURNAMES))
        self.firms = rng.sample(words.FIRMS, len(words.FIRMS))
        self.numbers: set[str] = set()

    def draw(self, what: str) -> object:
        """Draw one fact.

        `city`, `person`, `man`, `woman`, `firm`; `10..90/5` a number of that step, `10..90/many` one
        that stands before "тысяч"; `1.5..9.5` a decimal;
        `day` the day of the article, `day+10..40` one so many days later (or before, with a minus);
        `a | b | c` one of these; `nom,gen: мост/моста | парк/парка` one of these with named forms.
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
        raise ValueError(f"nobody knows how to draw {what!r}")

    def _new_number(self, choices: range | list[int]) -> int:
        """A number no other fact of the article has, so that nobody can take one for the other."""
        number = self.rng.choice([n for n in choices if n not in self.numbers] or choices)
        self.numbers.add(number)
        return number


def _capitalised(text: str) -> str:
    """The text with its first letter large, also behind a quotation mark."""
    at = 1 if text.startswith("«") else 0
    return text[:at] + text[at].upper() + text[at + 1 :]


def parse(name: str, text: str) -> Kind:
    """Read one file's text. Raises ValueError naming the file and what is wrong or missing."""
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
    """All kinds in the order of their files' names, and the paragraphs common to all."""
    files = sorted(_FOLDER.glob("*.txt"))
    kinds = {path.stem: parse(path.stem, path.read_text(encoding="utf-8")) for path in files}
    return [kind for name, kind in kinds.items() if name != COMMON], kinds[COMMON]


def tell(kind: Kind, common: Kind, rng: random.Random, day: date) -> dict[str, object]:
    """One article of this kind: title, subtitle, summary and the paragraphs of its body."""
    draws = Draws(rng, day)
    facts = {name: draws.draw(what) for name, what in kind.facts + common.facts}
    angle = rng.choice(sorted(kind.angles))

    def say(variants: list[str]) -> str:
        return _capitalised(rng.choice(variants).format_map(facts))

    body = [say(variants) for variants in kind.lines]
    # The angle may stand anywhere after the first paragraph, the extras anywhere: only words tell them apart.
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
