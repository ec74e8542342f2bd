"""Writes a small file as a whole or not at all."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Raises OSError; then the file before it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes share the folder, and containers may: their process ids can be equal.
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
