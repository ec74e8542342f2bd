"""Whether two texts are the same story: near-duplicates by MinHash, decided by what the texts say.

Two steps. MinHash with banded LSH finds candidates among all texts in linear time; then `same_story` looks at
both texts of a candidate pair. Shared runs of words alone do not decide it: two weather forecasts or match
reports from one template share most of theirs. So the names and the numbers must agree, too: a reprint or an
edited copy keeps them, and another story does not.

Everything here is a function of the texts alone (fixed hashes, fixed permutations), so the verdict on a pair
is the same on every machine, in every order and in every dataset the two are part of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from gazeta.dataset.words import shingles

BANDS, ROWS = 50, 3  # a pair with similarity 0.4 is found with probability 0.96, with 0.5 in 0.999
PERMUTATIONS = BANDS * ROWS
LOOSE = 0.25  # candidates below this estimated similarity are skipped (0.4 is four deviations away)

MIN_SIMILARITY = 0.40  # Jaccard over shingles
MIN_CONTAINED = 0.75  # or, for cut copies: the share of the shorter text's shingles that the longer one has
MIN_AGREEING_NAMES = 0.5  # of the shorter list, if both texts name two or more
MIN_AGREEING_NUMBERS = 0.4  # of the shorter list, if both texts have numbers
MIN_SIMILARITY_UNNAMED = 0.6  # Jaccard, if neither names nor numbers can be compared

_NAME = re.compile(r"(?<=[^.!?…:]\s)[«\"„(]?([A-ZА-ЯЁ]\w+)")
_NUMBER = re.compile(r"([^\W\d]*)\W{0,3}(?<![\d.,:])(\d+(?:[.,:]\d+)*)(?=\W{0,3}([^\W\d]*))")


@dataclass(frozen=True, slots=True)
class Sketch:
    """What a text is compared by; each field is a sorted array of distinct uint32 hashes."""

    shingles: np.ndarray
    names: np.ndarray
    numbers: np.ndarray


def _hashes(values: Sequence[str]) -> np.ndarray:
    return np.unique(np.fromiter((crc32(value.encode()) for value in values), np.uint32, len(values)))


def sketch(text: str) -> Sketch:
    """Names are capitalised words inside a sentence, cut to five letters: Russian endings change.

    A number goes with its neighbours («до 3 градусов»), so that two forecasts with the same handful of small
    numbers in other places do not agree.
    """
    return Sketch(
        shingles=shingles(text),
        names=_hashes([name.lower().replace("ё", "е")[:5] for name in _NAME.findall(text)]),
        numbers=_hashes(
            [
                f"{left[-3:].lower()} {number} {right[:4].lower()}"
                for left, number, right in _NUMBER.findall(text)
            ]
        ),
    )


def _common(one: np.ndarray, other: np.ndarray) -> int:
    return len(np.intersect1d(one, other, assume_unique=True))


def _agree(one: np.ndarray, other: np.ndarray, at_least: int, share: float) -> bool | None:
    shorter = min(len(one), len(other))
    return None if shorter < at_least else _common(one, other) >= share * shorter


def same_story(one: Sketch, other: Sketch) -> float:
    """The shingles' Jaccard similarity if both texts are one story, else 0."""
    names = _agree(one.names, other.names, 2, MIN_AGREEING_NAMES)
    if names is False:
        return 0.0
    numbers = _agree(one.numbers, other.numbers, 1, MIN_AGREEING_NUMBERS)
    if numbers is False:
        return 0.0
    common = _common(one.shingles, other.shingles)
    similarity = common / (len(one.shingles) + len(other.shingles) - common)
    contained = common / min(len(one.shingles), len(other.shingles))
    if names is None and numbers is None:
        return similarity if similarity >= MIN_SIMILARITY_UNNAMED else 0.0
    return similarity if similarity >= MIN_SIMILARITY or contained >= MIN_CONTAINED else 0.0


def _permutations() -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and summands, uint32, always the same: splitmix64 from a fixed seed."""
    state, drawn = 1, []
    for _ in range(PERMUTATIONS):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        drawn.append(mixed ^ mixed >> 31)
    return np.array([d >> 32 | 1 for d in drawn], np.uint32), np.array([d % 2**32 for d in drawn], np.uint32)


FACTORS, SUMMANDS = _permutations()


def signatures(shingle_sets: Sequence[np.ndarray]) -> np.ndarray:
    """MinHash signatures, shape (texts, PERMUTATIONS), uint32.

    A permutation is factor · hash + summand modulo 2³² with an odd factor, datasketch's scheme "affine32".
    datasketch takes 2.2 times as long as these lines (benchmarks/dataset.py compares the two), and importing
    it takes two seconds.
    """
    signed = np.empty((len(shingle_sets), PERMUTATIONS), np.uint32)
    for row, hashes in zip(signed, shingle_sets, strict=True):
        permuted = hashes[:, None] * FACTORS
        permuted += SUMMANDS
        permuted.min(axis=0, out=row)
    return signed


def _band_pairs(keys: np.ndarray) -> np.ndarray:
    """All pairs (i < j) of equal keys, shape (pairs, 2)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(ordered)])
    pairs = []
    for size in np.unique(sizes[sizes > 1]):
        members = order[starts[sizes == size][:, None] + np.arange(size)]  # stable sort: ascending in a group
        left, right = np.triu_indices(size, 1)
        pairs.append(np.stack([members[:, left].ravel(), members[:, right].ravel()], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def candidates(signed: np.ndarray) -> np.ndarray:
    """Pairs of row numbers (i < j, sorted, distinct) worth a look, shape (pairs, 2).

    A pair shares a band of the signature, and its estimated similarity is LOOSE or more. Bands are grouped by
    sorting: at 600,000 texts that needs a tenth of the memory of a dictionary per band.
    """
    count = len(signed)
    found = np.zeros(0, np.int64)
    for band in range(BANDS):
        rows = signed[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        keys = rows[:, 0]
        for column in range(1, ROWS):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + rows[:, column]
        pairs = _band_pairs(keys)
        for start in range(0, len(pairs), 100_000):
            portion = pairs[start : start + 100_000]
            equal = (signed[portion[:, 0]] == signed[portion[:, 1]]).sum(axis=1)
            close = portion[equal >= LOOSE * PERMUTATIONS]
            found = np.union1d(found, close[:, 0] * count + close[:, 1])
    return np.stack(np.divmod(found, max(count, 1)), axis=1)


def same_story_pairs(
    pairs: np.ndarray, sketches_of: Callable[[Sequence[int]], dict[int, Sketch]], at_once: int = 20_000
) -> Iterator[tuple[int, int, float]]:
    """The candidate pairs that are one story, with their similarity; sketches are requested in portions."""
    for start in range(0, len(pairs), at_once):
        portion = pairs[start : start + at_once]
        sketches = sketches_of(np.unique(portion).tolist())
        for left, right in portion.tolist():
            if similarity := same_story(sketches[left], sketches[right]):
                yield left, right, similarity


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each row the lowest row of its group: all rows that pairs link, directly or through others."""
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for left, right in pairs:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return [root(row) for row in range(count)]
