"""The kinds of task. Each is one class with the functions of `base.Kind`, and the pipeline uses no other."""

from __future__ import annotations

from t5sum.config import Config
from t5sum.kinds.base import Kind
from t5sum.kinds.classify import Classify
from t5sum.kinds.generate import Generate
from t5sum.kinds.regress import Regress

KINDS: dict[str, type[Kind]] = {"generate": Generate, "classify": Classify, "regress": Regress}


def make_tasks(config: Config) -> list[Kind]:
    """The recipe's tasks, in its order. Raises StageError (2) for a metric that a kind does not have."""
    return [KINDS[task.kind](name, task, config) for name, task in config.tasks.items()]


def readers_of(tasks: list[Kind]) -> dict[str, list[str]]:
    """The columns that the tasks read, each with their names."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for column in task.columns:
            found.setdefault(column, []).append(task.name)
    return found
