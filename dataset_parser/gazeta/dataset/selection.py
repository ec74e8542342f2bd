"""Which rows make the dataset: one version of each page, one row of each story, split by time.

Pure: entries in, a plan out. The texts stay on disk (see shards.py); an entry is what must be known of a row
to decide about it. Every decision is a function of the set of entries, not of their order: that is what makes
two people with two stores arrive at one dataset.

Rows that lose to an earlier telling of their story are remembered with their sketch (not their text) and
published in lineage/: they still link stories for a store that does not have them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from gazeta.dataset import duplicates as near
from gazeta.dataset.duplicates import Sketch
from gazeta.dataset.rules import COLUMNS, Row
from gazeta.dataset.words import word_codes

SPLITS = ("train", "validation", "test")
HELD_OUT = 20  # one row in 20, the newest, is for testing, and one in 20 before those for validation
MIN_ROWS = 3  # one for each split


@dataclass(slots=True)
class Entry:
    """What is remembered of a row. `sketch` only where there is no text: a duplicate known from the Hub."""

    url: str
    date: str
    fetched_at: str
    content: bytes  # of the columns: which version of the page this is
    story: bytes  # of the text's words: equal for exact copies
    sketch: Sketch | None = None
    filled: int = 0  # columns that are not empty

    @property
    def has_text(self) -> bool:
        return self.sketch is None

    def age(self) -> tuple[str, str]:
        """Sorts stories by who told them first."""
        return self.date, self.url


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An entry that is not published, and the row that stands for it ("" when no one has its text)."""

    index: int
    of: str
    kind: str  # "exact copy" or "near copy"


@dataclass
class Plan:
    """Entry numbers. `kept` is ordered by (date, url); `split[i]` belongs to `kept[i]`."""

    kept: list[int]
    split: list[str]
    duplicates: list[Duplicate]
    fetched_at: dict[int, str] = field(default_factory=dict)


def content_digest(row: Row) -> bytes:
    joined = "\0".join(getattr(row, column) for column in COLUMNS)
    return blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def story_digest(text: str) -> bytes:
    """Equal for texts that differ in case, punctuation, ё and white space only."""
    return blake2b(word_codes(text).tobytes(), digest_size=16).digest()


def earliest(times: Iterable[str]) -> str:
    """The earliest known time; "" means that nobody knows."""
    return min((time for time in times if time), default="")


def current_versions(entries: Sequence[Entry]) -> dict[int, str]:
    """The entry to use for each url, with its fetch time.

    An unchanged page keeps the time it was first fetched at; of different versions the one fetched last is
    used, and of those fetched at one time, the one that fills more columns: it was read by a newer parser.
    Between the same version with and without its text, the one with it.
    """
    by_url: dict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        by_url[entry.url].append(number)
    chosen: dict[int, str] = {}
    for numbers in by_url.values():
        if len(numbers) == 1:
            chosen[numbers[0]] = entries[numbers[0]].fetched_at
            continue
        versions: dict[bytes, list[int]] = defaultdict(list)
        for number in numbers:
            versions[entries[number].content].append(number)
        fetched = {
            content: earliest(entries[number].fetched_at for number in same)
            for content, same in versions.items()
        }
        filled = {content: max(entries[at].filled for at in same) for content, same in versions.items()}
        newest = max(versions, key=lambda content: (fetched[content], filled[content], content))
        best = min(versions[newest], key=lambda number: (not entries[number].has_text, number))
        chosen[best] = fetched[newest]
    return chosen


def one_row_a_story(
    entries: Sequence[Entry], numbers: Sequence[int], linked: Iterable[tuple[int, int]]
) -> tuple[list[int], list[Duplicate]]:
    """The earliest telling of each story, ordered by (date, url), and what it stands for.

    numbers: the entries to decide about; linked: pairs of entry numbers that tell one story. A story is
    whatever is linked, directly or through others: that does not depend on who came first.
    """
    place = {number: at for at, number in enumerate(numbers)}
    first_telling: dict[bytes, int] = {}
    links = [(place[left], place[right]) for left, right in linked]
    for at, number in enumerate(numbers):
        links.append((first_telling.setdefault(entries[number].story, at), at))
    stories: dict[int, list[int]] = defaultdict(list)
    for at, group in enumerate(near.groups(len(numbers), links)):
        stories[group].append(numbers[at])
    kept, duplicates = [], []
    for story in stories.values():
        with_text = [number for number in story if entries[number].has_text]
        first = min(with_text, key=lambda number: entries[number].age(), default=None)
        if first is not None:
            kept.append(first)
        for number in story:
            if number == first:
                continue
            exact = first is not None and entries[number].story == entries[first].story
            of = entries[first].url if first is not None else ""
            duplicates.append(Duplicate(number, of, "exact copy" if exact else "near copy"))
    kept.sort(key=lambda number: entries[number].age())
    duplicates.sort(key=lambda duplicate: entries[duplicate.index].age())
    return kept, duplicates


def splits_by_time(count: int) -> list[str]:
    """The split of each of `count` rows, oldest first: the newest 5% test, the 5% before them validation.

    At least one row each from three rows on; fewer than MIN_ROWS rows cannot be split: all are train. Both
    bounds only ever move on as newer rows come: what a model was trained on is never tested with later.
    """
    test = max(1, count // HELD_OUT) if count >= MIN_ROWS else 0
    validation = max(2, 2 * count // HELD_OUT) - test if count >= MIN_ROWS else 0
    return ["train"] * (count - validation - test) + ["validation"] * validation + ["test"] * test


def plan(
    entries: Sequence[Entry],
    signed: np.ndarray,
    sketches_of: Callable[[Sequence[int]], dict[int, Sketch]],
) -> Plan:
    """Decide about every entry.

    signed: MinHash signatures, a row for each entry. sketches_of: entry numbers → sketches, for the entries
    that have their text (those without carry their own).
    """
    fetched_at = current_versions(entries)
    numbers = sorted(fetched_at)
    pairs = (
        np.array(numbers, np.int64)[near.candidates(signed[numbers])] if numbers else np.zeros((0, 2), int)
    )

    def sketches(wanted: Sequence[int]) -> dict[int, Sketch]:
        known = {number: sketch for number in wanted if (sketch := entries[number].sketch) is not None}
        return known | sketches_of([number for number in wanted if number not in known])

    linked = [(left, right) for left, right, _ in near.same_story_pairs(pairs, sketches)]
    kept, duplicates = one_row_a_story(entries, numbers, linked)
    return Plan(kept, splits_by_time(len(kept)), duplicates, fetched_at)
