"""The articles that were kept, and copies of pages that are worth another look."""

# ruff: noqa: S608  (only column names and question marks are put into SQL; values are bound)

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace

from gazeta.crawl.database import marks, utc_now
from gazeta.crawl.page import Fetched
from gazeta.sites.base import Article

MAX_SAVED_PAGES = 500  # kept for the parser's next fix; about 50 MB at 100 kB per page, compressed
COLUMNS = tuple(field.name for field in fields(Article))
_COLUMNS = ", ".join(COLUMNS)


class Archive:
    def __init__(self, db: sqlite3.Connection):
        self.db = db

    def articles(self, site: str | None = None) -> Iterator[Article]:
        """Every kept article, oldest first (date, then url), without those that an alarm holds back.

        `text` is what the dataset publishes: if the first paragraph is the summary, the text lacks it.
        """
        rows = self.db.execute(
            f"SELECT {_COLUMNS} FROM article WHERE held = 0 AND (? IS NULL OR site = ?) ORDER BY date, url",
            (site, site),
        )
        for row in rows:
            article = _article(row)
            text = article.source()
            yield article if text is article.text else replace(article, text=text)

    def count(self) -> int:
        """How many articles `articles` gives."""
        return self.db.execute("SELECT count(*) FROM article WHERE held = 0").fetchone()[0]

    def has(self, url: str) -> bool:
        return bool(self.db.execute("SELECT 1 FROM article WHERE url = ?", (url,)).fetchone())

    def put(self, article: Article, crawl: int) -> bool:
        """Keep an article. True if it is new or differs from the kept copy."""
        row = self.db.execute(f"SELECT {_COLUMNS} FROM article WHERE url = ?", (article.url,)).fetchone()
        now = replace(article, fetched_at=utc_now())
        self.db.execute(
            f"INSERT OR REPLACE INTO article ({_COLUMNS}, crawl, held) VALUES ({marks(COLUMNS)}, ?, 0)",
            (*vars(now).values(), crawl),
        )
        return row is None or replace(_article(row), fetched_at=now.fetched_at) != now

    def hold(self, crawls: list[int]) -> None:
        """Hold back the articles of these crawls until they are kept again."""
        self.db.execute(f"UPDATE article SET held = 1 WHERE crawl IN ({marks(crawls)})", crawls)

    def dates(self, crawl: int) -> tuple[str, str]:
        """The dates of the oldest and the newest article that this crawl kept, "" if it kept none."""
        row = self.db.execute("SELECT min(date), max(date) FROM article WHERE crawl = ?", (crawl,)).fetchone()
        return row[0] or "", row[1] or ""


def _article(row: tuple) -> Article:
    *texts, expects_lead = row
    return Article(*texts, bool(expects_lead))


class SavedPages:
    """Copies of pages that the parser could not read, and of samples of the others while a crawl runs."""

    def __init__(self, db: sqlite3.Connection):
        self.db = db

    def save(self, url: str, page: Fetched, crawl: int) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO saved_page VALUES (?, ?, ?, ?, ?)",
            (url, page.content_type, zlib.compress(page.body, 6), utc_now(), crawl),
        )

    def is_full(self) -> bool:
        return self.db.execute("SELECT count(*) FROM saved_page").fetchone()[0] >= MAX_SAVED_PAGES

    def forget(self, *urls: str) -> None:
        self.db.execute(f"DELETE FROM saved_page WHERE url IN ({marks(urls)})", urls)

    def forget_samples(self) -> None:
        """Drop the copies of pages that are kept as articles, or are none: only failing pages stay."""
        self.db.execute(
            "DELETE FROM saved_page WHERE url IN (SELECT url FROM page WHERE state IN ('kept', 'dropped'))"
        )

    def pages(self, crawl: int | None = None) -> Iterator[tuple[str, str, Fetched]]:
        """(site, state, page) of the copies, in the order of their addresses; of one crawl or of all."""
        rows = self.db.execute(
            "SELECT site, state, saved.url, content_type, body FROM saved_page AS saved JOIN page USING (url)"
            " WHERE ?1 IS NULL OR saved.crawl = ?1 ORDER BY saved.url",
            (crawl,),
        )
        for site, state, url, content_type, body in rows:
            yield site, state, Fetched(url, 200, zlib.decompress(body), content_type)
