"""What the benchmarks share: environments, rounds in turns, ratios and their spread."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
LOCKS = [ROOT / part / "requirements.lock" for part in ("dataset_parser", "t5_training", "topic_sum_api")]
# Whose versions explain a figure.
TOLD = ("scrapy", "datasets", "pyarrow", "torch", "transformers", "ctranslate2", "scikit-learn", "django")
# What transformers' own users install to train and to generate: an environment of two benchmarks.
TRANSFORMERS = ("transformers", ["torch", "transformers", "accelerate", "sentencepiece", "protobuf"])
T = TypeVar("T")


def at_home(*parts: str) -> None:
    """Started by a Python outside of any environment, go on in .venv, with what these siblings need in it."""
    if sys.prefix != sys.base_prefix:
        return
    subprocess.run([sys.executable, str(ROOT / "setup_venv.py"), *parts], check=True)
    python = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    sys.exit(subprocess.run([str(python), *sys.argv], check=False).returncode)


def python_of(
    name: str, packages: Sequence[str] = (), lock: Path | None = None, locks: Sequence[Path] = tuple(LOCKS)
) -> Path:
    """Python of an environment with these packages, in the versions of `locks` where they name one.

    It lies below artifacts/peers/ and is made when it is not there, and again when the packages or locks
    change. A part that was stopped is made anew.
    """
    pinned = [file.read_bytes() for file in locks]
    asked = hashlib.sha256(repr([sorted(packages), str(lock and lock.parent.name), pinned]).encode())
    folder = ROOT / "artifacts" / "peers" / f"{name}-{asked.hexdigest()[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / "complete").exists():
        return python
    for old in folder.parent.glob(f"{name}-*"):
        shutil.rmtree(old)
    print(f"installing {', '.join(packages) or lock} into {folder.relative_to(ROOT)} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    for file in locks:
        command += ["-c", str(file)]
    if lock:
        command += ["-r", str(lock)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {name} was not installed: {done.stderr.strip()[-2000:]}")
    (folder / "complete").touch()
    return python


def ask(python: Path, script: str, told: Any) -> Any:
    """What `script` prints, JSON, when `python` runs it with `told`, as JSON, on its standard input."""
    done = subprocess.run(
        [str(python), "-c", script], input=json.dumps(told), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(rounds: int, ways: dict[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Name → what it returned in each round. Every second round goes backwards, so none is always first."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            found[name].append(ways[name]())
    return found


class Spread(NamedTuple):
    """The median of some figures, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread:
        told = sorted(figures)
        return cls(statistics.median(told), told[0], told[-1])

    @classmethod
    def of_ratios(cls, above: Iterable[float], below: Iterable[float]) -> Spread:
        """Round by round: what slowed one round of both leaves its ratio as it is."""
        return cls.of(one / other for one, other in zip(above, below, strict=True))

    def __str__(self) -> str:
        # One format for the three, so that they can be compared by eye.
        places = 3 if self.median < 0.1 else 2 if self.median < 10 else 1 if self.median < 100 else 0
        median, least, greatest = (f"{figure:,.{places}f}" for figure in self)
        return median if self.least == self.greatest else f"{median} ({least} to {greatest})"


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Print columns; the first is left-aligned."""
    told = [list(head), *([str(cell) for cell in line] for line in lines)]
    widths = [max(len(line[at]) for line in told) for at in range(len(head))]
    print()
    for line in told:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([line[0].ljust(len(first)), *others]).rstrip())
    print(flush=True)


def load() -> float | None:
    """Processes that wanted to run in the last minute: on an idle machine near 0. None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def save(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures as JSON with the machine, versions and time they belong to."""
    if path is None:
        return
    versions = {}
    for package in TOLD:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.platform(), "processor": processor(), "cores": os.cpu_count(),
        "python": platform.python_version(), "versions": versions,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps({"machine": machine, **figures}, ensure_ascii=False, indent=1)
    path.write_text(told + "\n", encoding="utf-8")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
