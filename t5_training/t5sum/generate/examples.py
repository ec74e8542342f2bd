"""Row → example: what the model reads and what it should write, as token ids."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5sum.config import GenerateTask
from t5sum.sources import answer, fitting

CHUNK = 500  # rows tokenized between two reports of progress


@dataclass
class Examples:
    """Token ids of every example, as two flat arrays, and where each example ends in them."""

    source: np.ndarray
    source_ends: np.ndarray
    target: np.ndarray
    target_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.source_ends)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "input_ids": _slice(self.source, self.source_ends, index),
            "labels": _slice(self.target, self.target_ends, index),
            "row": index,
        }

    @property
    def lengths(self) -> np.ndarray:
        """(examples, 2): source and target tokens."""
        return np.stack([np.diff(self.source_ends, prepend=0), np.diff(self.target_ends, prepend=0)], axis=1)

    def first(self, count: int) -> Examples:
        """The first `count` examples."""
        if count >= len(self):
            return self
        last = count - 1
        return Examples(
            self.source[: self.source_ends[last]], self.source_ends[:count],
            self.target[: self.target_ends[last]], self.target_ends[:count],
        )  # fmt: skip


@dataclass
class Replaced(Examples):
    """Examples of which some are never read: the one of the nearest length is read in their place."""

    instead: dict[int, int]

    @classmethod
    def of(cls, whole: Examples, rows: Sequence[int]) -> Examples:
        """`whole` without these rows. It stays as long, so that every other step sees the same examples."""
        size = whole.lengths.sum(axis=1)
        others = np.setdiff1d(np.arange(len(whole)), rows)
        if not len(others):
            return whole
        nearest = {row: int(others[np.abs(size[others] - size[row]).argmin()]) for row in rows}
        return cls(**vars(whole), instead=nearest)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return super().__getitem__(self.instead.get(index, index))


def _slice(values: np.ndarray, ends: np.ndarray, index: int) -> np.ndarray:
    return values[ends[index - 1] if index else 0 : ends[index]]


def encode(texts: Sequence[str], tokenizer: Any, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of `texts`, each cut to `most` tokens, the last of which is always the end token."""
    ids = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
    )["input_ids"]
    cut = [[*each[: most - 1], tokenizer.eos_token_id] for each in ids]
    flat = np.fromiter((token for each in cut for token in each), np.int32)
    return flat, np.array([len(each) for each in cut], np.int64)


def examples(
    rows: Sequence[dict[str, Any]],
    tokenizer: Any,
    task: GenerateTask,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examples:
    """Tokenize rows, or read what a run with the same texts, tokenizer and settings left in `cache`."""

    def count(text: str) -> int:
        return len(encode([text], tokenizer, sys.maxsize)[0]) - 1

    sources = [fitting(row, task.template, task.source_max_tokens, count) for row in rows]
    targets = [answer(row, task.target) for row in rows]
    path = None
    if cache is not None:
        digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
        digest.update(f"{task.source_max_tokens} {task.target_max_tokens}".encode())
        for text in (*sources, *targets):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        path = cache / f"{digest.hexdigest()[:24]}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as saved:
                return Examples(**{name: saved[name] for name in saved.files})
    parts = []
    for start in range(0, len(rows), CHUNK):
        block = slice(start, start + CHUNK)
        parts.append(
            (*encode(sources[block], tokenizer, task.source_max_tokens),
             *encode(targets[block], tokenizer, task.target_max_tokens))
        )  # fmt: skip
        progress(min(start + CHUNK, len(rows)), len(rows))
    source, source_lengths, target, target_lengths = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    result = Examples(source, np.cumsum(source_lengths), target, np.cumsum(target_lengths))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".part.npz")
        np.savez(fresh, **vars(result))
        fresh.replace(path)
    return result
