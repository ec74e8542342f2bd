"""tasks.json of a model revision: what it serves and how. Format 1 is read as format 2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.served.classifier import TextModel

FORMAT = 2


def read_tasks(folder: Path) -> dict[str, Any]:
    """tasks.json in format 2. Raises StageError (3) when it cannot be used."""
    path = folder / "tasks.json"
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} is missing: the folder holds no exported model revision", 3) from None
    except ValueError as error:
        raise StageError(f"{path} is not JSON: {error}", 3) from None
    if isinstance(tasks, dict) and tasks.get("format") == 1:
        return from_format_1(tasks)
    if not isinstance(tasks, dict) or tasks.get("format") != FORMAT or "tasks" not in tasks:
        found = tasks.get("format") if isinstance(tasks, dict) else None
        raise StageError(f"{path} has format {found!r}; this program reads formats 1 and {FORMAT}", 3)
    return tasks


def from_format_1(old: dict[str, Any]) -> dict[str, Any]:
    """The same revision in format 2: always the tasks summarize and topic."""
    tasks: dict[str, Any] = {}
    metrics = old.get("metrics") or {}
    if summarize := old.get("summarize"):
        prefix = re.sub(r"([{}\[\]])", r"\1\1", summarize.get("prefix", ""))
        kept = ("eos", "engine", "compute_type", "tokenizer", "source_max_tokens", "generation")
        tasks["summarize"] = {
            "kind": "generate",
            "source": prefix + ("[{title}. ]{text}" if summarize.get("with_title") else "{text}"),
            "target": "summary",
            "metrics": {name: value for name, value in metrics.items() if not name.startswith("topic_")},
            "model": "ct2",
            **{key: summarize[key] for key in kept if key in summarize},
        }
    if topic := old.get("topic"):
        kept = ("path", "threshold", "max_chars", "min_chars", "mask")
        title = "{title}\n" * topic.get("title_repeat", 1)
        tasks["topic"] = {
            "kind": "classify",
            "source": f"[{title}]{{text}}",
            "target": "rubric",
            "metrics": {
                name.removeprefix("topic_"): value
                for name, value in metrics.items()
                if name.startswith("topic_")
            },
            "labels": [{"label": each["topic"], "name": each["name"]} for each in topic.get("labels", [])],
            **{key: topic[key] for key in kept if key in topic},
        }
    return {"format": FORMAT, "recipe": None, "dataset": old.get("dataset", {}), "tasks": tasks}


def named_files(folder: Path) -> list[str]:
    """The files that tasks.json names; a * stands for all files of a folder."""
    sections = read_tasks(folder)["tasks"].values()
    files = [section[key] for section in sections for key in ("tokenizer", "path") if key in section]
    return files + [f"{section['model']}/*" for section in sections if "model" in section]


def load_arrays(folder: Path, section: dict[str, Any]) -> TextModel:
    """The classifier or regression of a section. Raises StageError (3) with the reason."""
    path = folder / section["path"]
    try:
        return TextModel.load(path)
    except ValueError as error:
        raise StageError(f"{path} is damaged: {error}", 3) from None


def section_of(folder: Path, kind: str, name: str = "") -> tuple[str, dict[str, Any]]:
    """(name, section) of a task of this kind, the first one if none is named. Raises StageError (3)."""
    tasks = read_tasks(folder)["tasks"]
    found = {each: section for each, section in tasks.items() if section["kind"] == kind}
    if name in found:
        return name, found[name]
    if name or not found:
        there = ", ".join(tasks) or "none"
        raise StageError(f"{folder} has no {kind} task {name}; its tasks: {there}".replace(" ;", ";"), 3)
    return next(iter(found.items()))
