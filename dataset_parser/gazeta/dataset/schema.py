"""The columns of a dataset, as its recipe names them: code about columns asks here instead of knowing names.

A row is a dict: each column's value as text, and beside them the two facts of LINEAGE_FACTS. Numbers become
numbers only in the parquet files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from math import isfinite
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from gazeta import values

Row = dict[str, str]

TYPES = ("text", "line", "date", "url", "label", "number")
# Kept in lineage/ for each row: where its summary came from, and when it was fetched, "YYYY-MM-DD HH:MM:SS"
# UTC. Both are "" if unknown.
LINEAGE_FACTS = ("summary_origin", "fetched_at")


@dataclass(frozen=True)
class Column:
    """type: text (paragraphs), line (one line), date, url, label (one of a few values) or number."""

    name: str
    type: str = values.setting("line", values.one_of(*TYPES))
    required: bool = values.setting(False, values.flag)


@dataclass(frozen=True)
class Schema:
    """The columns in the dataset's order; at least one is of type text or line."""

    columns: tuple[Column, ...]

    def of_type(self, *types: str) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.type in types)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """No row is published without a value in each of these."""
        return tuple(column.name for column in self.columns if column.required)

    @cached_property
    def text(self) -> str:
        """The main text: the first column of type text, or the first line if there is none."""
        return (*self.of_type("text"), *self.of_type("line"))[0]

    @cached_property
    def date(self) -> str:
        """The column that orders the rows in time, "" if there is none."""
        return next(iter(self.of_type("date")), "")

    @cached_property
    def url(self) -> str:
        """The column that names a row's page, "" if there is none."""
        return next(iter(self.of_type("url")), "")

    def key(self, row: Row) -> str:
        """What identifies a row: its address, or a name made from its content if it has none."""
        return (row[self.url] if self.url else "") or content_urn(row[name] for name in self.names)

    def content(self, row: Row) -> bytes:
        """Which version of its page a row is: a digest of the columns."""
        return digest([row[name] for name in self.names])

    def day(self, row: Row) -> str:
        """The date of a row, "" if it has none."""
        return row[self.date] if self.date else ""

    @cached_property
    def arrow(self) -> pa.Schema:
        """Of the shards in data/."""
        numbers = self.of_type("number")
        return pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in self.names])

    @cached_property
    def lineage(self) -> pa.Schema:
        """Of lineage/rows-*.parquet. Without a url column the rows go by "id"."""
        return pa.schema([(name, pa.string()) for name in (self.url or "id", "fetched_at", "summary_origin")])

    def from_arrow(self, name: str, values: pa.Array) -> list[str]:
        """The values of one column of a shard as the text that rows hold."""
        kind = self.arrow.field(name).type
        return ["" if value is None else str(value) for value in values.cast(kind).to_pylist()]

    def to_arrow(self, table: pa.Table) -> pa.Table:
        """The columns of a table of text with the types of the shards."""
        table = table.select(self.names)
        for name in self.of_type("number"):
            values = table.column(name)
            values = pc.if_else(pc.equal(values, ""), None, values).cast(pa.float64())
            table = table.set_column(self.names.index(name), name, values)
        return table


def digest(values: Iterable[str]) -> bytes:
    """16 bytes that name these values in this order."""
    joined = "\0".join(values)
    return blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def content_urn(values: Iterable[str]) -> str:
    """A stable address for a row without one."""
    return UUID(bytes=digest(values), version=5).urn


def number_of(value: str) -> float | None:
    """The finite number that a text is; None if it is none. A comma is a decimal point."""
    try:
        number = float(value.strip().replace(",", "."))
    except ValueError:
        return None
    return number if isfinite(number) else None


def number_text(value: str) -> str:
    """A number as rows write it, "7.5" or "8.0"; other text stays as it is."""
    number = number_of(value)
    return value.strip() if number is None else repr(number)
