"""A recipe: which sites or files a dataset is made from, its columns, its rules, and how it is split.

`load` reads recipes/NAME.yaml. A key, type or value that cannot be meant raises BadRecipe with one line that
names the key and the fix. The sections of the other stages are left to them. Whatever a recipe leaves out has
the value of recipes/gazeta.yaml, as far as it is about columns that the recipe has.
"""

# ruff: noqa: RUF009 (setting() makes a field of its own)
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gazeta import StageError, values
from gazeta.dataset.schema import LINEAGE_FACTS, Column, Schema
from gazeta.values import number, or_off, setting

SECTIONS = ("name", "sources", "columns", "rules", "duplicates", "splits", "tasks", "gate", "training")
DEFAULT_NAME = "gazeta"
FORMATS = ("jsonl", "csv", "parquet")
# What newspapers publish besides articles; dataset/rules.py knows them by their words.
KINDS = ("gallery", "live report", "horoscope", "correction", "quiz", "advertising")
MOST_BYTES = 1_000_000  # of a recipe
Section = TypeVar("Section")


class BadRecipe(StageError):
    code = "wrong_recipe"
    exit_code = 2


# The sections


@dataclass(frozen=True)
class FileSource:
    """JSON Lines, CSV or parquet, maybe gzipped.

    columns: our column → columns of the file; the first of them that is not empty is taken. A column that is
        not named here has the same name in the file.
    defaults: our column → the value of an empty cell.
    """

    file: str = setting("", values.text)
    columns: dict[str, tuple[str, ...]] = setting({}, values.by_column(values.names))
    format: str = setting("", values.one_of(*FORMATS))
    defaults: dict[str, str] = setting({}, values.by_column(values.cell))


@dataclass(frozen=True)
class Rules:
    """The bounds of the cleaning rules. None, or a column that is not named, switches a rule off.

    A rule about a column that the recipe does not have is not applied. compared_lengths: the columns whose
    lengths are compared with the revision before.
    """

    language: str | None = setting("ru", or_off(values.one_of("ru")))
    # Drop error pages, and cut paragraphs such as "Реклама" out of texts.
    boilerplate: bool = setting(True, values.flag)
    drop: tuple[str, ...] = setting(KINDS, values.list_of(values.one_of(*KINDS), "kinds"))
    first_date: str | None = setting("1999-01-01", or_off(values.day))
    # Of the fetch in UTC: Moscow is UTC+3, and a day for a wrong clock.
    max_hours_ahead: float | None = setting(27, or_off(number(0, 1e6)))
    min_characters: dict[str, float] = setting({"text": 200}, values.by_column(number(0, 1e9)))
    max_characters: dict[str, float] = setting({"text": 100_000}, values.by_column(number(1, 1e9)))
    min_letters: dict[str, float] = setting({"title": 8, "summary": 25}, values.by_column(number(0, 1e9)))
    between: dict[str, tuple[float, float]] = setting({}, values.by_column(values.two_numbers))
    max_digit_share: float | None = setting(0.25, or_off(number(0, 1)))
    max_clock_lines_share: float = setting(0.4, number(0, 1))
    max_summary_share: float | None = setting(1.0, or_off(number(0, 100)))
    max_copied_share: float | None = setting(0.9, or_off(number(0, 1)))
    compared_lengths: tuple[str, ...] = setting(("text", "summary"), values.list_of(values.text, "columns"))


@dataclass(frozen=True)
class Duplicates:
    """by: story (near copies too), exact or none. columns: what is compared, by default the main text."""

    by: str = setting("story", values.one_of("story", "exact", "none"))
    columns: tuple[str, ...] = setting((), values.list_of(values.text, "columns"))


@dataclass(frozen=True)
class Splits:
    """by: date (the newest rows are for testing) or hash (a row stays in its split)."""

    by: str = setting("date", values.one_of("date", "hash"))
    test: float = setting(0.05, number(0.001, 0.4))
    validation: float = setting(0.05, number(0.001, 0.4))


COLUMNS = (
    Column("text", "text", True), Column("summary", "line", True), Column("title", "line", True),
    Column("date", "date", True), Column("url", "url", True), Column("rubric", "label", True),
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    name: str = DEFAULT_NAME
    sites: tuple[str, ...] = ("gazeta",)
    files: tuple[FileSource, ...] = ()
    columns: tuple[Column, ...] = COLUMNS
    rules: Rules = Rules()
    duplicates: Duplicates = Duplicates(columns=("text",))
    splits: Splits = Splits()

    @cached_property
    def schema(self) -> Schema:
        return Schema(self.columns)


GAZETA = Recipe()


# Reading


def load(recipe: str, folder: Path, source_file: str = "") -> Recipe:
    """The recipe of that name in `folder`, or of that path if it ends in .yaml. Raises BadRecipe.

    source_file: a file that takes the place of all sources.
    """
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else folder / f"{recipe}.yaml"
    try:
        loaded = _parse(_read_yaml(path), path)
    except FileNotFoundError:
        if recipe != DEFAULT_NAME:
            known = sorted(file.stem for file in folder.glob("*.yaml")) or ["no recipes there"]
            raise BadRecipe(
                f"RECIPE={recipe}: there is no {path}; {values.suggestion(recipe, known)}"
            ) from None
        loaded = GAZETA  # a container without the folder
    except ValueError as error:
        raise BadRecipe(f"{path.name}: {error}") from None
    return with_source_file(loaded, source_file) if source_file else loaded


def with_source_file(recipe: Recipe, path: str) -> Recipe:
    """The same recipe over one file. The file has the columns of the recipe's first file, if it names one."""
    if recipe.files:
        source = replace(recipe.files[0], file=path, format="")
    else:
        # Some news files have the text without its lead in `body`. A row without a rubric goes to the section
        # "articles", which is no topic: a guessed rubric would teach the topic model a mistake.
        columns = {"text": ("body", "text"), "rubric": ("rubric", "topic")}
        ours = recipe.schema.names
        source = FileSource(
            path,
            {name: theirs for name, theirs in columns.items() if name in ours},
            defaults={"rubric": "articles"} if "rubric" in ours else {},
        )
    return replace(recipe, sites=(), files=(source,))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise BadRecipe(f"{path} is no recipe: it is larger than {MOST_BYTES:,} bytes")
        found = yaml.safe_load(raw)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadRecipe(f"cannot read {path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise BadRecipe(f"{path} is not valid YAML: {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadRecipe(f"{path} is not valid YAML: {str(error).partition(chr(10))[0]}") from None
    if not isinstance(found, dict):
        raise BadRecipe(f"{path} is no recipe: it has no KEY: VALUE lines; see recipes/gazeta.yaml")
    return found


def _parse(found: dict[str, Any], path: Path) -> Recipe:
    """A recipe from the content of its file; relative file sources are beside it. Raises ValueError."""
    values.known_keys(found, SECTIONS, "")
    name = values.checked("name", found.get("name", path.stem), values.text)
    columns = _columns(found["columns"]) if "columns" in found else COLUMNS
    schema = Schema(columns)
    sites, files = _sources(found.get("sources"), path.parent, schema)
    given = {key: {} if found.get(key) is None else found[key] for key in ("rules", "duplicates", "splits")}
    rules = _of_columns(_fill(Rules, given["rules"], "rules"), given["rules"], schema)
    duplicates = _fill(Duplicates, given["duplicates"], "duplicates")
    _our_columns(duplicates.columns, schema, "duplicates.columns")
    splits = _fill(Splits, given["splits"], "splits")
    if splits.by == "date" and schema.date not in schema.required:
        if "by" in given["splits"]:
            raise ValueError("splits.by is date, but no column of type date is required; give hash")
        splits = replace(splits, by="hash")
    if splits.test + splits.validation > 0.5:
        raise ValueError("splits.test and splits.validation are more than half of the rows; lower them")
    duplicates = replace(duplicates, columns=duplicates.columns or (schema.text,))
    return Recipe(name, sites, files, columns, rules, duplicates, splits)


def _columns(found: Any) -> tuple[Column, ...]:
    if not isinstance(found, dict) or not found:
        raise ValueError(f"columns is {values.shown(found)}; give NAME: {{type: TYPE, required: true}} lines")
    columns = []
    for name, given in found.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"columns.{name} is no name; use small Latin letters, digits and _")
        if name in LINEAGE_FACTS:
            raise ValueError(f"columns.{name} is a name that the lineage uses; choose another")
        columns.append(_fill(Column, given, f"columns.{name}", name=name))
    if not any(column.type in ("text", "line") for column in columns):
        raise ValueError("columns has none of type text or line; add the one to learn from")
    return tuple(columns)


def _sources(found: Any, folder: Path, schema: Schema) -> tuple[tuple[str, ...], tuple[FileSource, ...]]:
    if not isinstance(found, list) or not found:
        raise ValueError(f"sources is {values.shown(found)}; give a list of `site: NAME` and `file: PATH`")
    sites, files = [], []
    for at, given in enumerate(found, start=1):
        key = f"sources, number {at}"
        if not isinstance(given, dict) or ("site" in given) == ("file" in given):
            raise ValueError(f"{key}, is {values.shown(given)}; give `site: NAME` or `file: PATH`")
        if "site" in given:
            values.known_keys(given, ("site",), f"{key}: ")
            sites.append(values.checked(f"{key}: site", given["site"], values.text))
            continue
        source = _fill(FileSource, given, key)
        _our_columns([*source.columns, *source.defaults], schema, f"{key}: columns")
        files.append(source if "://" in source.file else replace(source, file=str(folder / source.file)))
    return tuple(sites), tuple(files)


def _of_columns(rules: Rules, given: dict[str, Any], schema: Schema) -> Rules:
    """The rules without defaults about columns that the recipe lacks. Raises ValueError for given ones."""
    changed: dict[str, Any] = {}
    for name in ("min_characters", "max_characters", "min_letters", "between", "compared_lengths"):
        value = getattr(rules, name)
        if name in given:
            _our_columns(value, schema, f"rules.{name}")
        elif isinstance(value, dict):
            changed[name] = {column: bound for column, bound in value.items() if column in schema.names}
        else:
            changed[name] = tuple(column for column in value if column in schema.names) or (schema.text,)
    rules = replace(rules, **changed)
    for name in rules.compared_lengths:
        if name not in schema.of_type("text", "line"):
            raise ValueError(f"rules.compared_lengths: {name} is no column of text; leave it out")
    for name in rules.between:
        if name not in schema.of_type("number"):
            raise ValueError(f"rules.between.{name} needs a column of type number; change the column's type")
    return rules


def _our_columns(names: Iterable[Any], schema: Schema, key: str) -> None:
    for name in names:
        if name not in schema.names:
            raise ValueError(f"{key} names no column {name}; {values.suggestion(name, schema.names)}")


def _fill(section: type[Section], given: Any, key: str, **known: Any) -> Section:
    if not isinstance(given, dict):
        raise ValueError(f"{key} is {values.shown(given)}; give KEY: VALUE lines")
    checks = {one.name: one.metadata["check"] for one in fields(section) if one.metadata}  # type: ignore[arg-type]
    values.known_keys(given, checks, f"{key}.")
    return section(
        **known, **{name: values.checked(f"{key}.{name}", given[name], checks[name]) for name in given}
    )
