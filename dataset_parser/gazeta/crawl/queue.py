"""The queue of one site's pages, on disk: what to ask for next, and what became of each page."""

# ruff: noqa: S608  (only column names and question marks are put into SQL; values are bound)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

from gazeta.crawl.database import transaction, utc_now
from gazeta.crawl.page import NIGHT_HOURS, NIGHTS, Ending, Kind, Link, Reason, State
from gazeta.crawl.plan import Scope

MOST_NIGHTS = max(NIGHTS.values())


class Doubt(NamedTuple):
    """How far a page with an ending that may pass is from being given up: crawl, nights and last go into its
    row; again: it ended so before."""

    crawl: int
    nights: int = 0
    last: str = ""
    again: bool = False
    given_up: bool = False


class Queue:
    """Pages of one site. A page leaves the queue in the transaction that records its ending."""

    def __init__(self, db: sqlite3.Connection, site: str):
        self.db = db
        self.site = site

    # Into the queue

    def add(self, links: Iterable[Link], crawl: int = 0) -> int:
        """Queue what was never seen before; return the number of new articles. One transaction.

        A sitemap that was read is queued again if its lastmod has changed, or if it has none, but never twice
        in the same crawl: sitemaps may name each other.
        """
        now, new = utc_now(), 0
        with transaction(self.db):
            for link in links:
                added = self._insert(link, State.QUEUED, now)
                new += added if link.kind == Kind.ARTICLE else 0
                if not added and link.kind == Kind.SITEMAP:
                    self.db.execute(
                        "UPDATE page SET state = 'queued', lastmod = ?2, day = ?3 WHERE url = ?1"
                        " AND (lastmod != ?2 OR ?2 = '') AND (?4 = 0 OR crawl != ?4)",
                        (link.url, link.lastmod, link.day, crawl),
                    )
        return new

    def add_known(self, links: Iterable[Link]) -> int:
        """Remember the articles of the published dataset: they are not fetched again."""
        now = utc_now()
        with transaction(self.db):
            return sum(self._insert(link, State.KNOWN, now) for link in links)

    def _insert(self, link: Link, state: State, now: str, conflict: str = "NOTHING") -> int:
        return self.db.execute(
            "INSERT INTO page (url, site, kind, state, day, rubric, lastmod, depth, found_at)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (url) DO {conflict}",
            (link.url, self.site, link.kind, state, link.day, link.rubric, link.lastmod, link.depth, now),
        ).rowcount

    def add_again(self, links: Iterable[Link]) -> None:
        """Queue pages that every crawl reads: the root sitemap, feeds, the first page of a listing."""
        now = utc_now()
        with transaction(self.db):
            for link in links:
                self._insert(link, State.QUEUED, now, "UPDATE SET state = 'queued', kind = excluded.kind")

    def put_back(self, url: str) -> None:
        """Leave a page in the queue after a failure of the site."""
        self.db.execute("UPDATE page SET tries = tries + 1, state = 'queued' WHERE url = ?", (url,))

    def reread(self, since: str) -> int:
        """Queue the articles from `since` (YYYY-MM-DD) on that have no lastmod; their copies stay."""
        return self.db.execute(f"{_REREAD} AND lastmod = ''", (self.site, since)).rowcount

    def reread_changed(self, since: str, links: Iterable[Link]) -> int:
        """Queue those of the links whose lastmod differs from the one that our copy had."""
        count = 0
        with transaction(self.db):
            for link in links:
                changed = f"{_REREAD} AND url = ? AND lastmod != ?"
                count += self.db.execute(changed, (self.site, since, link.url, link.lastmod)).rowcount
                self.db.execute("UPDATE page SET lastmod = ? WHERE url = ?", (link.lastmod, link.url))
        return count

    def take_up(self, reasons: Iterable[str] = ()) -> None:
        """Queue again what an earlier crawl left: pages outside its scope, pages that ended for a reason that
        may pass (a server error not within the hour), and pages dropped for one of `reasons`."""
        with transaction(self.db):
            for reason in reasons:
                self.db.execute(
                    "UPDATE page SET state = 'queued' WHERE site = ? AND state = 'dropped' AND reason = ?",
                    (self.site, reason),
                )
            self.db.execute(
                "UPDATE page SET state = 'queued' WHERE site = ? AND state = 'skipped'", (self.site,)
            )
            self.db.execute(
                "UPDATE page SET state = 'queued' WHERE site = ? AND kind = 'article' AND nights > 0"
                " AND state IN ('failed', 'dropped') AND (reason != ? OR status < 500"
                " OR fetched_at < datetime('now', '-1 hour'))",
                (self.site, Reason.STATUS),
            )

    # Out of the queue

    def next(self, kind: Kind, scope: Scope, count: int, busy: Collection[str]) -> list[Link]:
        """The newest queued pages of one kind, without those in `busy` (they are on their way)."""
        where, values = _inside(scope)
        rows = self.db.execute(
            "SELECT url, kind, day, rubric, lastmod, depth FROM page"
            f" WHERE state = 'queued' AND site = ? AND kind = ? AND {where} ORDER BY day DESC LIMIT ?",
            (self.site, kind, *values, count + len(busy)),
        )
        found = [row for row in rows if row[0] not in busy][:count]
        return [Link(url, Kind(kind), *rest) for url, kind, *rest in found]

    def end(self, url: str, ending: Ending, crawl: int) -> Doubt:
        """Record how a page ended. A page that was never queued is recorded as well."""
        doubt = self._doubt(url, ending, crawl)
        self.db.execute(
            "INSERT INTO page (url, site, kind, state, reason, detail, found_at, fetched_at, crawl, status,"
            " bytes, missing, layout, nights, doubted_at)"
            " VALUES (?1, ?2, 'article', ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
            " ON CONFLICT (url) DO UPDATE SET state = ?3, reason = ?4, detail = ?5, fetched_at = ?6,"
            " crawl = ?7, status = ?8, bytes = ?9, missing = ?10, layout = ?11, nights = ?12,"
            # Only a sitemap that was read whole is left alone until its lastmod changes.
            " doubted_at = ?13, lastmod = CASE WHEN kind = 'sitemap' AND ?3 != 'read' THEN ''"
            " ELSE lastmod END",
            (url, self.site, ending.state, ending.reason, ending.detail[:500], utc_now(), doubt.crawl,
             ending.status, ending.size, json.dumps(ending.missing), ending.layout, doubt.nights, doubt.last),
        )  # fmt: skip
        if ending.day:
            self.db.execute(
                "UPDATE page SET day = ?, rubric = CASE rubric WHEN '' THEN ? ELSE rubric END WHERE url = ?",
                (ending.day, ending.rubric, url),
            )
        return doubt

    def _doubt(self, url: str, ending: Ending, crawl: int) -> Doubt:
        """Whether an ending may pass, on how many nights the page ended so, and which crawl met it."""
        wanted = NIGHTS.get(ending.reason)
        if ending.state not in (State.DROPPED, State.FAILED) or wanted is None:
            return Doubt(crawl)
        now = utc_now()
        kind, nights, last, reason, first, another = self.db.execute(
            "SELECT kind, nights, doubted_at, reason, crawl, doubted_at <= datetime(?2, ?3) FROM page"
            " WHERE url = ?1",
            (url, now, f"-{NIGHT_HOURS} hours"),
        ).fetchone() or (Kind.ARTICLE, 0, "", "", crawl, 1)
        if kind != Kind.ARTICLE:
            return Doubt(crawl)  # sources are asked for again anyway
        if not nights:
            return Doubt(crawl, 1, now)
        # The crawl that met the fault first has raised the alarm about it, if there was need.
        same = reason == ending.reason
        first = first if same else crawl
        if not another:
            return Doubt(first, nights, last, again=same)
        if nights + 1 >= MOST_NIGHTS or (same and wanted == 2):
            return Doubt(first, again=same, given_up=True)
        return Doubt(first, nights + 1, now, again=same)

    # Questions

    def waiting(self, kind: Kind, scope: Scope, at_most: int = 1_000_000_000) -> int:
        where, values = _inside(scope)
        return self.db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM page"
            f" WHERE state = 'queued' AND site = ? AND kind = ? AND {where} LIMIT ?)",
            (self.site, kind, *values, at_most),
        ).fetchone()[0]

    def waits_below(self, kind: Kind, prefix: str) -> bool:
        """Whether a page whose address starts with `prefix` is in the queue."""
        return bool(
            self.db.execute(
                "SELECT 1 FROM page WHERE state = 'queued' AND site = ? AND kind = ?"
                " AND substr(url, 1, ?) = ?",
                (self.site, kind, len(prefix), prefix),
            ).fetchone()
        )

    def state(self, url: str) -> str:
        """What became of an address; "" if it was never seen."""
        row = self.db.execute("SELECT state FROM page WHERE url = ?", (url,)).fetchone()
        return row[0] if row else ""

    def is_empty(self) -> bool:
        """Whether no article of this site was ever seen."""
        return not self.db.execute(
            "SELECT 1 FROM page WHERE site = ? AND kind = 'article' LIMIT 1", (self.site,)
        ).fetchone()

    def totals(self) -> dict[str, int]:
        """How many article pages are in each state."""
        rows = self.db.execute(
            "SELECT state, count(*) FROM page WHERE site = ? AND kind = 'article' GROUP BY state",
            (self.site,),
        )
        return dict(rows.fetchall())


_REREAD = (
    "UPDATE page SET state = 'queued' WHERE site = ? AND kind = 'article'"
    " AND state IN ('kept', 'known') AND day >= ?"
)


def _inside(scope: Scope) -> tuple[str, list[str]]:
    """SQL over `page` and its values. A page with an unknown day or rubric is inside: it must be read."""
    clauses, values = [], []
    if scope.since:
        clauses.append("(day = '' OR day >= ?)")
        values.append(scope.since)
    if scope.until:
        # A sitemap changed after `until` may well list articles from before it.
        clauses.append("(kind = 'sitemap' OR day = '' OR day <= ?)")
        values.append(scope.until)
    if scope.rubrics:
        rubrics = ",".join("?" * len(scope.rubrics))
        clauses.append(f"(kind = 'sitemap' OR rubric = '' OR rubric IN ({rubrics}))")
        values.extend(scope.rubrics)
    return " AND ".join(clauses) or "1", values
