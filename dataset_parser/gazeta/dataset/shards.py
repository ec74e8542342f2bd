"""Rows on disk: the parquet shards of a dataset, and the spool that keeps texts out of memory.

A dataset folder, on the Hub and here, holds

    data/<split>-<year>.parquet       the columns, ordered by (date, url)
    lineage/rows-<year>.parquet       url, fetched_at, summary_origin of each row
    lineage/duplicates-<year>.parquet what was dropped as a duplicate, with the sketch it was compared by

The same rows give the same bytes: no times, fixed order, fixed row groups. A shard whose rows are those of
the revision before is that revision's file, so another version of pyarrow changes no shard either.
"""

from __future__ import annotations

import re
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gazeta.dataset import duplicates as near
from gazeta.dataset.duplicates import Sketch
from gazeta.dataset.rules import COLUMNS, REQUIRED_COLUMNS, Row
from gazeta.dataset.selection import Entry, Plan, content_digest, story_digest
from gazeta.dataset.words import shingles

SCHEMA = pa.schema([pa.field(column, pa.string(), nullable=True) for column in COLUMNS])
LINEAGE_SCHEMA = pa.schema([(name, pa.string()) for name in ("url", "fetched_at", "summary_origin")])
_HASHES = pa.list_(pa.uint32())
DUPLICATES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("url", "of", "kind", "date", "fetched_at", "content", "story")]
    + [(name, _HASHES) for name in ("shingles", "names", "numbers")]
)
SPOOL_SCHEMA = pa.schema([pa.field("number", pa.int32()), *SCHEMA])

DATA = re.compile(r"data/(?P<split>[a-z]+)(?P<rest>-.*)?\.parquet")
LINEAGE = re.compile(r"lineage/rows-\d{4}\.parquet")
DUPLICATES = re.compile(r"lineage/duplicates-\d{4}\.parquet")

AT_ONCE = 2000  # rows in memory while reading; also the row group size, about 10 MB of text
PARQUET = {
    "compression": "zstd",
    "write_page_index": True,  # lets the Hub's viewer read single pages
    # Cuts pages by content, so a store that knows chunks (Xet) moves only what changed inside a shard.
    "use_content_defined_chunking": True,
}


class NotOurDataset(Exception):
    """A revision holds parquet files that are no shards of ours."""


# Reading a dataset folder


@dataclass
class Revision:
    """A dataset as it stands on disk: the revision on the Hub, or the folder of a run that could not publish.

    files: path in the dataset → file. Reading the rows fills in what is known about them afterwards.
    """

    name: str
    files: dict[str, Path]
    split_of: dict[str, str] = field(default_factory=dict)  # url → split
    content_of: dict[str, bytes] = field(default_factory=dict)  # url → digest of the columns
    digests: dict[str, bytes] = field(default_factory=dict)  # shard → digest of its rows
    rubrics: Counter[str] = field(default_factory=Counter)
    text_lengths: array = field(default_factory=lambda: array("I"))  # characters
    summary_lengths: array = field(default_factory=lambda: array("I"))

    @classmethod
    def in_folder(cls, name: str, folder: Path) -> Revision:
        found = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
        return cls(name, {path.relative_to(folder).as_posix(): path for path in found})

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
        """Every row, with its lineage where the revision has it."""
        lineage = {
            url: (fetched_at, origin)
            for path in self.paths(LINEAGE)
            for url, fetched_at, origin in zip(
                *(column.to_pylist() for column in self._table(path, LINEAGE_SCHEMA).columns), strict=True
            )
        }
        for path in self.paths(DATA):
            split = DATA.fullmatch(path)["split"]  # type: ignore[index]
            digest = blake2b(digest_size=16)
            file = self._open(path)
            there = [column for column in COLUMNS if column in file.schema_arrow.names]
            if missing := set(REQUIRED_COLUMNS) - set(there):
                raise NotOurDataset(f"{path} in {self.name} has no column {', '.join(sorted(missing))}")
            for batch in file.iter_batches(AT_ONCE, columns=there):
                columns = [batch.column(column).cast(pa.string()).to_pylist() for column in there]
                for values in zip(*columns, strict=True):
                    texts = {column: value or "" for column, value in zip(there, values, strict=True)}
                    url = texts["url"]
                    fetched_at, origin = lineage.get(url, ("", ""))
                    row = Row(**texts, summary_origin=origin or "", fetched_at=fetched_at or "")
                    content = content_digest(row)
                    digest.update(content)
                    self.split_of[url] = split
                    self.content_of[url] = content
                    self.rubrics[row.rubric] += 1
                    self.text_lengths.append(len(row.text))
                    self.summary_lengths.append(len(row.summary))
                    yield row
            if len(there) == len(COLUMNS):  # else the file is to be written again
                self.digests[path] = digest.digest()

    def duplicates(self) -> Iterator[Entry]:
        """What the revision knows of rows that were dropped as duplicates."""
        for path in self.paths(DUPLICATES):
            for found in self._table(path, DUPLICATES_SCHEMA).to_pylist():
                hashes = (np.array(found[name], np.uint32) for name in ("shingles", "names", "numbers"))
                yield Entry(
                    url=found["url"],
                    date=found["date"],
                    fetched_at=found["fetched_at"] or "",
                    content=bytes.fromhex(found["content"]),
                    story=bytes.fromhex(found["story"]),
                    sketch=Sketch(*hashes),
                )

    def _table(self, path: str, schema: pa.Schema) -> pa.Table:
        self._open(path)
        table = pq.read_table(self.files[path])
        if missing := set(schema.names) - set(table.schema.names):
            raise NotOurDataset(f"{path} in {self.name} has no column {', '.join(sorted(missing))}")
        return table.select(schema.names)


# Keeping texts out of memory


class Spool:
    """Cleaned rows on their way into a dataset: texts in files by month, what must be known of them here.

    Add rows in any order, call `finish`, then read. Raises OSError when the disk is full.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.entries: list[Entry] = []
        self.rubrics: list[str] = []
        self.origins: list[str] = []
        self.text_lengths = array("I")
        self.summary_lengths = array("I")
        self.sizes = array("Q")  # bytes of the columns in UTF-8
        self._same: dict[tuple[str, bytes], int] = {}  # (url, content) → entry
        self._waiting: list[tuple[int, Row]] = []
        self._shingles: list[np.ndarray] = []  # of the entries not signed yet
        self._signed: list[np.ndarray] = []
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}

    def seen(self, row: Row, content: bytes) -> bool:
        """The same text was added before, by another source perhaps; its fetch time is taken note of."""
        known = self._same.get((row.url, content))
        if known is None or not self.entries[known].has_text:
            return False
        self._seen_again(known, row.fetched_at)
        return True

    def add(self, row: Row, content: bytes) -> None:
        """content: `content_digest(row)`. A row that was `seen` must not be added again."""
        filled = sum(bool(getattr(row, column)) for column in COLUMNS)
        story = story_digest(row.text)
        number = self._append(Entry(row.url, row.date, row.fetched_at, content, story, filled=filled))
        self._same[row.url, content] = number
        self.rubrics.append(row.rubric)
        self.origins.append(row.summary_origin)
        self.text_lengths.append(len(row.text))
        self.summary_lengths.append(len(row.summary))
        self.sizes.append(sum(len(getattr(row, column).encode("utf-8", "replace")) for column in COLUMNS))
        self._waiting.append((number, row))
        self._shingles.append(shingles(row.text))
        if len(self._shingles) >= AT_ONCE:
            self._flush()

    def add_duplicate(self, entry: Entry) -> None:
        """An entry without a text, known from the Hub."""
        known = self._same.get((entry.url, entry.content))
        if known is not None:
            self._seen_again(known, entry.fetched_at)
            return
        assert entry.sketch is not None
        self._same[entry.url, entry.content] = self._append(entry)
        self.rubrics.append("")
        self.origins.append("")
        for numbers in (self.text_lengths, self.summary_lengths, self.sizes):
            numbers.append(0)
        self._shingles.append(entry.sketch.shingles)

    def _append(self, entry: Entry) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def _seen_again(self, number: int, fetched_at: str) -> None:
        entry = self.entries[number]
        entry.fetched_at = min(filter(None, (entry.fetched_at, fetched_at)), default="")

    def _flush(self) -> None:
        self._signed.append(near.signatures(self._shingles))
        self._shingles = []
        by_month: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        for number, row in self._waiting:
            by_month[row.date[:7]].append((number, row))
        self._waiting = []
        for month, rows in by_month.items():
            columns = [pa.array([number for number, _ in rows], pa.int32())]
            columns += [
                pa.array([getattr(row, column) for _, row in rows], pa.string()) for column in COLUMNS
            ]
            if month not in self._writers:
                self._writers[month] = pa.ipc.new_stream(
                    self.folder / f"{month}.arrow",
                    SPOOL_SCHEMA,
                    options=pa.ipc.IpcWriteOptions(compression="lz4"),
                )
            self._writers[month].write_batch(pa.record_batch(columns, SPOOL_SCHEMA))

    def finish(self) -> np.ndarray:
        """Close the files; the signatures of all entries, shape (entries, near.PERMUTATIONS)."""
        self._flush()
        for writer in self._writers.values():
            writer.close()
        signed = np.concatenate(self._signed) if self._signed else near.signatures([])
        self._signed = []
        self._same = {}
        return signed

    def close(self) -> None:
        """Give the disk back. Safe after an error half-way."""
        for writer in self._writers.values():
            with suppress(OSError):  # the disk is full: that is being told already
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
            wanted[self.entries[number].date[:7]].add(number)
        sketches = {}
        for month, of_month in wanted.items():
            for batch in self.batches(month):
                for at, number in enumerate(batch.column("number").to_pylist()):
                    if number in of_month:
                        sketches[number] = near.sketch(batch.column("text")[at].as_py())
        return sketches


# Writing a dataset folder


def shards_of(spool: Spool, plan: Plan) -> dict[str, list[int]]:
    """Path → the entries in it, in their order."""
    shards: dict[str, list[int]] = defaultdict(list)
    for number, split in zip(plan.kept, plan.split, strict=True):
        shards[f"data/{split}-{spool.entries[number].date[:4]}.parquet"].append(number)
    return dict(shards)


def write_dataset(spool: Spool, plan: Plan, folder: Path, before: Revision | None) -> list[str]:
    """Write data/ and lineage/ into `folder`; say which paths differ from the revision before."""
    (folder / "data").mkdir(parents=True)
    (folder / "lineage").mkdir()
    shards = shards_of(spool, plan)
    changed = []
    for path, numbers in shards.items():
        digest = blake2b(
            b"".join(spool.entries[number].content for number in numbers), digest_size=16
        ).digest()
        if before is not None and before.digests.get(path) == digest:
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
    writers: dict[int, pq.ParquetWriter] = {}
    year = ""
    try:
        for month in spool.months():
            if month[:4] != year:  # a year's shards are complete
                _close_all(writers)
                year = month[:4]
            table = pa.Table.from_batches(spool.batches(month), SPOOL_SCHEMA)
            numbers = table.column("number").to_numpy()
            for at in np.unique(target[numbers]):
                if at < 0:
                    continue
                mine = np.flatnonzero(target[numbers] == at)
                mine = mine[np.argsort(place[numbers[mine]])]
                if at not in writers:
                    writers[at] = pq.ParquetWriter(folder / paths[at], SCHEMA, **PARQUET)
                writers[at].write_table(table.select(COLUMNS).take(mine), row_group_size=AT_ONCE)
    finally:
        _close_all(writers)


def _close_all(writers: dict[int, pq.ParquetWriter]) -> None:
    while writers:
        writers.popitem()[1].close()


def _write_lineage(spool: Spool, plan: Plan, folder: Path, before: Revision | None) -> list[str]:
    tables: dict[str, pa.Table] = {}
    by_year: dict[str, list[int]] = defaultdict(list)
    for number in plan.kept:
        by_year[spool.entries[number].date[:4]].append(number)
    for year, numbers in by_year.items():
        values = zip(
            *(
                (spool.entries[number].url, plan.fetched_at[number], spool.origins[number])
                for number in numbers
            ),
            strict=True,
        )
        tables[f"lineage/rows-{year}.parquet"] = pa.table(list(map(list, values)), schema=LINEAGE_SCHEMA)
    dropped: dict[str, list[dict]] = defaultdict(list)
    sketches = spool.sketches_of(
        [duplicate.index for duplicate in plan.duplicates if spool.entries[duplicate.index].has_text]
    )
    for duplicate in plan.duplicates:
        entry = spool.entries[duplicate.index]
        sketch = entry.sketch or sketches[duplicate.index]
        dropped[entry.date[:4]].append(
            {
                "url": entry.url, "of": duplicate.of, "kind": duplicate.kind, "date": entry.date,
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
