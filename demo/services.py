"""Starts and stops the demo's stand-ins: the Hub (hub.py) and the news site (site.py).

    python demo/services.py start --root DIR [--hub-only] [--articles N]
    python demo/services.py stop  --root DIR

`start` returns once both answer. It writes their process ids to DIR/services.json and their output to
DIR/hub.log and DIR/site.log, after stopping stand-ins that an interrupted demo left behind.
Exit codes: 0 done, 2 wrong usage, 5 a port is taken or a stand-in does not answer.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARTICLES = 4000  # as many as train.yaml was tuned for
HUB_PORT, SITE_PORT = 8801, 8802
TOKEN = "demo-token=demo"  # noqa: S105  only the stand-in accepts it
START_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--hub-only", action="store_true")
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
        articles = str(arguments.articles or ARTICLES)
        site = [str(HERE / "site.py"), "--port", str(SITE_PORT), "--articles", articles]
        plans["site"] = (site, f"http://127.0.0.1:{SITE_PORT}/robots.txt")
    for name, port in (("hub", HUB_PORT), ("site", SITE_PORT)):
        # Check this before the start: a program that holds the port might answer like a stand-in.
        if name in plans and not is_free(port):
            print(f"error: port {port} is taken, but the stand-in {name} needs it; stop the program that "
                  "uses it (perhaps a demo in another folder)", file=sys.stderr)  # fmt: skip
            return 5
    running: dict[str, subprocess.Popen] = {}
    marks = {}
    for name, (command, _) in plans.items():
        with (root / f"{name}.log").open("wb") as log:
            running[name] = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                # Ctrl+C must not reach it: a stage that is stopping may still have to write to the Hub.
                start_new_session=True, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        marks[name] = {"pid": running[name].pid, "born": born(running[name].pid)}
        # Write this now: if a later step fails, the stand-ins started so far can be stopped.
        (root / "services.json").write_text(json.dumps(marks))
    for name, (_, url) in plans.items():
        if code := wait(url, running[name]):
            output = (root / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip()
            print(output or f"error: the stand-in {name} did not answer at {url}", file=sys.stderr)
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


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":  # like a server, ignore connections that have just ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def stop(root: Path) -> int:
    record = root / "services.json"
    if not record.exists():
        return 0
    try:
        marks = json.loads(record.read_text())
        known = [(int(mark["pid"]), mark["born"]) for mark in marks.values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        print(f"warning: {record} is damaged, so stand-ins that still run cannot be found", file=sys.stderr)
        known = []
    for pid, when in known:
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            # After a restart of the computer the number may belong to another program.
            if not is_stand_in(pid, when):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            for _ in range(100):
                if not is_stand_in(pid, when):
                    break
                time.sleep(0.05)
    record.unlink()
    return 0


def is_stand_in(pid: int, when: int | None) -> bool:
    """Whether `pid` is a running hub.py or site.py of this folder; no other program must be stopped."""
    if os.name == "nt":
        return when is not None and born(pid) == when
    command = command_line(pid)
    return any(f"{HERE}{os.sep}{name}" in command for name in ("hub.py", "site.py"))


def command_line(pid: int) -> str:
    """The program and arguments of a running process; "" if it has ended."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    query = ["ps", "-o", "stat=,command=", "-p", str(pid)]
    status = subprocess.run(query, capture_output=True, text=True, errors="replace").stdout.strip()
    return "" if status.startswith("Z") else status  # Z: it has ended, but its parent has not collected it


def born(pid: int) -> int | None:
    """On Windows, when a running process started (in 100 ns): ids are reused, but not with the same time."""
    if os.name != "nt":
        return None
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    query_limited_information, still_active = 0x1000, 259
    process = ctypes.c_void_p(kernel.OpenProcess(query_limited_information, False, pid))
    if not process:
        return None
    times = [ctypes.c_ulonglong() for _ in range(4)]
    code = ctypes.c_ulong()
    known = kernel.GetProcessTimes(process, *map(ctypes.byref, times))
    known = kernel.GetExitCodeProcess(process, ctypes.byref(code)) and known
    kernel.CloseHandle(process)
    return times[0].value if known and code.value == still_active else None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: the stand-ins could not be started: {error}", file=sys.stderr)
        sys.exit(1)
