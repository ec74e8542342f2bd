"""Topic classifiers from the rubrics: several are trained on the same rows, the best is exported.

Rows in, plain arrays in a safetensors file out (no pickle), with the settings that the API needs to serve
them and a report of every candidate. scikit-learn loads only when training starts.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from t5sum import StageError
from t5sum.classify.candidates import Candidate, macro_f1_without_tuning, predict, train_candidates
from t5sum.progress import Progress
from t5sum.served.text import normalise

MAP = Path(__file__).with_name("topics.yaml")
# Texts that are about nothing the classifier knows. Whatever it scores them is no evidence, so the threshold
# stands above it.
PROBES = [
    "",
    "0123456789 42 17",
    "lorem ipsum dolor sit amet consectetur adipiscing elit",
    "аааааа ббббб ввв",
    "for word in open(path).read().split(): found[word] = found.get(word, 0) + 1",
    "The council approved a new budget on Tuesday, with more money for schools and roads, officials said.",
    "Der Stadtrat hat am Dienstag den neuen Haushalt mit mehr Geld für Schulen und Straßen beschlossen.",
    "Le conseil municipal a adopté mardi un nouveau budget, avec plus d'argent pour les écoles.",
    "Міська рада у вівторок ухвалила новий бюджет, у якому більше грошей на школи та дороги.",
    "Қалалық кеңес сейсенбі күні мектептерге көбірек қаржы бөлетін жаңа бюджетті қабылдады.",
    "Общинският съвет прие във вторник новия бюджет, в който има повече пари за училищата.",
    "Градско веће је у уторак усвојило нови буџет, који предвиђа више новца за школе и путеве.",
    "市议会周二通过了新的预算，为学校和道路拨出更多资金。",
]
ABLATION_ROWS = 4_000  # newest rows that the masks' effect is measured on


@dataclass
class TopicConfig:
    """The `topic:` section of config.yaml."""

    # A topic with fewer training rows is left out, and the report says so.
    min_rows: int = 30
    # Characters of a text that are read, and letters below which there is no answer.
    max_chars: int = 1500
    min_chars: int = 40
    # How often the title is repeated before the text, when there is one.
    title_repeat: int = 2
    # Words and word pairs are hashed into 2 ** hash_bits columns, letter sequences into as many more.
    # No vocabulary: it would have to travel with the model, and scores the same.
    hash_bits: int = 17
    # Newest training rows that are read: they bound memory (60,000 articles take 2 GB) and time.
    max_rows: int = 60_000
    # Of the answers above the threshold, this share is right on the validation rows.
    precision: float = 0.9
    # A candidate slower than this (median processor time of one text) or larger is not exported.
    latency_ms: float = 5.0
    size_mb: float = 30.0
    # Newest training rows that the random forest sees; it grows slowly and has not won yet.
    forest_rows: int = 8_000
    # Newest training rows that T5 itself learns "topic: " from, to be compared; 0: it is left out. It is
    # never exported: it takes minutes to train and 100 times as long to answer.
    t5_rows: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        least = {"min_rows": 2, "max_chars": 100, "min_chars": 1, "title_repeat": 1, "hash_bits": 8,
                 "max_rows": 100, "forest_rows": 0, "t5_rows": 0, "seed": 0}  # fmt: skip
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"topic.{name}={getattr(self, name)} must be at least {lowest}")
        if not 0 < self.precision < 1:
            raise ValueError(f"topic.precision={self.precision} must lie between 0 and 1")
        for name in ("latency_ms", "size_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"topic.{name}={getattr(self, name)} must be above 0")


@dataclass(frozen=True)
class TopicMap:
    """`topic_of` maps a rubric to its topic, `names` a topic to its Russian name."""

    topic_of: dict[str, str]
    names: dict[str, str]
    excluded: frozenset[str]
    mask: tuple[str, ...]

    def topic(self, rubric: str) -> str | None:
        """The topic of a rubric; None for formats and opinion; the rubric itself where the map is silent."""
        rubric = rubric.strip().lower()
        if not rubric or rubric in self.excluded:
            return None
        return self.topic_of.get(rubric, rubric)

    def name(self, topic: str) -> str:
        return self.names.get(topic, topic)

    def rubrics(self, topic: str) -> list[str]:
        """The site's rubrics that are this topic; a topic that the map does not know is its own rubric."""
        return [rubric for rubric, of in self.topic_of.items() if of == topic] or [topic]


@cache
def load_map() -> TopicMap:
    """topics.yaml, checked: a rubric belongs to one topic, every mask compiles."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(OmegaConf.load(MAP))
    topic_of: dict[str, str] = {}
    for topic, entry in raw["topics"].items():
        for rubric in entry["rubrics"]:
            if rubric in topic_of or rubric in raw["excluded"]:
                raise StageError(f"{MAP.name}: the rubric {rubric} stands there twice", 2)
            topic_of[rubric] = topic
    for pattern in raw["mask"]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise StageError(
                f"{MAP.name}: the mask {pattern!r} is no regular expression: {error}", 2
            ) from None
    names = {topic: entry["name"] for topic, entry in raw["topics"].items()}
    return TopicMap(topic_of, names, frozenset(raw["excluded"]), tuple(raw["mask"]))


def topic_source(text: str, title: str, settings: TopicConfig, mask: Sequence[str]) -> str:
    """What the classifier reads: the title `title_repeat` times, the text's beginning, outlets masked."""
    head = normalise(title)
    source = f"{head}\n" * settings.title_repeat if head else ""
    source += normalise(text)[: settings.max_chars]
    for pattern in mask:
        source = re.sub(pattern, " ", source)
    return source


@dataclass
class _Labelled:
    """Sources and label numbers of one split."""

    sources: list[str]
    unmasked: list[str]
    labels: np.ndarray


def check_topics(train: Sequence[dict[str, Any]], settings: TopicConfig) -> None:
    """Before hours are spent on the summarizer: will there be two topics to tell apart?

    train: the training rows, oldest first. Raises StageError (code 3) as train_topics would.
    """
    _choose_topics(train[-settings.max_rows :], settings, load_map())


def train_topics(
    rows: dict[str, list[dict[str, Any]]],
    settings: TopicConfig,
    out_dir: Path,
    say: Callable[[str], None] = print,
    t5: Path | None = None,
) -> dict[str, Any]:
    """Train every candidate, export the best by validation macro-F1 to out_dir/topics/topics.safetensors.

    rows: "train", "validation" and "test" → rows with at least `text` and `rubric`, oldest first.
    t5: the folder of a T5 to compare with, where settings.t5_rows asks for it.
    Returns {"tasks": the "topic" object of tasks.json, "report": figures of every candidate}.
    Raises StageError (code 3) when fewer than two topics have enough rows.
    """
    topics = load_map()
    began = time.monotonic()
    newest = rows.get("train", [])[-settings.max_rows :]
    labels, left_out, excluded, unmapped = _choose_topics(newest, settings, topics)
    number = {topic: index for index, topic in enumerate(labels)}
    splits = {
        split: _label(newest if split == "train" else rows.get(split, []), number, settings, topics)
        for split in ("train", "validation", "test")
    }
    train, validation = splits["train"], splits["validation"]
    if len(validation.labels) < 2 * len(labels):
        # Too few to choose or calibrate by: the newest tenth of the training rows serves instead.
        train, validation = _cut_newest(train, max(2 * len(labels), len(train.labels) // 10))
    say(f"topics: {len(labels)} from {len(train.labels)} rows")
    if left_out:
        named = ", ".join(f"{each['topic']} {each['rows']}" for each in left_out)
        say(f"topics left out, with fewer than topic.min_rows={settings.min_rows} rows: {named}")

    def tell(candidate: Candidate) -> None:
        macro_f1 = _scores(validation.labels, candidate.validation)["macro_f1"]
        say(
            f"topics: {candidate.name}: validation macro-F1 {macro_f1:.1f}, "
            f"trained in {candidate.train_seconds:.1f} s"
        )

    candidates = train_candidates(
        (train.sources, train.labels), (validation.sources, validation.labels), len(labels), settings,
        lambda true, probabilities: _scores(true, probabilities)["macro_f1"], tell,
    )  # fmt: skip

    if settings.t5_rows and t5 is not None:
        from t5sum.classify.topic_t5 import train_t5

        names = [topics.name(label) for label in labels]
        progress = Progress("topics: t5", 0)
        candidates.append(
            train_t5((train.sources, train.labels), (validation.sources, validation.labels), names,
                     settings.t5_rows, settings.seed, t5, progress.update)
        )  # fmt: skip
        progress.end()
        tell(candidates[-1])

    figures, files, tests = [], [], []
    for candidate in candidates:
        files.append(out_dir / "topics" / f"{candidate.name}.part")
        size = candidate.arrays.save(files[-1]) if candidate.arrays else candidate.size
        tests.append(predict(candidate.pipeline, splits["test"].sources, len(labels)))
        figures.append(
            {
                "name": candidate.name,
                "settings": candidate.settings,
                "validation": _scores(validation.labels, candidate.validation),
                "test": _scores(splits["test"].labels, tests[-1]),
                "train_seconds": round(candidate.train_seconds, 2),
                "size_mb": round(size / 1e6, 2),
                "latency_ms": round(_latency(candidate.arrays or candidate.pipeline, validation.sources), 2),
                "can_be_exported": candidate.arrays is not None,
            }
        )
    able = [
        each.arrays is not None and each.arrays.topics == len(each.pipeline.classes_) == len(labels)
        for each in candidates
    ]
    best = _choose(figures, able, settings)
    chosen, test = candidates[best], tests[best]
    for index, file in enumerate(files):
        if index == best:
            file.replace(out_dir / "topics" / "topics.safetensors")
        else:
            file.unlink(missing_ok=True)

    floor = float(predict(chosen.pipeline, PROBES, len(labels)).max()) + 0.02
    threshold, reached, coverage = _threshold(chosen.unseen, chosen.unseen_labels, settings.precision, floor)
    report = {
        "candidates": figures,
        "chosen": chosen.name,
        "topics": [{"topic": topic, "name": topics.name(topic)} for topic in labels],
        "rows": {split: len(labelled.labels) for split, labelled in splits.items()},
        "older_rows_not_read": len(rows.get("train", [])) - len(newest),
        "left_out": left_out,
        "excluded_rubrics": excluded,
        "unmapped_rubrics": unmapped,
        "per_topic": _per_topic(splits["test"].labels, test, labels, topics),
        "confusion": _confusion(splits["test"].labels, test, len(labels)),
        "calibration": _calibration(splits["test"].labels, test),
        "threshold": {
            "value": threshold, "wanted_precision": settings.precision, "validation_precision": reached,
            "validation_coverage": coverage, **_at_threshold(splits["test"].labels, test, threshold),
        },
        "ablation": {
            "masked_macro_f1": _scores(splits["test"].labels, test)["macro_f1"],
            "unmasked_macro_f1": _scores(
                splits["test"].labels, predict(chosen.pipeline, splits["test"].unmasked, len(labels))
            )["macro_f1"],
            **_trained_without_masks(train, splits["test"], len(labels), settings),
        },
        "settings": asdict(settings),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    figure = figures[best]
    shown = figure["test"]["macro_f1"] if len(splits["test"].labels) else figure["validation"]["macro_f1"]
    say(
        f"topics: {chosen.name} exported, macro-F1 {shown:.1f}, {figure['latency_ms']:.1f} ms a text, "
        f"{figure['size_mb']:.1f} MB"
    )
    return {"tasks": _tasks(labels, topics, threshold, settings), "report": report}


def _choose_topics(
    train: Sequence[dict[str, Any]], settings: TopicConfig, topics: TopicMap
) -> tuple[list[str], list[dict[str, Any]], dict[str, int], list[str]]:
    """Topics with enough rows, in a fixed order; those left out; rows of excluded rubrics; unmapped ones."""
    counts: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    unmapped: set[str] = set()
    for row in train:
        rubric = (row.get("rubric") or "").strip().lower()
        topic = topics.topic(rubric)
        if topic is None:
            excluded[rubric] += 1
        else:
            counts[topic] += 1
            if rubric not in topics.topic_of:
                unmapped.add(rubric)
    enough = {topic for topic, count in counts.items() if count >= settings.min_rows}
    order = [topic for topic in topics.names if topic in enough] + sorted(enough - set(topics.names))
    left_out = [
        {"topic": topic, "name": topics.name(topic), "rows": count, "wanted": settings.min_rows}
        for topic, count in sorted(counts.items())
        if topic not in enough
    ]
    if len(order) < 2:
        found = ", ".join(f"{topic} {count}" for topic, count in counts.most_common(5))
        found = found or "no row with a rubric that topics.yaml knows"
        raise StageError(
            f"topics need at least two rubrics with {settings.min_rows} training rows each; found: {found}. "
            "Collect more articles or lower topic.min_rows", 3)  # fmt: skip
    return order, left_out, dict(excluded.most_common()), sorted(unmapped)


def _label(
    rows: Sequence[dict[str, Any]], number: dict[str, int], settings: TopicConfig, topics: TopicMap
) -> _Labelled:
    masked, unmasked, labels = [], [], []
    for row in rows:
        label = number.get(topics.topic(row.get("rubric") or "") or "")
        if label is None:
            continue
        title = row.get("title") or ""
        masked.append(topic_source(row["text"], title, settings, topics.mask))
        unmasked.append(topic_source(row["text"], title, settings, ()))
        labels.append(label)
    return _Labelled(masked, unmasked, np.array(labels, dtype=np.int64))


def _cut_newest(train: _Labelled, count: int) -> tuple[_Labelled, _Labelled]:
    """Training rows without the newest `count`, and those. Rows come oldest first."""
    count = min(count, len(train.labels) // 3)
    parts = [slice(None, -count), slice(-count, None)]
    older, newer = (_Labelled(train.sources[p], train.unmasked[p], train.labels[p]) for p in parts)
    return older, newer


def _scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Macro-F1 and accuracy, 0 to 100; None for no rows."""
    if not len(labels):
        return {"macro_f1": None, "accuracy": None}
    from sklearn.metrics import f1_score

    predicted = probabilities.argmax(axis=1)
    return {
        "macro_f1": round(100 * float(f1_score(labels, predicted, average="macro", zero_division=0)), 2),
        "accuracy": round(100 * float((predicted == labels).mean()), 2),
    }


def _latency(model: Any, sources: Sequence[str], most: int = 50) -> float:
    """Median milliseconds of processor time for one text at a time, asked as the API does."""
    times = []
    one_thread = getattr(model, "one_thread", nullcontext)  # or the others' time goes uncounted
    with one_thread():
        for source in list(sources)[:most]:
            began = time.thread_time()  # what else the machine does must not choose a model
            model.predict_proba([source])
            times.append(time.thread_time() - began)
    return 1000 * float(np.median(times))


def _choose(figures: Sequence[dict[str, Any]], complete: Sequence[bool], settings: TopicConfig) -> int:
    """The best by validation macro-F1 among those fast and small enough; the fastest when none is.

    complete: whether a candidate knows every topic; one that does not is never exported.
    """
    learned = [i for i, figure in enumerate(figures) if figure["name"] != "majority" and complete[i]]
    fit = [
        i for i in learned
        if figures[i]["latency_ms"] <= settings.latency_ms and figures[i]["size_mb"] <= settings.size_mb
    ]  # fmt: skip
    if not fit:
        return min(learned, key=lambda i: figures[i]["latency_ms"])
    return max(fit, key=lambda i: (figures[i]["validation"]["macro_f1"], -i))


def _threshold(
    probabilities: np.ndarray, labels: np.ndarray, wanted: float, floor: float
) -> tuple[float, float, float]:
    """Lowest score from which on answers are precise enough; their precision; the share answered.

    Where no threshold reaches it, the one of highest precision that still answers a tenth of the rows.
    Never below `floor`, what the classifier gives to texts that say nothing.
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


def _at_threshold(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float | None]:
    if not len(labels):
        return {"test_precision": None, "test_coverage": None}
    answered = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1) == labels
    return {
        "test_precision": round(float(right[answered].mean()), 4) if answered.any() else None,
        "test_coverage": round(float(answered.mean()), 4),
    }


def _per_topic(
    labels: np.ndarray, probabilities: np.ndarray, topics: Sequence[str], names: TopicMap
) -> list[dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support

    if not len(labels):
        return []
    precision, recall, f1, rows = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(topics)), zero_division=0
    )
    return [
        {
            "topic": topic, "name": names.name(topic), "precision": round(100 * float(precision[i]), 1),
            "recall": round(100 * float(recall[i]), 1), "f1": round(100 * float(f1[i]), 1),
            "rows": int(rows[i]),
        }
        for i, topic in enumerate(topics)
    ]  # fmt: skip


def _confusion(labels: np.ndarray, probabilities: np.ndarray, topics: int) -> list[list[int]]:
    """(topics, topics): row is the true topic, column the predicted one."""
    matrix = np.zeros((topics, topics), dtype=int)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    return matrix.tolist()


def _calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> dict[str, Any]:
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


def _trained_without_masks(
    train: _Labelled, test: _Labelled, topics: int, settings: TopicConfig
) -> dict[str, float | int | None]:
    """Macro-F1 on the test rows of one classifier that learned with outlets masked and one that saw them."""
    newest = slice(-ABLATION_ROWS, None)

    def reached(of: str) -> float | None:
        if len(set(train.labels[newest])) < 2 or not len(test.labels):
            return None
        return macro_f1_without_tuning(
            (getattr(train, of)[newest], train.labels[newest]),
            (getattr(test, of)[newest], test.labels[newest]), topics, settings,
            lambda true, probabilities: _scores(true, probabilities)["macro_f1"],
        )  # fmt: skip

    told = sum(one != other for one, other in zip(test.sources, test.unmasked, strict=True))
    return {
        "rows": min(ABLATION_ROWS, len(train.labels)), "test_rows_with_masked_words": told,
        "trained_masked_macro_f1": reached("sources"), "trained_unmasked_macro_f1": reached("unmasked"),
    }  # fmt: skip


def _tasks(
    labels: Sequence[str], topics: TopicMap, threshold: float, settings: TopicConfig
) -> dict[str, Any]:
    return {
        "path": "topics/topics.safetensors",
        "labels": [
            {"topic": topic, "name": topics.name(topic), "rubrics": topics.rubrics(topic)} for topic in labels
        ],
        "threshold": threshold,
        "max_chars": settings.max_chars,
        "min_chars": settings.min_chars,
        "mask": list(topics.mask),
        "title_repeat": settings.title_repeat,
    }
