"""status.py: what the newest run did, what is served, and the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = {"model": {"repo": "demo/m", "revision": "f0b624a9c835"}}
DATASET = {"dataset": {"repo": "demo/news", "revision": "db820d97f533"}}


class Place:
    """A folder with status.py in it and the logs of invented runs."""

    def __init__(self, root: Path, repo_root: Path) -> None:
        self.root = root
        shutil.copy(repo_root / "status.py", root / "status.py")
        shutil.copytree(repo_root / "mlops", root / "mlops", ignore=shutil.ignore_patterns("__pycache__"))

    def add_run(self, name: str, stages: dict[str, int | None], **results: dict) -> None:
        folder = self.root / "artifacts" / "logs" / name
        folder.mkdir(parents=True)
        (folder / "stages.json").write_text(json.dumps({"stages": list(stages), "began": 1_764_000_000.0}))
        lines = [
            {"stage": stage, "code": code, "seconds": 65}
            for stage, code in stages.items()
            if code is not None
        ]
        (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for stage, result in results.items():
            (folder / f"{stage}.json").write_text(json.dumps({"stage": stage} | result))

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "status.py", *options]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, repo_root: Path) -> Place:
    return Place(tmp_path, repo_root)


def test_without_a_run_it_names_what_to_start(place: Place) -> None:
    done = place.status()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no run yet: start run_mlops.sh or run_mlops.bat\n"


def test_a_good_night_is_shown_stage_by_stage(place: Place) -> None:
    place.add_run(
        "2026-11-28_02-00-00",
        {"parser": 0, "training": 0, "api": 0},
        parser={
            "outcome": "done",
            "revisions": DATASET,
            "counts": {"fetched": 4021, "rows": 4014, "added": 12},
        },
        training={
            "outcome": "done",
            "revisions": DATASET | MODEL,
            "decisions": {"topic": {"promoted": True}},
        },
        api={"outcome": "serving", "revisions": MODEL, "began": "2026-11-28T02:09:00+00:00"},
    )
    done = place.status()
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("newest run  2025-11-24 ") and first.endswith("  done")
    assert "  parser    done                    1 min 5 s     db820d97" in rest
    assert "            4,021 fetched, 4,014 rows, 12 added" in rest
    assert "  training  done                    1 min 5 s     f0b624a9" in rest
    assert "            topic promoted" in rest
    assert "serving     demo/m f0b624a9 since 2026-11-28T02:09:00+00:00" in rest


def test_a_bad_night_gives_its_code_and_reason_and_the_good_one_before_it(place: Place) -> None:
    place.add_run("2026-11-27_02-00-00", {"parser": 0})
    place.add_run(
        "2026-11-28_02-00-00", {"parser": 3, "training": None},
        parser={"outcome": "failed", "reason": {"code": "site_changed", "message": "no title on 9 pages"}},
    )  # fmt: skip
    done = place.status()
    assert done.returncode == 3
    assert "            no title on 9 pages" in done.stdout.splitlines()
    assert "  training  not ended" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("before      2025-11-24 ")
    assert "before" not in place.status("--runs", "0").stdout


def test_an_active_run_is_no_failure(place: Place) -> None:
    place.add_run("2026-11-28_02-00-00", {"parser": 0, "training": None})
    done = place.status()
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith("  active, or cut off before it ended")


def test_damaged_logs_are_left_out(place: Place) -> None:
    place.add_run("2026-11-27_02-00-00", {"parser": 0})
    damaged = place.root / "artifacts" / "logs" / "2026-11-28_02-00-00"
    damaged.mkdir()
    (damaged / "stages.json").write_text("{")
    done = place.status("--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["stages"][0]["exit_code"] == 0 and run["finished"]
