"""The files of a dataset: reading those of a revision, and writing the next one.

A dataset folder, on the Hub and here, holds

    data/<split>-<year>.parquet       the columns, ordered by (date, url)
    lineage/rows-<year>.parquet       url, fetched_at, summary_origin of each row
    lineage/duplicates-<year>.parquet what was dropped as a duplicate, with the sketch it was compared by

A dataset without dates has one of 16 digits instead of the year, and rows without a url have a stable name
made from their content in its place. The same rows give the same bytes: no times, fixed order, fixed row
groups. A shard whose rows are those of the revision before is that revision's file, so another version of
pyarrow changes no shard either.
"""

from __future__ import annotations

import re
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gazeta import StageError
from gazeta.dataset.duplicates import Sketch
from gazeta.dataset.schema import Row, Schema
from gazeta.dataset.selection import Entry, Plan
from gazeta.dataset.spool import AT_ONCE, ENTRY, Spool
from gazeta.recipe import GAZETA

_HASHES = pa.list_(pa.uint32())
DUPLICATES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("url", "of", "kind", "date", "fetched_at", "content", "story")]
    + [(name, _HASHES) for name in ("shingles", "names", "numbers")]
)

DATA = re.compile(r"data/(?P<split>[a-z]+)(?P<rest>-.*)?\.parquet")
LINEAGE = re.compile(r"lineage/rows-(\d{4}|[0-9a-f])\.parquet")
DUPLICATES = re.compile(r"lineage/duplicates-(\d{4}|[0-9a-f])\.parquet")

PARQUET = {
    "compression": "zstd",
    "write_page_index": True,  # lets the Hub's viewer read single pages
    # Cuts pages by content, so a store that knows chunks (Xet) moves only what changed inside a shard.
    "use_content_defined_chunking": True,
}


class NotOurDataset(StageError):
    """A revision holds parquet files that are no shards of ours."""

    code = "not_our_dataset"
    exit_code = 3


# Reading a dataset folder


@dataclass
class Revision:
    """A dataset on disk: the revision on the Hub, or the folder of a run that could not publish.

    files: path in the dataset → file. Reading the rows fills in the fields below `schema`.
    """

    name: str
    files: dict[str, Path]
    schema: Schema = GAZETA.schema
    split_of: dict[str, str] = field(default_factory=dict)  # key → split
    content_of: dict[str, bytes] = field(default_factory=dict)  # key → digest of the columns
    digests: dict[str, bytes] = field(default_factory=dict)  # shard → digest of its rows
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # label column → value → rows
    lengths: dict[str, array] = field(default_factory=dict)  # column of text → characters of each row

    @classmethod
    def in_folder(cls, name: str, folder: Path, schema: Schema = GAZETA.schema) -> Revision:
        found = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
        return cls(name, {path.relative_to(folder).as_posix(): path for path in found}, schema)

    def paths(self, pattern: re.Pattern[str]) -> list[str]:
        return sorted(path for path in self.files if pattern.fullmatch(path))

    def count(self) -> int:
        """Rows, by the shards' own footers."""
        return sum(self._open(path).metadata.num_rows for path in self.paths(DATA))

    def _open(self, path: str) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.files[path])
        except pa.ArrowInvalid as error:
            raise NotOurDataset(f"{path} in {self.name} cannot be read as parquet: {error}") from None

    def rows(self) -> Iterator[Row]:
        """Every row, with its lineage if the revision has it. Columns that it lacks are empty."""
        schema = self.schema
        for path in self.paths(DATA):
            if missing := set(schema.required) - set(self._open(path).schema_arrow.names):
                raise NotOurDataset(
                    f"{path} in {self.name} has no column {', '.join(sorted(missing))}; if another recipe"
                    " made it, check RECIPE and DATASET_REPO"
                )
        lineage = {
            key: (fetched_at or "", origin or "")
            for path in self.paths(LINEAGE)
            for key, fetched_at, origin in zip(
                *(column.to_pylist() for column in self._table(path, schema.lineage).columns), strict=True
            )
        }
        self.labels = {name: Counter() for name in schema.of_type("label")}
        self.lengths = {name: array("I") for name in schema.of_type("text", "line")}
        for path in self.paths(DATA):
            split = DATA.fullmatch(path)["split"]  # type: ignore[index]
            shard = blake2b(digest_size=16)
            file = self._open(path)
            there = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(AT_ONCE, columns=there):
                columns = dict.fromkeys(schema.names, [""] * len(batch))
                columns |= {name: schema.from_arrow(name, batch.column(name)) for name in there}
                for name, counts in self.labels.items():
                    counts.update(columns[name])
                for name, lengths in self.lengths.items():
                    lengths.extend(map(len, columns[name]))
                for values in zip(*columns.values(), strict=True):
                    row = dict(zip(schema.names, values, strict=True))
                    key = schema.key(row)
                    row["fetched_at"], row["summary_origin"] = lineage.get(key, ("", ""))
                    content = schema.content(row)
                    shard.update(content)
                    self.split_of[key] = split
                    self.content_of[key] = content
                    yield row
            if file.schema_arrow.equals(schema.arrow):  # else the file is to be written again
                self.digests[path] = shard.digest()

    def duplicates(self) -> Iterator[Entry]:
        """What the revision knows of rows that were dropped as duplicates."""
        for path in self.paths(DUPLICATES):
            for found in self._table(path, DUPLICATES_SCHEMA).to_pylist():
                hashes = (np.array(found[name], np.uint32) for name in ("shingles", "names", "numbers"))
                content, story = bytes.fromhex(found["content"]), bytes.fromhex(found["story"])
                fetched_at = found["fetched_at"] or ""
                yield Entry(found["url"], found["date"], fetched_at, content, story, Sketch(*hashes))

    def _table(self, path: str, schema: pa.Schema) -> pa.Table:
        table = self._open(path).read()
        if missing := set(schema.names) - set(table.schema.names):
            raise NotOurDataset(f"{path} in {self.name} has no column {', '.join(sorted(missing))}")
        return table.select(schema.names)


# Writing a dataset folder


def write_dataset(spool: Spool, plan: Plan, folder: Path, before: Revision | None) -> list[str]:
    """Write data/ and lineage/ into `folder`; the paths that differ from the revision before."""
    (folder / "data").mkdir(parents=True)
    (folder / "lineage").mkdir()
    shards: dict[str, list[int]] = defaultdict(list)  # path → the entries in it, in their order
    for number, split in zip(plan.kept, plan.split, strict=True):
        shards[f"data/{split}-{spool.entries[number].month[:4]}.parquet"].append(number)
    changed = []
    for path, numbers in shards.items():
        rows = b"".join(spool.entries[number].content for number in numbers)
        if before is not None and before.digests.get(path) == blake2b(rows, digest_size=16).digest():
            shutil.copyfile(before.files[path], folder / path)
        else:
            changed.append(path)
    _write_shards(spool, {path: shards[path] for path in changed}, folder)
    changed += _write_lineage(spool, plan, folder, before)
    return sorted(changed)


def _write_shards(spool: Spool, shards: dict[str, list[int]], folder: Path) -> None:
    """Month by month, so that no more than a month's texts are in memory."""
    target = np.full(len(spool.entries), -1, np.int32)  # which shard an entry goes to
    place = np.zeros(len(spool.entries), np.int64)
    for at, numbers in enumerate(shards.values()):
        target[numbers] = at
        place[numbers] = np.arange(len(numbers))
    paths = list(shards)
    for _, months in groupby(spool.months(), key=lambda month: month[:4]):
        with ExitStack() as year:  # after which its shards are complete
            writers: dict[int, pq.ParquetWriter] = {}
            for month in months:
                table = pa.Table.from_batches(spool.batches(month), spool.arrow)
                numbers = table.column(ENTRY).to_numpy()
                for at in np.unique(target[numbers]):
                    if at < 0:
                        continue
                    mine = np.flatnonzero(target[numbers] == at)
                    mine = mine[np.argsort(place[numbers[mine]])]
                    if at not in writers:
                        writer = pq.ParquetWriter(folder / paths[at], spool.schema.arrow, **PARQUET)
                        writers[at] = year.enter_context(writer)
                    rows = spool.schema.to_arrow(table).take(mine)
                    writers[at].write_table(rows, row_group_size=AT_ONCE)


def _write_lineage(spool: Spool, plan: Plan, folder: Path, before: Revision | None) -> list[str]:
    tables: dict[str, pa.Table] = {}
    by_year: dict[str, list[int]] = defaultdict(list)
    for number in plan.kept:
        by_year[spool.entries[number].month[:4]].append(number)
    for year, numbers in by_year.items():
        columns = (
            [spool.entries[number].key for number in numbers],
            [plan.fetched_at[number] for number in numbers],
            [spool.facts.origins[number] for number in numbers],
        )
        tables[f"lineage/rows-{year}.parquet"] = pa.table(list(columns), schema=spool.schema.lineage)
    dropped: dict[str, list[dict]] = defaultdict(list)
    sketches = spool.sketches_of(
        [duplicate.index for duplicate in plan.duplicates if spool.entries[duplicate.index].has_text]
    )
    for duplicate in plan.duplicates:
        entry = spool.entries[duplicate.index]
        sketch = entry.sketch or sketches[duplicate.index]
        dropped[entry.month[:4]].append(
            {
                "url": entry.key, "of": duplicate.of, "kind": duplicate.kind, "date": entry.date,
                "fetched_at": plan.fetched_at[duplicate.index],
                "content": entry.content.hex(), "story": entry.story.hex(),
                "shingles": sketch.shingles, "names": sketch.names, "numbers": sketch.numbers,
            }
        )  # fmt: skip
    for year, found in dropped.items():
        tables[f"lineage/duplicates-{year}.parquet"] = pa.Table.from_pylist(found, DUPLICATES_SCHEMA)
    changed = []
    for path, table in tables.items():
        if before is not None and path in before.files and pq.read_table(before.files[path]).equals(table):
            shutil.copyfile(before.files[path], folder / path)
        else:
            pq.write_table(table, folder / path, compression="zstd", row_group_size=50_000)
            changed.append(path)
    return changed
