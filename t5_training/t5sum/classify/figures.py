"""What a classifier's probabilities are worth: scores, calibration, and the threshold of its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from t5sum.config import ClassifyTask


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Macro-F1 and accuracy, 0 to 100; None for no rows."""
    if not len(labels):
        return {"macro_f1": None, "accuracy": None}
    from sklearn.metrics import f1_score

    predicted = probabilities.argmax(axis=1)
    return {
        "macro_f1": round(100 * float(f1_score(labels, predicted, average="macro", zero_division=0)), 2),
        "accuracy": round(100 * float((predicted == labels).mean()), 2),
    }


def latency(ask: Callable[[list[str]], Any], sources: Sequence[str], most: int = 50) -> float:
    """Median milliseconds of processor time for one text at a time, asked as the API does."""
    times = []
    for source in list(sources)[:most]:
        began = time.thread_time()  # what else the machine does must not choose a model
        ask([source])
        times.append(time.thread_time() - began)
    return 1000 * float(np.median(times))


def choose(figures: Sequence[dict[str, Any]], complete: Sequence[bool], settings: ClassifyTask) -> int:
    """The best by validation macro-F1 among those fast and small enough; the fastest when none is.

    complete: whether a candidate knows every label; one that does not is never exported.
    """
    learned = [i for i, figure in enumerate(figures) if figure["name"] != "majority" and complete[i]]
    fit = [
        i for i in learned
        if figures[i]["latency_ms"] <= settings.latency_ms and figures[i]["size_mb"] <= settings.size_mb
    ]  # fmt: skip
    if not fit:
        return min(learned, key=lambda i: figures[i]["latency_ms"])
    return max(fit, key=lambda i: (figures[i]["validation"]["macro_f1"], -i))


def threshold(
    probabilities: np.ndarray, labels: np.ndarray, wanted: float, floor: float
) -> tuple[float, float, float]:
    """Lowest score from which on answers are precise enough; their precision; the share answered.

    If no threshold reaches it, the one of highest precision that still answers a tenth of the rows.
    Never below `floor`, what the classifier gives to texts about nothing.
    """
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-best, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(precision >= wanted)
    least = max(1, len(order) // 10) - 1
    last = (
        int(enough[-1]) if len(enough) and enough[-1] >= least else least + int(np.argmax(precision[least:]))
    )
    value = round(min(max(float(best[order[last]]), floor), 0.99), 4)
    answered = best >= value
    reached = float(right[answered].mean()) if answered.any() else 0.0
    return value, round(reached, 4), round(float(answered.mean()), 4)


def at_threshold(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float | None]:
    if not len(labels):
        return {"test_precision": None, "test_coverage": None}
    answered = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1) == labels
    return {
        "test_precision": round(float(right[answered].mean()), 4) if answered.any() else None,
        "test_coverage": round(float(answered.mean()), 4),
    }


def per_label(
    labels: np.ndarray, probabilities: np.ndarray, named: Sequence[dict[str, str]]
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each label. named: {"label", "name"} of each, in the columns' order."""
    from sklearn.metrics import precision_recall_fscore_support

    if not len(labels):
        return []
    precision, recall, f1, rows = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(named)), zero_division=0
    )
    return [
        {
            **each, "precision": round(100 * float(precision[i]), 1),
            "recall": round(100 * float(recall[i]), 1), "f1": round(100 * float(f1[i]), 1),
            "rows": int(rows[i]),
        }
        for i, each in enumerate(named)
    ]  # fmt: skip


def confusion(labels: np.ndarray, probabilities: np.ndarray, classes: int) -> list[list[int]]:
    """(classes, classes): a row per true label, a column per predicted one."""
    matrix = np.zeros((classes, classes), dtype=int)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    return matrix.tolist()


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Expected calibration error over equal-width bins of the best score, and the bins for a figure."""
    if not len(labels):
        return {"ece": None, "bins": []}
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    where = np.minimum((best * bins).astype(int), bins - 1)
    shown, error = [], 0.0
    for index in range(bins):
        inside = where == index
        if inside.any():
            score, share = float(best[inside].mean()), float(right[inside].mean())
            error += inside.mean() * abs(score - share)
            shown.append({"score": round(score, 4), "right": round(share, 4), "rows": int(inside.sum())})
    return {"ece": round(float(error), 4), "bins": shown}
