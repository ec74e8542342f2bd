"""Runs one stage for run_mlops.sh and run_mlops.bat: settings in, console and log out. Standard library only.

    python stage.py begin STAGE...                       a new folder of logs; forgets the oldest ones
    python stage.py run NAME [options] -- COMMAND...     run it; the exit code is the command's own
    python stage.py end [--artifacts DIR] [--open]       the table: what ran, how it ended, how long it took

Options of run: --in FOLDER (where the command runs), --settings FILE (NAME=VALUE lines; the environment
wins), --override FILE (the same, but the file wins), --except A,B (names that --override leaves alone),
--artifacts DIR (sets ARTIFACTS_DIR and HF_HOME). The command "python" is the Python that runs this file.

The command sees a terminal where this program has one, so its progress stays alive, and the log gets the
same words without the colours and the rewritten lines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mlops.relay import Log, relay
from mlops.runs import (
    MADE,
    RESULTS,
    begin,
    duration,
    keep_result,
    kept_result,
    read_lines,
    record,
    run_folder,
)
from mlops.settings import ROOT, WrongSetting, read_settings, user_settings


def main(argv: list[str]) -> int:
    place = argv.index("--") if "--" in argv else len(argv)
    own, command = argv[:place], argv[place + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    begin_words = actions.add_parser("begin")
    begin_words.add_argument("stages", nargs="+")
    run_words = actions.add_parser("run")
    run_words.add_argument("name")
    run_words.add_argument("--in", dest="folder", default=".")
    run_words.add_argument("--settings", type=Path)
    run_words.add_argument("--override", type=Path)
    run_words.add_argument("--except", dest="leave", default="")
    run_words.add_argument("--artifacts", type=Path)
    end_words = actions.add_parser("end")
    end_words.add_argument("--artifacts", type=Path)
    end_words.add_argument("--open", action="store_true")
    arguments = parser.parse_args(own)
    if arguments.action == "begin":
        return begin(arguments.stages)
    if arguments.action == "end":
        return end(arguments.artifacts, arguments.open)
    if not command:
        raise WrongSetting("stage.py run needs a command after --")
    try:
        env = environment(arguments)
    except WrongSetting:
        record(run_folder(), {"stage": arguments.name, "code": 2, "seconds": 0.0})  # or it "was not started"
        raise
    return run(arguments.name, command, arguments.folder, env)


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """What the command sees: our environment and the settings."""
    found = dict(os.environ)
    if arguments.override:
        leave = arguments.leave.split(",")
        found |= {
            name: value for name, value in read_settings(arguments.override).items() if name not in leave
        }
    if arguments.settings:
        found |= user_settings(arguments.settings, found)
    if arguments.artifacts:
        found["ARTIFACTS_DIR"] = str(ROOT / arguments.artifacts)
        found["HF_HOME"] = str(ROOT / arguments.artifacts / "hf")
    elif found.get("ARTIFACTS_DIR"):
        # The stages run in folders of their own: a relative path must mean the same place to all.
        found["ARTIFACTS_DIR"] = str(ROOT / found["ARTIFACTS_DIR"])
    if any(found.get(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")):
        # No proxy reaches the stand-ins and the API of this computer, whoever forgot to say so.
        for name in ("NO_PROXY",) if os.name == "nt" else ("NO_PROXY", "no_proxy"):
            found[name] = ",".join(filter(None, [found.get(name), "127.0.0.1,localhost"]))
    found["PYTHONUTF8"] = "1"  # a Russian Windows gives a piped Python cp1251, which has no arrows
    found["PYTHONUNBUFFERED"] = "1"  # words appear when they are said, not in blocks of 8 kB
    found["MLOPS_RUN"] = "1"  # doctor.py then reads no .env of its own
    return found


def end(artifacts: Path | None, show: bool) -> int:
    """Print the table: stage, result, time, revision; and where the logs and a report of this run are."""
    folder = run_folder()
    plan = json.loads((folder / "stages.json").read_text())
    results = {result["stage"]: result for result in read_lines(folder / "results.jsonl")}
    print(f"\n{'stage':<12}{'result':<38}{'time':<14}revision")
    for stage in plan["stages"]:
        if result := results.get(stage):
            found = kept_result(folder, stage)
            words = RESULTS.get(result["code"], "failed")
            if result["code"] not in (0, 130, 143):
                words += f" (exit code {result['code']})"
            elif result["code"] == 0 and found.get("outcome") == "nothing to do":
                words = found["outcome"]
            made = found.get("revisions", {}).get(MADE.get(stage), {}) if result["code"] in (0, 4) else {}
            shown = made.get("revision", "")[:8]
            print(f"{stage:<12}{words:<38}{duration(result['seconds']):<14}{shown}".rstrip())
        else:
            print(f"{stage:<12}not started")
    print(f"logs: {folder.relative_to(ROOT)}", flush=True)
    root = ROOT / (artifacts or read_artifacts_dir())
    reports = [path for path in root.glob("runs/**/report.html") if path.stat().st_mtime >= plan["began"]]
    if reports:
        report = max(reports, key=lambda path: path.stat().st_mtime)
        print(f"report: {report}", flush=True)
        if show:
            import webbrowser  # only here: every start of this file would pay for it

            webbrowser.open(report.as_uri())
    return 0


def read_artifacts_dir() -> str:
    settings: dict[str, str] = {}
    with contextlib.suppress(WrongSetting):  # said by the stage that could not start for it
        settings = user_settings()
    return (settings | os.environ).get("ARTIFACTS_DIR") or "artifacts"


def run(name: str, command: list[str], folder: str, env: dict[str, str]) -> int:
    """Run `command` in ROOT/folder, its words on our console and in NAME.log of this run; its exit code."""
    logs = run_folder()
    cwd = ROOT / folder
    if command[0] == "python":  # the one that the run script found and runs this file with
        command = [sys.executable, *command[1:]]
    elif command[0] == "docker":
        env.setdefault("REVISION", commit())  # for the image's label
    elif "/" in command[0] or "\\" in command[0]:
        # Windows would look from our folder, POSIX from the command's; a link (.venv's python) must stay one.
        command = [os.path.abspath(cwd / command[0]), *command[1:]]  # noqa: PTH100  resolve() follows links
    began, moment = time.monotonic(), time.time()
    with (logs / f"{name}.log").open("ab", buffering=0) as file:  # no buffer that a full disk could not take
        log = Log(file)
        shown = subprocess.list2cmdline(command).replace("\n", " ")
        log.line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} in {folder}: {shown}")
        try:
            code = relay(command, cwd, env, log)
        except OSError as error:
            print(f"error: {command[0]} cannot be started: {error.strerror}", file=sys.stderr)
            code = 5 if command[0] == "docker" else 1
        seconds = time.monotonic() - began
        log.line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} exit code {code} after {duration(seconds)}")
    if name in MADE:
        keep_result(name, command, cwd, env, moment)
    record(logs, {"stage": name, "code": code, "seconds": round(seconds, 1)})
    return code


def commit() -> str:
    """The commit that is checked out here; "unknown" without git or a repository."""
    query = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(query, capture_output=True, text=True, timeout=5)
        if done.returncode == 0:
            return done.stdout.strip()
    return "unknown"


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # newline="": the command's own line ends are passed on as they are.
        stream.reconfigure(encoding="utf-8", errors="replace", newline="")  # type: ignore[union-attr]
    try:
        sys.exit(main(sys.argv[1:]))
    except WrongSetting as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {error.filename or 'the log folder'}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
