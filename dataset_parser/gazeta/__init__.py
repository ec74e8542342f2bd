"""Stage 1 of the cycle: collects rows from news sites or files and publishes them to the Hub as a dataset."""

from __future__ import annotations

import os
import sys
from types import TracebackType


class StageError(Exception):
    """A reason why the stage ends without doing its work.

    The text is one line for people and says what to do. `code` names the reason for programs, which find it
    in results/parser.json; `exit_code` is that of the process.
    """

    code = "unexpected"
    exit_code = 1

    def __init__(self, message: str, exit_code: int | None = None, code: str = ""):
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code
        if code:
            self.code = code


def _stopped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End with 130 and a word after Ctrl+C while the program starts: what runs later ends by itself."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("error: stopped; nothing is lost, run again to go on", file=sys.stderr, flush=True)
    os._exit(130)


sys.excepthook = _stopped
