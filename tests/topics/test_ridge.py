"""The regression: better than the mean, the same numbers from its arrays, within its bounds."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from t5sum.classify.ridge import ALPHAS, train
from t5sum.config import RegressTask
from t5sum.served.classifier import Regression, TextModel
from t5sum.sources import masked, number_of

TASK = RegressTask(source="[{title}. ]{text}", target="rating", hash_bits=14)
WORTH = {"ужасно": -3, "скучно": -2, "затянуто": -1, "неплохо": 1, "смешно": 2, "великолепно": 3}
FILLERS = ["серия", "герой", "сезон", "музыка", "сцена", "режиссёр", "актёры", "сюжет", "финал", "роль"]


def reviews(count: int, seed: int) -> list[dict]:
    """Reviews whose rating is the sum of what their words are worth, and a little noise."""
    pick = random.Random(seed)
    rows = []
    for number in range(count):
        said = [pick.choice(sorted(WORTH)) for _ in range(3)]
        words = said + [pick.choice(FILLERS) for _ in range(9)]
        pick.shuffle(words)
        rating = 5.5 + sum(WORTH[word] for word in said) / 2 + pick.gauss(0, 0.3)
        rows.append({"title": f"Отзыв {number}", "text": " ".join(words), "rating": round(rating, 1)})
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ridge")
    rows = {"train": reviews(400, 1), "validation": reviews(60, 2), "test": reviews(60, 3)}
    return rows, folder, train("rating", rows, TASK, folder, lambda text: None)


def source(row: dict) -> str:
    return masked(row, TASK.template, TASK.max_chars, TASK.mask)


def test_the_regression_is_far_better_than_the_mean(trained) -> None:
    rows, folder, found = trained
    true = np.array([row["rating"] for row in rows["test"]])
    said = TextModel.load(folder / "model.safetensors").predict([source(row) for row in rows["test"]])
    assert np.abs(said - true).mean() < 0.6 * np.abs(found["mean"] - true).mean()
    assert found["alpha"] in ALPHAS and found["alphas"][f"{found['alpha']:g}"] == min(
        found["alphas"].values()
    )


def test_the_arrays_say_what_scikit_learn_says(trained) -> None:
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import Ridge
    from t5sum.classify.features import blocks_of, count, counter

    rows, folder, found = trained
    texts = {split: [source(row) for row in part] for split, part in rows.items()}
    counts, weigh = counter(*blocks_of(TASK.hash_bits)), TfidfTransformer(sublinear_tf=True)
    x = weigh.fit_transform(count(counts, texts["train"]))
    y = [row["rating"] for row in rows["train"]]
    model = Ridge(alpha=found["alpha"], solver="sparse_cg", random_state=TASK.seed).fit(x, y)
    expected = model.predict(weigh.transform(count(counts, texts["test"])))
    loaded = TextModel.load(folder / "model.safetensors")
    assert isinstance(loaded.head, Regression)
    assert loaded.predict(texts["test"]) == pytest.approx(expected, abs=1e-4)
    assert loaded.predict(texts["test"][:1]) == pytest.approx(expected[:1], abs=1e-4)


def test_bounds_are_the_recipes_or_those_of_the_training_rows(trained, tmp_path: Path) -> None:
    rows, _, found = trained
    ratings = [row["rating"] for row in rows["train"]]
    assert (found["minimum"], found["maximum"]) == (min(ratings), max(ratings))
    bounded = train("rating", rows, replace(TASK, minimum=1, maximum=10), tmp_path, lambda text: None)
    assert (bounded["minimum"], bounded["maximum"]) == (1, 10)


def test_the_same_rows_give_the_same_file(trained, tmp_path: Path) -> None:
    rows, folder, _ = trained
    train("rating", rows, TASK, tmp_path, lambda text: None)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7.0), (7.5, 7.5), ("7,5", 7.5), (" 8 ", 8.0), (None, None), ("", None), ("восемь", None),
     (float("nan"), None), ("inf", None)],
)  # fmt: skip
def test_numbers_are_read_from_what_columns_hold(value, number) -> None:
    assert number_of(value) == number
