"""Text for logs and answers: no password of an address, and in a log no character that forges lines."""

from __future__ import annotations

import json
import re

_USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&](?:password|username|token|key|secret)=)[^&\s\"']+", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """`text` without the user and the password of every address in it."""
    return _PARAMETER.sub(r"\1***", _USER.sub(r"\1***@", text)) if "://" in text else text


def printable(text: str, kept: str = "") -> str:
    """`text` with every character that a terminal obeys or does not show written as in JSON."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else json.dumps(char)[1:-1] for char in text)
