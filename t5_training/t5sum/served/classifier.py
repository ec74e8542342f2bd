"""A text classifier or regressor as plain arrays in a safetensors file, for training and the API.

It needs numpy, mmh3 and safetensors; docs/decisions/0010-topics.md says why.

A source becomes counts of hashed n-grams, these become weights (1 + ln of the count, times idf, of length 1),
and a linear classifier or a forest turns them into probabilities, a linear regression into one number: the
same as scikit-learn computes with its HashingVectorizer, TfidfTransformer(sublinear_tf=True), SGDClassifier,
RandomForestClassifier and Ridge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

import mmh3
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

_WORD = re.compile(r"\b\w\w+\b")
LEAF = -1  # the feature of a node that asks nothing
# Of the arrays in a file; all others are int32.
_KINDS: dict[str, type] = {
    "weights": np.float16, "bias": np.float32, "idf": np.float32, "threshold": np.float32,
    "share": np.float32, "coefficients": np.float32, "intercept": np.float32,
}  # fmt: skip


@dataclass(frozen=True)
class Features:
    """One block of columns: the n-grams of `shortest` to `longest` words, or of letters inside words."""

    of: Literal["words", "letters"]
    shortest: int
    longest: int
    bits: int  # 2 ** bits columns

    def __post_init__(self) -> None:
        numbers = (self.shortest, self.longest, self.bits)
        if self.of not in ("words", "letters") or any(type(number) is not int for number in numbers):
            raise ValueError(f"unknown features: {self}")
        if not (1 <= self.shortest <= self.longest <= 10 and 1 <= self.bits <= 24):
            raise ValueError(f"features out of range: {self}")

    @property
    def columns(self) -> int:
        return 2**self.bits

    def column(self, ngram: str) -> int:
        return abs(mmh3.hash(ngram)) % self.columns

    def columns_of(self, source: str, known: dict[str, list[int]]) -> Iterator[int]:
        """The column of each n-gram of `source`, in lower case. `known`: those of words met before."""
        if self.of == "letters":
            for word in source.split():
                found = known.get(word)
                if found is None:
                    found = known[word] = [self.column(ngram) for ngram in self._letters(f" {word} ")]
                yield from found
            return
        words = _WORD.findall(source)
        for size in range(self.shortest, self.longest + 1):
            for ngram in zip(*(words[start:] for start in range(size)), strict=False):
                yield self.column(" ".join(ngram))

    def _letters(self, word: str) -> Iterator[str]:
        for size in range(self.shortest, self.longest + 1):
            yield from (word[start : start + size] for start in range(max(1, len(word) - size + 1)))
            if size >= len(word):  # a short word counts once
                return


@dataclass(frozen=True)
class Linear:
    """One topic against the rest: sigmoids made to sum to 1. Of two topics one column, the second's."""

    weights: np.ndarray  # float16 (columns, topics), (columns, 1) for two
    bias: np.ndarray  # float32 (topics,), (1,) for two

    @property
    def topics(self) -> int:
        return max(2, len(self.bias))

    def check(self, columns: int) -> None:
        if self.weights.ndim != 2 or self.weights.shape != (columns, *self.bias.shape) or not self.bias.size:
            raise ValueError(f"weights {self.weights.shape}, bias {self.bias.shape}, {columns} columns")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ValueError("its weights are not all numbers")

    def probabilities(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        margins = values @ self.weights[columns].astype(np.float32) + self.bias
        if len(margins) == 1:
            margins = np.array([-margins[0], margins[0]])
        each = 1 / (1 + np.exp(-np.clip(margins, -500, 500).astype(float)))
        return each / max(each.sum(), 1e-300)


@dataclass(frozen=True)
class Forest:
    """Trees one after the other. A node asks whether a feature is at most `threshold`; if so its successor is
    the next node, if not the one at `otherwise`. The answer is the mean of the leaves that are reached.

    A leaf has its shares at `otherwise`: most have one topic only, so only what is not 0 is kept.
    """

    roots: np.ndarray  # int32 (trees,)
    feature: np.ndarray  # int32 (nodes,), LEAF in leaves
    threshold: np.ndarray  # float32 (nodes,)
    otherwise: np.ndarray  # int32 (nodes,): a node further on; of a leaf, its number
    first: np.ndarray  # int32 (leaves + 1,): where the shares of each leaf begin
    topic: np.ndarray  # int32 (shares,)
    share: np.ndarray  # float32 (shares,)

    @cached_property
    def topics(self) -> int:
        return int(self.topic.max()) + 1

    @cached_property
    def asked(self) -> int:
        """Columns that a node may ask for are below this."""
        return int(self.feature.max()) + 1

    def check(self, columns: int) -> None:
        nodes, leaf = len(self.feature), self.feature == LEAF
        number = np.arange(nodes)
        good = (
            all(array.ndim == 1 and array.size for array in arrays_of(self).values())
            and len(self.threshold) == len(self.otherwise) == nodes
            and len(self.share) == len(self.topic)
            and bool(leaf[-1])
            and bool(((self.feature >= LEAF) & (self.feature < columns)).all())
            # Every step leads on, so that every walk ends.
            and bool((self.otherwise[~leaf] > number[~leaf]).all() and (self.otherwise[~leaf] < nodes).all())
            and bool((self.otherwise[leaf] >= 0).all() and (self.otherwise[leaf] < len(self.first) - 1).all())
            and bool((self.roots >= 0).all() and (self.roots < nodes).all())
            and int(self.first[0]) == 0
            and int(self.first[-1]) == len(self.topic)
            and bool((np.diff(self.first) > 0).all())
            and bool((self.topic >= 0).all() and (self.topic < 10_000).all())
            and bool(np.isfinite(self.share).all() and (self.share >= 0).all())
        )
        if not good:
            raise ValueError("its trees do not hang together")

    def probabilities(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        row = np.zeros(max(self.asked, int(columns.max(initial=0)) + 1), np.float32)
        row[columns] = values
        node = self.roots
        while True:
            feature = self.feature[node]
            if (feature == LEAF).all():
                break
            low = row[feature] <= self.threshold[node]
            node = np.where(feature == LEAF, node, np.where(low, node + 1, self.otherwise[node]))
        leaves = self.otherwise[node]
        result = np.zeros(self.topics)
        for start, end in zip(self.first[leaves], self.first[leaves + 1], strict=True):
            result[self.topic[start:end]] += self.share[start:end]
        return result / len(self.roots)


@dataclass(frozen=True)
class Regression:
    """A weighted sum of the features: one number for a text."""

    coefficients: np.ndarray  # float32 (columns,)
    intercept: np.ndarray  # float32 (1,)

    def check(self, columns: int) -> None:
        if self.coefficients.shape != (columns,) or self.intercept.shape != (1,):
            raise ValueError(
                f"coefficients {self.coefficients.shape}, intercept {self.intercept.shape}, {columns} columns"
            )
        if not (np.isfinite(self.coefficients).all() and np.isfinite(self.intercept).all()):
            raise ValueError("its coefficients are not all numbers")

    def value(self, columns: np.ndarray, values: np.ndarray) -> float:
        return float(values @ self.coefficients[columns]) + float(self.intercept[0])


Head = Linear | Forest | Regression


def arrays_of(head: Head) -> dict[str, np.ndarray]:
    return {field.name: getattr(head, field.name) for field in fields(head)}


@dataclass(frozen=True)
class TextModel:
    """features: blocks of columns, side by side. idf: float32, (columns of all blocks,)."""

    features: tuple[Features, ...]
    idf: np.ndarray
    head: Head

    @property
    def topics(self) -> int:
        """How many classes a classifier tells apart; 0 for a regression."""
        return 0 if isinstance(self.head, Regression) else self.head.topics

    def predict_proba(self, sources: Sequence[str]) -> np.ndarray:
        """(sources, topics): the probability of each class, float64. Raises TypeError for a regression."""
        if isinstance(self.head, Regression):
            raise TypeError("a regression has no probabilities")
        known: list[dict[str, list[int]]] = [{} for _ in self.features]
        return np.stack([self.head.probabilities(*self._weighed(source, known)) for source in sources])

    def predict(self, sources: Sequence[str]) -> np.ndarray:
        """(sources,): the number of each text, float64. Raises TypeError for a classifier."""
        if not isinstance(self.head, Regression):
            raise TypeError("a classifier has no number")
        known: list[dict[str, list[int]]] = [{} for _ in self.features]
        return np.array([self.head.value(*self._weighed(source, known)) for source in sources])

    def _weighed(self, source: str, known: list[dict[str, list[int]]]) -> tuple[np.ndarray, np.ndarray]:
        """Columns that are not 0, and their values."""
        source = source.lower()
        blocks, offset = [], 0
        for block, words in zip(self.features, known, strict=True):
            blocks.append(np.fromiter(block.columns_of(source, words), np.int64) + offset)
            offset += block.columns
        columns, counts = np.unique(np.concatenate(blocks), return_counts=True)
        values = (1 + np.log(counts.astype(np.float32))) * self.idf[columns]
        length = float(np.sqrt(np.square(values).sum()))
        return columns, values / length if length else values

    def save(self, path: Path) -> int:
        """Write the file, the same bytes for the same arrays; returns its size in bytes."""
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays_of(self.head).items()}
        about = {
            "head": type(self.head).__name__.lower(), "features": [asdict(block) for block in self.features]
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({**arrays, "idf": self.idf}, path, {"topics": json.dumps(about)})
        return path.stat().st_size

    @classmethod
    def load(cls, path: Path) -> TextModel:
        """Raises ValueError with the reason when the file is not whole, or anything but these arrays."""
        try:
            with safe_open(path, "numpy") as file:
                about = json.loads((file.metadata() or {})["topics"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
            features = tuple(Features(**block) for block in about["features"])
            idf = arrays.pop("idf")
            head = {"linear": Linear, "forest": Forest, "regression": Regression}[about["head"]](**arrays)
        except SafetensorError as error:
            raise ValueError(f"no safetensors file, or damaged ({error})") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no text model of this project ({type(error).__name__}: {error})") from None
        for name, array in (*arrays.items(), ("idf", idf)):
            wanted = np.dtype(_KINDS.get(name, np.int32))
            if array.dtype != wanted:
                raise ValueError(f"{name} is {array.dtype}, not {wanted}")
        columns = sum(block.columns for block in features)
        if idf.shape != (columns,) or not np.isfinite(idf).all():
            raise ValueError(f"idf {idf.shape} for {columns} columns")
        head.check(columns)
        return cls(features, idf, head)
