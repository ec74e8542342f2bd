"""Tracking by choice: a run's settings, figures and files in mlflow, TensorBoard or Trackio, on this machine.

None of them is needed to train, so none is installed with this stage. Whatever is chosen, log.jsonl and
loss.png are written too, and a tracker that fails does not stop the training.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from t5sum import StageError, first_line
from t5sum.config import Config
from t5sum.progress import say
from t5sum.run.directory import Run, read_json, write_json
from t5sum.run.ranks import rank

# The packages of each choice, module and name. The full mlflow wants older versions of what is installed.
PACKAGES = {
    "mlflow": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
    "tensorboard": {"tensorboard": "tensorboard"},
    "trackio": {"trackio": "trackio"},
}
AT_ONCE = 100  # parameters that mlflow takes in one call


class Tracker(Protocol):
    """What the three have in common. `name` finds the same run again."""

    name: str

    def log(self, step: int, figures: dict[str, float]) -> None: ...
    def keep(self, files: list[Path]) -> None: ...
    def end(self, status: str) -> None: ...


def check(kind: str) -> None:
    """Before hours are spent: is the chosen tracker installed? Raises StageError (2) with the command."""
    wanted = PACKAGES.get(kind, {})
    if any(importlib.util.find_spec(module) is None for module in wanted):
        raise StageError(
            f"tracking={kind} needs packages that are not installed: {sys.executable} -m pip install "
            f"{' '.join(wanted.values())}; or leave tracking=none", 2)  # fmt: skip


def place(config: Config) -> Path:
    """The folder of the tracker's files, next to the runs."""
    assert config.runs_dir
    return Path(config.runs_dir).resolve().parent / "tracking"


class Tracked:
    """One run, as its tracker sees it. Steps that a resumed training repeats are not sent twice."""

    def __init__(self, run: Run, tracker: Tracker, kind: str, prefix: str = "") -> None:
        self.path, self.tracker, self.kind, self.prefix = run.path / "tracking.json", tracker, kind, prefix
        self.sent: dict[str, int] = remembered(self.path, kind).get("sent", {})
        self.waiting: list[dict[str, Any]] = []

    def log(self, line: dict[str, Any]) -> None:
        """Send a line of log.jsonl. What the tracker refuses is sent again with the next line."""
        self.waiting.append(line)
        while self.waiting:
            line = self.waiting[0]
            new = {
                self.prefix + name: float(value) for name, value in line.items()
                if isinstance(value, int | float) and name != "step"
                and line["step"] > self.sent.get(self.prefix + name, -1)
            }  # fmt: skip
            if new and not self.tries(lambda line=line, new=new: self.tracker.log(line["step"], new)):
                return
            self.sent |= dict.fromkeys(new, line["step"])
            del self.waiting[0]
        write_json(self.path, {"kind": self.kind, "name": self.tracker.name, "sent": self.sent})

    def tries(self, work: Any) -> bool:
        """Whether the tracker did it. Its database may be locked or its disk full: no reason to stop."""
        try:
            work()
        except (OSError, *database_errors()) as error:
            say(f"tracking: {self.kind} did not take it ({first_line(error)}); going on, log.jsonl has it")
            return False
        return True


def database_errors() -> tuple[type[Exception], ...]:
    """The errors of the trackers that are loaded."""
    import sqlite3

    names = {"mlflow.exceptions": "MlflowException", "sqlalchemy.exc": "SQLAlchemyError"}
    return (sqlite3.Error, *(getattr(sys.modules[m], n) for m, n in names.items() if m in sys.modules))


def remembered(path: Path, kind: str) -> dict[str, Any]:
    """What this tracker has recorded before; nothing if another one was chosen then."""
    known = read_json(path) if path.exists() else {}
    return known if known.get("kind") == kind else {}


@contextlib.contextmanager
def tracked(run: Run, config: Config, log: Path, prefix: str = "") -> Iterator[Tracked | None]:
    """The run's tracker, begun or found again, with what `log` holds; None for tracking=none.

    prefix: before the names of the log's figures, if several tasks train a T5.
    """
    kind = config.tracking
    if kind == "none" or rank():
        yield None
        return
    check(kind)
    known = remembered(run.path / "tracking.json", kind)
    title = config.hub.model_repo or config.model.base
    tracker = TRACKERS[kind](place(config), title, run.path.name, flat(asdict(config)), known.get("name"))
    following = Tracked(run, tracker, kind, prefix)
    status = "FAILED"
    try:
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else ():
            if line.endswith("\n"):
                following.log(json.loads(line))
        yield following
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        following.tries(lambda: tracker.end(status))


def keep(run: Run, config: Config, figures: dict[str, float], files: list[Path]) -> None:
    """Give the tracker the finished model's figures and files."""
    with tracked(run, config, run.path / "no log") as following:
        if following is None:
            return
        step = max(following.sent.values(), default=0)
        following.log({"step": step, **figures})
        if following.tries(lambda: following.tracker.keep(files)):
            say(f"tracking: {config.tracking} has the run, {HOW[config.tracking].format(place(config))}")


HOW = {
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{}/mlflow.db",
    "tensorboard": "tensorboard --logdir {}/tensorboard",
    "trackio": "TRACKIO_DIR={}/trackio trackio show",
}


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        values |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return values


class Mlflow:
    """A run in a SQLite file, its files in a folder next to it. Arguments of all three are alike:

    the folder, what the runs are grouped under, this run's title, its settings, its name of an earlier try.
    """

    def __init__(self, folder: Path, group: str, title: str, settings: dict[str, Any], name: str | None):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for noisy in ("mlflow", "alembic"):  # after the import, which sets them
            logging.getLogger(noisy).setLevel(logging.WARNING)

        folder.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
        found = self.client.get_experiment_by_name(group)
        number = (
            found.experiment_id if found
            else self.client.create_experiment(group, artifact_location=(folder / "artifacts").as_uri())
        )  # fmt: skip
        if name:
            self.name = name
            self.client.update_run(name, status="RUNNING")
            return
        self.name = self.client.create_run(number, run_name=title).info.run_id
        given = [Param(key, str(value)) for key, value in settings.items()]
        for start in range(0, len(given), AT_ONCE):
            self.client.log_batch(self.name, params=given[start : start + AT_ONCE])

    def log(self, step: int, figures: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.name, [Metric(key, value, now, step) for key, value in figures.items()])

    def keep(self, files: list[Path]) -> None:
        for path in files:
            if path.is_dir():
                self.client.log_artifacts(self.name, str(path), path.name)
            else:
                self.client.log_artifact(self.name, str(path))

    def end(self, status: str) -> None:
        self.client.set_terminated(self.name, status)


class TensorBoard:
    """Event files. TensorBoard stores no other files, so the model stays in its run."""

    def __init__(self, folder: Path, group: str, title: str, settings: dict[str, Any], name: str | None):
        from torch.utils.tensorboard import SummaryWriter

        self.name = name or title
        self.writer = SummaryWriter(str(folder / "tensorboard" / self.name))
        if not name:
            self.writer.add_text("settings", "\n".join(f"    {key}: {settings[key]}" for key in settings))

    def log(self, step: int, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            self.writer.add_scalar(key, value, step)
        self.writer.flush()

    def keep(self, files: list[Path]) -> None:
        self.writer.add_text("files", "\n".join(f"    {path}" for path in files))

    def end(self, status: str) -> None:
        self.writer.close()


class Trackio:
    """Trackio's SQLite file. It stores no other files either."""

    def __init__(self, folder: Path, group: str, title: str, settings: dict[str, Any], name: str | None):
        os.environ["TRACKIO_DIR"] = str(folder / "trackio")  # read when it is imported
        self.name = name or title
        with contextlib.redirect_stdout(io.StringIO()):
            import trackio

            self.run = trackio.init(
                group.replace("/", "-"), name=self.name, config=settings, resume="allow", embed=False,
                auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def log(self, step: int, figures: dict[str, float]) -> None:
        self.run.log(figures, step=step)

    def keep(self, files: list[Path]) -> None:
        self.run.log({"files": ", ".join(map(str, files))})

    def end(self, status: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.run.finish()


TRACKERS = {"mlflow": Mlflow, "tensorboard": TensorBoard, "trackio": Trackio}
