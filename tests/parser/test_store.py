"""The crawl's memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gazeta import reparse, settings
from gazeta.crawl.page import Ending, Fetched, Kind, Link, Reason, State
from gazeta.crawl.plan import Scope
from gazeta.crawl.queue import Queue
from gazeta.crawl.store import Store, StoreBusy
from gazeta.sites.base import Article
from gazeta.sites.gazeta import Gazeta

URL = "https://www.gazeta.ru/social/2024/02/03/18000001.shtml"
ARTICLE = Article(
    url=URL,
    title="Заголовок",
    summary="Лид.",
    text="Раз.\nДва.",
    date="2024-02-03 10:00:00",
    rubric="social",
    summary_origin="lead",
    site="gazeta",
)
SITES = {"gazeta": Gazeta()}


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "crawl.sqlite3") as opened:
        yield opened


@pytest.fixture
def queue(store: Store) -> Queue:
    return store.queue("gazeta")


def end(
    store: Store, url: str, state: str, crawl: int, reason: str = "", site: str = "gazeta", **more
) -> None:
    """Close a page. body: what is saved of it."""
    body = more.pop("body", None)
    copy = None if body is None else Fetched(url, 200, body, "text/html")
    store.end(url, site, Ending(State(state), reason, copy=copy, **more), crawl)


def links(*days: str) -> list[Link]:
    return [
        Link(f"https://www.gazeta.ru/x/{day}/{n}.shtml", day=day, rubric="x") for n, day in enumerate(days)
    ]


def test_a_kept_article_comes_back_as_it_was(store: Store, queue: Queue) -> None:
    crawl = store.start_crawl("gazeta", {})
    assert store.keep(URL, ARTICLE, crawl)
    (kept,) = store.articles()
    assert replace(kept, fetched_at="") == ARTICLE and kept.fetched_at
    assert queue.state(URL) == "kept"


def test_the_publisher_reads_the_text_without_the_paragraph_that_is_its_summary(store: Store) -> None:
    news = replace(ARTICLE, summary="Раз.", summary_origin="first_paragraph")
    store.keep(URL, news, store.start_crawl("gazeta", {}))
    assert [article.text for article in store.articles()] == ["Два."]


def test_keeping_the_same_again_changes_nothing_and_an_edit_replaces(store: Store) -> None:
    crawl = store.start_crawl("gazeta", {})
    assert store.keep(URL, ARTICLE, crawl)
    assert not store.keep(URL, ARTICLE, crawl)
    assert store.keep(URL, replace(ARTICLE, text="Три."), crawl)
    assert [article.text for article in store.articles()] == ["Три."]


def test_the_queue_gives_the_newest_first_and_never_what_is_on_its_way(store: Store, queue: Queue) -> None:
    assert queue.add(links("2020-01-01", "2022-01-01", "2021-01-01")) == 3
    first = queue.next(Kind.ARTICLE, Scope(), 2, set())
    assert [link.day for link in first] == ["2022-01-01", "2021-01-01"]
    rest = queue.next(Kind.ARTICLE, Scope(), 5, {link.url for link in first})
    assert [link.day for link in rest] == ["2020-01-01"]
    assert queue.add(first) == 0


def test_a_scope_bounds_days_and_rubrics_but_lets_the_unknown_through(store: Store, queue: Queue) -> None:
    unknown = Link("https://www.gazeta.ru/2003/x.shtml")
    queue.add([*links("2020-01-01", "2021-01-01", "2022-01-01"), unknown])

    def days(scope: Scope) -> list[str]:
        return [link.day for link in queue.next(Kind.ARTICLE, scope, 9, set())]

    assert days(Scope(since="2021-01-01", until="2021-12-31")) == ["2021-01-01", ""]
    assert days(Scope(rubrics=("sport",))) == [""]
    assert len(days(Scope(rubrics=("x",)))) == 4


def test_a_sitemap_is_read_again_only_when_its_lastmod_is_another(store: Store, queue: Queue) -> None:
    def sitemap(lastmod: str) -> Link:
        return Link("https://www.gazeta.ru/sitemap_2020.xml", Kind.SITEMAP, lastmod=lastmod)

    crawl = store.start_crawl("gazeta", {})
    for lastmod, waits in (("2020-12-31", True), ("2020-12-31", False), ("2021-01-05", True), ("", True)):
        queue.add([sitemap(lastmod)])
        assert bool(queue.waiting(Kind.SITEMAP, Scope())) == waits, lastmod
        end(store, sitemap("").url, "read", crawl)


def test_a_second_process_is_told_that_the_store_is_in_use(store: Store) -> None:
    with pytest.raises(StoreBusy, match="in use by another run"):
        Store(store.path)


def test_a_page_that_did_not_answer_is_taken_up_later_but_not_at_once(store: Store, queue: Queue) -> None:
    crawl = store.start_crawl("gazeta", {})
    end(store, URL, "failed", crawl, Reason.STATUS, status=500)
    queue.take_up()
    assert queue.state(URL) == "failed"
    store.db.execute("UPDATE page SET fetched_at = datetime('now', '-2 hours')")
    queue.take_up()
    assert queue.state(URL) == "queued"


def test_an_alarmed_crawl_is_held_back_until_it_is_read_again(store: Store, queue: Queue) -> None:
    crawl = store.start_crawl("gazeta", {})
    store.keep(URL, ARTICLE, crawl)
    store.hold([crawl])
    assert list(store.articles()) == [] and queue.state(URL) == "queued"
    store.keep(URL, ARTICLE, store.start_crawl("gazeta", {}))
    assert len(list(store.articles())) == 1


def test_figures_count_what_was_missing(store: Store) -> None:
    crawl = store.start_crawl("gazeta", {})
    store.keep(URL, ARTICLE, crawl)
    for number, (state, reason, missing) in enumerate(
        [
            ("failed", Reason.CHANGED, ("title", "text")),
            ("dropped", Reason.NO_TEXT, ()),
            ("failed", Reason.PARSER_ERROR, ("title", "text", "date")),
        ]
    ):
        end(store, f"{URL}?{number}", state, crawl, reason, missing=missing)
    figures = store.history.figures([crawl])
    assert {name: figures[name]["coverage"] for name in ("title", "text", "date", "summary", "lead")} == {
        "title": 0.5, "text": 0.25, "date": 0.75, "summary": 1.0, "lead": 1.0,
    }  # fmt: skip


def test_an_interrupted_crawl_is_judged_with_the_next_one(store: Store) -> None:
    first = store.start_crawl("gazeta", {})
    store.finish_crawl(first, "done", {})
    refused = store.start_crawl("gazeta", {})
    store.finish_crawl(refused, "given up", {})
    killed, now = store.start_crawl("gazeta", {}), store.start_crawl("gazeta", {})
    assert store.history.unjudged(now) == [refused, killed, now]


def test_a_failing_page_becomes_an_article_once_the_parser_reads_it(store: Store) -> None:
    crawl = store.start_crawl("gazeta", {})
    page = Path(__file__).parent / "pages" / "2024-feature.html"
    url = "https://www.gazeta.ru/style/2024/02/29/18335999.shtml"
    end(store, url, "failed", crawl, Reason.CHANGED, body=page.read_bytes())
    gone = "https://www.gazeta.ru/quiz/x.shtml"
    end(store, gone, "failed", crawl, Reason.CHANGED, body=b"<html><p>?</p></html>")
    assert reparse.reparse(store, SITES) == {"kept": 1, "dropped": 1, "failed": 0}
    assert [article.url for article in store.articles()] == [url]
    assert list(store.saved.pages()) == []


def test_a_page_that_an_alarm_queued_again_is_not_given_up_by_reading_its_old_copy(
    store: Store, queue: Queue
) -> None:
    crawl = store.start_crawl("gazeta", {})
    login = b'<html><body><form class="sso"></form></body></html>'
    end(store, URL, "dropped", crawl, "login page", status=200, body=login)
    end(store, f"{URL}?gone", "dropped", crawl, Reason.GONE, status=404)
    assert store.history.figures([crawl])["article"] == {"pages": 1, "coverage": 0.0}
    store.hold([crawl])
    assert (queue.state(URL), queue.state(f"{URL}?gone")) == ("queued", "dropped")
    reparse.reparse(store, SITES)
    assert queue.state(URL) == "queued" and list(store.saved.pages()) == []


def test_reparse_as_a_command_says_what_came_of_it(tmp_path: Path, repo_root: Path) -> None:
    import os

    environment = {**os.environ, "ARTIFACTS_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "gazeta.reparse"],
        cwd=repo_root / "dataset_parser", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "nothing to read again" in done.stderr and str(tmp_path) in done.stderr
    with Store(tmp_path / "crawl" / "crawl.sqlite3") as store:
        crawl = store.start_crawl("gazeta", {})
        end(store, URL, "failed", crawl, Reason.CHANGED, body=b"<html><p>?</p></html>")
    done = subprocess.run(
        [sys.executable, "-m", "gazeta.reparse"],
        cwd=repo_root / "dataset_parser", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3 and "1 still cannot be read" in done.stdout


LEAD = '<div class="b_article-intro">Лид новости: что случилось и почему об этом пишут.</div>'


def saved(store: Store, lead: str, site: str = "gazeta") -> list[str]:
    """Thirty failing pages that today's parser reads, after a good crawl whose pages all had leads."""
    fields = {"lead": {"pages": 30, "coverage": 1.0}}
    store.finish_crawl(store.start_crawl(site, {}), "done", {"fields": fields})
    crawl = store.start_crawl(site, {})
    urls = [f"https://www.gazeta.ru/social/2024/02/03/{number}.shtml" for number in range(14490001, 14490031)]
    text = "<p>Абзац о том, что случилось, и о том, что было дальше.</p>" * 12
    for url in urls:
        body = (
            f'<html><body><article class="b_article"><h1 class="headline">Новость с адресом {url[-14:]}</h1>'
            f'{lead}<div class="b_article-text">{text}</div></article></body></html>'
        )
        end(store, url, "failed", crawl, Reason.CHANGED, site, body=body.encode())
    store.hold([crawl])
    store.finish_crawl(crawl, "alarm", {})
    return urls


def test_a_fix_that_finds_the_text_and_not_the_lead_changes_nothing(store: Store, monkeypatch) -> None:
    urls = saved(store, lead="")
    before = list(store.db.iterdump())
    with pytest.raises(reparse.Unfit, match=r"lead: found on 0\.0% of pages, 100\.0% in the crawl") as unfit:
        reparse.reparse(store, SITES)
    assert ".b_article-intro" in unfit.value.looked_for["lead"]
    assert "in the layout of 2021 (30 pages miss it)" in unfit.value.looked_for["lead"]
    assert list(store.db.iterdump()) == before
    store.notes.set("parser", "of yesterday")
    assert "left as they were: gazeta does not look yet" in reparse.after_a_fix(store, SITES)
    assert store.count() == 0
    monkeypatch.setattr(settings, "CRAWL_ALARM", False)
    assert reparse.reparse(store, SITES)["kept"] == len(urls) == store.count()


def test_a_whole_fix_makes_articles_of_the_saved_pages(store: Store) -> None:
    urls = saved(store, LEAD)
    assert reparse.reparse(store, SITES) == {"kept": 30, "dropped": 0, "failed": 0}
    assert [article.url for article in store.articles()] == urls


def test_the_reparse_command_ends_with_3_where_a_crawl_would(tmp_path: Path, repo_root: Path) -> None:
    import os

    with Store(tmp_path / "crawl" / "crawl.sqlite3") as store:
        saved(store, lead="")
    for alarm, code in (("1", 3), ("0", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "gazeta.reparse"],
            cwd=repo_root / "dataset_parser",
            env={**os.environ, "ARTIFACTS_DIR": str(tmp_path), "CRAWL_ALARM": alarm},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert ("  lead was looked for in the layout of 2021" in done.stderr) == bool(code)


def test_saved_pages_that_turn_out_to_be_no_articles_are_no_alarm(store: Store) -> None:
    crawl = store.start_crawl("gazeta", {})
    for number in range(8):
        quiz = b'<html><body><div class="b_quiz"></div></body></html>'
        end(store, f"{URL}?{number}", "failed", crawl, Reason.CHANGED, body=quiz)
    store.finish_crawl(crawl, "done", {})
    assert reparse.reparse(store, SITES) == {"kept": 0, "dropped": 8, "failed": 0}
    now = store.start_crawl("gazeta", {})
    assert len(crawls := store.history.unjudged(now)) == 2 and store.history.figures(crawls) == {}


def test_each_site_answers_for_its_own_saved_pages(store: Store) -> None:
    saved(store, LEAD)
    other = store.start_crawl("vestnik", {})
    page = (Path(__file__).parent / "pages" / "2024-feature.html").read_bytes()
    url = "https://www.gazeta.ru/style/2024/02/29/18335999.shtml"
    end(store, url, "failed", other, Reason.CHANGED, "vestnik", body=page)
    vestnik = type("Vestnik", (Gazeta,), {"name": "vestnik"})()
    assert reparse.reparse(store, {**SITES, "vestnik": vestnik})["kept"] == 31
    sites = store.db.execute("SELECT site, outcome FROM crawl ORDER BY id DESC LIMIT 2").fetchall()
    assert sorted(sites) == [("gazeta", "reparsed"), ("vestnik", "reparsed")]
