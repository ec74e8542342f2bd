"""The crawl's memory: one SQLite file that says what was found, kept, dropped and why.

A page is done when its row is committed; every page is one transaction, so a crawl that is killed loses
nothing and fetches nothing twice. The frontier is in the same file, not in memory.

The file is opened for one process at a time (`StoreBusy` for the second one): the lock is the file system's
own, so it goes away with a killed process. WAL with exclusive locking needs no shared memory, which is what
makes WAL unsafe on a Docker volume.
"""

# ruff: noqa: S608  (only column names and question marks are put into SQL; values are bound)

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from gazeta.sites.base import Article

FORMAT = 1
UNKNOWN_LAYOUT = "unknown layout"
# Why a page was dropped without its content being judged. All other reasons say: this is no article.
NOT_JUDGED = (
    "gone", "forbidden by robots.txt", "too large", "too long", "same article", "opted out of AI training",
    "date in the future", "impossible date",
)  # fmt: skip
_NO_ARTICLE = f"state = 'dropped' AND reason NOT IN ({','.join(repr(reason) for reason in NOT_JUDGED)})"
MAX_SAVED_PAGES = 500  # pages kept for the parser's next fix; about 50 MB at 100 kB a page, compressed

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS page (
  url        TEXT PRIMARY KEY,
  site       TEXT NOT NULL,
  kind       TEXT NOT NULL,             -- article, feed, sitemap, listing
  state      TEXT NOT NULL,             -- queued, kept, dropped, failed, known, skipped, read
  reason     TEXT NOT NULL DEFAULT '',  -- one word or two: what the report counts
  detail     TEXT NOT NULL DEFAULT '',
  day        TEXT NOT NULL DEFAULT '',  -- YYYY-MM-DD from the address or the source; orders the queue
  rubric     TEXT NOT NULL DEFAULT '',
  lastmod    TEXT NOT NULL DEFAULT '',  -- as the sitemap wrote it
  tries      INTEGER NOT NULL DEFAULT 0,
  status     INTEGER NOT NULL DEFAULT 0,
  bytes      INTEGER NOT NULL DEFAULT 0,
  found_at   TEXT NOT NULL,
  fetched_at TEXT NOT NULL DEFAULT '',
  crawl      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_queue ON page (site, kind, day) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS page_crawl ON page (crawl, state);

CREATE TABLE IF NOT EXISTS article (
  url TEXT PRIMARY KEY, title TEXT NOT NULL, summary TEXT NOT NULL, text TEXT NOT NULL, date TEXT NOT NULL,
  rubric TEXT NOT NULL, subtitle TEXT NOT NULL, summary_origin TEXT NOT NULL, era TEXT NOT NULL,
  site TEXT NOT NULL, fetched_at TEXT NOT NULL,
  crawl INTEGER NOT NULL,
  held  INTEGER NOT NULL DEFAULT 0       -- 1: from a crawl that ended in an alarm, not to be published
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
);
"""

ARTICLE_COLUMNS = [field.name for field in fields(Article)]


class StoreBusy(Exception):
    """Another process has the store open."""


@dataclass(frozen=True)
class Link:
    """An address that a source named. day and rubric are empty where nobody knows them yet."""

    url: str
    kind: str = "article"
    day: str = ""
    rubric: str = ""
    lastmod: str = ""


@dataclass(frozen=True)
class Scope:
    """Which pages this crawl may ask for. Dates are YYYY-MM-DD, both included; empty means no bound."""

    since: str = ""
    until: str = ""
    rubrics: tuple[str, ...] = ()

    def where(self) -> tuple[str, list[str]]:
        """SQL over `page` and its values. A page with an unknown day or rubric is inside: it must be read."""
        clauses, values = [], []
        if self.since:
            clauses.append("(day = '' OR day >= ?)")
            values.append(self.since)
        if self.until:
            # A sitemap changed after `until` may well list articles from before it.
            clauses.append("(kind = 'sitemap' OR day = '' OR day <= ?)")
            values.append(self.until)
        if self.rubrics:
            marks = ",".join("?" * len(self.rubrics))
            clauses.append(f"(kind = 'sitemap' OR rubric = '' OR rubric IN ({marks}))")
            values.extend(self.rubrics)
        return " AND ".join(clauses) or "1", values


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


class Store:
    """Open with `with Store(path) as store`. Raises StoreBusy, or sqlite3.Error when the disk is full."""

    def __init__(self, path: Path | str):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.db.execute("PRAGMA journal_mode = WAL")
            # A power cut may take the last pages with it, never the file; they are simply fetched again.
            self.db.execute("PRAGMA synchronous = NORMAL")
            self.db.execute("PRAGMA cache_size = -16000")
            self.db.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";\n"):
                self.db.execute(statement)
            self.db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (str(FORMAT),))
            self.db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self.db.close()
            if "locked" in str(error):
                raise StoreBusy(
                    f"{path} is in use by another run; wait for it to end, then start again"
                ) from None
            raise

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the publisher reads

    def articles(self, site: str | None = None) -> Iterator[Article]:
        """Every kept article, oldest first (date, then url), without those that an alarm holds back.

        `text` is what the dataset publishes: where the first paragraph is the summary it is not in the text.
        """
        rows = self.db.execute(
            f"SELECT {', '.join(ARTICLE_COLUMNS)} FROM article WHERE held = 0 AND (? IS NULL OR site = ?)"
            " ORDER BY date, url",
            (site, site),
        )
        for row in rows:
            article = Article(*row)
            text = article.source()
            yield article if text is article.text else replace(article, text=text)

    def count(self) -> int:
        """How many articles `articles` gives."""
        return self.db.execute("SELECT count(*) FROM article WHERE held = 0").fetchone()[0]

    def last_report(self) -> dict:
        """The report of the newest finished crawl, {} before the first one."""
        row = self.db.execute(
            "SELECT report FROM crawl WHERE outcome NOT IN ('running', 'interrupted')"
            " ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return json.loads(row[0]) if row else {}

    # Small facts that outlive a crawl

    def get(self, key: str, default: str = "") -> str:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # The frontier

    def add_links(self, links: Iterable[Link], site: str) -> int:
        """Queue what was never seen before; say how many articles that were. One transaction.

        A sitemap that was read is queued again when its lastmod is another one, or when it has none.
        """
        now, new = utc_now(), 0
        with self.transaction():
            for link in links:
                added = self.db.execute(
                    "INSERT OR IGNORE INTO page (url, site, kind, state, day, rubric, lastmod, found_at)"
                    " VALUES (?, ?, ?, 'queued', ?, ?, ?, ?)",
                    (link.url, site, link.kind, link.day, link.rubric, link.lastmod, now),
                ).rowcount
                new += added if link.kind == "article" else 0
                if not added and link.kind == "sitemap":
                    self.db.execute(
                        "UPDATE page SET state = 'queued', lastmod = ?2, day = ?3 WHERE url = ?1"
                        " AND (lastmod != ?2 OR ?2 = '')",
                        (link.url, link.lastmod, link.day),
                    )
        return new

    def queue_again(self, links: Iterable[Link], site: str) -> None:
        """Queue pages that are read in every crawl: the root sitemap, feeds, the first page of a listing."""
        now = utc_now()
        with self.transaction():
            for link in links:
                self.db.execute(
                    "INSERT INTO page (url, site, kind, state, day, rubric, found_at)"
                    " VALUES (?, ?, ?, 'queued', ?, ?, ?) ON CONFLICT (url) DO UPDATE SET state = "
                    "'queued', kind = excluded.kind",
                    (link.url, site, link.kind, link.day, link.rubric, now),
                )

    def next_pages(self, site: str, kind: str, scope: Scope, count: int, busy: Collection[str]) -> list[Link]:
        """The newest queued pages of one kind, without those in `busy` (they are on their way)."""
        where, values = scope.where()
        rows = self.db.execute(
            "SELECT url, kind, day, rubric, lastmod FROM page"
            f" WHERE state = 'queued' AND site = ? AND kind = ? AND {where} ORDER BY day DESC LIMIT ?",
            (site, kind, *values, count + len(busy)),
        )
        return [Link(*row) for row in rows if row[0] not in busy][:count]

    def queued(self, site: str, kind: str, scope: Scope, at_most: int = 1_000_000_000) -> int:
        where, values = scope.where()
        return self.db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM page"
            f" WHERE state = 'queued' AND site = ? AND kind = ? AND {where} LIMIT ?)",
            (site, kind, *values, at_most),
        ).fetchone()[0]

    def state(self, url: str) -> str:
        """What became of an address; "" when it was never seen."""
        row = self.db.execute("SELECT state FROM page WHERE url = ?", (url,)).fetchone()
        return row[0] if row else ""

    def read_again(self, site: str, since: str, changed: Iterable[Link] | None = None) -> int:
        """Queue articles for a second look; they stay kept until then.

        Without `changed`: all from `since` (YYYY-MM-DD) on whose sitemap entry has no lastmod, or one that is
        newer than our copy. With `changed` (links with lastmod): only those, and only when changed after our
        copy was fetched. Both look at kept and known articles only.
        """
        query = (
            "UPDATE page SET state = 'queued' WHERE site = ? AND kind = 'article'"
            " AND state IN ('kept', 'known') AND day >= ?"
        )
        if changed is None:
            return self.db.execute(query + " AND lastmod = ''", (site, since)).rowcount
        count = 0
        with self.transaction():
            for link in changed:
                count += self.db.execute(
                    query + " AND url = ? AND lastmod != ?", (site, since, link.url, link.lastmod)
                ).rowcount
                self.db.execute("UPDATE page SET lastmod = ? WHERE url = ?", (link.lastmod, link.url))
        return count

    def take_up(self, site: str, reasons: Iterable[str] = ()) -> None:
        """Queue again what an earlier crawl left for later: pages outside its dates, pages that did not
        answer (at most three times and not within the hour), and pages dropped for one of `reasons`."""
        with self.transaction():
            for reason in reasons:
                self.db.execute(
                    "UPDATE page SET state = 'queued' WHERE site = ? AND state = 'dropped' AND reason = ?",
                    (site, reason),
                )
            self.db.execute("UPDATE page SET state = 'queued' WHERE site = ? AND state = 'skipped'", (site,))
            self.db.execute(
                "UPDATE page SET state = 'queued' WHERE site = ? AND kind = 'article' AND state = 'failed'"
                " AND (reason LIKE 'http %' OR reason = 'no answer') AND tries < 3"
                " AND fetched_at < datetime('now', '-1 hour')",
                (site,),
            )

    def waits(self, site: str, kind: str, prefix: str) -> bool:
        """Whether a page whose address starts with `prefix` is in the queue."""
        return bool(
            self.db.execute(
                "SELECT 1 FROM page WHERE state = 'queued' AND site = ? AND kind = ? AND substr(url, "
                "1, ?) = ?",
                (site, kind, len(prefix), prefix),
            ).fetchone()
        )

    def site_of(self, url: str) -> str:
        row = self.db.execute("SELECT site FROM page WHERE url = ?", (url,)).fetchone()
        return row[0] if row else ""

    def has_article(self, url: str) -> bool:
        return bool(self.db.execute("SELECT 1 FROM article WHERE url = ?", (url,)).fetchone())

    def add_known(self, links: Iterable[Link], site: str) -> int:
        """Remember the articles of the published dataset: they are not fetched again."""
        now, new = utc_now(), 0
        with self.transaction():
            for link in links:
                new += self.db.execute(
                    "INSERT INTO page (url, site, kind, state, day, rubric, found_at)"
                    " VALUES (?, ?, 'article', 'known', ?, ?, ?) ON CONFLICT (url) DO NOTHING",
                    (link.url, site, link.day, link.rubric, now),
                ).rowcount
        return new

    def is_empty(self, site: str) -> bool:
        return not self.db.execute(
            "SELECT 1 FROM page WHERE site = ? AND kind = 'article' LIMIT 1", (site,)
        ).fetchone()

    # What became of a page: each of these is one transaction

    def keep(self, url: str, article: Article, crawl: int, *, status: int = 200, size: int = 0) -> bool:
        """The article of the page asked for as `url`. True when it is new or differs from the kept copy."""
        now = utc_now()
        with self.transaction():
            before = self.db.execute(
                f"SELECT {', '.join(ARTICLE_COLUMNS)} FROM article WHERE url = ?",
                (article.url,),
            ).fetchone()
            changed = before is None or replace(Article(*before), fetched_at="") != replace(
                article, fetched_at=""
            )
            row = asdict(replace(article, fetched_at=now))
            self.db.execute(
                f"INSERT OR REPLACE INTO article ({', '.join(ARTICLE_COLUMNS)}, crawl, held)"
                f" VALUES ({', '.join('?' * len(ARTICLE_COLUMNS))}, ?, 0)",
                (*(row[name] for name in ARTICLE_COLUMNS), crawl),
            )
            self._end(article.url, article.site, "kept", "", "", crawl, now, status, size)
            if url != article.url:
                self._end(url, article.site, "dropped", "same article", article.url, crawl, now, status, size)
            self.db.execute(
                "UPDATE page SET day = ?, rubric = CASE rubric WHEN '' THEN ? ELSE rubric END WHERE url = ?",
                (article.date[:10], article.rubric, article.url),
            )
            self.db.execute("DELETE FROM saved_page WHERE url IN (?, ?)", (url, article.url))
        return changed

    def end(
        self,
        url: str,
        site: str,
        state: str,
        crawl: int,
        *,
        reason: str = "",
        detail: str = "",
        status: int = 0,
        size: int = 0,
        body: bytes = b"",
        content_type: str = "",
        links: Iterable[Link] = (),
        day: str = "",
        rubric: str = "",
    ) -> int:
        """Close a page that gave no article; say how many of its `links` are new.

        state: "dropped", "failed", "skipped" (outside this crawl's dates: a wider crawl takes it up again) or
        "read" (a sitemap, feed or listing). body: the page itself, when it is worth a look later. day and
        rubric: what the page said of itself, where its address did not.
        """
        now = utc_now()
        new = 0
        with self.transaction():
            if links:
                new = self.add_links(links, site)
            self._end(url, site, state, reason, detail, crawl, now, status, size)
            if day:
                self.db.execute(
                    "UPDATE page SET day = ?, rubric = CASE rubric WHEN '' THEN ? ELSE rubric END"
                    " WHERE url = ?",
                    (day, rubric, url),
                )
            saved = self.db.execute("SELECT count(*) FROM saved_page").fetchone()[0] if body else 0
            if body and saved < MAX_SAVED_PAGES:
                self.db.execute(
                    "INSERT OR REPLACE INTO saved_page VALUES (?, ?, ?, ?, ?)",
                    (url, content_type, zlib.compress(body, 6), now, crawl),
                )
        return new

    def put_back(self, url: str) -> int:
        """Leave a page in the queue after a failure that is the site's; say how often that happened."""
        self.db.execute("UPDATE page SET tries = tries + 1, state = 'queued' WHERE url = ?", (url,))
        row = self.db.execute("SELECT tries FROM page WHERE url = ?", (url,)).fetchone()
        return row[0] if row else 0

    def save_page(self, url: str, body: bytes, content_type: str, crawl: int) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO saved_page VALUES (?, ?, ?, ?, ?)",
            (url, content_type, zlib.compress(body, 6), utc_now(), crawl),
        )

    def forget_page(self, url: str) -> None:
        self.db.execute("DELETE FROM saved_page WHERE url = ?", (url,))

    def forget_samples(self) -> None:
        """Drop the saved pages that are kept as articles, or are none: only failing pages stay."""
        self.db.execute(
            "DELETE FROM saved_page WHERE url IN (SELECT url FROM page WHERE state IN ('kept', 'dropped'))"
        )

    def saved_pages(self, crawl: int | None = None) -> Iterator[tuple[str, str, bytes]]:
        """(url, content type, body) of the pages kept for the parser's next fix."""
        for url, content_type, body in self.db.execute(
            "SELECT url, content_type, body FROM saved_page WHERE ? IS NULL OR crawl = ? ORDER BY url",
            (crawl, crawl),
        ):
            yield url, content_type, zlib.decompress(body)

    # What the report and the alarm look at

    def unchecked(self, crawl: int) -> list[int]:
        """This crawl and those before it that no alarm has judged: interrupted, stopped or given up."""
        rows = self.db.execute(
            "SELECT id FROM crawl WHERE id <= ?1 AND site = (SELECT site FROM crawl WHERE id = ?1) AND id >"
            " coalesce((SELECT max(id) FROM crawl WHERE id < ?1 AND outcome IN ('done', 'alarm')"
            " AND site = (SELECT site FROM crawl WHERE id = ?1)), 0)",
            (crawl,),
        )
        return [row[0] for row in rows]

    def figures(self, crawls: list[int]) -> dict[str, dict[str, float]]:
        """What the articles of these crawls look like: counts, coverage and mean lengths in characters.

        "article" is the share of pages that are one: a site that sends every visitor to a login page lacks no
        field on any article.
        """
        marks = ",".join("?" * len(crawls))
        kept = self.db.execute(
            "SELECT count(*), sum(title != ''), sum(summary != ''), sum(text != ''), sum(date != ''),"
            " sum(rubric != ''), avg(length(title)), avg(length(summary)), avg(length(text)),"
            " sum(instr(url, '/news/') = 0), sum(instr(url, '/news/') = 0 AND summary_origin = 'lead')"
            f" FROM article WHERE crawl IN ({marks})",
            crawls,
        ).fetchone()
        (
            n,
            title,
            summary,
            text,
            date,
            rubric,
            title_length,
            summary_length,
            text_length,
            features,
            leads,
        ) = (value or 0 for value in kept)
        missing = {name: 0 for name in ("title", "text", "date")}
        failed = self.db.execute(
            "SELECT CASE reason WHEN 'changed' THEN detail ELSE 'title,text,date' END, count(*) FROM page"
            f" WHERE state = 'failed' AND reason IN ('changed', 'parser error') AND crawl IN "
            f"({marks}) GROUP BY 1",
            crawls,
        ).fetchall()
        for detail, count in failed:
            for name in detail.partition(" ")[0].split(","):
                missing[name] = missing.get(name, 0) + count
        empty = self.db.execute(
            f"SELECT count(*) FROM page WHERE state = 'dropped' AND reason = 'no text' AND crawl IN "
            f"({marks})",
            crawls,
        ).fetchone()[0]
        others = self.db.execute(
            # Saved pages had failed already: that a mended parser finds them to be none is no alarm.
            f"SELECT count(*) FROM page WHERE {_NO_ARTICLE} AND kind = 'article' AND crawl IN ({marks})"
            " AND crawl NOT IN (SELECT id FROM crawl WHERE outcome = 'reparsed')",
            crawls,
        ).fetchone()[0]
        changed = sum(count for _, count in failed)
        pages = n + changed + empty
        found = {
            "title": pages - missing["title"] - (n - title),
            "text": text + changed - missing["text"],
            "date": pages - missing["date"] - (n - date),
        }
        judged = n + changed + others
        of_pages = {"article": {"pages": judged, "coverage": (n + changed) / judged}} if judged else {}
        of_pages |= (
            {name: {"pages": pages, "coverage": value / pages} for name, value in found.items()}
            if pages
            else {}
        )
        of_kept = (
            {
                "summary": {"pages": n, "coverage": summary / n, "length": summary_length},
                "rubric": {"pages": n, "coverage": rubric / n},
            }
            if n
            else {}
        )
        if n:
            of_pages["title"]["length"] = title_length
            of_pages["text"]["length"] = text_length
        if features:
            of_kept["lead"] = {"pages": features, "coverage": leads / features}
        return {**of_pages, **of_kept}

    def changed_pages(self, crawls: list[int]) -> list[tuple[str, str, int, str]]:
        """(missing fields and layout, reason, pages, an example address) of pages whose layout is unknown."""
        marks = ",".join("?" * len(crawls))
        return self.db.execute(
            "SELECT detail, reason, count(*), min(url) FROM page WHERE state = 'failed' AND reason "
            "IN ('changed',"
            f" 'parser error') AND crawl IN ({marks}) GROUP BY detail, reason ORDER BY 3 DESC",
            crawls,
        ).fetchall()

    def missing_in_layout(self, crawls: list[int], field: str) -> tuple[str, int]:
        """The layout with the most pages of these crawls on which `field` was not found, and how many.

        ("", 0) when it was found on all, or when those pages look like no known layout. field: "lead" is a
        summary that is one.
        """
        marks = ",".join("?" * len(crawls))
        counts: Counter[str] = Counter()
        lacks = (
            "instr(url, '/news/') = 0 AND summary_origin != 'lead'" if field == "lead" else f"{field} = ''"
        )
        if field in {"lead", *ARTICLE_COLUMNS}:
            kept = self.db.execute(
                f"SELECT era, count(*) FROM article WHERE crawl IN ({marks}) AND {lacks} GROUP BY era", crawls
            )
            counts.update(dict(kept.fetchall()))
        for detail, _, pages, _ in self.changed_pages(crawls):
            missing, _, layout = detail.partition(" (")
            if field in missing.split(","):
                counts["" if layout == f"{UNKNOWN_LAYOUT})" else layout.rstrip(")")] += pages
        layout, pages = max(counts.items(), key=lambda item: item[1], default=("", 0))
        return (layout, pages) if layout else ("", 0)

    def span(self, crawl: int) -> tuple[str, str]:
        """The dates of the oldest and the newest article that this crawl kept, "" when it kept none."""
        row = self.db.execute("SELECT min(date), max(date) FROM article WHERE crawl = ?", (crawl,)).fetchone()
        return row[0] or "", row[1] or ""

    def totals(self, site: str) -> dict[str, int]:
        """How many article pages are in each state."""
        rows = self.db.execute(
            "SELECT state, count(*) FROM page WHERE site = ? AND kind = 'article' GROUP BY state", (site,)
        )
        return dict(rows.fetchall())

    # Crawls

    def start_crawl(self, site: str, arguments: dict[str, str]) -> int:
        """A new crawl's number. Whatever was running before is marked as interrupted."""
        with self.transaction():
            self.db.execute("UPDATE crawl SET outcome = 'interrupted' WHERE outcome = 'running'")
            cursor = self.db.execute(
                "INSERT INTO crawl (site, started_at, arguments) VALUES (?, ?, ?)",
                (site, utc_now(), json.dumps(arguments, ensure_ascii=False)),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def finish_crawl(self, crawl: int, outcome: str, report: dict) -> None:
        self.db.execute(
            "UPDATE crawl SET finished_at = ?, outcome = ?, report = ? WHERE id = ?",
            (utc_now(), outcome, json.dumps(report, ensure_ascii=False), crawl),
        )

    def previous_report(self, site: str) -> dict:
        """The report of the newest crawl of this site that ended well with articles; {} if none."""
        for (report,) in self.db.execute(
            "SELECT report FROM crawl WHERE site = ? AND outcome = 'done' ORDER BY id DESC", (site,)
        ):
            loaded = json.loads(report)
            if loaded.get("fields"):
                return loaded
        return {}

    def hold(self, crawls: list[int]) -> None:
        """Hold back what alarmed crawls kept, and queue their pages again: they are not to be trusted.

        Pages that failed or were no articles are queued too, so the next crawl meets the alarm again until
        the cause is gone.
        """
        marks = ",".join("?" * len(crawls))
        with self.transaction():
            self.db.execute(f"UPDATE article SET held = 1 WHERE crawl IN ({marks})", crawls)
            self.db.execute(
                "UPDATE page SET state = 'queued' WHERE kind = 'article' AND (state = 'kept' OR reason IN"
                f" ('changed', 'parser error') OR {_NO_ARTICLE}) AND crawl IN ({marks})",
                crawls,
            )

    def compact(self) -> None:
        """Fold the write-ahead log into the file, so that copying the one file copies everything."""
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _end(
        self,
        url: str,
        site: str,
        state: str,
        reason: str,
        detail: str,
        crawl: int,
        now: str,
        status: int,
        size: int,
    ) -> None:
        self.db.execute(
            "INSERT INTO page"
            " (url, site, kind, state, reason, detail, found_at, fetched_at, crawl, status, bytes) "
            "VALUES (?1, ?2, 'article', ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)"
            " ON CONFLICT (url) DO UPDATE SET state = ?3, reason = ?4, detail = ?5, fetched_at = ?6,"
            " crawl = ?7, status = ?8, bytes = ?9",
            (url, site, state, reason, detail[:500], now, crawl, status, size),
        )

    def transaction(self) -> _Transaction:
        return _Transaction(self.db)


class _Transaction:
    """BEGIN … COMMIT, or ROLLBACK on an error; inside another one it does nothing."""

    def __init__(self, db: sqlite3.Connection):
        self.db = db
        self.outer = not db.in_transaction

    def __enter__(self) -> None:
        if self.outer:
            self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.outer and self.db.in_transaction:
            self.db.execute("ROLLBACK" if kind else "COMMIT")
