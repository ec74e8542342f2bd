"""The classifiers that compete for a task: majority, logistic regression, random forest.

Each is a scikit-learn pipeline from strings to probabilities. Those that learn something exist as plain
arrays too, which are exported. Training asks for thousands of texts at once: scikit-learn is faster at that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t5sum.classify.features import CHUNK, blocks_of, count, counter
from t5sum.config import ClassifyTask
from t5sum.served.classifier import LEAF, Features, Forest, Linear, TextModel

SURELY_NOT = -3.0  # margin of a class that a model has seen no row of
STRENGTHS = (4.0, 8.0)  # the grid of C, in scikit-learn's meaning
PRIOR = 3.0  # weight of the penalty on a class's bias in calibration, in rows


@dataclass
class Candidate:
    """A trained pipeline, and what it said about rows that it was not trained on."""

    name: str
    settings: dict[str, Any]
    pipeline: Any
    train_seconds: float
    validation: np.ndarray  # (validation rows, classes), probabilities
    # The rows that the threshold is chosen on, (rows, classes) and (rows,).
    unseen: np.ndarray
    unseen_labels: np.ndarray
    arrays: TextModel | None = None  # what would be exported


def train_candidates(
    train: tuple[Sequence[str], np.ndarray],
    validation: tuple[Sequence[str], np.ndarray],
    classes: int,
    settings: ClassifyTask,
    score: Callable[[np.ndarray, np.ndarray], float],
    done: Callable[[Candidate], None],
) -> list[Candidate]:
    """Every candidate, trained. `train` and `validation` are sources and label numbers, oldest first.

    classes: how many labels there are. score: (labels, probabilities) → the figure that decides which
    strength is kept. done: called after each candidate.
    """
    made = []
    for make in (_majority, _logistic, _forest):
        if make is _forest and not settings.forest_rows:
            continue
        made.append(make(train, validation, classes, settings, score))
        done(made[-1])
    return made


def macro_f1_without_tuning(
    train: tuple[Sequence[str], np.ndarray], test: tuple[Sequence[str], np.ndarray], classes: int,
    settings: ClassifyTask, score: Callable[[np.ndarray, np.ndarray], float],
) -> float:  # fmt: skip
    """The figure of one logistic regression on these rows, for comparing sources."""
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = counter(*blocks_of(settings.hash_bits))
    weigh = TfidfTransformer(sublinear_tf=True)
    x = weigh.fit_transform(count(counts, train[0]))
    model = _fit_logistic(x, train[1], STRENGTHS[-1], settings.seed)
    margins = _margins(model, weigh.transform(count(counts, test[0])), classes)
    return score(test[1], probabilities_of(margins))


def predict(pipeline: Any, sources: Sequence[str], classes: int) -> np.ndarray:
    """(rows, classes) probabilities; a pipeline that never saw a class gives it 0."""
    result = np.zeros((len(sources), classes))
    for start in range(0, len(sources), CHUNK):
        block = slice(start, start + CHUNK)
        result[block, pipeline.classes_] = pipeline.predict_proba(list(sources[block]))
    return result


def _majority(train: Any, validation: Any, classes: int, settings: ClassifyTask, score: Any) -> Candidate:
    from sklearn.dummy import DummyClassifier
    from sklearn.pipeline import make_pipeline

    began = time.monotonic()
    # A dummy learns from the labels alone, so the rows it is shown are empty.
    model = DummyClassifier(strategy="prior").fit(np.zeros((len(train[1]), 1)), train[1])
    pipeline = make_pipeline(counter(Features("words", 1, 1, 8)), model)
    model.n_features_in_ = 2**8
    seconds = time.monotonic() - began
    said = predict(pipeline, validation[0], classes)
    return Candidate("majority", {}, pipeline, seconds, said, said, validation[1])


def _forest(train: Any, validation: Any, classes: int, settings: ClassifyTask, score: Any) -> Candidate:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import make_pipeline

    began = time.monotonic()
    newest = slice(-settings.forest_rows, None)
    blocks = (Features("words", 1, 1, 15),)
    words = make_pipeline(counter(*blocks), TfidfTransformer(sublinear_tf=True))
    x, x_validation = words.fit_transform(train[0][newest]), words.transform(validation[0])
    best, said = None, None
    for leaf in (1, 3):
        forest = RandomForestClassifier(
            100, min_samples_leaf=leaf, max_depth=60, class_weight="balanced_subsample",
            random_state=settings.seed, n_jobs=os.cpu_count(),
        ).fit(x, train[1][newest])  # fmt: skip
        forest.n_jobs = None  # it answers one text at a time
        probabilities = np.zeros((x_validation.shape[0], classes))
        probabilities[:, forest.classes_] = forest.predict_proba(x_validation)
        if said is None or score(validation[1], probabilities) > score(validation[1], said):
            best, said = forest, probabilities
    how = {"trees": 100, "min_samples_leaf": best.min_samples_leaf, "rows": x.shape[0]}
    seconds = time.monotonic() - began
    arrays = TextModel(blocks, words[-1].idf_.astype(np.float32), _trees(best))
    return Candidate("forest", how, make_pipeline(words, best), seconds, said, said, validation[1], arrays)


def _trees(forest: Any) -> Forest:
    """A fitted RandomForestClassifier as arrays."""
    roots, nodes, leaves, shares = [], [], [], []
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        offset, leaf = sum(map(len, (part[0] for part in nodes))), tree.children_left < 0
        assert (tree.children_left[~leaf] == np.flatnonzero(~leaf) + 1).all(), "not grown depth first"
        number = np.cumsum(leaf) - 1 + sum(map(len, leaves))
        roots.append(offset)
        # Rounded down, so that no float32 changes its side.
        threshold = tree.threshold.astype(np.float32)
        threshold = np.where(
            threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold
        )
        nodes.append((
            np.where(leaf, LEAF, tree.feature), np.where(leaf, 0, threshold),
            np.where(leaf, number, tree.children_right + offset),
        ))  # fmt: skip
        values = tree.value[leaf, 0, :]
        values = values / values.sum(axis=1, keepdims=True)
        leaves.append((values > 0).sum(axis=1))
        row, column = np.nonzero(values)
        shares.append((forest.classes_[column], values[row, column]))
    feature, threshold, otherwise = (np.concatenate(part) for part in zip(*nodes, strict=True))
    topic, share = (np.concatenate(part) for part in zip(*shares, strict=True))
    return Forest(
        roots=np.array(roots, np.int32), feature=feature.astype(np.int32),
        threshold=threshold.astype(np.float32), otherwise=otherwise.astype(np.int32),
        first=np.concatenate([[0], np.cumsum(np.concatenate(leaves))]).astype(np.int32),
        topic=topic.astype(np.int32), share=share.astype(np.float32),
    )  # fmt: skip


def _logistic(train: Any, validation: Any, classes: int, settings: ClassifyTask, score: Any) -> Candidate:
    """Logistic regressions, one class against the rest, calibrated on what older rows say about newer ones.

    The margins of the validation rows come from the model that is exported. Those of the newest quarter of
    the training rows come from a model that saw only the older three. Both together make the calibration
    humbler when the news drift, and the threshold steadier.
    """
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import make_pipeline

    began = time.monotonic()
    counts = counter(*blocks_of(settings.hash_bits))
    x, labels = count(counts, train[0]), train[1]
    weigh = TfidfTransformer(sublinear_tf=True).fit(x)
    x = weigh.transform(x, copy=False)
    x_validation = weigh.transform(count(counts, validation[0]), copy=False)

    cut = len(labels) * 3 // 4
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        model = _fit_logistic(x, labels, strength, settings.seed)
        margins = _margins(model, x_validation, classes)
        slope, bias = calibrate(margins, validation[1])
        reached = score(validation[1], probabilities_of(slope * margins + bias))
        if best is None or reached > best[0]:
            best = (reached, (strength, model, margins))
    strength, model, margins = best[1]
    unseen, unseen_labels = margins, validation[1]
    if len(set(labels[:cut])) > 1:
        older = _fit_logistic(x[:cut], labels[:cut], strength, settings.seed)
        unseen = np.concatenate([_margins(older, x[cut:], classes), margins])
        unseen_labels = np.concatenate([labels[cut:], validation[1]])
    slope, bias = calibrate(unseen, unseen_labels)
    calibrated = _calibrated(model, slope, bias, classes)
    arrays = TextModel(
        blocks_of(settings.hash_bits), weigh.idf_.astype(np.float32),
        Linear(calibrated.coef_.T.astype(np.float16), calibrated.intercept_),
    )  # fmt: skip
    return Candidate(
        "logistic", {"C": strength, "class_weight": "balanced"}, make_pipeline(counts, weigh, calibrated),
        time.monotonic() - began, probabilities_of(slope * margins + bias),
        probabilities_of(slope * unseen + bias), unseen_labels, arrays,
    )  # fmt: skip


def _fit_logistic(x: Any, labels: np.ndarray, strength: float, seed: int) -> Any:
    """Averaged stochastic gradient descent: as good as LogisticRegression here, at a tenth of its time."""
    from sklearn.linear_model import SGDClassifier

    rows = len(labels)
    return SGDClassifier(
        loss="log_loss", alpha=1 / (strength * rows), average=True, max_iter=max(5, min(100, 50_000 // rows)),
        tol=None, class_weight="balanced", random_state=seed, n_jobs=os.cpu_count(),
    ).fit(x, labels)  # fmt: skip


def _margins(model: Any, x: Any, classes: int) -> np.ndarray:
    """(rows, classes); one column for two classes, positive for the second."""
    margins = model.decision_function(x)
    if margins.ndim == 1 and classes == 2:
        return margins[:, None]
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], axis=1)
    result = np.full((len(margins), classes), SURELY_NOT)
    result[:, model.classes_] = margins
    return result


def probabilities_of(margins: np.ndarray) -> np.ndarray:
    """(rows, classes): each class's sigmoid, made to sum to 1, as SGDClassifier.predict_proba does it."""
    from scipy.special import expit

    if margins.shape[1] == 1:
        return np.hstack([expit(-margins), expit(margins)])
    each = expit(margins)
    return each / np.maximum(each.sum(axis=1, keepdims=True), 1e-300)


def calibrate(margins: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Slope and bias per column, so that probabilities_of(slope * margins + bias) are true shares.

    Platt scaling with one slope for all classes, the log loss of the normalised sigmoids minimised. A softmax
    of the same margins cannot be calibrated as well: one-against-rest margins are no logits of a softmax.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    rows, columns = margins.shape

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        bias = values[1:]
        z = np.exp(values[0]) * margins + bias
        if columns == 1:
            signs = (2 * labels - 1)[:, None]
            value, slopes = -log_expit(signs * z).mean(), (expit(z) - labels[:, None]) / rows
        else:
            each = expit(z)
            total = np.maximum(each.sum(axis=1), 1e-300)
            true = z[np.arange(rows), labels]
            value = float((np.log(total) - log_expit(true)).mean())
            slopes = each * (1 - each) / total[:, None]
            slopes[np.arange(rows), labels] -= 1 - expit(true)
            slopes /= rows
        off = bias - bias.mean() if columns > 1 else bias * 0  # all biases together are no preference
        value += PRIOR / rows * float((off**2).sum())
        gradient = np.r_[(slopes * (z - bias)).sum(), slopes.sum(axis=0) + 2 * PRIOR / rows * off]
        return value, gradient

    start = np.zeros(1 + columns)
    bounds = [(-4.0, 4.0)] + [(-10.0, 10.0)] * columns
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(found[0])), found[1:]


def _calibrated(model: Any, slope: float, bias: np.ndarray, classes: int) -> Any:
    """The same classifier with the calibration folded into its coefficients, and a row for every class."""
    from sklearn.linear_model import SGDClassifier

    coefficients, intercepts = model.coef_, model.intercept_
    if classes > 2:
        if len(model.classes_) == 2:
            coefficients = np.concatenate([-coefficients, coefficients])
            intercepts = np.concatenate([-intercepts, intercepts])
        all_coefficients = np.zeros((classes, coefficients.shape[1]))
        all_intercepts = np.full(classes, SURELY_NOT)
        all_coefficients[model.classes_], all_intercepts[model.classes_] = coefficients, intercepts
        coefficients, intercepts = all_coefficients, all_intercepts
    result = SGDClassifier(loss="log_loss")
    result.classes_ = np.arange(classes)
    # Rounded as they are exported, so that what is judged is what serves.
    result.coef_ = (slope * coefficients).astype(np.float16).astype(np.float32)
    result.intercept_ = (slope * intercepts + bias).astype(np.float32)
    result.n_features_in_ = coefficients.shape[1]
    return result
