"""The SQLite file of a crawl: its tables, its lock, and the migration of files from earlier versions.

The file is opened by one process at a time (`StoreBusy` for the second one): the lock is the file system's
own, so it goes away with a killed process. WAL with exclusive locking needs no shared memory, which is what
makes WAL unsafe on a Docker volume.
"""

# ruff: noqa: S608  (only names of tables and columns and question marks are put into SQL; values are bound)

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gazeta.crawl.page import NIGHTS

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
VERSION = 3  # PRAGMA user_version; files of version 1 have 0 there

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS page (
  url        TEXT PRIMARY KEY,
  site       TEXT NOT NULL,
  kind       TEXT NOT NULL,             -- one of page.Kind
  state      TEXT NOT NULL,             -- one of page.State
  reason     TEXT NOT NULL DEFAULT '',  -- one of page.Reason, or a site's words for no article
  detail     TEXT NOT NULL DEFAULT '',  -- for people
  day        TEXT NOT NULL DEFAULT '',  -- YYYY-MM-DD from the address or the source; orders the queue
  rubric     TEXT NOT NULL DEFAULT '',
  lastmod    TEXT NOT NULL DEFAULT '',  -- as the sitemap wrote it
  tries      INTEGER NOT NULL DEFAULT 0,
  status     INTEGER NOT NULL DEFAULT 0,
  bytes      INTEGER NOT NULL DEFAULT 0,
  found_at   TEXT NOT NULL,
  fetched_at TEXT NOT NULL DEFAULT '',
  crawl      INTEGER NOT NULL DEFAULT 0,
  depth      INTEGER NOT NULL DEFAULT 0,    -- of a sitemap in the index, from 1
  missing    TEXT NOT NULL DEFAULT '[]',    -- JSON list of the fields that were not found
  layout     TEXT NOT NULL DEFAULT '',      -- on which layout, '' if unknown
  nights     INTEGER NOT NULL DEFAULT 0,    -- on which it ended for a reason that may pass; 0: it did not
  doubted_at TEXT NOT NULL DEFAULT ''       -- when the last of these nights was
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_queue ON page (site, kind, day) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS page_crawl ON page (crawl, state);

CREATE TABLE IF NOT EXISTS article (
  url TEXT PRIMARY KEY, title TEXT NOT NULL, summary TEXT NOT NULL, text TEXT NOT NULL, date TEXT NOT NULL,
  rubric TEXT NOT NULL, subtitle TEXT NOT NULL, summary_origin TEXT NOT NULL, era TEXT NOT NULL,
  site TEXT NOT NULL, fetched_at TEXT NOT NULL,
  crawl INTEGER NOT NULL,
  held  INTEGER NOT NULL DEFAULT 0,         -- 1: from a crawl that ended in an alarm, not to be published
  expects_lead INTEGER NOT NULL DEFAULT 1   -- 0: this kind of page has no lead
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS article_date ON article (date, url);
CREATE INDEX IF NOT EXISTS article_crawl ON article (crawl);

CREATE TABLE IF NOT EXISTS saved_page (
  url TEXT PRIMARY KEY, content_type TEXT NOT NULL, body BLOB NOT NULL, fetched_at TEXT NOT NULL,
  crawl INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS crawl (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT NOT NULL DEFAULT '',
  arguments TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT 'running',  -- running, interrupted, done, alarm, …
  report TEXT NOT NULL DEFAULT '{}'
)
"""


class StoreBusy(Exception):
    """Another process has the store open."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make the file, in today's format. Raises StoreBusy, or sqlite3.Error if the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the last pages with it, never the file; they are simply fetched again.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -16000")
        with transaction(db):
            _prepare(db)
    except sqlite3.Error as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _BUSY:
            what = f"{path} is in use by another run; wait for it to end, then start again"
            raise StoreBusy(what) from None
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise sqlite3.DatabaseError(f"a newer version of this program made it (format {version})")
    is_new = not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'page'").fetchone()
    _add_columns(db)
    for statement in SCHEMA.split(";\n"):
        db.execute(statement)
    if not is_new and version < 2:
        _from_version_1(db)
    if not is_new and version < 3:
        _from_version_2(db)
    if version != VERSION:
        db.execute(f"PRAGMA user_version = {VERSION}")


def _add_columns(db: sqlite3.Connection) -> None:
    """Add the columns that an earlier format lacks. Raises DatabaseError if they have no default."""
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(SCHEMA)
        for (table,) in model.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            for _, name, kind, _, default, _ in model.execute(f"PRAGMA table_info({table})").fetchall():
                if not there or name in there:
                    continue
                if default is None:
                    raise sqlite3.DatabaseError(f"its table {table} has no column {name}")
                db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT {default}")


def _from_version_2(db: sqlite3.Connection) -> None:
    """Give another night to pages that were dropped for what may have been a passing fault."""
    db.execute(
        f"UPDATE page SET nights = 1, doubted_at = fetched_at WHERE kind = 'article'"
        f" AND state IN ('dropped', 'failed') AND reason IN ({marks(tuple(NIGHTS))})",
        tuple(map(str, NIGHTS)),
    )
    # Only a sitemap that was read is left alone while its lastmod stays.
    db.execute("UPDATE page SET lastmod = '' WHERE kind = 'sitemap' AND state NOT IN ('read', 'queued')")


def _from_version_1(db: sqlite3.Connection) -> None:
    """Move what version 1 wrote into texts to separate columns."""
    db.execute("UPDATE article SET expects_lead = 0 WHERE instr(url, '/news/') > 0")
    # A sitemap's depth was "#2" in its rubric, and nothing at the top.
    db.execute(
        "UPDATE page SET depth = max(1, CAST(substr(rubric, 2) AS INTEGER)), rubric = ''"
        " WHERE kind = 'sitemap'"
    )
    db.execute("UPDATE page SET reason = 'http' WHERE reason GLOB 'http [0-9]*'")
    db.execute("UPDATE page SET reason = 'bad' WHERE reason IN ('bad sitemap', 'bad feed')")
    everything = json.dumps(["title", "text", "date"])
    db.execute("UPDATE page SET missing = ? WHERE reason = 'parser error'", (everything,))
    # "title,text (2024)", or "unknown layout" in the parentheses.
    changed = db.execute("SELECT url, detail FROM page WHERE reason = 'changed'").fetchall()
    for url, detail in changed:
        if match := re.fullmatch(r"([a-z,]+) \((.*)\)", detail):
            layout = "" if match[2] == "unknown layout" else match[2]
            db.execute(
                "UPDATE page SET missing = ?, layout = ?, detail = '' WHERE url = ?",
                (json.dumps(match[1].split(",")), layout, url),
            )
    db.execute("DELETE FROM meta WHERE key = 'format'")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN … COMMIT, or ROLLBACK on an error; inside another transaction it does nothing."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if db.in_transaction:
        db.execute("COMMIT")


class Notes:
    """Small facts that outlive a crawl, by a key."""

    def __init__(self, db: sqlite3.Connection):
        self.db = db

    def get(self, key: str, default: str = "") -> str:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def marks(values: list[int] | tuple[str, ...]) -> str:
    """A question mark per value, for IN (…)."""
    return ",".join("?" * len(values))
