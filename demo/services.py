"""Starts and stops the demo's stand-ins: the Hub of hub.py and the news site of site.py.

    python demo/services.py start --root DIR [--hub-only] [--news FILE] [--articles N]
    python demo/services.py stop  --root DIR

`start` returns once both answer; their process ids are in DIR/services.json, their words in
DIR/hub.log and DIR/site.log. Stand-ins that an interrupted demo left behind are stopped first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
HUB_PORT, SITE_PORT = 8801, 8802
TOKEN = "demo-token=demo"  # noqa: S105  the stand-in's own, good for nothing else
START_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--hub-only", action="store_true")
    parser.add_argument("--news", type=Path)
    parser.add_argument("--articles", type=int)
    arguments = parser.parse_args()
    if arguments.what == "stop":
        return stop(arguments.root)
    return start(arguments)


def start(arguments: argparse.Namespace) -> int:
    root = arguments.root
    root.mkdir(parents=True, exist_ok=True)
    stop(root)
    hub = [str(HERE / "hub.py"), "--root", str(root / "hub"), "--port", str(HUB_PORT), "--token", TOKEN]
    plans = {"hub": (hub, f"http://127.0.0.1:{HUB_PORT}/")}
    if not arguments.hub_only:
        site = [str(HERE / "site.py"), "--port", str(SITE_PORT)]
        if arguments.news:
            site += ["--news", str(arguments.news)]
        if arguments.articles:
            site += ["--articles", str(arguments.articles)]
        plans["site"] = (site, f"http://127.0.0.1:{SITE_PORT}/robots.txt")
    running: dict[str, subprocess.Popen] = {}
    for name, (command, _) in plans.items():
        with (root / f"{name}.log").open("wb") as log:
            running[name] = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        # Written at once: what has started can be stopped even if the rest of this fails.
        (root / "services.json").write_text(json.dumps({key: child.pid for key, child in running.items()}))
    for name, (_, url) in plans.items():
        if code := wait(url, running[name]):
            words = (root / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip()
            print(words or f"error: the stand-in {name} did not answer at {url}", file=sys.stderr)
            stop(root)
            return code
        print(f"stand-in {name} at {url}", flush=True)
    return 0


def wait(url: str, child: subprocess.Popen) -> int:
    """0 once `url` answers; the child's exit code if it ends first; 5 if it never answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            return child.returncode or 1
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return 0
        except OSError:
            time.sleep(0.05)
    return 5


def stop(root: Path) -> int:
    record = root / "services.json"
    if not record.exists():
        return 0
    for pid in json.loads(record.read_text()).values():
        if not is_stand_in(pid):
            continue  # the computer was restarted and the number belongs to another program now
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not is_stand_in(pid):
                break
            time.sleep(0.05)
    record.unlink()
    return 0


def is_stand_in(pid: int) -> bool:
    """Whether `pid` is a running hub.py or site.py: no other program must ever be stopped."""
    if os.name == "nt":
        query, marks = ["tasklist", "/fi", f"PID eq {pid}", "/fo", "csv", "/nh"], ("python",)
    else:
        query, marks = ["ps", "-o", "stat=,command=", "-p", str(pid)], ("hub.py", "site.py")
    try:
        words = subprocess.run(query, capture_output=True, text=True, errors="replace").stdout.strip()
    except OSError:
        return False
    if words.startswith("Z"):
        return False  # ended, only not yet collected by its parent
    return any(mark in words for mark in marks)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: the stand-ins could not be started: {error}", file=sys.stderr)
        sys.exit(1)
