"""Metrics of labels and of numbers, as columns per row whose means give the score of any resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

MACRO_F1, ACCURACY = "macro-F1", "accuracy"


def accuracy_columns(true: Sequence[str], predicted: Sequence[str]) -> np.ndarray:
    """(rows, 1): 100 if the label is right, else 0."""
    return np.array([[100.0 * (a == b)] for a, b in zip(true, predicted, strict=True)])


def macro_f1_columns(true: Sequence[str], predicted: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(rows, 3 per label): rightly predicted, predicted, true."""
    of_true, of_predicted = (
        np.array([[value == name for name in names] for value in values], float).reshape(-1, len(names))
        for values in (true, predicted)
    )
    return np.concatenate([of_true * of_predicted, of_predicted, of_true], axis=1)


def macro_f1_of(means: np.ndarray) -> np.ndarray:
    """Macro-F1, 0 to 100, over the labels that are true or predicted somewhere; as in scikit-learn."""
    right, predicted, true = np.split(means, 3, axis=-1)
    both = predicted + true
    f1 = np.where(both > 0, 2 * right / np.where(both > 0, both, 1), 0)
    return 100 * f1.sum(-1) / (both > 0).sum(-1).clip(1)


def error_columns(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(rows, 4): absolute error, squared error, true value, its square."""
    error = predicted - true
    return np.stack([np.abs(error), error**2, true, true**2], axis=1)


def r2_of(means: np.ndarray) -> np.ndarray:
    """The share of the variance that is explained; 0 if the true values are all the same."""
    variance = means[..., 3] - means[..., 2] ** 2
    known = variance > 1e-12
    return np.where(known, 1 - means[..., 1] / np.where(known, variance, 1), 0)


# Metric → heading and formula. Of errors less is better.
ERRORS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "mae": ("MAE", lambda means: means[..., 0]),
    "rmse": ("RMSE", lambda means: np.sqrt(means[..., 1])),
    "r2": ("R²", r2_of),
}
