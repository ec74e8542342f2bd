"""Rows from files: JSON Lines, CSV or parquet, maybe gzipped, from a path or a URL.

Files are read as a stream. A line that cannot be read is counted with its reason and number; a file that
cannot be read at all raises BadFile with one line.

A row without a url gets one made from its content, so the same row has the same one in every run. A row
without a date, if the recipe requires one, gets a minute of 2019 that also depends on its content alone: the
order is stable when rows are added or sorted, and random otherwise, so a file that is sorted by label does
not put one label into the test split.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq

from gazeta import StageError, values
from gazeta.dataset.schema import Column, Row, Schema, content_urn, digest
from gazeta.progress import say, watched
from gazeta.recipe import FileSource
from gazeta.sites.base import FIRST_PARAGRAPH
from gazeta.sites.html import moscow_date

MOST_BYTES_OF_LINE = 20_000_000
MOST_BYTES_OF_DOWNLOAD = 8_000_000_000
TIMEOUT = 60  # seconds without an answer
LOOKED_AT = 200  # rows of JSON Lines by which the columns are known
FORMAT_OF_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
NOT_UTF8 = "not UTF-8"
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which JSON can write and UTF-8 cannot
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that "surrogateescape" could not decode
SAVE_AS_UTF8 = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
csv.field_size_limit(MOST_BYTES_OF_LINE)


class BadFile(StageError):
    code = "bad_file"
    exit_code = 2


class Unreachable(StageError):
    code = "file_unreachable"
    exit_code = 5


class BadLine(ValueError):
    """A line that is no row; the text is the reason to count."""


@dataclass
class FileReport:
    """What was read of a file. bad: reason → lines; first_bad: reason → number of the first such line."""

    name: str
    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    first_bad: dict[str, int] = field(default_factory=dict)
    invented_urls: int = 0
    invented_dates: int = 0

    def skip(self, reason: str, line: int) -> None:
        self.bad[reason] += 1
        self.first_bad.setdefault(reason, line)

    def bad_lines(self) -> str:
        return ", ".join(
            f"{count:,} {reason} (the first is line {self.first_bad[reason]})"
            for reason, count in self.bad.most_common()
        )


def read_file(source: FileSource, schema: Schema, report: FileReport) -> Iterator[Row]:
    """The rows of a file, with the columns of the schema. Raises BadFile or Unreachable."""
    with _local(source.file) as path:
        try:
            with path.open("rb") as raw:
                yield from _rows(source, raw, path.stat().st_size, schema, report)
        except FileNotFoundError:
            raise BadFile(f"there is no file {path}; check the path") from None
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise BadFile(f"{report.name} is no whole gzip file; copy it again") from None
        except pa.ArrowInvalid as error:
            raise BadFile(f"{report.name} is no parquet file: {str(error).splitlines()[0]}") from None
        except OSError as error:
            raise BadFile(f"cannot read {source.file}: {error.strerror or error}") from None
    if report.rows:
        if report.bad:
            say(f"{report.name}: {report.rows:,} rows; lines left out: {report.bad_lines()}")
        return
    if not report.bad:
        raise BadFile(f"{report.name} is empty; give a file with rows")
    advice = SAVE_AS_UTF8 if NOT_UTF8 in report.bad else "each row is one line"
    raise BadFile(f"no line of {report.name} can be read: {report.bad_lines()}; {advice}")


def file_name(file: str) -> str:
    """The name of a file for reports and the card, without folders of this computer and credentials."""
    parts = urlsplit(file)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if "://" in file else Path(file).name


@contextmanager
def _local(file: str) -> Iterator[Path]:
    """The file on this computer; that of a URL is fetched, and removed afterwards."""
    if "://" not in file:
        yield Path(file)
        return
    if urlsplit(file).scheme not in ("http", "https"):
        raise BadFile(f"{file} is no http or https address; give one, or the path of a file")
    name = file_name(file)
    with tempfile.TemporaryDirectory(prefix="gazeta-") as folder:
        path = Path(folder) / (Path(urlsplit(file).path).name or "file")
        try:
            with httpx2.stream("GET", file, follow_redirects=True, timeout=TIMEOUT) as answer:
                if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
                    raise BadFile(f"{name} is answered with {answer.status_code}; check the address")
                answer.raise_for_status()
                total = int(answer.headers.get("Content-Length", 0))
                with path.open("wb") as copy:
                    share = (lambda: copy.tell() / total) if total else None
                    for block in watched(answer.iter_bytes(1_000_000), f"megabytes of {name}", share=share):
                        if copy.tell() + len(block) > MOST_BYTES_OF_DOWNLOAD:
                            raise BadFile(f"{name} is larger than {MOST_BYTES_OF_DOWNLOAD:,} bytes")
                        copy.write(block)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unreachable(f"cannot fetch {name}: {why}; run again later") from None
        yield path


def _rows(source: FileSource, raw: BinaryIO, size: int, schema: Schema, report: FileReport) -> Iterator[Row]:
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    file: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
    kind = source.format or _format(report.name, file)
    with tempfile.TemporaryFile() as unzipped:
        total, share = 0, lambda: raw.tell() / size
        if kind == "parquet":
            if zipped:  # it is read from both ends, which gzip cannot do
                shutil.copyfileobj(file, unzipped)
            header, rows, total = _parquet(unzipped if zipped else raw, source, schema)
        else:
            header, rows = (_csv if kind == "csv" else _json_lines)(file, report)
        if header:
            _check_columns(source, schema, header, report.name)
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        for line, given in watched(rows, f"rows of {report.name}", total, None if total else share):
            try:
                row = {column.name: _value(given, column, source) for column in schema.columns}
            except BadLine as error:
                report.skip(str(error), line)
                continue
            origin = _without_summary(row)
            _complete(row, schema, report)
            report.rows += 1
            yield row | {"fetched_at": now, "summary_origin": origin}


def _format(name: str, file: Any) -> str:
    start = file.read(4)
    file.seek(0)
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    kind = "parquet" if start == b"PAR1" else FORMAT_OF_SUFFIX.get(suffix)
    if kind is None:
        raise BadFile(f"the format of {name} is unknown; add `format:` jsonl, csv or parquet to its source")
    return kind


# Each reader gives the names of the columns and the rows with their line numbers.
Found = tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]


def _lines(file: BinaryIO, report: FileReport) -> Iterator[tuple[int, bytes]]:
    for number in count(1):
        line = file.readline(MOST_BYTES_OF_LINE)
        if not line:
            return
        if len(line) == MOST_BYTES_OF_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_BYTES_OF_LINE)
            report.skip("too long", number)
            continue
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _json_lines(file: BinaryIO, report: FileReport) -> Found:
    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in _lines(file, report):
            if not line.strip():
                continue
            try:
                found = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                report.skip(NOT_UTF8, number)
            except (ValueError, RecursionError):
                report.skip("not JSON", number)
            else:
                if isinstance(found, dict):
                    yield number, found
                else:
                    report.skip("no JSON object", number)

    found = rows()
    first = list(islice(found, LOOKED_AT))
    return list(dict.fromkeys(name for _, row in first for name in row)), chain(first, found)


def _csv(file: BinaryIO, report: FileReport) -> Found:
    # A byte that is not UTF-8 becomes a lone surrogate, so that only its line is lost.
    decoded = (line.decode("utf-8", "surrogateescape") for _, line in _lines(file, report))
    first = next(decoded, "")
    if not _is_utf8(first):
        raise BadFile(f"{report.name} is {NOT_UTF8}; {SAVE_AS_UTF8}")
    # Spreadsheets of many countries write semicolons.
    reader = csv.reader(chain([first], decoded), delimiter=max(",;\t", key=first.count))
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise BadFile(f"the first line of {report.name} is no header of a CSV file: {error}") from None
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        raise BadFile(f"{report.name} has two columns {twice[0]!r}; rename one")

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                report.skip("not CSV", reader.line_num)
                continue
            if not any(cells):
                continue
            if len(cells) != len(header):
                reason = f"with another number of cells than the {len(header)} of the header"
                report.skip(reason, reader.line_num)
            elif not all(map(_is_utf8, cells)):
                report.skip(NOT_UTF8, reader.line_num)
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))

    return header, rows()


def _parquet(
    file: BinaryIO, source: FileSource, schema: Schema
) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]], int]:
    table = pq.ParquetFile(file)
    header = table.schema_arrow.names
    wanted = [name for ours in schema.names for name in _theirs(ours, source) if name in header]

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        batches = table.iter_batches(1000, columns=list(dict.fromkeys(wanted)))
        return enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), start=1)

    return header, rows(), table.metadata.num_rows


def _is_utf8(text: str) -> bool:
    return not _NOT_UTF8.search(text)


# From their columns to ours


def _theirs(ours: str, source: FileSource) -> tuple[str, ...]:
    return source.columns.get(ours, (ours,))


def _check_columns(source: FileSource, schema: Schema, header: list[str], name: str) -> None:
    for column in schema.columns:
        theirs = _theirs(column.name, source)
        if any(each in header for each in theirs) or column.name in source.defaults:
            continue
        invented = column.name in (schema.url, schema.date)
        if column.name in source.columns or (column.required and not invented):
            known = values.suggestion(theirs[0], header)
            raise BadFile(
                f"{name} has no column {' or '.join(theirs)}; {known}; a line `{column.name}: NAME` in"
                " `columns` of its source takes another one"
            )


def _value(given: dict[str, Any], column: Column, source: FileSource) -> str:
    for name in _theirs(column.name, source):
        value = given.get(name)
        text = "" if value is None or value != value else str(value)  # NaN is an empty cell
        if isinstance(value, dict | list | bytes) or _SURROGATE.search(text):
            raise BadLine(f"with a {column.name} that is no text")
        if text.strip():
            date = moscow_date(text.replace("/", "-")) if column.type == "date" else ""
            return date or text
    return source.defaults.get(column.name, "")


def _without_summary(row: Row) -> str:
    """Take a first paragraph that is the summary out of the text, as for a page; the summary's origin."""
    first, _, rest = row.get("text", "").partition("\n")
    if not rest.strip() or not first.strip() or first.strip() != row.get("summary", "").strip():
        return ""
    row["text"] = rest
    return FIRST_PARAGRAPH


def _complete(row: Row, schema: Schema, report: FileReport) -> None:
    """Give a row the url and the date that the recipe requires."""
    content = [row[name] for name in schema.names]
    if schema.url in schema.required and not row[schema.url].strip():
        row[schema.url] = content_urn(content)
        report.invented_urls += 1
    if schema.date in schema.required and not row[schema.date].strip():
        minutes = int.from_bytes(digest(content)[:8], "big") % (365 * 24 * 60)
        row[schema.date] = f"{datetime(2019, 1, 1) + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}"
        report.invented_dates += 1
