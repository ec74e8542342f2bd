"""How sure a difference between two systems is: resampling over articles.

The articles of a test split are a sample of the news that will come. Drawing them again, with replacement,
shows how far a mean would move with other articles (Koehn 2004, "Statistical significance tests for machine
translation evaluation"). Both systems are always drawn together: the same articles count for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

# Below this many articles the percentile interval is far too narrow to be believed, whatever it says.
FEWEST_ARTICLES = 10
CELLS_AT_ONCE = 2_000_000  # 16 MB of indices


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds that hold it, all in the metric's own points."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Difference(Interval):
    """Mean of (a - b) over the same articles; verdict: "better", "worse" or "cannot tell"."""

    verdict: str

    def reversed(self) -> Difference:
        """The same numbers of a metric of which less is better."""
        turned = {"better": "worse", "worse": "better"}
        return replace(self, verdict=turned.get(self.verdict, self.verdict))


def weights(articles: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of resamples, (some, articles): rows of shares of each article, `samples` rows in all."""
    if articles < 1:
        raise ValueError("there is no article to resample")
    random = np.random.default_rng(seed)
    block = max(1, min(samples, CELLS_AT_ONCE // articles))
    left = samples
    while left:
        rows = min(block, left)
        left -= rows
        drawn = random.integers(0, articles, (rows, articles))
        drawn += np.arange(rows)[:, None] * articles
        counts = np.bincount(drawn.ravel(), minlength=rows * articles)
        yield counts.reshape(rows, articles) / articles


def resampled_means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of the columns of `values`, (articles, columns), over every resample: (samples, columns)."""
    return np.concatenate([block @ values for block in weights(len(values), samples, seed)])


def bounds(means: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central `confidence` share of resampled means."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def compare(
    a: np.ndarray, b: np.ndarray, samples: int = 1000, confidence: float = 0.95, seed: int = 42,
    of: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Difference:  # fmt: skip
    """Judge system a against b from their scores on the same articles, in the same order.

    a, b: one score per article; or, with `of`, columns whose means it turns into a score, (..., columns) →
    (...). "better" or "worse" only when the whole interval lies on one side of zero and there are enough
    articles. Raises ValueError when the two do not cover the same number of articles.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != (1 if of is None else 2):
        raise ValueError(f"scores of the same articles are needed: got {a.shape} and {b.shape}")
    if of is None:
        a, b, of = a[:, None], b[:, None], lambda means: means[..., 0]
    means = resampled_means(np.concatenate([a, b], axis=1), samples, seed)
    cut = a.shape[1]
    low, high = bounds(of(means[:, :cut]) - of(means[:, cut:]), confidence)
    return Difference(float(of(a.mean(0)) - of(b.mean(0))), low, high, verdict(low, high, len(a)))


def verdict(low: float, high: float, articles: int) -> str:
    """In words, what an interval of a difference says."""
    if articles < FEWEST_ARTICLES or low <= 0 <= high:
        return "cannot tell"
    return "better" if low > 0 else "worse"
