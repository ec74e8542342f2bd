"""Log lines for people, or as JSON. They hold no text that somebody sent, unless LOG_TEXTS=1."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from topic_sum.safe_text import printable, without_credentials

_EXTRA = (
    "request_id", "method", "path", "status", "milliseconds", "code", "client", "chars", "text"
)  # fmt: skip


class TextFormatter(logging.Formatter):
    """Lines that begin with «error:» as they are, like in all stages; the rest with the time."""

    def format(self, record: logging.LogRecord) -> str:
        line = record.getMessage()
        if not line.startswith("error:"):
            line = f"{datetime.now():%H:%M:%S} {line}"
        if text := getattr(record, "text", None):  # only with LOG_TEXTS=1
            line += f": {text}"
        if (request_id := getattr(record, "request_id", None)) and (
            record.exc_info or record.levelno >= logging.ERROR
        ):
            line += f" (request {request_id})"
        line = printable(line)
        if record.exc_info:
            line += "\n" + printable(self.formatException(record.exc_info), kept="\n")
        return without_credentials(line)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, message and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in _EXTRA if getattr(record, name, None) is not None}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return without_credentials(printable(json.dumps(entry, ensure_ascii=False)))
