"""The topic classifier: a scikit-learn pipeline out of a skops file, loaded without pickle."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn.exceptions
import sklearn.utils

from .errors import ModelRefused
from .text import normalise

# skops asks for every estimator there is, to trust them all: that imports the whole of scikit-learn, two more
# seconds of each start. Here the trusted types are named below, so its question gets an empty answer.
_all_estimators = sklearn.utils.all_estimators
sklearn.utils.all_estimators = lambda *args, **kwargs: []
try:
    from skops.io import load as skops_load
    from skops.io.exceptions import UntrustedTypesFoundException
finally:
    sklearn.utils.all_estimators = _all_estimators

# The only types a model file may hold. Anything else in it is refused before a single object is built.
_TRUSTED_MODULES = (
    "sklearn.pipeline", "sklearn.feature_extraction", "sklearn.preprocessing", "sklearn.linear_model",
    "sklearn.svm", "sklearn.naive_bayes", "sklearn.calibration", "sklearn.isotonic", "sklearn.tree",
    "sklearn.ensemble._forest", "sklearn.feature_selection", "sklearn.dummy", "sklearn.frozen", "numpy",
    "scipy.sparse",
)  # fmt: skip
_TRUSTED_BUILTINS = {"int", "float", "str", "bool", "list", "tuple", "dict", "set", "slice", "bytes"}
# The one trusted type that exists to call a function named in the file, and the kinds of skops nodes that
# hold plain data: functions, methods and partials, even numpy's (numpy.load opens files), are none of them.
_REFUSED = {"sklearn.preprocessing._function_transformer.FunctionTransformer"}
_TRUSTED_NODES = {
    "ObjectNode", "TreeNode", "NdArrayNode", "MaskedArrayNode", "SparseMatrixNode", "DTypeNode", "TypeNode",
    "RandomStateNode", "RandomGeneratorNode", "DictNode", "DefaultDictNode", "ListNode", "TupleNode",
    "SetNode", "SliceNode", "JsonNode", "BytesNode",
}  # fmt: skip

# What scikit-learn's vectorizers take for a word.
_WORD = re.compile(r"\b\w\w+\b")


@dataclass(frozen=True)
class Score:
    topic: str
    name: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of the text and how much it spoke for the answer (the classifier's own units)."""

    word: str
    weight: float


@dataclass(frozen=True)
class TopicAnswer:
    """`topic` is None for a text too short (`reason` "too_short") or without a clear topic ("unsure").

    `read` is how many characters of the text decided: what comes after them was not looked at. `words` is
    how many words of two characters and more stand in them.
    """

    topic: str | None
    name: str | None
    scores: list[Score]
    reason: str | None
    explain: list[Word] | None
    read: int
    words: int


class TopicClassifier:
    """Topics of news texts with calibrated scores."""

    def __init__(self, folder: Path, settings: dict):
        self._labels: list[tuple[str, str]] = [
            (label["topic"], label["name"]) for label in settings["labels"]
        ]
        self._threshold: float = settings["threshold"]
        self._max_chars: int = settings["max_chars"]
        self._min_chars: int = settings["min_chars"]
        self._title_repeat: int = settings["title_repeat"]
        try:
            self._masks = [re.compile(pattern) for pattern in settings["mask"]]
        except re.error as error:
            raise ModelRefused(f"tasks.json topic.mask holds a bad regular expression: {error}") from None
        if _minor(settings["sklearn"]) != _minor(sklearn.__version__):
            raise ModelRefused(
                f"the topic model was made by scikit-learn {settings['sklearn']}, here is "
                f"{sklearn.__version__}: train again, or install the same minor version"
            )
        self._pipeline = _load(folder / settings["path"])
        columns = len(getattr(self._pipeline, "classes_", ()))
        if columns != len(self._labels):
            raise ModelRefused(f"the topic model has {columns} classes, tasks.json names {len(self._labels)}")

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Every topic with its Russian name."""
        return list(self._labels)

    def detect(self, text: str, title: str = "", explain: bool = False) -> TopicAnswer:
        """The topic of `text`, scores of all topics best first, and with `explain` the words that decided."""
        source = self.source(text, title)
        read = normalise(text)[: self._max_chars]
        row = self._probabilities([source])[0]
        order = np.argsort(-row, kind="stable")
        scores = [Score(*self._labels[i], round(float(row[i]), 4)) for i in order]
        letters = sum(character.isalpha() for character in title + text)
        reason = None
        if letters < self._min_chars:
            reason = "too_short"
        elif float(row[order[0]]) < self._threshold:
            reason = "unsure"
        return TopicAnswer(
            topic=None if reason else scores[0].topic,
            name=None if reason else scores[0].name,
            scores=scores,
            reason=reason,
            explain=self._explain(source, int(order[0])) if explain else None,
            read=len(read),
            words=len(_WORD.findall(read)),
        )

    def source(self, text: str, title: str = "") -> str:
        """The string the pipeline reads, as tasks.json defines it."""
        head = normalise(title)
        source = f"{head}\n" * self._title_repeat if head else ""
        source += normalise(text)[: self._max_chars]
        for mask in self._masks:
            source = mask.sub(" ", source)
        return source

    def _probabilities(self, sources: list[str]) -> np.ndarray:
        """(sources, topics). The checks of scikit-learn's own arguments would take a quarter of the time."""
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            return np.asarray(self._pipeline.predict_proba(sources), dtype=float)

    def _explain(self, source: str, label: int, count: int = 8) -> list[Word]:
        """The words whose removal lowers the answer's log-odds most. Works for every kind of pipeline.

        Every distinct word (at most 300, longest first out) is removed everywhere in turn, all in one
        predict_proba call, so this costs about as many detections as the text has words.
        """
        words = list(dict.fromkeys(re.findall(r"[^\W\d_]{3,}", source)))
        if len(words) > 300:
            words = sorted(words, key=len, reverse=True)[:300]
        if not words:
            return []
        without = [re.sub(rf"\b{re.escape(word)}\b", " ", source) for word in words]
        rows = self._probabilities([source, *without])
        # The other topics are added up, not taken as 1 - p: a sure model says 1.0 with and without the word.
        others = np.delete(rows, label, axis=1).sum(axis=1)
        odds = np.log(np.maximum(rows[:, label], 1e-300)) - np.log(np.maximum(others, 1e-300))
        drops = odds[0] - odds[1:]
        best = [i for i in np.argsort(-drops, kind="stable")[:count] if drops[i] > 0]
        return [Word(words[i], round(float(drops[i]), 4)) for i in best]


def _load(path: Path) -> object:
    if path.suffix != ".skops":
        raise ModelRefused(f"{path.name} is refused: topic models are .skops files, pickles are never loaded")
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise ModelRefused(f"{path.name} is damaged or no skops file (a pickle?): refused") from None
    nodes = _nodes(schema)
    refused = sorted({name for name, node in nodes if not _trusted(name) or node not in _TRUSTED_NODES})
    if refused:
        raise ModelRefused(f"{path.name} holds types that are not allowed: {', '.join(refused)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sklearn.exceptions.InconsistentVersionWarning)
            pipeline = skops_load(path, trusted=sorted({name for name, _ in nodes}))
    except UntrustedTypesFoundException as error:
        raise ModelRefused(f"{path.name} holds types that are not allowed: {error}") from None
    except sklearn.exceptions.InconsistentVersionWarning as warning:
        raise ModelRefused(f"{path.name}: {warning}") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ImportError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
    ) as error:
        raise ModelRefused(f"{path.name} cannot be loaded: {type(error).__name__}: {error}") from None
    if not hasattr(pipeline, "predict_proba"):
        raise ModelRefused(f"{path.name} holds no classifier with probabilities")
    return pipeline


def _nodes(node: object) -> set[tuple[str, str]]:
    """Every type a skops schema names, at any depth, with the kind of node that would build it."""
    found: set[tuple[str, str]] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__loader__" in node:
                found.add((f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__"))))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return found


def _trusted(name: str) -> bool:
    if name in _REFUSED:
        return False
    module, _, kind = name.rpartition(".")
    if module == "builtins":
        return kind in _TRUSTED_BUILTINS
    return any(module == trusted or module.startswith(f"{trusted}.") for trusted in _TRUSTED_MODULES)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
