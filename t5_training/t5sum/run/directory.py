"""A run's directory: what was asked, which steps are done, and that only one process works in it.

runs/<dataset commit>-<settings>/
    run.json        what was asked: dataset, base model, settings
    model/          the model revision, as it is published
    steps/          as below, of the steps that concern every task
    TASK/           one folder per task:
        steps/NAME.json what a finished step was given and gave; a step is done when this file is there
        export/         its files in the model revision
      and for a T5:
        checkpoints/    while training
        log.jsonl       one line per log of the trainer; loss.png is drawn from it
        trained/        the best checkpoint's model, and the tokenizer
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5sum import StageError


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Folder:
    """A folder with steps that are done once: the whole run's, or one task's."""

    path: Path

    def finished(self, step: str, given: Any) -> dict[str, Any] | None:
        """What `step` gave, if it was done with the same input before."""
        path = self.path / "steps" / f"{step}.json"
        if not path.exists():
            return None
        saved = read_json(path)
        return saved["gave"] if saved["given"] == json.loads(json.dumps(given)) else None

    def gave(self, step: str) -> dict[str, Any]:
        """What a finished step gave."""
        return read_json(self.path / "steps" / f"{step}.json")["gave"]

    def given(self, step: str) -> dict[str, Any]:
        """What a finished step was given."""
        return read_json(self.path / "steps" / f"{step}.json")["given"]

    def left_off(self, done: str, missing: str) -> bool:
        """Whether the step `done` was done here, but not `missing`, which takes what it gave."""
        if not (self.path / "steps" / f"{done}.json").exists():
            return False
        return self.finished(missing, self.gave(done)) is None

    def once(self, step: str, given: Any, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do `work` unless it was done with the same input; either way return what it gave (JSON)."""
        done = self.finished(step, given)
        if done is not None:
            print(f"{self.title}{step}: done before, kept", flush=True)
            return done
        start = time.monotonic()
        gave = work()
        seconds = round(time.monotonic() - start, 1)
        write_json(self.path / "steps" / f"{step}.json", {"given": given, "gave": gave, "seconds": seconds})
        return gave

    def seconds(self) -> dict[str, float]:
        """Wall time of each finished step."""
        return {
            path.stem: read_json(path)["seconds"] for path in sorted((self.path / "steps").glob("*.json"))
        }

    @property
    def title(self) -> str:
        return ""


@dataclass(frozen=True)
class TaskRun(Folder):
    """One task's part of a run."""

    @property
    def title(self) -> str:
        return f"{self.path.name}: "

    @property
    def run(self) -> Run:
        return Run(self.path.parent)

    @property
    def trained(self) -> Path:
        return self.path / "trained"

    @property
    def export(self) -> Path:
        return self.path / "export"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"


@dataclass(frozen=True)
class Run(Folder):
    @property
    def model(self) -> Path:
        return self.path / "model"

    def of(self, task: str) -> TaskRun:
        return TaskRun(self.path / task)

    def lock(self) -> Any:
        """Hold the directory until the process ends, however it ends. Raises StageError (6) if it is held."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StageError(f"another run works in {self.path}; wait for it to end, or stop it", 6) from None
        return lock
