"""tasks.json: which tasks a model revision has, and what serving each of them needs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelRefused, NotNow
from .kinds import KINDS
from .kinds.base import check_fields, shown
from .served.template import Template

# What a task may be called: its name is a part of an address.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
# A request has these fields beside the columns of its task.
# Bounds of everything in a revision's tasks.json, whatever it means.
_MOST_BYTES = 4_000_000
_MOST_DEPTH = 12
_MOST_VALUES = 50_000
_MOST_CHARS = 10_000
_MOST = 1e15
# Half a surrogate pair cannot be sent, and control characters forge lines of a log.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
RESERVED = {"items", "max_chars", "variants", "top_k", "explain"}


@dataclass(frozen=True)
class TasksFile:
    """A checked tasks.json. `tasks` are sections of format 2, whichever format the file has."""

    recipe: str | None
    dataset_repo: str
    dataset_revision: str
    tasks: dict[str, dict[str, Any]]

    @property
    def files(self) -> list[str]:
        """Every file that serving needs, relative to the revision; a name with * stands for any number."""
        return [name for section in self.tasks.values() for name in KINDS[section["kind"]].files(section)]


def read_tasks(folder: Path) -> TasksFile:
    """Raises ModelRefused if tasks.json has no known format or asks for what this API cannot do, NotNow if it
    cannot be read."""
    try:
        if (folder / "tasks.json").stat().st_size > _MOST_BYTES:
            raise ModelRefused(f"tasks.json has more than {_MOST_BYTES} bytes")
        tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelRefused("tasks.json is missing: not a model of this project") from None
    except OSError as error:
        raise NotNow(f"tasks.json cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"tasks.json is damaged: {error}") from None
    check_bounds(tasks)
    got = tasks.get("format") if isinstance(tasks, dict) else type(tasks).__name__
    if got == 1:
        tasks = from_format_1(tasks)
    elif got != 2:
        raise ModelRefused(
            f"tasks.json has format {shown(got)}, this API reads formats 1 and 2: use matching versions"
        )
    for name in ("dataset", "tasks"):
        _section(tasks, name)
    check_fields("dataset", tasks["dataset"], {"repo": str, "revision": str})
    if not tasks["tasks"]:
        raise ModelRefused("tasks.json has no task")
    for name in tasks["tasks"]:
        _check_task(name, _section(tasks["tasks"], name))
    return TasksFile(
        recipe=tasks["recipe"] if isinstance(tasks.get("recipe"), str) else None,
        dataset_repo=tasks["dataset"]["repo"],
        dataset_revision=tasks["dataset"]["revision"],
        tasks=tasks["tasks"],
    )


def check_bounds(tasks: object) -> None:
    """Raises ModelRefused for a number, a text, a depth or a size that no tasks.json needs."""
    left = [("", tasks, 0)]
    for count in itertools.count():
        if not left:
            return
        where, value, depth = left.pop()
        name = f"tasks.json {where.removeprefix('.')}".strip()
        if count > _MOST_VALUES:
            raise ModelRefused(f"tasks.json holds more than {_MOST_VALUES} values")
        if depth > _MOST_DEPTH:
            raise ModelRefused(f"{name[:100]} is nested more than {_MOST_DEPTH} deep")
        match value:
            case dict():
                left += [(".a name", key, depth + 1) for key in value]
                left += [(f"{where}.{key[:100]}", each, depth + 1) for key, each in value.items()]
            case list():
                left += [(f"{where}[{at}]", each, depth + 1) for at, each in enumerate(value)]
            case str() if len(value) > _MOST_CHARS or _UNFIT.search(value):
                raise ModelRefused(f"{name} is {shown(value)}: too long, or with characters of no text")
            case int() | float() if not -_MOST <= value <= _MOST:  # NaN is not, either
                raise ModelRefused(f"{name} is {shown(value)}, not between {-_MOST:g} and {_MOST:g}")


def _check_task(name: str, section: Mapping[str, Any]) -> None:
    if not _NAME.fullmatch(name):
        raise ModelRefused(f"tasks.json has a task named {shown(name)}")
    kind = section.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelRefused(f"tasks.json {name}.kind is {shown(kind)}, this API knows {', '.join(KINDS)}")
    if not isinstance(section.get("metrics") or {}, dict):
        raise ModelRefused(f"tasks.json {name}.metrics is {shown(section['metrics'])}")
    KINDS[kind].check(name, section)
    if taken := sorted(RESERVED & set(Template(section["source"]).columns)):
        raise ModelRefused(f"tasks.json {name}.source has the column {taken[0]!r}, an option of this API")


def from_format_1(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """The same in format 2. Format 1 always has the two tasks `summarize` and `topic`."""
    summarize, topic = dict(_section(tasks, "summarize")), dict(_section(tasks, "topic"))
    check_fields("summarize", summarize, {"prefix": str})
    check_fields("topic", topic, {"title_repeat": (int, 0, 10), "labels": list})
    for label in topic["labels"]:
        if not isinstance(label, dict) or not {"topic", "name"} <= label.keys():
            raise ModelRefused(f"tasks.json topic.labels holds {shown(label)}")
    # Braces and brackets mean something in a template; doubled they are text.
    prefix = re.sub(r"[\[\]{}]", lambda match: 2 * match[0], summarize.pop("prefix"))
    title = "[{title}. ]" if summarize.pop("with_title", False) is True else ""
    titles = "{title}\n" * topic.pop("title_repeat")
    metrics = tasks.get("metrics") if isinstance(tasks.get("metrics"), dict) else {}
    of_topic = {name.removeprefix("topic_"): metrics[name] for name in metrics if name.startswith("topic_")}
    return {
        "dataset": tasks.get("dataset"),
        "tasks": {
            "summarize": summarize | {
                "kind": "generate", "source": f"{prefix}{title}{{text}}", "target": "summary", "model": "ct2",
                "metrics": {name: metrics[name] for name in metrics if not name.startswith("topic_")},
            },
            "topic": topic | {
                "kind": "classify", "source": f"[{titles}]{{text}}" if titles else "{text}",
                "target": "rubric", "metrics": of_topic,
                "labels": [{"label": each["topic"], "name": each["name"]} for each in topic["labels"]],
            },
        },
    }  # fmt: skip


def _section(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(of.get(name), dict):
        raise ModelRefused(f"tasks.json has no section {name!r}")
    return of[name]
