"""Makes .venv and installs what the named parts need, only when a lock changed. Standard library only.

    python setup_venv.py parser training api tests

A lock is installed when its contents differ from what .venv/installed.json remembers, so a second
call takes no time. A .venv whose Python no longer starts is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed.json"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOCKS = {
    "parser": ROOT / "dataset_parser" / "requirements.lock",
    "training": ROOT / "t5_training" / "requirements.lock",
    "api": ROOT / "topic_sum_api" / "requirements.lock",
    "tests": ROOT / "tests" / "requirements.lock",
}
OLDEST = (3, 11)
# What pip says of a package it takes: by name, or by the file of a local index.
FOUND = re.compile(
    r"\s*(?:(?:Collecting|Requirement already satisfied:) ([\w.-]+?)(?=[=<>~!;\[ (]|$)"
    r"|Processing \S*?([^/\\]+?)-\d)"
)


def main(parts: list[str]) -> int:
    unknown = [part for part in parts if part not in LOCKS]
    if unknown or not parts:
        print(
            f"error: setup_venv.py knows the parts {', '.join(LOCKS)}; got {parts or 'none'}", file=sys.stderr
        )
        return 2
    if sys.version_info < OLDEST:
        print(
            f"error: Python {sys.version.split()[0]} is too old; install Python 3.11 or newer",
            file=sys.stderr,
        )
        return 2
    if not starts(PYTHON):
        make_venv()
    installed = remembered()
    wanted = {part: digest(LOCKS[part]) for part in parts}
    changed = [part for part in parts if installed.get(part) != wanted[part]]
    if not changed:
        return 0
    # All the locks asked for go into one call: pip then sees every pin and keeps them consistent.
    code = install([LOCKS[part] for part in parts])
    if code != 0:
        return code
    STAMP.write_text(json.dumps(installed | wanted, indent=1) + "\n")
    return 0


def remembered() -> dict[str, str]:
    """Part → digest of the lock installed for it; without a readable note everything is installed again."""
    try:
        return json.loads(STAMP.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def starts(python: Path) -> bool:
    """Whether this interpreter exists and runs (a moved folder or an upgraded system Python breaks it)."""
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    if VENV.exists():
        print(".venv does not start any more: making it again", flush=True)
        shutil.rmtree(VENV)
    else:
        print("making .venv", flush=True)
    venv.create(VENV, with_pip=True)


def digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def install(locks: list[Path]) -> int:
    """Run pip over the locks with one line of progress; on failure show pip's last words."""
    pins = Counter(
        key(line.split("==")[0]) for lock in locks for line in lock.read_text().splitlines() if "==" in line
    )
    command = [str(PYTHON), "-m", "pip", "install", "--progress-bar", "off", "--no-input"]
    for lock in locks:
        command += ["-r", str(lock)]
    progress = Progress(pins)
    tail: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            tail = [*tail[-14:], line.rstrip()]
            progress.see(line)
    progress.close()
    if pip.returncode != 0:
        print("\n".join(tail), file=sys.stderr)
        reason = (
            "the disk is full"
            if any("No space left" in line for line in tail)
            else "pip's last words are above"
        )
        print(
            f"error: installing the requirements failed ({reason}); mend that and run again", file=sys.stderr
        )
        return 1 if pip.returncode > 0 else 130
    return 0


def key(name: str) -> str:
    """A package's name as all ways to write it have in common."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0].strip().lower())


class Progress:
    """One line that is rewritten on a terminal, or a line every 15 s in a log.

    pins: how many lines of the locks name each package; some are for another system or Python.
    """

    def __init__(self, pins: Counter[str]) -> None:
        self.pins = pins
        self.found: set[str] = set()
        self.began = time.monotonic()
        self.shown = 0.0
        self.terminal = sys.stdout.isatty()

    def see(self, line: str) -> None:
        if line.startswith("Ignoring "):  # a package of another system or Python
            self.pins[key(line.removeprefix("Ignoring ").partition(":")[0])] -= 1
        elif match := FOUND.match(line):
            self.found.add(key(match[1] or match[2]))
        if not self.found:  # pip still ignores: how many there are is not known yet
            return
        writing = line.startswith("Installing collected packages")
        now = time.monotonic()
        if line.startswith("Successfully installed"):
            return
        if not writing and now - self.shown < (0.2 if self.terminal else 15):
            return
        self.shown = now
        total = sum(count > 0 for count in self.pins.values())
        done = min(len(self.found), total)
        left = ""
        if 5 <= done < total:
            left = f", about {(now - self.began) / done * (total - done):.0f} s left"
        text = f"installing: {done} of {total} packages downloaded{left}"
        if writing:
            text = f"installing: writing {done} packages to .venv, about a minute"
        print(f"\r{text:<78}" if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def close(self) -> None:
        print(f"\rinstalled in {time.monotonic() - self.began:.0f} s{'':<60}" if self.terminal
              else f"installed in {time.monotonic() - self.began:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: .venv could not be made: {error}", file=sys.stderr)
        sys.exit(1)
