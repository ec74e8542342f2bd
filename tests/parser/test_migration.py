"""A store of version 1, made by the code before this format, goes on where it was.

stores/version-1.sqlite3.gz is from crawls of the stand-in site (--articles 24 --seed 5, port 18731): one with
a limit and a since=, one to its end, one that ended in an alarm, one that was killed.
"""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from gazeta.crawl.history import Unread
from gazeta.crawl.page import Kind
from gazeta.crawl.plan import Scope
from gazeta.crawl.store import Store

OLD = Path(__file__).parent / "stores" / "version-1.sqlite3.gz"
BASE = "http://127.0.0.1:18731"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The old file where a crawl expects it."""
    store = tmp_path / "artifacts" / "crawl" / "crawl.sqlite3"
    store.parent.mkdir(parents=True)
    store.write_bytes(gzip.decompress(OLD.read_bytes()))
    return store


def rows(path: Path, query: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_texts_that_were_read_back_become_columns(path: Path) -> None:
    assert rows(path, "SELECT DISTINCT rubric FROM page WHERE kind = 'sitemap'") == [("",), ("#2",), ("#3",)]
    with Store(path) as store:
        assert store.db.execute("PRAGMA user_version").fetchone() == (3,)
        sitemaps = "SELECT rubric, depth, count(*) FROM page WHERE kind = 'sitemap' GROUP BY 1, 2"
        assert store.db.execute(sitemaps).fetchall() == [("", 1, 2), ("", 2, 15), ("", 3, 30)]
        reasons = "SELECT reason, status, missing, layout FROM page WHERE state = 'failed' OR missing != '[]'"
        assert sorted(store.db.execute(reasons)) == [
            ("changed", 200, '["text"]', ""),
            ("changed", 200, '["title", "text"]', ""),
            ("changed", 200, '["title", "text"]', "2024"),
            ("http", 500, "[]", ""),
            ("http", 502, "[]", ""),
            ("no answer", 0, "[]", ""),
            ("parser error", 200, '["title", "text", "date"]', ""),
        ]
        [unread] = store.history.unread([1, 2])
        assert unread == Unread(("title", "text"), "", "", 1, unread.example)
        news = "SELECT DISTINCT expects_lead, instr(url, '/news/') > 0 FROM article"
        assert sorted(store.db.execute(news)) == [(0, 1), (1, 0)]


def test_nothing_that_was_known_is_lost_and_opening_it_again_changes_nothing(path: Path) -> None:
    before = rows(path, "SELECT state, count(*) FROM page WHERE kind = 'article' GROUP BY state")
    titles = rows(path, "SELECT url, title, text FROM article WHERE held = 0 AND summary_origin = 'lead'")
    with Store(path) as store:
        queue = store.queue("gazeta")
        assert sorted(queue.totals().items()) == sorted(before)
        kept = {(article.url, article.title, article.text) for article in store.articles("gazeta")}
        assert kept >= set(titles) and store.count() == len(kept) == 34
        assert queue.next(Kind.SITEMAP, Scope(), 1, ())[0].depth == 2
        assert len(list(store.saved.pages())) == 3
        dump = list(store.db.iterdump())
    with Store(path) as store:
        assert list(store.db.iterdump()) == dump


def test_the_figures_of_its_crawls_are_what_the_code_before_made_of_them(path: Path) -> None:
    with Store(path) as store:
        figures = store.history.figures([1, 2, 3])
        assert store.history.worst_layout([1, 2, 3], "lead") == ("json-ld", 1)
    rounded = {
        name: (of["pages"], round(of["coverage"], 4), int(of.get("length", 0)))
        for name, of in figures.items()
    }
    assert rounded == {
        "article": (42, 0.8810, 0), "title": (38, 0.9737, 58), "text": (38, 0.9474, 706), "date": (38, 1, 0),
        "summary": (36, 1, 145), "rubric": (36, 1, 0), "lead": (28, 0.9643, 0),
    }  # fmt: skip


def test_a_crawl_goes_on_with_it_and_asks_for_nothing_that_is_kept(
    path: Path, start: Callable, crawl: Callable
) -> None:
    site = start("--articles", "24", "--seed", "5")
    with contextlib.closing(sqlite3.connect(path)) as db:  # the same site at today's port
        for table in ("page", "article", "saved_page"):
            db.execute(f"UPDATE {table} SET url = replace(url, ?, ?)", (BASE, site.url))  # noqa: S608
        db.commit()
    kept = {url for (url,) in rows(path, "SELECT url FROM page WHERE state = 'kept' AND lastmod != ''")}
    done = crawl(site.url)
    assert done.code == 0, done.err
    asked = {site.url + address for address in site.asked()}
    assert not kept & asked
    stories = {story["path"] for story in site.facts("articles.json") if story["date"] >= "2014"}
    assert stories <= set(done.rows())


def test_a_store_of_a_later_version_is_left_alone(path: Path, crawl: Callable) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 4")
    done = crawl("http://127.0.0.1:9")
    assert done.code == 1 and "a newer version of this program made it (format 4)" in done.err
    assert len(done.err.splitlines()) == 1
