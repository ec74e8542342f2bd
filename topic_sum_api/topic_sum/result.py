"""results/api.json: what serves, for stage.py and status.py, which read no log."""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from topic_sum.inference.model import Model

log = logging.getLogger("topic_sum")

_BEGAN = datetime.now(UTC)
_BEGAN_AT = time.monotonic()


def write_result(folder: Path, recipe: str, model: Model) -> None:
    """Write it atomically: several processes may serve the same model. Serving goes on if it cannot be."""
    result = {
        "format": 1,
        "stage": "api",
        "recipe": recipe,
        "outcome": "serving",
        "exit_code": 0,
        "began": _BEGAN.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - _BEGAN_AT, 1),
        "revisions": {
            "dataset": {"repo": model.dataset_repo, "revision": model.dataset_revision},
            "model": {"repo": model.repo, "revision": model.revision},
        },
        "counts": {"tasks": len(model.tasks)},
    }
    part = folder / f"api.{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(folder / "api.json")
    except OSError as error:
        log.warning("cannot write %s: %s", folder / "api.json", error.strerror or error)
    finally:
        part.unlink(missing_ok=True)
