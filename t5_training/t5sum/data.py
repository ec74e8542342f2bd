"""Dataset revision → rows. A row is a dict of columns; splits are train, validation, test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.repository import download

SPLITS = ("train", "validation", "test")
OPTIONAL = ("url", "date", "title")  # read if they are there: for the order, the report and messages
Row = dict[str, Any]
Rows = dict[str, list[Row]]


def load_rows(repo: str, commit: str, readers: Mapping[str, Sequence[str]]) -> Rows:
    """Every split of the dataset revision, checked. readers: the columns, each with the tasks that read it.

    Raises StageError: 5 Hub, 3 what is in it.
    """
    import datasets

    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    folder, name = download(repo, commit, "dataset"), f"dataset {repo} at {commit[:8]}"
    try:
        found = datasets.load_dataset(str(folder))
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        raise StageError(f"{name} cannot be read: {why_unreadable(folder, error)}", 3) from None
    rows, needed = {}, sorted(readers)
    for split, table in found.items():
        if missing := [column for column in needed if column not in table.column_names]:
            raise StageError(f"{name}: split {split} {without(missing, readers)}", 3)
        kept = needed + [each for each in OPTIONAL if each in table.column_names and each not in needed]
        rows[split] = table.select_columns(kept).to_list()
    return check_rows(rows, name)


def without(missing: Sequence[str], readers: Mapping[str, Sequence[str]]) -> str:
    """What is missing, and how to train the tasks that do not need it."""
    tasks = sorted({task for column in missing for task in readers[column]})
    rest = {task for each in readers.values() for task in each} - set(tasks)
    how = (
        f". To train {', '.join(sorted(rest))} alone, add {' '.join(f'tasks.{each}=null' for each in tasks)}"
    )
    columns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
    return f"has no {columns}, which the task {' and '.join(tasks)} reads{how if rest else ''}"


def why_unreadable(folder: Path, error: Exception) -> str:
    """One line. datasets only says that it failed, and Arrow of a file without rows that a batch has none."""
    import pyarrow.parquet

    with contextlib.suppress(OSError, ValueError):
        files = sorted(folder.rglob("*.parquet"))
        if empty := [path.name for path in files if pyarrow.parquet.read_metadata(path).num_rows == 0]:
            return f"no rows in {', '.join(empty)}"
    return str(error.__cause__ or error).strip().splitlines()[0]


def check_rows(rows: Rows, name: str) -> Rows:
    """The three splits, each newest first. Raises StageError (3) when there is nothing to learn from."""
    missing = [split for split in SPLITS if not rows.get(split)]
    if missing:
        raise StageError(
            f"{name} has no rows in {', '.join(missing)}: collect more articles, publish the dataset again",
            3,
        )
    return {split: newest_first(rows[split]) for split in SPLITS}


def newest_first(rows: Iterable[Row]) -> list[Row]:
    """By date, then by address; rows without either keep their order."""
    return sorted(rows, key=lambda row: (str(row.get("date") or ""), str(row.get("url") or "")), reverse=True)


def newest(rows: list[Row], count: int | None) -> list[Row]:
    return rows if count is None else rows[:count]


def name_of(row: Row) -> str:
    """How a message names a row."""
    return str(row.get("url") or row.get("title") or "without an address")
