"""Runs a command and copies its output to the console, where it sees a terminal, and to a log."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO, TextIO

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


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
