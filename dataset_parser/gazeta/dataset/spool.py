"""Keeps texts out of memory between cleaning and writing."""

from __future__ import annotations

import shutil
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from sys import intern

import numpy as np
import pyarrow as pa

from gazeta.dataset.duplicates import Sketch, signatures, sketch
from gazeta.dataset.schema import Row, Schema
from gazeta.dataset.selection import Entry, earliest, story_digest
from gazeta.dataset.words import shingles
from gazeta.recipe import GAZETA, Recipe

AT_ONCE = 2000  # rows in memory while reading; also the row group size, about 10 MB of text
ENTRY = "#"  # the column of entry numbers; no column of a recipe has this name


class Facts:
    """What is remembered of each row's columns, in the order of `add`."""

    def __init__(self, schema: Schema):
        self.names = schema.names
        self.labels: dict[str, list[str]] = {name: [] for name in schema.of_type("label")}
        # Characters of each row, by column.
        self.lengths = {name: array("I") for name in schema.of_type("text", "line")}
        self.origins: list[str] = []  # of the summaries
        self.sizes = array("Q")  # bytes of the columns in Arrow

    def add(self, row: Row) -> None:
        for name, labels in self.labels.items():
            labels.append(intern(row[name]))
        for name, lengths in self.lengths.items():
            lengths.append(len(row[name]))
        self.origins.append(row["summary_origin"])
        # A string costs its bytes and an offset of four.
        self.sizes.append(sum(len(row[name].encode("utf-8", "replace")) + 4 for name in self.names))

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget all rows but these, and have them in this order. The lengths are NumPy arrays then."""
        self.labels = {name: [values[at] for at in numbers] for name, values in self.labels.items()}
        self.lengths = {name: np.array(values, np.int64)[numbers] for name, values in self.lengths.items()}
        self.origins = [self.origins[at] for at in numbers]
        self.sizes = array("Q", (self.sizes[at] for at in numbers))


class Spool:
    """Cleaned rows on their way into a dataset: texts in files by month, and here what must be known of them.

    Add rows in any order, call `finish`, then read. Raises OSError if the disk is full.
    """

    def __init__(self, folder: Path, recipe: Recipe = GAZETA):
        self.folder, self.recipe, self.schema = folder, recipe, recipe.schema
        folder.mkdir(parents=True, exist_ok=True)
        self.arrow = pa.schema(
            [pa.field(ENTRY, pa.int32()), *(pa.field(name, pa.string()) for name in self.schema.names)]
        )
        self.entries: list[Entry] = []
        self.facts = Facts(self.schema)
        self._same: dict[tuple[str, bytes], int] = {}  # (key, content) → entry
        self._waiting: list[tuple[int, Row]] = []
        self._shingles: list[np.ndarray] = []  # of the entries not signed yet
        self._signed: list[np.ndarray] = []
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}

    def seen(self, row: Row, key: str, content: bytes) -> bool:
        """Whether the same row was added before, perhaps by another source; notes its fetch time."""
        known = self._same.get((key, content))
        if known is None or not self.entries[known].has_text:
            return False
        self._seen_again(known, row["fetched_at"])
        return True

    def add(self, row: Row, key: str, content: bytes) -> None:
        """Add a clean row. One that was `seen` must not be added again."""
        compared = "\n".join(row[name] for name in self.recipe.duplicates.columns)
        entry = Entry(key, self.schema.day(row), row["fetched_at"], content, story_digest(compared))
        entry.filled = sum(row[name] != "" for name in self.schema.names)
        self._waiting.append((self._append(entry, row), row))
        if self.recipe.duplicates.by == "story":
            self._shingles.append(shingles(compared))
        if len(self._waiting) >= AT_ONCE:
            self._flush()

    def add_duplicate(self, entry: Entry) -> None:
        """An entry without a text, known from the Hub."""
        known = self._same.get((entry.key, entry.content))
        if known is not None:
            self._seen_again(known, entry.fetched_at)
            return
        assert entry.sketch is not None
        self._append(entry, dict.fromkeys((*self.schema.names, "summary_origin"), ""))
        if self.recipe.duplicates.by == "story":
            self._shingles.append(entry.sketch.shingles)

    def _append(self, entry: Entry, row: Row) -> int:
        number = self._same[entry.key, entry.content] = len(self.entries)
        self.entries.append(entry)
        self.facts.add(row)
        return number

    def _seen_again(self, number: int, fetched_at: str) -> None:
        entry = self.entries[number]
        entry.fetched_at = earliest((entry.fetched_at, fetched_at))

    def _flush(self) -> None:
        self._signed.append(signatures(self._shingles))
        self._shingles = []
        by_month: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        for number, row in self._waiting:
            by_month[self.entries[number].month].append((number, row))
        self._waiting = []
        for month, rows in by_month.items():
            columns = [pa.array([number for number, _ in rows], pa.int32())]
            columns += [pa.array([row[name] for _, row in rows], pa.string()) for name in self.schema.names]
            if month not in self._writers:
                self._writers[month] = pa.ipc.new_stream(
                    self.folder / f"{month}.arrow",
                    self.arrow,
                    options=pa.ipc.IpcWriteOptions(compression="lz4"),
                )
            self._writers[month].write_batch(pa.record_batch(columns, self.arrow))

    def finish(self) -> np.ndarray:
        """Close the files; the signatures of all entries, shape (entries, PERMUTATIONS).

        No signatures if the recipe looks for no near copies.
        """
        self._flush()
        for writer in self._writers.values():
            writer.close()
        signed = np.concatenate(self._signed)
        self._signed = []
        self._same = {}
        return signed

    def close(self) -> None:
        """Give the disk back. Safe after an error half-way."""
        for writer in self._writers.values():
            with suppress(OSError):  # the disk is full, which is being reported already
                writer.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def months(self) -> list[str]:
        return sorted(self._writers)

    def batches(self, month: str) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.folder / f"{month}.arrow")) as file, pa.ipc.open_stream(file) as stream:
            yield from stream

    def sketches_of(self, numbers: Sequence[int]) -> dict[int, Sketch]:
        wanted: dict[str, set[int]] = defaultdict(set)
        for number in numbers:
            wanted[self.entries[number].month].add(number)
        sketches = {}
        for month, of_month in wanted.items():
            for batch in self.batches(month):
                texts = [batch.column(name) for name in self.recipe.duplicates.columns]
                for at, number in enumerate(batch.column(ENTRY).to_pylist()):
                    if number in of_month:
                        sketches[number] = sketch("\n".join(text[at].as_py() for text in texts))
        return sketches
