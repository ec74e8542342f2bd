"""A stand-in Hugging Face Hub for one machine: the real, unmodified clients push to it and pull from it.

    python demo/hub.py --root DIR --port P --token TOKEN=USER[:read] [--token …] [--verbose]

It answers the requests that huggingface_hub, the `hf` command, datasets and transformers send to a Hub
without Xet (so set HF_HUB_DISABLE_XET=1). It keeps model and dataset repositories with commits, branches,
tags and LFS, distinguishes tokens that may write from those that may only read, and sends the error headers
that the clients look for. It needs the standard library only and listens on loopback only. Open
http://127.0.0.1:P/ to look inside. The code is in standin_hub/; this file is the command line.

Exit codes: 0 stopped by Ctrl+C or SIGTERM, 2 wrong usage, 5 the port is taken, 6 another Hub uses DIR.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from standin_hub import commits, files, lfs, repositories  # noqa: F401  importing them registers their routes
from standin_hub.server import Server, User
from standin_hub.store import Hub
from standin_hub.trees import is_repo_name


def stop(code: int, message: str) -> Any:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        stop(2, f"{message}; see python {sys.argv[0]} --help")


def parse_token(text: str) -> tuple[str, User]:
    """TOKEN=USER or TOKEN=USER:read."""
    token, _, who = text.rpartition("=")
    name, _, right = who.partition(":")
    if not token or right not in ("", "read", "write") or not is_repo_name(name):
        # The text holds a token, so the message does not repeat it.
        raise argparse.ArgumentTypeError("expected TOKEN=USER or TOKEN=USER:read")
    return token, User(name, right != "read")


def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description="A stand-in Hugging Face Hub on loopback.", allow_abbrev=False)
    parser.add_argument("--root", type=Path, required=True, help="folder for all files; created if absent")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--token", type=parse_token, action="append", default=[], metavar="TOKEN=USER[:read]",
                        help="a token and its user; repeat the option to add more")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log each request to stderr")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        stop(2, f"--port {options.port} is not between 0 and 65535")
    try:
        server = Server(options.port, dict(options.token), options.verbose)
    except OSError as problem:
        why = f"port {options.port} cannot be used ({problem.strerror})"
        stop(5, f"{why}: stop the program that uses it or change --port")
    try:
        server.hub = Hub(options.root.resolve())
    except BlockingIOError:
        stop(6, f"another stand-in Hub is using {options.root}: stop it or choose another --root")
    except OSError as problem:
        stop(2, f"--root {options.root} cannot be used: {problem}")

    def end(*_: Any) -> None:
        # In a thread: shutdown waits for the loop that the interrupted main thread runs.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    # A script that starts this program with & makes it ignore Ctrl+C, because it stops the program itself.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    users = ", ".join(f"{user.name} ({'write' if user.may_write else 'read'})" for _, user in options.token)
    url = f"http://127.0.0.1:{server.server_port}"
    print(f"stand-in Hub on {url}, files in {server.hub.root}, tokens of: {users or 'nobody'}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
