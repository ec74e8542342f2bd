"""Text in, number out: ridge regression over hashed n-grams, judged against the training rows' mean."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from t5sum.config import RegressTask, parsed
from t5sum.data import Row
from t5sum.judge.bootstrap import Interval, bounds, resampled_means
from t5sum.judge.gate import Measure, decide
from t5sum.judge.values import ERRORS, error_columns
from t5sum.kinds.base import Judged, Kind
from t5sum.progress import say
from t5sum.run.directory import Run
from t5sum.sources import masked, number_of
from t5sum.tasks import load_arrays, section_of

ABOUT = ("alpha", "alphas", "mean", "size_mb", "latency_ms")  # the training, in the report
NOT_LEARNED = ("gate", "metrics", "min_chars")
MEASURES = {name: Measure(label, of, higher=name == "r2", form=".3g") for name, (label, of) in ERRORS.items()}


class Regress(Kind):
    task: RegressTask
    metrics: ClassVar = {name: label for name, (label, _) in ERRORS.items()}
    judged_by: ClassVar = tuple(ERRORS)

    def train(self, run: Run) -> None:
        here = self.run(run)
        learned = {key: value for key, value in asdict(self.task).items() if key not in NOT_LEARNED}

        def work() -> dict[str, Any]:
            from t5sum.classify.ridge import train

            return train(self.name, self.rows, self.task, here.export, say)

        here.once("train", learned, work)

    def section(self, run: Run) -> dict[str, Any]:
        gave, task = self.run(run).gave("train"), self.task
        return {
            "path": f"{self.place}model.safetensors", "minimum": gave["minimum"], "maximum": gave["maximum"],
            "max_chars": task.max_chars, "min_chars": task.min_chars, "mask": task.mask,
        }  # fmt: skip

    def settings(self) -> dict[str, Any]:
        given = {name: asdict(self.task)[name] for name in ("gate", "metrics")}
        return given | {"evaluate": asdict(self.config.evaluate)}

    def evaluate(self, run: Run, production: Path | None) -> Judged:
        rows, gave = self.test_rows(), self.run(run).gave("train")
        true = np.array([number_of(row[self.task.target]) for row in rows], float)
        systems = {"model": predicted(run.model, self.name, rows)}
        if production:
            systems["production"] = predicted(production, self.name, rows)
        systems["mean"] = np.full(len(true), gave["mean"])
        columns = {name: error_columns(true, values) for name, values in systems.items()}
        decision = decide(
            MEASURES[self.task.gate.metric], columns["model"], columns["mean"], columns.get("production"),
            self.task.gate, "the training rows' mean", absent=self.absent,
        )  # fmt: skip
        figures = self.figures(columns) | {name: gave[name] for name in ABOUT}
        return Judged(self.chosen(figures["metrics"]), figures, decision)

    def score(self, folder: Path, kept: Path) -> dict[str, Any]:
        rows = self.test_rows()
        true = np.array([number_of(row[self.task.target]) for row in rows], float)
        return self.figures({"model": error_columns(true, predicted(folder, self.name, rows))})

    def test_rows(self) -> list[Row]:
        return self.rows["test"][: self.config.evaluate.limit]

    def figures(self, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        """Scores of every system with their intervals; those of the model on the screen."""
        settings = self.config.evaluate
        scores = {name: self.intervals(each) for name, each in columns.items()}
        metrics = {name: round(each["mean"], 4) for name, each in scores["model"].items()}
        shown = ", ".join(f"{self.metrics[name]} {value:.3g}" for name, value in metrics.items())
        say(f"{self.name}: {shown} on {len(columns['model'])} test rows")
        return {
            "rows": len(columns["model"]), "left_out": self.left_out, "confidence": settings.confidence,
            "samples": settings.samples, "metrics": metrics, "scores": scores,
        }  # fmt: skip

    def intervals(self, columns: np.ndarray) -> dict[str, dict[str, float]]:
        settings = self.config.evaluate
        means = resampled_means(columns, settings.samples, settings.seed)
        return {
            name: Interval(
                float(each.of(columns.mean(0))), *bounds(each.of(means), settings.confidence)
            ).as_json()
            for name, each in MEASURES.items()
        }

    def about(self, run: Run) -> dict[str, Any]:
        gave = self.run(run).gave("train")
        return {"alpha": gave["alpha"], "rows": gave["rows"]}


def predicted(folder: Path, name: str, rows: list[Row]) -> np.ndarray:
    """The number for each row, by a model revision's own files and settings, as the API gives it."""
    _, section = section_of(folder, "regress", name)
    model, template = load_arrays(folder, section), parsed(section["source"])
    sources = [masked(row, template, section["max_chars"], section["mask"]) for row in rows]
    return np.clip(model.predict(sources), section["minimum"], section["maximum"])
