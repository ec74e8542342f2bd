"""One loaded model revision: its tasks, each tried on a fixed text before it serves anyone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .errors import ModelRefused, NotNow, TaskNotServed
from .kinds import KINDS, Task
from .kinds.base import shown
from .tasks import TasksFile, read_tasks


@dataclass(frozen=True)
class Model:
    """A model revision whose tasks all answered their trials."""

    repo: str
    revision: str
    recipe: str | None  # None for a revision of format 1
    dataset_repo: str
    dataset_revision: str
    tasks: dict[str, Task]
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    trial_seconds: float = 0.0  # the longest trial

    def task(self, name: str) -> Task:
        """Raises TaskNotServed."""
        try:
            return self.tasks[name]
        except KeyError:
            raise TaskNotServed(name, self.tasks) from None

    @property
    def metrics(self) -> dict[str, object]:
        """The metrics of all tasks; the names of all but `summarize` are preceded by their task."""
        return {
            metric if name == "summarize" else f"{name}_{metric}": value
            for name, task in self.tasks.items()
            for metric, value in task.metrics.items()
        }


def load_model(
    folder: Path,
    repo: str,
    revision: str,
    translators: int,
    on_step: Callable[[str], None] = lambda step: None,
) -> Model:
    """Load the revision in `folder` and try it. `on_step` is called with the name of each task.

    Raises ModelRefused with the reason in one line, or NotNow if this machine is at fault, not the revision.
    """
    try:
        tasks = read_tasks(folder)
        if missing := missing_files(folder, tasks):
            raise ModelRefused(f"{missing[0]} is missing")
        loaded = {}
        for name, section in tasks.tasks.items():
            on_step(name)
            loaded[name] = KINDS[section["kind"]].load(name, section, folder, translators)
        longest = 0.0
        for name, task in loaded.items():
            on_step(name)
            began = time.monotonic()
            task.trial()
            longest = max(longest, time.monotonic() - began)
    except MemoryError:
        raise NotNow("there is too little memory to load it: free some, or give the API more") from None
    except OSError as error:
        raise NotNow(f"a file cannot be read: {error.strerror or error}") from None
    except (ModelRefused, NotNow, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever a library makes of a bad file; a panic of Rust is no Exception
        raise ModelRefused(f"it cannot be loaded ({type(error).__name__}: {shown(str(error))})") from None
    return Model(
        repo=repo,
        revision=revision,
        recipe=tasks.recipe,
        dataset_repo=tasks.dataset_repo,
        dataset_revision=tasks.dataset_revision,
        tasks=loaded,
        trial_seconds=longest,
    )


def missing_files(folder: Path, tasks: TasksFile) -> list[str]:
    return [name for name in tasks.files if "*" not in name and not (folder / name).is_file()]
