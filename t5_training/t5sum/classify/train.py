"""Rows in, plain arrays in a safetensors file out: several classifiers are trained, the best is exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5sum.classify.candidates import Candidate, macro_f1_without_tuning, predict, train_candidates
from t5sum.classify.figures import (
    at_threshold,
    calibration,
    confusion,
    latency,
    per_label,
    scores,
    threshold,
)
from t5sum.classify.figures import (
    choose as choose_best,
)
from t5sum.classify.labels import Chosen, Labels, choose
from t5sum.config import ClassifyTask
from t5sum.data import SPLITS, Row
from t5sum.sources import masked

FILE = "model.safetensors"
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
class Labelled:
    """Sources and label numbers of one split, oldest first."""

    sources: list[str]
    unmasked: list[str]
    labels: np.ndarray

    def part(self, where: slice) -> Labelled:
        return Labelled(self.sources[where], self.unmasked[where], self.labels[where])


def train(
    name: str,
    rows: dict[str, list[Row]],
    task: ClassifyTask,
    folder: Path,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train every candidate and export the best by validation macro-F1 to folder/model.safetensors.

    rows: split → rows, newest first. Returns {"labels", "threshold"} for tasks.json and "report", the figures
    of every candidate. Raises StageError (code 3) when fewer than two labels have enough rows.
    """
    began = time.monotonic()
    labels = Labels(task)
    newest = rows["train"][: task.max_rows]
    chosen = choose(name, newest, labels)
    named = [{"label": label, "name": labels.name(label)} for label in chosen.labels]
    splits = {
        split: labelled(newest if split == "train" else rows.get(split, []), chosen.labels, labels)
        for split in SPLITS
    }
    learning, validation = with_validation(splits, len(named))
    say(f"{name}: {len(named)} labels from {len(learning.labels)} rows")
    if chosen.left_out:
        few = ", ".join(f"{each['label']} {each['rows']}" for each in chosen.left_out)
        say(f"{name}: labels left out, with fewer than tasks.{name}.min_rows={task.min_rows} rows: {few}")

    def report_on(candidate: Candidate) -> None:
        macro_f1 = scores(validation.labels, candidate.validation)["macro_f1"]
        say(
            f"{name}: {candidate.name}: validation macro-F1 {macro_f1:.1f}, "
            f"trained in {candidate.train_seconds:.1f} s"
        )

    candidates = train_candidates(
        (learning.sources, learning.labels), (validation.sources, validation.labels), len(named), task,
        lambda true, probabilities: scores(true, probabilities)["macro_f1"], report_on,
    )  # fmt: skip
    best, figures, tests = compare(candidates, validation, splits["test"], len(named), task, folder)
    winner, figure, test = candidates[best], figures[best], splits["test"]
    floor = float(predict(winner.pipeline, PROBES, len(named)).max()) + 0.02
    value, reached, coverage = threshold(winner.unseen, winner.unseen_labels, task.precision, floor)
    report = {
        "candidates": figures,
        "chosen": winner.name,
        "labels": named,
        "rows": {split: len(part.labels) for split, part in splits.items()},
        "older_rows_not_read": len(rows["train"]) - len(newest),
        **what_was_left_out(chosen),
        "per_label": per_label(test.labels, tests[best], named),
        "confusion": confusion(test.labels, tests[best], len(named)),
        "calibration": calibration(test.labels, tests[best]),
        "threshold": {
            "value": value, "wanted_precision": task.precision, "validation_precision": reached,
            "validation_coverage": coverage, **at_threshold(test.labels, tests[best], value),
        },
        "ablation": ablation(winner, learning, test, tests[best], len(named), task),
        "settings": asdict(task),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    shown = figure["test"] if len(test.labels) else figure["validation"]
    say(
        f"{name}: {winner.name} exported, macro-F1 {shown['macro_f1']:.1f}, {figure['latency_ms']:.1f} ms "
        f"per text, {figure['size_mb']:.1f} MB"
    )
    return {"labels": named, "threshold": value, "report": report}


def labelled(rows: Sequence[Row], order: Sequence[str], labels: Labels) -> Labelled:
    """The rows with one of these labels, oldest first."""
    number = {label: index for index, label in enumerate(order)}
    task = labels.task
    known = [(row, number[label]) for row in reversed(rows) if (label := labels.label(row)) in number]
    return Labelled(
        [masked(row, task.template, task.max_chars, task.mask) for row, _ in known],
        [masked(row, task.template, task.max_chars, ()) for row, _ in known],
        np.array([label for _, label in known], dtype=np.int64),
    )


def with_validation(splits: dict[str, Labelled], classes: int) -> tuple[Labelled, Labelled]:
    """What is learned from, and what candidates are chosen and calibrated by."""
    train, validation = splits["train"], splits["validation"]
    if len(validation.labels) >= 2 * classes:
        return train, validation
    # Too few to choose or calibrate by: the newest tenth of the training rows serves instead.
    count = min(max(2 * classes, len(train.labels) // 10), len(train.labels) // 3)
    return train.part(slice(None, -count)), train.part(slice(-count, None))


def compare(
    candidates: Sequence[Candidate], validation: Labelled, test: Labelled, classes: int, task: ClassifyTask,
    folder: Path,
) -> tuple[int, list[dict[str, Any]], list[np.ndarray]]:  # fmt: skip
    """(number of the best candidate, whose file is kept; figures; probabilities of the test rows)."""
    figures, files, tests = [], [], []
    for candidate in candidates:
        files.append(folder / f"{candidate.name}.part")
        size = candidate.arrays.save(files[-1]) if candidate.arrays else 0
        tests.append(predict(candidate.pipeline, test.sources, classes))
        figures.append(
            {
                "name": candidate.name,
                "settings": candidate.settings,
                "validation": scores(validation.labels, candidate.validation),
                "test": scores(test.labels, tests[-1]),
                "train_seconds": round(candidate.train_seconds, 2),
                "size_mb": round(size / 1e6, 2),
                "latency_ms": round(
                    latency((candidate.arrays or candidate.pipeline).predict_proba, validation.sources), 2
                ),
            }
        )
    able = [
        each.arrays is not None and each.arrays.topics == len(each.pipeline.classes_) == classes
        for each in candidates
    ]
    best = choose_best(figures, able, task)
    for index, file in enumerate(files):
        if index == best:
            file.replace(folder / FILE)
        else:
            file.unlink(missing_ok=True)
    return best, figures, tests


def what_was_left_out(chosen: Chosen) -> dict[str, Any]:
    return {"left_out": chosen.left_out, "excluded": chosen.excluded, "unlisted": chosen.unlisted}


def ablation(
    winner: Candidate, train: Labelled, test: Labelled, probabilities: np.ndarray, classes: int,
    task: ClassifyTask,
) -> dict[str, float | int | None]:  # fmt: skip
    """What the masks change: for the exported classifier, and for one that learned without them."""
    newest = slice(-ABLATION_ROWS, None)

    def macro_f1(true: np.ndarray, probabilities: np.ndarray) -> float | None:
        return scores(true, probabilities)["macro_f1"]

    def reached(of: str) -> float | None:
        if len(set(train.labels[newest])) < 2 or not len(test.labels):
            return None
        return macro_f1_without_tuning(
            (getattr(train, of)[newest], train.labels[newest]),
            (getattr(test, of)[newest], test.labels[newest]), classes, task, macro_f1,
        )  # fmt: skip

    return {
        "masked_macro_f1": macro_f1(test.labels, probabilities),
        "unmasked_macro_f1": macro_f1(test.labels, predict(winner.pipeline, test.unmasked, classes)),
        "rows": min(ABLATION_ROWS, len(train.labels)),
        "test_rows_with_masked_words": sum(a != b for a, b in zip(test.sources, test.unmasked, strict=True)),
        "trained_masked_macro_f1": reached("sources"),
        "trained_unmasked_macro_f1": reached("unmasked"),
    }
