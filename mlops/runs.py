"""A run of the sequence: its folder of logs, how each stage ended, and the result that a stage leaves."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from mlops.settings import ROOT, WrongSetting

LOGS = ROOT / "artifacts" / "logs"
CURRENT = LOGS / "current"  # names the folder of the active run; the run scripts allow only one
KEPT_RUNS = 50
# What each stage makes or serves: the key in the `revisions` of its result.
MADE = {"parser": "dataset", "training": "model", "api": "model"}
RESULT_SECONDS = 30  # for a container to hand over its result
RESULTS = {0: "done", 1: "failed", 2: "wrong setting", 3: "site or data", 4: "not promoted",
           5: "a service is missing", 6: "another run", 130: "stopped", 143: "stopped"}  # fmt: skip


def begin(stages: list[str]) -> int:
    folder = LOGS / time.strftime("%Y-%m-%d_%H-%M-%S")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stages.json").write_text(json.dumps({"stages": stages, "began": time.time()}))
    (folder / "results.jsonl").write_text("")
    CURRENT.write_text(folder.name)
    for old in sorted(path for path in LOGS.iterdir() if path.is_dir())[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    return 0


def run_folder() -> Path:
    try:
        return LOGS / CURRENT.read_text().strip()
    except FileNotFoundError:
        raise WrongSetting("no run has begun: stage.py is called by run_mlops.sh and run_mlops.bat") from None


def record(logs: Path, result: dict) -> None:
    """Add to the table's lines; commands of one stage add up, and its last one that failed counts."""
    path = logs / "results.jsonl"
    sums = {each["stage"]: each for each in read_lines(path)}
    if earlier := sums.get(result["stage"]):
        result["seconds"] = round(result["seconds"] + earlier["seconds"], 1)
        result["code"] = result["code"] or earlier["code"]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    except OSError as error:
        print(f"warning: the result could not be noted: {error.strerror}", file=sys.stderr)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_result(text: str, stage: str) -> dict:
    """What a stage left as its result.json; {} if that is none."""
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict) and found.get("stage") == stage:
            return found
    return {}


def kept_result(folder: Path, stage: str) -> dict:
    with contextlib.suppress(OSError):
        return read_result((folder / f"{stage}.json").read_text(encoding="utf-8"), stage)
    return {}


def keep_result(name: str, command: list[str], cwd: Path, env: dict[str, str], began: float) -> None:
    """Copy the result.json of a stage that has just run to the logs of this run."""
    text, earlier_too = "", False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        if command[:2] == ["docker", "compose"]:
            # A container keeps it in its volume. The API may serve there since an earlier run.
            query = {"run": ["run", "--rm", "-T"], "up": ["exec", "-T"]}
            verb = next((word for word in query if word in command), "")
            if verb:
                show = [*command[: command.index(verb)], *query[verb], name, "cat"]
                done = subprocess.run([*show, f"/artifacts/results/{name}.json"], cwd=cwd, env=env,
                                      capture_output=True, timeout=RESULT_SECONDS)  # fmt: skip
                text, earlier_too = done.stdout.decode("utf-8"), verb == "up"
        else:
            root = Path(env.get("ARTIFACTS_DIR") or ROOT / "artifacts")
            text = (root / "results" / f"{name}.json").read_text(encoding="utf-8")
        result = read_result(text, name)
        if result and (earlier_too or result.get("began", "") >= began_at(began)):
            (run_folder() / f"{name}.json").write_text(text, encoding="utf-8")


def began_at(seconds: float) -> str:
    """The moment as results write it: ISO 8601 in UTC, which sorts as text."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat(timespec="seconds")  # noqa: UP017  doctor.py starts on an old Python, too


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
