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
import codecs
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

ROOT = Path(__file__).resolve().parent
LOGS = ROOT / "artifacts" / "logs"
CURRENT = LOGS / "current"  # names the folder of the run that is active; the run scripts allow only one
KEPT_RUNS = 50
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUOTED = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""")
COMMENT = re.compile(r"(?:^|\s)#.*")
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# What each stage makes or serves: the key in the `revisions` of its result.
MADE = {"parser": "dataset", "training": "model", "api": "model"}
RESULT_SECONDS = 30  # for a container to hand over its result
RESULTS = {0: "done", 1: "failed", 2: "wrong setting", 3: "site or data", 4: "not promoted",
           5: "a service is missing", 6: "another run", 130: "stopped", 143: "stopped"}  # fmt: skip


class WrongSetting(Exception):
    """A setting or an argument cannot be used; the words say which and why."""


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


# ---- settings


def parse_settings(text: str, source: str) -> dict[str, str]:
    """NAME=VALUE lines to a dict. A value may hold spaces and =, and may stand in quotes; # starts a comment.

    Errors name the line but never show it: it may hold a token.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not NAME.fullmatch(name):
            raise WrongSetting(f"line {number} of {source} is not NAME=VALUE; see .env.example")
        quoted = QUOTED.fullmatch(value)
        found[name] = quoted[2] if quoted else COMMENT.sub("", value).rstrip()
    return found


def read_settings(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad may begin the file with a mark
    except UnicodeDecodeError:
        raise WrongSetting(f"{path} is not UTF-8 text; save it as UTF-8") from None
    return parse_settings(text, str(path))


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


def user_settings(path: Path = ROOT / ".env", known: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the file adds to `known`, which wins; and the token where HF_TOKEN_FILE says that it lies."""
    found = read_settings(path) if path.exists() else {}
    found = {name: value for name, value in found.items() if name not in known}
    file = known.get("HF_TOKEN_FILE") or found.get("HF_TOKEN_FILE")
    if file and not (known.get("HF_TOKEN") or found.get("HF_TOKEN")):
        try:
            found["HF_TOKEN"] = (ROOT / file).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise WrongSetting(f"HF_TOKEN_FILE={file} cannot be read: {reason}") from None
    return found


# ---- a run's folder


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
    return datetime.fromtimestamp(int(seconds), UTC).isoformat(timespec="seconds")


def read_artifacts_dir() -> str:
    settings: dict[str, str] = {}
    with contextlib.suppress(WrongSetting):  # said by the stage that could not start for it
        settings = user_settings()
    return (settings | os.environ).get("ARTIFACTS_DIR") or "artifacts"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


# ---- one command


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


def relay(command: list[str], cwd: Path, env: dict[str, str], log: Log) -> int:
    """Start `command`, copy its words to our stdout, our stderr and the log until it ends."""
    # Ctrl+C reaches the command by itself (it is in our process group): we only wait for its end.
    told_to_stop: list[int] = []
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda number, _: told_to_stop.append(number))
    ours, theirs = [], []
    for stream in (sys.stdout, sys.stderr):
        if theirs and os.name != "nt" and sys.stdout.isatty() and sys.stderr.isatty():
            theirs.append(theirs[0])  # one terminal for both keeps their words in order
            continue
        read, write = open_terminal() if os.name != "nt" and stream.isatty() else os.pipe()
        ours.append((read, stream))
        theirs.append(write)
    try:
        child = subprocess.Popen(command, cwd=cwd, env=env, stdout=theirs[0], stderr=theirs[1])
    finally:
        for descriptor in set(theirs):
            os.close(descriptor)
    copies = [Copy(read, out, log) for read, out in ours]
    for each in copies:
        each.start()
    code = child.wait()
    for each in copies:
        each.finish()
    if told_to_stop and command[:2] == ["docker", "compose"] and "run" in command:
        stop_containers(command[: command.index("run")], cwd, env)
        if code == 255:  # what Compose now and then says of itself, when it is told to stop: seen with 2.26
            code = 128 + told_to_stop[0]
    if os.name == "nt":
        return 130 if code == 0xC000013A else code  # how Windows says: ended by Ctrl+C
    return 128 - code if code < 0 else code


def stop_containers(compose: list[str], cwd: Path, env: dict[str, str]) -> None:
    """Stop what `docker compose run` leaves at work: without a terminal, only it goes when told to stop."""
    query = [*compose, "ps", "--all", "--quiet"]
    left = subprocess.run(query, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True).stdout.split()
    if left:
        print("stopping the container; it saves what it has", file=sys.stderr, flush=True)
        subprocess.run(["docker", "stop", *left], env=env, stdout=subprocess.DEVNULL)


def open_terminal() -> tuple[int, int]:
    """A pseudo-terminal of our own terminal's size: its end to read, and the end for the command."""
    import fcntl
    import pty
    import termios

    read, write = pty.openpty()
    modes = termios.tcgetattr(write)
    modes[1] &= ~termios.OPOST  # pass every byte on as it is: the real terminal makes its own line ends
    termios.tcsetattr(write, termios.TCSANOW, modes)

    def same_size(*_: object) -> None:
        size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(read, termios.TIOCSWINSZ, size)

    if sys.stdout.isatty():
        same_size()
        signal.signal(signal.SIGWINCH, same_size)
    return read, write


class Copy(threading.Thread):
    """Passes on what comes out of `read`, to `out` and to the log, until the command has closed it."""

    def __init__(self, read: int, out: TextIO, log: Log) -> None:
        super().__init__(daemon=True)
        self.source, self.out, self.log = read, out, log
        self.waiting = threading.Event()

    def finish(self) -> None:
        """Wait for the last words of a command that has ended; not for what it left running behind it."""
        while self.is_alive():
            self.join(timeout=1)
            if self.waiting.is_set():
                return

    def read(self) -> bytes:
        self.waiting.set()
        try:
            return os.read(self.source, 65536)
        except OSError:  # how a terminal says that its other end is closed
            return b""
        finally:
            self.waiting.clear()

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        line = ""
        listening = True
        while True:
            block = self.read()
            text = decoder.decode(block, final=not block)
            if text and listening:
                try:
                    self.out.write(text)
                    self.out.flush()
                except OSError:
                    listening = False  # nobody reads us any more; the command and its log go on
            *whole, line = (line + text).split("\n")
            for each in whole:
                self.log.line(each)
            line = last_writing(line)  # a progress line may be rewritten for hours: keep what is seen
            if not block:
                if line:
                    self.log.line(line)
                return


def last_writing(line: str) -> str:
    """What a terminal still shows of a line that was rewritten by carriage returns."""
    body = line.rstrip("\r")
    return body.rsplit("\r", 1)[-1] + line[len(body) :]


class Log:
    """The stage's log: whole lines from both streams. A full disk ends the log, not the stage."""

    def __init__(self, file: BinaryIO) -> None:
        self.file: BinaryIO | None = file
        self.lock = threading.Lock()

    def line(self, text: str) -> None:
        words = ESCAPES.sub("", last_writing(text)).rstrip()
        if text.rstrip() and not words:
            return  # it only moved the cursor
        with self.lock:
            if self.file is None:
                return
            try:
                self.file.write(f"{words}\n".encode())
            except OSError as error:
                self.file = None
                print(f"warning: the log goes no further: {error.strerror}", file=sys.stderr)


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
