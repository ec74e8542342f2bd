"""results/api.json: what serves, for stage.py and status.py, which read no log."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from topic_sum.atomic import write_atomically
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
    try:
        write_atomically(folder / "api.json", json.dumps(result, ensure_ascii=False, indent=1))
    except OSError as error:
        log.warning("cannot write %s: %s", folder / "api.json", error.strerror or error)
