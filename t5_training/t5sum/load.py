"""config.yaml, a recipe, other files and the command line → one checked Config.

Each of them is a layer of sections. Later layers win. In one layer `gate` holds for every task, a kind's name
(`generate`, `classify`, `regress`) for every task of that kind, and `tasks.NAME` for one task.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from t5sum import StageError
from t5sum.config import HOME, KINDS, AnyTask, Config, Settings, check, read_environment

# The sections of a recipe. This stage reads the last four and the names in `columns`.
RECIPE_KEYS = ("name", "sources", "rules", "duplicates", "splits", "columns", "tasks", "gate", "training")
Layer = tuple[str, dict[str, Any]]  # where the values come from, as errors name it; the values

# Where a setting of the first edition is now; "*" stands for the last part of its name.
MOVED = {
    "summarize.prefix": "is now tasks.summarize.source, a template such as 'summarize: {text}'",
    "summarize.with_title": "is now tasks.summarize.source, a template: 'summarize: [{title}. ]{text}'",
    "summarize.*": "is now tasks.summarize.*",
    "generation.*": "is now tasks.summarize.generation.*",
    "topic.title_repeat": r"is now tasks.topic.source, a template such as '[{title}\n{title}\n]{text}'",
    "topic.t5_rows": "is gone: a T5 as a topic classifier was never exported and is not compared any more",
    "topic.*": "is now tasks.topic.*",
    "gate.lead_margin": "is now tasks.summarize.gate.margin",
    "gate.metric": "is now tasks.summarize.gate.metric",
    "gate.max_empty": "is now tasks.summarize.gate.max_empty",
    "recipe": "is chosen by the variable RECIPE",
}


def load_config(
    overrides: Sequence[str], environ: Mapping[str, str], overlays: Sequence[Path] = ()
) -> Config:
    """config.yaml, then the recipe, each overlay file and the `key=value` words; checked.

    Raises StageError (code 2) that names the wrong key or value and what is allowed there.
    """
    environment = read_environment(environ)
    name, recipe, columns = read_recipe(environment.recipe)
    files = [(path.name, read_yaml(path, f"config={path}")) for path in (HOME / "config.yaml", *overlays)]
    layers: list[Layer] = [files[0], recipe, *files[1:], ("the command line", command_line(overrides))]
    for origin, values in layers:
        refuse_moved(origin, values)

    settings = OmegaConf.structured(Settings)
    for origin, values in layers:
        given = {key: value for key, value in values.items() if key != "tasks"}
        settings = merge(settings, given, origin, Settings)
    tasks = {each: load_task(each, kind, layers) for each, kind in kinds(layers, name).items()}
    config = Config(**vars(OmegaConf.to_object(settings)), recipe=name, tasks=tasks)
    config.hub.dataset_repo = config.hub.dataset_repo or environ.get("DATASET_REPO") or None
    config.hub.model_repo = config.hub.model_repo or environ.get("MODEL_REPO") or None
    config.runs_dir = config.runs_dir or str(environment.artifacts / "runs")
    check(config)
    for each, task in tasks.items():
        check_columns(each, task, columns, environment.recipe.name)
    return config


# ---------------------------------------------------------------------------------------- the layers


def read_yaml(path: Path, shown: str) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise StageError(f"{shown}: there is no such file", 2) from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise StageError(f"{shown} cannot be read as YAML: {error}", 2) from None
    if not isinstance(values, dict):
        raise StageError(f"{shown} must hold sections of settings, as config.yaml does", 2)
    return {str(key): value for key, value in values.items()}


def read_recipe(path: Path) -> tuple[str, Layer, list[str]]:
    """(its name, its layer, its columns; none if it does not list them)."""
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml"))) or "none"
        raise StageError(f"there is no recipe {path}; recipes in that folder: {known}", 2)
    values = read_yaml(path, f"the recipe {path.name}")
    for key in values:
        if key not in RECIPE_KEYS:
            raise StageError(f"{path.name}: {key} is not a section of a recipe; {hint(key, RECIPE_KEYS)}", 2)
    training, tasks = values.get("training") or {}, values.get("tasks")
    for key, value in (("training", training), ("tasks", tasks), ("gate", values.get("gate") or {})):
        if not isinstance(value, dict) or (key == "tasks" and not value):
            raise StageError(f"{path.name}: {key} must hold {'a task' if key == 'tasks' else 'settings'}", 2)
    for key in ("tasks", "gate"):
        if key in training:
            raise StageError(f"{path.name}: training.{key} belongs at the top of a recipe, as {key}", 2)
    layer = {**training, "tasks": tasks, **({"gate": values["gate"]} if values.get("gate") else {})}
    return str(values.get("name") or path.stem), (path.name, layer), list(values.get("columns") or ())


def command_line(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a layer. A template is taken as it stands: YAML would read its braces."""
    quoted = []
    for word in words:
        key, _, value = word.partition("=")
        quoted.append(f"{key}={json.dumps(value)}" if re.fullmatch(r"tasks\.\w+\.source", key) else word)
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist(quoted))  # type: ignore[return-value]
    except YAMLError as error:
        raise StageError(f"the command line cannot be read: {error}", 2) from None


def refuse_moved(origin: str, values: dict[str, Any]) -> None:
    """Name the new key of a setting of the first edition."""
    for section, inner in values.items():
        names = [f".{name}" for name in inner] if isinstance(inner, dict) else [""]
        for name in names:
            new = MOVED.get(section + name) or MOVED.get(f"{section}.*")
            if new:
                raise StageError(f"{origin}: {section}{name} {new.replace('.*', name)}", 2)


def kinds(layers: Sequence[Layer], recipe: str) -> dict[str, str]:
    """Every task's kind, in the order of the recipe. A later layer may add a task, or drop one with null."""
    found: dict[str, str] = {}
    for origin, values in layers:
        tasks = values.get("tasks") or {}
        if not isinstance(tasks, dict):
            raise StageError(f"{origin}: tasks must hold a section for each task", 2)
        for name, section in tasks.items():
            if section is None and name in found:
                del found[name]
                continue
            if not isinstance(section, dict):
                raise StageError(f"{origin}: tasks.{name} is a section; set one of its keys", 2)
            kind = section.get("kind", found.get(name))
            if kind is None:
                raise StageError(
                    f"{origin}: the recipe {recipe} has no task {name}; {hint(name, found)}", 2
                )  # fmt: skip
            if kind not in KINDS:
                raise StageError(
                    f"{origin}: tasks.{name}.kind={kind!r} is not allowed: it must be one of "
                    f"{', '.join(KINDS)}", 2)  # fmt: skip
            found[str(name)] = kind
    if not found:
        raise StageError(f"no task of the recipe {recipe} is left: all of them are null", 2)
    return found


def load_task(name: str, kind: str, layers: Sequence[Layer]) -> AnyTask:
    task = OmegaConf.structured(KINDS[kind])
    for origin, values in layers:
        parts = ({"gate": values.get("gate") or {}}, values.get(kind) or {})
        for part in parts:
            task = OmegaConf.merge(task, part)
        own = dict((values.get("tasks") or {}).get(name) or {})
        own.pop("kind", None)
        task = merge(task, own, origin, KINDS[kind], f"tasks.{name}.")
    if missing := OmegaConf.missing_keys(task):
        raise StageError(f"tasks.{name} needs {' and '.join(sorted(missing))}", 2)
    return OmegaConf.to_object(task)  # type: ignore[return-value]


def check_columns(name: str, task: AnyTask, columns: Sequence[str], recipe: str) -> None:
    """The columns a task reads must be among those that the recipe lists, if it lists any."""
    for place, wanted in (("source", task.template.columns), ("target", (task.target,))):
        if unknown := [column for column in wanted if columns and column not in columns]:
            raise StageError(
                f"tasks.{name}.{place}: {recipe} has no column {unknown[0]}; {hint(unknown[0], columns)}",
                2,
            )


# ---------------------------------------------------------------------------------------- what is wrong


def merge(
    below: DictConfig, values: dict[str, Any], origin: str, schema: type, prefix: str = ""
) -> DictConfig:
    try:
        return OmegaConf.merge(below, values)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise StageError(f"{origin}: {explain(error, values, schema, prefix)}", 2) from None


def hint(name: str, allowed: Any) -> str:
    """The nearest of the allowed names, and all of them."""
    close = difflib.get_close_matches(str(name), list(allowed), 1)
    return f"{f'did you mean {close[0]}? ' if close else ''}there are: {', '.join(allowed)}"


def explain(error: Any, values: dict[str, Any], schema: type, prefix: str) -> str:
    """One line for a key or value that does not fit: what is allowed at that place."""
    key = error.full_key or ""
    if isinstance(error, ConfigKeyError):
        section, _, name = key.rpartition(".")
        allowed = [item.name for item in fields(section_of(schema, section))]
        if schema is Settings and not section:
            allowed.append("tasks")
        close = difflib.get_close_matches(name, allowed, 1)
        nearest = f"did you mean {prefix}{'.'.join(filter(None, (section, close[0])))}? " if close else ""
        above = f"{prefix}{section}".rstrip(".")
        place = f" in {above}" if above else ""
        return f"{prefix}{key} is not a setting; {nearest}allowed{place}: {', '.join(allowed)}"
    if not key or is_dataclass(section_of(schema, key)):  # a plain value in the place of a section
        for name in section_names(schema):
            value = OmegaConf.select(OmegaConf.create(values), name, throw_on_missing=False)
            if value is not None and not OmegaConf.is_dict(value):
                names = ", ".join(item.name for item in fields(section_of(schema, name)))
                return (
                    f"{prefix}{name} is a section; set one of its keys, {prefix}{name}.KEY=VALUE, with KEY "
                    f"one of {names}"
                )
    value = OmegaConf.select(OmegaConf.create(values), key)
    return f"{prefix}{key}={value!r} is not allowed: it must be {wanted(section_of(schema, key))}"


def section_names(kind: Any, above: str = "") -> list[str]:
    """Dotted names of the sections, outer ones first."""
    inner = [(above + name, type_) for name, type_ in get_type_hints(kind).items() if is_dataclass(type_)]
    return [name for name, _ in inner] + [
        deeper for name, type_ in inner for deeper in section_names(type_, f"{name}.")
    ]


def section_of(schema: Any, key: str) -> Any:
    """The type at a dotted key: a dataclass for a section, else the field's type."""
    kind: Any = schema
    for name in filter(None, key.split(".")):
        if is_dataclass(kind):
            kind = get_type_hints(kind).get(name)
        else:  # a mapping of sections, such as the labels
            kind = get_args(kind)[1] if get_origin(kind) is dict else None
    return kind


def wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(wanted(item) for item in get_args(kind))
    words = {
        int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list",
        dict: "a section", type(None): "null", Path: "a path",
    }  # fmt: skip
    return words.get(get_origin(kind) or kind, str(kind))
