"""results/training.json: what this process did, for stage.py and status.py, which read no log."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t5sum.run.directory import write_json

# Why a process ended, for programs; the message says it for people.
REASONS = {
    1: "unexpected", 2: "wrong_setting", 3: "bad_data", 4: "not_promoted", 5: "unreachable",
    6: "another_run", 130: "stopped",
}  # fmt: skip


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Result:
    """Filled in on the way, written once at the end, however the process ends."""

    recipe: str
    began: str = field(default_factory=now)
    started: float = field(default_factory=time.monotonic)
    outcome: str = ""
    revisions: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def end(self, folder: Path, code: int, message: str = "", reason: str = "") -> None:
        """Write folder/results/training.json. A folder that cannot be written was reported already."""
        outcome = {0: self.outcome or "done", 4: "not promoted", 130: "stopped"}.get(code, "failed")
        value = {
            "format": 1,
            "stage": "training",
            "recipe": self.recipe,
            "outcome": outcome,
            "exit_code": code,
            "reason": {"code": reason or REASONS.get(code, "unexpected"), "message": message}
            if code
            else None,
            "began": self.began,
            "seconds": round(time.monotonic() - self.started, 1),
        }
        parts = {"revisions": self.revisions, "counts": self.counts, "decisions": self.decisions}
        with contextlib.suppress(OSError):
            write_json(
                folder / "results" / "training.json",
                value | {name: part for name, part in parts.items() if part},
            )
