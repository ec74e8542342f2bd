"""The exported classifier beside scikit-learn's own, and files that are not what training writes."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from t5sum.classify.candidates import _trees, predict, train_candidates
from t5sum.config import ClassifyTask
from t5sum.served.classifier import LEAF, Features, Forest, Linear, TextModel

WORDS = [
    "матч", "гол", "тренер", "рубль", "банк", "завод", "театр", "музей", "опера", "«Енисей»", "ёлка", "12",
    "345", "и", "в", "на", "Team-2", "д.", "р.",
]  # fmt: skip
ODD = [
    "", " ", "а", "аб", "абв", "слово", "два\tслова", "а" * 2000, "да " * 200, "市议会周二通过了新的预算",
    "Гол! И 1:0, а потом 12 345 — «Енисей-2» и д. р.", "ТАСС сообщает: матч_дня, ёлка", "🙂🙃 🚀" * 9,
    "İstanbul Straße ΣΊΣΥΦΟΣ", "a\u0301 b\u200bc \x00 d\u00a0e\u2028f",
]  # fmt: skip


def invented(count: int, topics: int) -> tuple[list[str], np.ndarray]:
    """Texts of drawn words, in which a topic's own words stand more often."""
    chance = np.random.default_rng(5)
    labels = np.arange(count) % topics
    texts = []
    for label in labels:
        likely = np.ones(len(WORDS))
        likely[3 * label : 3 * label + 3] = 4
        texts.append(" ".join(chance.choice(WORDS, 40, p=likely / likely.sum())))
    return texts, labels


@pytest.fixture(
    scope="module", params=[("logistic", 5), ("logistic", 2), ("forest", 4), ("forest", 2)], ids=str
)
def candidate(request):
    name, topics = request.param
    texts, labels = invented(240, topics)
    settings = ClassifyTask(source="{text}", target="rubric", min_rows=5, hash_bits=12, forest_rows=240)
    made = train_candidates(
        (texts[:200], labels[:200]), (texts[200:], labels[200:]), topics, settings,
        lambda true, said: float((said.argmax(axis=1) == true).mean()), lambda candidate: None,
    )  # fmt: skip
    return next(each for each in made if each.name == name), topics, texts[200:], labels[200:]


def test_the_arrays_say_what_scikit_learn_says(candidate, tmp_path: Path) -> None:
    made, topics, texts, labels = candidate
    size = made.arrays.save(tmp_path / "topics.safetensors")
    assert size == (tmp_path / "topics.safetensors").stat().st_size
    loaded = TextModel.load(tmp_path / "topics.safetensors")
    assert loaded.topics == topics
    expected = predict(made.pipeline, [*texts, *ODD], topics)
    found = loaded.predict_proba([*texts, *ODD])
    assert np.abs(found - expected).max() < 1e-5
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (found[: len(texts)].argmax(axis=1) == labels).mean() > 0.8


def test_texts_are_asked_one_by_one_or_together_alike(candidate) -> None:
    made, _, texts, _ = candidate
    together = made.arrays.predict_proba(texts)
    assert (np.concatenate([made.arrays.predict_proba([text]) for text in texts]) == together).all()


def test_the_same_classifier_is_the_same_file(candidate, tmp_path: Path) -> None:
    made, *_ = candidate
    for name in ("a", "b"):
        made.arrays.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(st.text(st.characters(codec="utf-8"), max_size=120))
@settings(max_examples=300, deadline=None)
def test_every_text_has_the_columns_that_scikit_learn_gives_it(text: str) -> None:
    for block in (Features("words", 1, 2, 10), Features("letters", 4, 5, 10), Features("letters", 1, 3, 3)):
        analyzer = {"words": "word", "letters": "char_wb"}[block.of]
        vectorizer = HashingVectorizer(
            n_features=block.columns, norm=None, alternate_sign=False, analyzer=analyzer,
            ngram_range=(block.shortest, block.longest),
        )  # fmt: skip
        expected = vectorizer.transform([text]).toarray()[0]
        found = np.bincount(list(block.columns_of(text.lower(), {})), minlength=block.columns)
        assert (found == expected).all()


def test_a_threshold_between_two_numbers_keeps_its_side_in_float32() -> None:
    """scikit-learn compares a float32 with a float64 half-way; rounded up it would be the greater one."""
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    x = np.array([[low], [high]] * 20)
    forest = RandomForestClassifier(3, random_state=1).fit(x, [0, 1] * 20)
    trees = _trees(forest)
    column = np.array([0])
    for value, row in ((low, 0), (high, 1)):
        found = trees.probabilities(column, np.array([value], np.float32))
        assert found == pytest.approx(forest.predict_proba(x[row : row + 1])[0])


LINEAR = TextModel(
    (Features("words", 1, 1, 3),), np.ones(8, np.float32),
    Linear(np.ones((8, 3), np.float16), np.zeros(3, np.float32)),
)  # fmt: skip
FOREST = TextModel(
    (Features("words", 1, 1, 3),), np.ones(8, np.float32),
    Forest(
        roots=np.array([0], np.int32), feature=np.array([2, LEAF, LEAF], np.int32),
        threshold=np.array([0.5, 0, 0], np.float32), otherwise=np.array([2, 0, 1], np.int32),
        first=np.array([0, 1, 2], np.int32), topic=np.array([0, 1], np.int32), share=np.ones(2, np.float32),
    ),
)  # fmt: skip


def numbers(kind: type, *values: float) -> np.ndarray:
    return np.array(values, kind)


@pytest.mark.parametrize(
    ("whole", "change", "words"),
    [
        (LINEAR, {"weights": np.ones((8, 2), np.float16)}, r"weights \(8, 2\), bias \(3,\), 8 columns"),
        (LINEAR, {"weights": np.ones((7, 3), np.float16)}, r"weights \(7, 3\)"),
        (LINEAR, {"weights": np.full((8, 3), np.nan, np.float16)}, "not all numbers"),
        (LINEAR, {"bias": numbers(np.float32)}, "bias"),
        (LINEAR, {"bias": np.zeros(3)}, "bias is float64, not float32"),
        (LINEAR, {"weights": np.ones((8, 3), np.float32)}, "weights is float32, not float16"),
        (LINEAR, {"idf": np.ones(9, np.float32)}, r"idf \(9,\) for 8 columns"),
        (LINEAR, {"idf": np.full(8, np.inf, np.float32)}, "idf"),
        (LINEAR, {"more": np.ones(1, np.float32)}, "no text model"),
        (FOREST, {"otherwise": numbers(np.int32, 0, 0, 1)}, "do not hang together"),  # walks in a circle
        (FOREST, {"otherwise": numbers(np.int32, 3, 0, 1)}, "do not hang together"),  # out of the trees
        (
            FOREST,
            {"otherwise": numbers(np.int32, 2, 0, 2)},
            "do not hang together",
        ),  # a leaf that is not there
        (FOREST, {"feature": numbers(np.int32, 8, LEAF, LEAF)}, "do not hang together"),
        (FOREST, {"feature": numbers(np.int32, 2, LEAF, 0)}, "do not hang together"),
        (FOREST, {"feature": numbers(np.int32, 2, LEAF)}, "do not hang together"),
        (FOREST, {"roots": numbers(np.int32, 3)}, "do not hang together"),
        (FOREST, {"roots": numbers(np.int32)}, "do not hang together"),
        (FOREST, {"first": numbers(np.int32, 0, 1, 9)}, "do not hang together"),
        (FOREST, {"first": numbers(np.int32, 0, 0, 2)}, "do not hang together"),
        (FOREST, {"topic": numbers(np.int32, 0, 10**9)}, "do not hang together"),
        (FOREST, {"topic": numbers(np.int32, 0, -1)}, "do not hang together"),
        (FOREST, {"share": numbers(np.float32, 1, np.nan)}, "do not hang together"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(whole, change, words: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.safetensors"
    whole.save(path)
    assert TextModel.load(path).topics == whole.topics, "the rest of the file is good"
    about = whole_metadata(path)
    save_file(load_file(path) | change, path, {"topics": json.dumps(about)})
    with pytest.raises(ValueError, match=words):
        TextModel.load(path)


def whole_metadata(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["topics"])


def said(**feature: object) -> str:
    whole = {"of": "words", "shortest": 1, "longest": 1, "bits": 3}
    return json.dumps({"head": "linear", "features": [whole | feature]})


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (None, "no text model"),
        ("no json", "Expecting value"),
        ("[]", "no text model"),
        (json.dumps({"head": "svm", "features": []}), "no text model"),
        (json.dumps({"head": "linear", "features": [{"of": "words"}]}), "no text model"),
        (json.dumps({"head": "linear", "features": []}), "idf"),
        (said(of="files"), "unknown features"),
        (said(shortest=1.5, longest=2), "unknown features"),
        (said(bits=True), "unknown features"),
        (said(bits=60), "out of range"),
        (said(longest=10**9), "out of range"),
        (said(shortest=2), "out of range"),
    ],
)
def test_a_file_that_says_something_else_is_refused(about: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.safetensors"
    LINEAR.save(path)
    save_file(load_file(path), path, {"topics": about} if about is not None else None)
    with pytest.raises(ValueError, match=words):
        TextModel.load(path)


@pytest.mark.parametrize("kind", ["empty", "short", "no file of its kind", "a bit changed in its head"])
def test_a_damaged_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.safetensors"
    LINEAR.save(path)
    whole = path.read_bytes()
    path.write_bytes({
        "empty": b"", "short": whole[:-1], "no file of its kind": zlib.compress(whole),
        "a bit changed in its head": whole[:8] + bytes([whole[8] ^ 1]) + whole[9:],
    }[kind])  # fmt: skip
    with pytest.raises(ValueError, match="no safetensors file, or damaged"):
        TextModel.load(path)


def test_features_of_one_kind_may_stand_twice() -> None:
    """Each block has columns of its own."""
    block = Features("words", 1, 1, 3)
    once = LINEAR.predict_proba(["матч гол"])
    weights = np.concatenate([LINEAR.head.weights, np.zeros((8, 3), np.float16)])
    twice = replace(LINEAR, features=(block, block), idf=np.ones(16, np.float32),
                    head=Linear(weights, LINEAR.head.bias))  # fmt: skip
    assert twice.predict_proba(["матч гол"]).shape == once.shape
    assert (np.unique(twice._weighed("матч гол", [{}, {}])[0]) >= 8).sum() == 2
