"""Which rows make the dataset: one version of each page, one row per story, each in one split.

Pure: entries in, a plan out. The texts stay on disk (see spool.py); an entry is what must be known of a row
to decide about it. Every decision is a function of the set of entries, not of their order: so two people with
two stores arrive at one dataset.

Rows that lose to an earlier version of their story are remembered with their sketch (not their text) and
published in lineage/: they still link stories for a store that does not have them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from zlib import crc32

import numpy as np

from gazeta.dataset.duplicates import Sketch, candidates, groups, same_story_pairs
from gazeta.dataset.schema import digest
from gazeta.dataset.words import word_codes
from gazeta.recipe import GAZETA, Recipe, Splits

SPLITS = ("train", "validation", "test")
MIN_ROWS = 3  # one for each split


@dataclass(slots=True)
class Entry:
    """What is remembered of a row. Only a duplicate known from the Hub has a sketch: it has no text."""

    key: str  # the row's url, or what stands for it
    date: str  # "" in a dataset without dates
    fetched_at: str
    content: bytes  # of the columns: which version of the page this is
    story: bytes  # of the words that are compared: equal for exact copies
    sketch: Sketch | None = None
    filled: int = 0  # columns that are not empty

    @property
    def has_text(self) -> bool:
        return self.sketch is None

    @property
    def age(self) -> tuple[str, str]:
        """Sorts rows from the oldest to the newest."""
        return self.date, self.key

    @property
    def month(self) -> str:
        """What its files are named by: "2024-05"; one of 16 digits for a row without a date."""
        return self.date[:7] or f"{crc32(self.key.encode('utf-8', 'surrogatepass')) % 16:x}"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An entry that is not published, and the row that stands for it ("" if no one has its text)."""

    index: int
    of: str
    kind: str  # "exact copy" or "near copy"


@dataclass
class Plan:
    """Entry numbers. `kept` is ordered by (date, key); `split[i]` belongs to `kept[i]`."""

    kept: list[int]
    split: list[str]
    duplicates: list[Duplicate]
    fetched_at: dict[int, str] = field(default_factory=dict)


def story_digest(text: str) -> bytes:
    """Equal for texts that differ in case, punctuation, ё and white space only."""
    return blake2b(word_codes(text).tobytes(), digest_size=16).digest()


def earliest(times: Iterable[str]) -> str:
    """The earliest known time; "" means that nobody knows."""
    return min((time for time in times if time), default="")


def current_versions(entries: Sequence[Entry]) -> dict[int, str]:
    """The entry to use for each page, with its fetch time.

    An unchanged page keeps the time it was first fetched at; of different versions the one fetched last is
    used, and of those fetched at one time, the one that fills more columns: it was read by a newer parser.
    Between the same version with and without its text, the one with it.
    """
    by_key: dict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        by_key[entry.key].append(number)
    chosen: dict[int, str] = {}
    for numbers in by_key.values():
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


def one_row_per_story(
    entries: Sequence[Entry], numbers: Sequence[int], linked: Iterable[tuple[int, int]], exact: bool = True
) -> tuple[list[int], list[Duplicate]]:
    """The earliest row of each story, ordered by (date, key), and the rows that it stands for.

    numbers: the entries to decide about; linked: pairs of entry numbers that are one story; exact: exact
    copies are one story, too. A story is whatever is linked, directly or through others: that does not depend
    on who came first.
    """
    place = {number: at for at, number in enumerate(numbers)}
    first_of: dict[bytes, int] = {}
    links = [(place[left], place[right]) for left, right in linked]
    for at, number in enumerate(numbers if exact else ()):
        links.append((first_of.setdefault(entries[number].story, at), at))
    stories: dict[int, list[int]] = defaultdict(list)
    for at, group in enumerate(groups(len(numbers), links)):
        stories[group].append(numbers[at])
    kept, duplicates = [], []
    for story in stories.values():
        with_text = [number for number in story if entries[number].has_text]
        first = min(with_text, key=lambda number: entries[number].age, default=None)
        if first is not None:
            kept.append(first)
        for number in story:
            if number == first:
                continue
            same = first is not None and entries[number].story == entries[first].story
            of = entries[first].key if first is not None else ""
            duplicates.append(Duplicate(number, of, "exact copy" if same else "near copy"))
    kept.sort(key=lambda number: entries[number].age)
    duplicates.sort(key=lambda duplicate: entries[duplicate.index].age)
    return kept, duplicates


def splits_by_time(count: int, splits: Splits = GAZETA.splits) -> list[str]:
    """The split of each of `count` rows, oldest first: the newest are test, those before them validation.

    Each split has at least one row from three rows on; fewer than MIN_ROWS rows cannot be split, so all are
    train. Both bounds only ever move on as newer rows come: what a model was trained on never becomes test
    data.
    """
    if count < MIN_ROWS:
        return ["train"] * count
    # As fractions of what the recipe says: 0.05 + 0.05 is no tenth in binary.
    test, validation = Fraction(str(splits.test)), Fraction(str(splits.validation))
    tests = max(1, int(test * count))
    held_out = max(tests + 1, int((test + validation) * count))
    return ["train"] * (count - held_out) + ["validation"] * (held_out - tests) + ["test"] * tests


def splits_by_hash(keys: Sequence[str], splits: Splits) -> list[str]:
    """The split of each row by the hash of its key: it stays there whatever comes later.

    From MIN_ROWS rows on, a split that would be empty gets the row with the next hash.
    """
    places = [int.from_bytes(digest([key])[:8], "big") / 2**64 for key in keys]
    order = sorted(range(len(keys)), key=lambda at: (places[at], keys[at]))
    tests = sum(place < splits.test for place in places)
    held_out = sum(place < splits.test + splits.validation for place in places)
    if len(keys) >= MIN_ROWS:
        tests = max(1, min(tests, len(keys) - 2))
        held_out = max(tests + 1, min(held_out, len(keys) - 1))
    split = ["train"] * len(keys)
    for number, at in enumerate(order[:held_out]):
        split[at] = "test" if number < tests else "validation"
    return split


def plan(
    entries: Sequence[Entry],
    signed: np.ndarray,
    sketches_of: Callable[[Sequence[int]], dict[int, Sketch]],
    recipe: Recipe = GAZETA,
) -> Plan:
    """Decide about every entry.

    signed: MinHash signatures, a row per entry. sketches_of: entry numbers → sketches, for the entries
    that have their text (those without carry their own).
    """
    fetched_at = current_versions(entries)
    numbers = sorted(fetched_at)
    linked: list[tuple[int, int]] = []
    if numbers and recipe.duplicates.by == "story":
        pairs = np.array(numbers, np.int64)[candidates(signed[numbers])]

        def sketches(wanted: Sequence[int]) -> dict[int, Sketch]:
            known = {number: sketch for number in wanted if (sketch := entries[number].sketch) is not None}
            return known | sketches_of([number for number in wanted if number not in known])

        linked = [(left, right) for left, right, _ in same_story_pairs(pairs, sketches)]
    kept, duplicates = one_row_per_story(entries, numbers, linked, recipe.duplicates.by != "none")
    if recipe.splits.by == "date":
        split = splits_by_time(len(kept), recipe.splits)
    else:
        split = splits_by_hash([entries[number].key for number in kept], recipe.splits)
    return Plan(kept, split, duplicates, fetched_at)
