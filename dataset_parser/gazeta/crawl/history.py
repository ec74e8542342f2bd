"""The crawls that were made, and what their pages looked like: counts, coverage, mean lengths."""

# ruff: noqa: S608  (only column names and question marks are put into SQL; values are bound)

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import Any

from gazeta.crawl.archive import COLUMNS
from gazeta.crawl.database import marks, transaction, utc_now
from gazeta.crawl.page import NOT_JUDGED, UNREAD
from gazeta.crawl.verdict import Figures

_UNREAD = f"reason IN ({','.join(map(repr, map(str, UNREAD)))})"
_NO_ARTICLE = f"state = 'dropped' AND reason NOT IN ({','.join(map(repr, map(str, NOT_JUDGED)))})"


@dataclass(frozen=True)
class Unread:
    """Pages that the parser could not read.

    missing: the fields that were not found; layout: on which layout, "" if unknown; error: of the parser,
    if it has a bug; example: the address of one of the pages.
    """

    missing: tuple[str, ...]
    layout: str
    error: str
    pages: int
    example: str


class History:
    def __init__(self, db: sqlite3.Connection):
        self.db = db

    def start(self, site: str, arguments: dict[str, str]) -> int:
        """A new crawl's number. Whatever was running before is marked as interrupted."""
        with transaction(self.db):
            self.db.execute("UPDATE crawl SET outcome = 'interrupted' WHERE outcome = 'running'")
            cursor = self.db.execute(
                "INSERT INTO crawl (site, started_at, arguments) VALUES (?, ?, ?)",
                (site, utc_now(), json.dumps(arguments, ensure_ascii=False)),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def finish(self, crawl: int, outcome: str, report: dict[str, Any]) -> None:
        self.db.execute(
            "UPDATE crawl SET finished_at = ?, outcome = ?, report = ? WHERE id = ?",
            (utc_now(), outcome, json.dumps(report, ensure_ascii=False), crawl),
        )

    def last_report(self) -> dict[str, Any]:
        """The report of the newest finished crawl, {} before the first one."""
        row = self.db.execute(
            "SELECT report FROM crawl WHERE outcome NOT IN ('running', 'interrupted')"
            " ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return json.loads(row[0]) if row else {}

    def good_figures(self, site: str) -> Figures:
        """The figures of the newest crawl of this site that ended well with articles; {} if there is none."""
        for (report,) in self.db.execute(
            "SELECT report FROM crawl WHERE site = ? AND outcome = 'done' ORDER BY id DESC", (site,)
        ):
            if figures := json.loads(report).get("fields"):
                return figures
        return {}

    def unjudged(self, crawl: int) -> list[int]:
        """This crawl and those before it that no alarm has judged: interrupted, stopped or given up."""
        rows = self.db.execute(
            "SELECT id FROM crawl WHERE id <= ?1 AND site = (SELECT site FROM crawl WHERE id = ?1) AND id >"
            " coalesce((SELECT max(id) FROM crawl WHERE id < ?1 AND outcome IN ('done', 'alarm')"
            " AND site = (SELECT site FROM crawl WHERE id = ?1)), 0)",
            (crawl,),
        )
        return [row[0] for row in rows]

    def queue_again(self, crawls: list[int]) -> None:
        """Queue the articles of alarmed crawls, and the pages that failed or were no articles.

        So the next crawl meets the alarm again until its cause is gone.
        """
        self.db.execute(
            "UPDATE page SET state = 'queued', nights = 0 WHERE kind = 'article' AND (state = 'kept' OR"
            f" {_UNREAD} OR {_NO_ARTICLE}) AND crawl IN ({marks(crawls)})",
            crawls,
        )

    def bursts(self, crawls: list[int]) -> list[tuple[str, int, int]]:
        """(reason, pages, pages of any ending) for each reason that may pass: the pages that first
        ended so in these crawls, if they are more than were ever given up for it. Missing fields count
        elsewhere."""
        ours = f"kind = 'article' AND crawl IN ({marks(crawls)})"
        rows = self.db.execute(
            f"SELECT reason, count(*), (SELECT count(*) FROM page WHERE {ours}) FROM page AS one"
            f" WHERE nights > 0 AND NOT {_UNREAD} AND {ours} GROUP BY site, reason"
            " HAVING count(*) > (SELECT count(*) FROM page WHERE reason = one.reason AND site = one.site"
            " AND kind = 'article' AND state IN ('dropped', 'failed') AND nights = 0)",
            crawls * 2,
        )
        return rows.fetchall()

    def figures(self, crawls: list[int]) -> Figures:
        """What the articles of these crawls look like: pages, coverage and mean characters, by field.

        "article" is the share of pages that are one: a site that sends every visitor to a login page lacks no
        field on any article. "lead" counts the articles that should have one.
        """
        of_crawls = f"crawl IN ({marks(crawls)})"
        kept = self.db.execute(
            "SELECT count(*), sum(title != ''), sum(summary != ''), sum(text != ''), sum(date != ''),"
            " sum(rubric != ''), avg(length(title)), avg(length(summary)), avg(length(text)),"
            " sum(expects_lead), sum(expects_lead AND summary_origin = 'lead')"
            f" FROM article WHERE {of_crawls}",
            crawls,
        ).fetchone()
        n, title, summary, text, date, rubric, *lengths, features, leads = (value or 0 for value in kept)
        unread = self.unread(crawls)
        changed = sum(group.pages for group in unread)
        missing: Counter[str] = Counter()
        for group in unread:
            missing.update(dict.fromkeys(group.missing, group.pages))
        empty = self._pages(f"state = 'dropped' AND reason = 'no text' AND {of_crawls}", crawls)
        others = self._pages(
            # Saved pages had failed already: that a fixed parser finds them to be no articles is no alarm.
            f"{_NO_ARTICLE} AND kind = 'article' AND {of_crawls}"
            " AND crawl NOT IN (SELECT id FROM crawl WHERE outcome = 'reparsed')",
            crawls,
        )
        pages, judged = n + changed + empty, n + changed + others
        figures: Figures = {}
        if judged:
            figures["article"] = {"pages": judged, "coverage": (n + changed) / judged}
        if pages:
            found = {
                "title": title + changed + empty - missing["title"],
                "text": text + changed - missing["text"],
                "date": date + changed + empty - missing["date"],
            }
            figures |= {name: {"pages": pages, "coverage": value / pages} for name, value in found.items()}
        if n:
            figures["summary"] = {"pages": n, "coverage": summary / n}
            figures["rubric"] = {"pages": n, "coverage": rubric / n}
            for name, length in zip(("title", "summary", "text"), lengths, strict=True):
                figures[name]["length"] = length
        if features:
            figures["lead"] = {"pages": features, "coverage": leads / features}
        return figures

    def _pages(self, where: str, crawls: list[int]) -> int:
        return self.db.execute(f"SELECT count(*) FROM page WHERE {where}", crawls).fetchone()[0]

    def unread(self, crawls: list[int]) -> list[Unread]:
        """The pages of these crawls that the parser could not read, most first."""
        rows = self.db.execute(
            "SELECT missing, layout, detail, count(*), min(url) FROM page WHERE state = 'failed'"
            f" AND {_UNREAD} AND crawl IN ({marks(crawls)}) GROUP BY missing, layout, detail ORDER BY 4 DESC",
            crawls,
        )
        return [Unread(tuple(json.loads(missing)), *rest) for missing, *rest in rows]

    def worst_layout(self, crawls: list[int], field: str) -> tuple[str, int]:
        """The layout with the most pages of these crawls on which `field` was not found, and how many.

        ("", 0) if it was found on all, or if those pages have no known layout. field: one of `figures`.
        """
        counts: Counter[str] = Counter()
        lacks = "expects_lead AND summary_origin != 'lead'" if field == "lead" else f"{field} = ''"
        if field == "lead" or field in COLUMNS:
            kept = self.db.execute(
                f"SELECT era, count(*) FROM article WHERE {lacks} AND crawl IN ({marks(crawls)})"
                " GROUP BY era",
                crawls,
            )
            counts.update(dict(kept.fetchall()))
        for group in self.unread(crawls):
            if field in group.missing:
                counts[group.layout] += group.pages
        layout, pages = max(counts.items(), key=lambda item: item[1], default=("", 0))
        return (layout, pages) if layout else ("", 0)
