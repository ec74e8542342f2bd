"""Words as numbers, by which texts are compared: computed for a whole text at a time, not word by word.

A word is a run of letters, digits and underscores, in lower case, with ё as е. Its code is a polynomial of 64
bits over its characters; a word has the same code on every machine, in every version.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RUN = 3  # words in a shingle

# For each UTF-16 unit: its lower case if it belongs to a word, else 0. Characters beyond the basic plane are
# two units that belong to no word, so they separate words.
_IN_WORDS = np.zeros(65536, np.uint64)
for _code in (*range(0x30, 0xD800), *range(0xF900, 0xFFF0)):
    _letter = chr(_code)
    if _letter.isalnum() or _letter == "_":
        _lower = _letter.lower()
        _IN_WORDS[_code] = ord(_lower[0] if len(_lower) > 1 else _lower)
_IN_WORDS[ord("ё")] = _IN_WORDS[ord("Ё")] = ord("е")

_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2⁶⁴


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The powers of the base and of its inverse, from 0 on, modulo 2⁶⁴."""
    bases = np.full((2, count), _BASE, np.uint64)
    bases[1] = pow(_BASE, -1, 2**64)
    bases[:, 0] = 1
    powers, inverse = np.cumprod(bases, axis=1)
    return powers, inverse


def _mixed(codes: np.ndarray) -> np.ndarray:
    """Every bit of a code depends on every other. uint64 in and out, wrapping around as wanted."""
    codes = (codes ^ codes >> np.uint64(33)) * np.uint64(0xC2B2AE3D27D4EB4F)
    return codes ^ codes >> np.uint64(29)


@lru_cache(maxsize=4)  # the rules, the digest and the shingles ask for a text one after another
def word_codes(text: str) -> np.ndarray:
    """The words of a text in their order, uint64."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
    letters = _IN_WORDS[units]
    inside = letters != 0
    starts = np.flatnonzero(inside[1:] > inside[:-1]) + 1
    if len(inside) and inside[0]:
        starts = np.concatenate(([0], starts))
    if not len(starts):
        return np.zeros(0, np.uint64)
    powers, inverse = _powers(max(2**14, 1 << len(letters).bit_length()))
    # Each word begins with another power; the inverse of that one makes its code the same everywhere.
    sums = np.add.reduceat(letters * powers[: len(letters)], starts)
    codes = _mixed(sums * inverse[starts])
    codes.flags.writeable = False  # it is shared by the cache
    return codes


@lru_cache(maxsize=4)
def shingles(text: str) -> np.ndarray:
    """Sorted distinct uint32 hashes of the runs of RUN words (one run of all words, if there are fewer)."""
    codes = word_codes(text)
    count = max(1, len(codes) - RUN + 1)
    runs = np.zeros(count, np.uint64)
    for offset in range(min(RUN, len(codes))):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + count]
    hashes = np.sort((_mixed(runs) >> np.uint64(32)).astype(np.uint32))
    hashes = hashes[np.diff(hashes, prepend=hashes[:1] ^ 1) != 0]  # np.unique takes twice the time
    hashes.flags.writeable = False
    return hashes
