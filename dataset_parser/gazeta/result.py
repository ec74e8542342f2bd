"""results/parser.json: how a run of this stage ended, for programs. The terminal has the same for people.

`recorded` runs a command's work and is the one place where a reason becomes an exit code, a line on stderr
and this file. Import this module before any other that reads settings, so that a wrong setting is recorded,
too.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gazeta import StageError

FORMAT = 1
BEGAN, STARTED = datetime.now(UTC), time.monotonic()
NOTHING_TO_DO, STOPPED = "nothing to do", "stopped"
# Why a step in a separate process failed, by its exit code.
CODES = {
    1: "unexpected", 2: "wrong_setting", 3: "site_changed", 5: "site_unreachable", 6: "another_run",
    130: STOPPED, 143: STOPPED,
}  # fmt: skip


class Terminated(BaseException):
    """SIGTERM came: `docker stop`, or the end of the session."""


@dataclass
class Result:
    """What a run did; filled in as it goes on. recorded: False for a run that only looks."""

    recipe: str
    outcome: str = "done"
    recorded: bool = True
    dataset: dict[str, str] = field(default_factory=dict)  # repo and revision
    counts: dict[str, int] = field(default_factory=dict)

    def published(self, repo: str, revision: str, counts: dict[str, int]) -> None:
        self.dataset = {"repo": repo, "revision": revision}
        self.counts |= counts

    def ending(self, exit_code: int, reason: StageError | None) -> dict[str, Any]:
        """The content of the file."""
        stopped = reason is not None and reason.code == STOPPED
        return {
            "format": FORMAT,
            "stage": "parser",
            "recipe": self.recipe,
            "outcome": STOPPED if stopped else "failed" if exit_code else self.outcome,
            "exit_code": exit_code,
            "reason": {"code": reason.code, "message": str(reason)} if reason else None,
            "began": BEGAN.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - STARTED, 1),
            **({"revisions": {"dataset": self.dataset}} if self.dataset else {}),
            **({"counts": self.counts} if self.counts else {}),
        }


def write(artifacts: Path, ending: dict[str, Any]) -> None:
    """Replace the file at once: a reader sees the old one or the new one, never half of one."""
    path = artifacts / "results" / "parser.json"
    with suppress(OSError):  # a full disk or a wrong folder, which is being reported already
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}.new")
        new.write_text(json.dumps(ending, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        new.replace(path)


try:
    from gazeta import settings
except SystemExit as wrong:  # settings.WrongSetting, which has printed its line
    write(
        wrong.artifacts, Result(Path(wrong.recipe).stem).ending(2, StageError(wrong.line, 2, "wrong_setting"))
    )
    raise

from gazeta.crawl.store import StoreBusy  # noqa: E402 (it may read settings)
from gazeta.recipe import Recipe, load  # noqa: E402


@contextmanager
def _terminated() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def recorded(work: Callable[[Recipe, Result], None]) -> int:
    """Run `work` by the recipe; report on stderr and in the file how it ended. The exit code."""
    result = Result(Path(settings.RECIPE).stem)
    try:
        with _terminated():
            recipe = load(settings.RECIPE, settings.RECIPES_DIR, settings.SOURCE_FILE)
            result.recipe = recipe.name
            work(recipe, result)
        reason = None
    except BaseException as error:
        reason = _reason(error)
        if reason is None:
            if not isinstance(error, SystemExit):  # that is --help, or what argparse has reported
                bug = StageError(f"{type(error).__name__}: {error}")
                write(settings.ARTIFACTS_DIR, result.ending(1, bug))
            raise
        if not isinstance(error, StepFailed):
            print(f"error: {reason}", file=sys.stderr)
    code = reason.exit_code if reason else 0
    if result.recorded:
        write(settings.ARTIFACTS_DIR, result.ending(code, reason))
    return code


class StepFailed(StageError):
    """A step in a separate process failed. It has already printed its line."""


def _reason(error: BaseException) -> StageError | None:
    """What stopped the work, as one line for people; None for a bug."""
    if isinstance(error, StageError):
        return error
    if isinstance(error, StoreBusy):
        return StageError(str(error), 6, "another_run")
    if isinstance(error, Terminated | KeyboardInterrupt):
        code = 143 if isinstance(error, Terminated) else 130
        return StageError("stopped; nothing is lost, run again to go on", code, STOPPED)
    if isinstance(error, OSError | sqlite3.OperationalError) and (line := settings.wrong_folder(error)):
        return StageError(line, 2, "wrong_folder")
    if isinstance(error, sqlite3.Error):
        return StageError(
            f"cannot use {settings.STORE_PATH}: {error}; restore it, or move it away", 1, "bad_store"
        )
    return None
