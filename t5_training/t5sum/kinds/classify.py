"""Text in, label out: hashed n-grams and a linear classifier or a forest, judged against the majority."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from t5sum import StageError
from t5sum.classify.labels import Labels, choose
from t5sum.config import ClassifyTask, parsed
from t5sum.data import Row
from t5sum.judge.gate import Measure, decide
from t5sum.judge.values import ACCURACY, MACRO_F1, accuracy_columns, macro_f1_columns, macro_f1_of
from t5sum.kinds.base import Judged, Kind
from t5sum.progress import say
from t5sum.run.directory import Run
from t5sum.sources import masked
from t5sum.tasks import load_arrays, section_of

NOT_LEARNED = ("gate", "metrics", "min_chars")


class Classify(Kind):
    task: ClassifyTask
    metrics: ClassVar = {"macro_f1": MACRO_F1, "accuracy": ACCURACY}
    judged_by: ClassVar = ("macro_f1", "accuracy")

    def check(self) -> None:
        choose(self.name, self.rows["train"][: self.task.max_rows], Labels(self.task))

    def train(self, run: Run) -> None:
        here = self.run(run)
        learned = {key: value for key, value in asdict(self.task).items() if key not in NOT_LEARNED}

        def work() -> dict[str, Any]:
            from t5sum.classify.train import train

            return train(self.name, self.rows, self.task, here.export, say)

        here.once("train", learned, work)

    def section(self, run: Run) -> dict[str, Any]:
        gave, task = self.run(run).gave("train"), self.task
        return {
            "path": f"{self.place}model.safetensors", "labels": gave["labels"],
            "threshold": gave["threshold"], "max_chars": task.max_chars, "min_chars": task.min_chars,
            "mask": task.mask,
        }  # fmt: skip

    def settings(self) -> dict[str, Any]:
        return {name: asdict(self.task)[name] for name in ("gate", "metrics")}

    def evaluate(self, run: Run, production: Path | None) -> Judged:
        report = self.run(run).gave("train")["report"]
        winner = next(each for each in report["candidates"] if each["name"] == report["chosen"])
        names, labels = [each["label"] for each in report["labels"]], Labels(self.task)
        rows = self.labelled(names)[: self.task.gate.newest]
        if not rows:
            raise StageError(f"task {self.name}: no test row has one of its labels: collect more articles", 3)
        true = [str(labels.label(row)) for row in rows]
        seen = [labels.label(row) for row in self.rows["train"][: self.task.max_rows]]
        majority = max(names, key=seen.count)
        by_f1 = self.task.gate.metric == "macro_f1"

        def columns(found: list[str]) -> np.ndarray:
            return macro_f1_columns(true, found, names) if by_f1 else accuracy_columns(true, found)

        decision = decide(
            Measure(MACRO_F1, macro_f1_of) if by_f1 else Measure(ACCURACY),
            columns(predicted(run.model, self.name, rows)), columns([majority] * len(rows)),
            columns(predicted(production, self.name, rows)) if production else None,
            self.task.gate, f"the most frequent label ({majority})", absent=self.absent,
        )  # fmt: skip
        return Judged(self.chosen(winner["test"]), report, decision)

    def labelled(self, names: list[str]) -> list[Row]:
        """The test rows with one of these labels, newest first."""
        labels = Labels(self.task)
        return [row for row in self.rows["test"] if labels.label(row) in names]

    def score(self, folder: Path, kept: Path) -> dict[str, Any]:
        _, section = section_of(folder, "classify", self.name)
        names, labels = [each["label"] for each in section["labels"]], Labels(self.task)
        rows = self.labelled(names)
        true, found = [str(labels.label(row)) for row in rows], predicted(folder, self.name, rows)
        metrics = {
            "macro_f1": round(float(macro_f1_of(macro_f1_columns(true, found, names).mean(0))), 2),
            "accuracy": round(float(accuracy_columns(true, found).mean()), 2),
        }
        say(f"{self.name}: macro-F1 {metrics['macro_f1']:.1f}, accuracy {metrics['accuracy']:.1f}")
        return {"rows": len(rows), "metrics": metrics}

    def about(self, run: Run) -> dict[str, Any]:
        report = self.run(run).gave("train")["report"]
        return {"chosen": report["chosen"], "rows": report["rows"]}


def predicted(folder: Path, name: str, rows: list[Row]) -> list[str]:
    """The label with the highest probability for each row, by a model revision's own files and settings."""
    _, section = section_of(folder, "classify", name)
    model, template = load_arrays(folder, section), parsed(section["source"])
    sources = [masked(row, template, section["max_chars"], section["mask"]) for row in rows]
    names = [each["label"] for each in section["labels"]]
    return [names[number] for number in model.predict_proba(sources).argmax(axis=1)]
