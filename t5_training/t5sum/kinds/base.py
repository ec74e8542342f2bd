"""What every kind of task can do. Each step takes what the one before it left in the task's folder."""

from __future__ import annotations

import difflib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from t5sum import StageError
from t5sum.config import AnyTask, Config
from t5sum.data import Rows
from t5sum.judge.gate import Decision
from t5sum.run.directory import Run, TaskRun
from t5sum.sources import usable


@dataclass(frozen=True)
class Judged:
    """metrics: by name, rounded, for tasks.json. figures: everything, for metrics.json and the report."""

    metrics: dict[str, float]
    figures: dict[str, Any]
    decision: Decision


class Kind(ABC):
    """One task of a recipe. `metrics` and `judged_by` are its kind's metrics and those the gate can use."""

    metrics: ClassVar[Mapping[str, str]]  # name → heading
    judged_by: ClassVar[Collection[str]]
    needs_t5: ClassVar[bool] = False

    def __init__(self, name: str, task: AnyTask, config: Config) -> None:
        self.name, self.task, self.config = name, task, config
        self.rows: Rows = {}
        self.left_out: dict[str, int] = {}
        self.absent = "first model of this repository"  # why there is nothing in production to compare with
        for metric in task.metrics:
            self._is_known(metric, "metrics", self.metrics)
        self._is_known(task.gate.metric, "gate.metric", self.judged_by)

    def _is_known(self, metric: str, key: str, known: Collection[str]) -> None:
        if metric not in known:
            close = difflib.get_close_matches(metric, list(known), 1)
            nearest = f"did you mean {close[0]}? " if close else ""
            raise StageError(
                f"tasks.{self.name}.{key}={metric!r} is not allowed: {nearest}it must be one of "
                f"{', '.join(known)}", 2)  # fmt: skip

    @property
    def columns(self) -> set[str]:
        """The columns of the dataset that it reads."""
        return {*self.task.template.columns, self.task.target}

    @property
    def place(self) -> str:
        """Where its files lie in a model revision: "" for the root, else a folder with a slash."""
        return f"{self.name}/"

    def run(self, run: Run) -> TaskRun:
        return run.of(self.name)

    def take(self, rows: Rows, check: bool = True) -> None:
        """Keep the rows that this task can use, and check that they are enough. Raises StageError (3)."""
        self.rows, self.left_out = usable(rows, self.name, self.task)
        if check:
            self.check()

    def check(self) -> None:  # noqa: B027
        """What would stop this task stops the stage before any model is trained. Raises StageError (3)."""

    @abstractmethod
    def train(self, run: Run) -> None:
        """Train, and leave the result in the task's folder of the run; done before: keep it."""

    def export(self, run: Run) -> None:  # noqa: B027
        """Bring the trained model into the form that is served, in the task's folder `export`."""

    @abstractmethod
    def section(self, run: Run) -> dict[str, Any]:
        """The task's section of tasks.json, but for `kind`, `source`, `target` and `metrics`."""

    @abstractmethod
    def evaluate(self, run: Run, production: Path | None) -> Judged:
        """Compare the exported model with its baseline and production on the test rows; the gate decides.

        production: the files of the served revision if it has this task.
        """

    @abstractmethod
    def score(self, folder: Path, kept: Path) -> dict[str, Any]:
        """The figures of this task in any model revision's folder, on the test rows. kept: for details."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the judgement, besides the training."""

    @abstractmethod
    def about(self, run: Run) -> dict[str, Any]:
        """What provenance.json says about how this task's model was made."""

    def lay_out(self, run: Run) -> None:
        """Put the exported files into the model revision's folder."""
        shutil.copytree(
            self.run(run).export, run.model / self.place, copy_function=link_or_copy, dirs_exist_ok=True
        )

    def chosen(self, metrics: Mapping[str, float | None]) -> dict[str, float]:
        """The metrics that the recipe asks for, those without a value left out."""
        names = self.task.metrics or self.metrics
        return {name: value for name in names if (value := metrics.get(name)) is not None}


def link_or_copy(source: str, target: str) -> None:
    """Files are linked, not copied, if the disk can: nobody writes into them again."""
    Path(target).unlink(missing_ok=True)
    try:
        Path(target).hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
