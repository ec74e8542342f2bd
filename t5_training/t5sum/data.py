"""Dataset revision → rows. A row is a dict of COLUMNS; splits are train, validation, test."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.repository import download

SPLITS = ("train", "validation", "test")
COLUMNS = ("text", "summary", "title", "date", "url", "rubric")
Rows = dict[str, list[dict[str, Any]]]


def load_rows(repo: str, commit: str) -> Rows:
    """Every split of the dataset revision, checked. Raises StageError: 5 Hub, 3 what is in it."""
    import datasets

    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    folder = download(repo, commit, "dataset")
    try:
        found = datasets.load_dataset(str(folder))
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        why = why_unreadable(folder, error)
        raise StageError(f"dataset {repo} at {commit[:8]} cannot be read: {why}", 3) from None
    rows = {}
    for split, table in found.items():
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise StageError(
                f"dataset {repo} at {commit[:8]}: split {split} has no column {', '.join(missing)}", 3
            )
        rows[split] = table.select_columns(list(COLUMNS)).to_list()
    return check_rows(rows, f"dataset {repo} at {commit[:8]}")


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
    for split in SPLITS:
        for row in rows[split]:
            if not isinstance(row["text"], str) or not isinstance(row["summary"], str):
                raise StageError(
                    f"{name}: split {split} has a row without text or summary: {row.get('url')}", 3
                )
    return {
        split: sorted(rows[split], key=lambda row: (row["date"] or "", row["url"] or ""), reverse=True)
        for split in SPLITS
    }


def newest(rows: list[dict[str, Any]], count: int | None) -> list[dict[str, Any]]:
    return rows if count is None else rows[:count]


def local_rows(path: Path) -> Rows:
    """Rows of a folder in the dataset's layout, without a Hub (benchmarks and tests)."""
    import datasets

    return check_rows(
        {name: table.to_list() for name, table in datasets.load_dataset(str(path)).items()}, str(path)
    )
