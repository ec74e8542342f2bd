"""Rows with a number each → a ridge regression over hashed n-grams, as plain arrays in a safetensors file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from t5sum.classify.features import blocks_of, count, counter
from t5sum.classify.figures import latency
from t5sum.classify.train import FILE
from t5sum.config import RegressTask
from t5sum.data import Row
from t5sum.served.classifier import Regression, TextModel
from t5sum.sources import masked, number_of

ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # strengths of the penalty; the best on the validation rows is kept


def train(
    name: str,
    rows: dict[str, list[Row]],
    task: RegressTask,
    folder: Path,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train with each strength and export the one with the least mean absolute error on validation rows.

    rows: split → rows, newest first. Returns what tasks.json and the report say about it.
    """
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import Ridge

    newest = rows["train"][: task.max_rows]
    sources = {
        split: [masked(row, task.template, task.max_chars, task.mask) for row in part]
        for split, part in (("train", newest), ("validation", rows["validation"]))
    }
    y, y_validation = (
        np.array([number_of(row[task.target]) for row in part], float)
        for part in (newest, rows["validation"])
    )
    low = float(y.min()) if task.minimum is None else task.minimum
    high = float(y.max()) if task.maximum is None else task.maximum
    blocks = blocks_of(task.hash_bits)
    counts = counter(*blocks)
    weigh = TfidfTransformer(sublinear_tf=True)
    x = weigh.fit_transform(count(counts, sources["train"]))
    x_validation = weigh.transform(count(counts, sources["validation"]))
    errors: dict[float, float] = {}
    best: Any = None
    for alpha in ALPHAS:
        model = Ridge(alpha=alpha, solver="sparse_cg", random_state=task.seed).fit(x, y)
        said = np.clip(model.predict(x_validation), low, high)
        errors[alpha] = float(np.abs(said - y_validation).mean())
        if errors[alpha] == min(errors.values()):
            best = model
    arrays = TextModel(
        blocks, weigh.idf_.astype(np.float32),
        Regression(best.coef_.astype(np.float32), np.array([best.intercept_], np.float32)),
    )  # fmt: skip
    size = arrays.save(folder / FILE)
    say(
        f"{name}: ridge over {len(y)} rows, alpha {best.alpha:g}, validation error {min(errors.values()):.3g}"
    )
    return {
        "alpha": best.alpha,
        "alphas": {f"{alpha:g}": round(error, 4) for alpha, error in errors.items()},
        "mean": float(y.mean()),
        "minimum": low,
        "maximum": high,
        "rows": {"train": len(y), "validation": len(y_validation)},
        "size_mb": round(size / 1e6, 2),
        "latency_ms": round(latency(arrays.predict, sources["validation"]), 2),
    }
