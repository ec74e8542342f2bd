"""Settings: NAME=VALUE files and the environment, which wins over them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUOTED = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""")
COMMENT = re.compile(r"(?:^|\s)#.*")


class WrongSetting(Exception):
    """A setting or an argument cannot be used; the words say which and why."""


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
