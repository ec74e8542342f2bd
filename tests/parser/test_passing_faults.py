"""A fault that passes loses no article: pages, sitemaps and bodies that came broken are asked for again."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import zlib
from collections.abc import Callable

import pytest
from gazeta.crawl.judge import is_cut
from gazeta.crawl.page import NIGHTS, Ending, Fetched, Kind, Link, Reason, State
from gazeta.crawl.politeness import unpacks_whole
from gazeta.crawl.store import Store
from gazeta.crawl.verdict import bursts
from gazeta.sites.body import ends_inside
from gazeta.sites.gazeta import Gazeta
from gazeta.sites.sitemaps import is_whole

PATHS = [f"/social/2024/02/03/{number}.shtml" for number in range(18000001, 18000031)]
FAULTS = {
    "gone": (404, {}, b"<html><body>Not found</body></html>"),
    "login page": (302, {"Location": "/auth/sso.shtml?back=1"}, b""),
    "not an article": (302, {"Location": "/"}, b""),
    "no HTML": (200, {}, b""),
    "wrong content type": (200, {"Content-Type": "application/json"}, b'{"error": 1}'),
    "error page": (200, {}, "<html><title>Страница не найдена</title><body></body></html>".encode()),
    "redirect to another site": (302, {"Location": "https://captcha.example/x"}, b""),
    "redirect loop": (302, {"Location": PATHS[0]}, b""),
    "http": (418, {}, b"no tea here"),
}


X = {"Content-Type": "application/xml"}
ROBOTS = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nAllow: /\n")


def article(number: int) -> bytes:
    text = "<p>Вечером в посёлке открыли каток, и первыми на лёд вышли школьники.</p>" * 8
    return f"""<html><head></head><body><article class="b_article">
<h1 class="headline">Каток номер {number} открыли в посёлке</h1>
<time itemprop="datePublished" datetime="2024-02-03T10:00:00+03:00"></time>
<div class="b_article-intro">Кто строил каток номер {number} и сколько будет стоить вход для взрослых.</div>
<div itemprop="articleBody">{text}</div></article></body></html>""".encode()


def site_of(bodies: dict[str, bytes]) -> dict:
    """The pages of a site with one sitemap; HOST stands for its address."""
    rows = "".join(f"<url><loc>HOST{path}</loc></url>" for path in bodies)
    pages = {path: (200, {}, body) for path, body in bodies.items()}
    return {**pages, "/robots.txt": ROBOTS, "/sitemap.xml": (200, X, f"<urlset>{rows}</urlset>".encode())}


def with_host(site):
    status, headers, body = site.pages["/sitemap.xml"]
    site.pages["/sitemap.xml"] = (status, headers, body.replace(b"HOST", site.url.encode()))
    return site


def news(count: int = 30) -> dict:
    return {path: article(number) for number, path in enumerate(PATHS[:count])}


def more_pages(site) -> None:
    site.pages["/auth/sso.shtml"] = (200, {}, b'<html><body><form class="sso"></form></body></html>')
    site.pages["/"] = (200, {}, b"<html><body><p>The front page</p></body></html>")


def hours_later(done, hours: int = 13) -> None:
    """Have all that the store remembers happened earlier."""
    with contextlib.closing(sqlite3.connect(done.folder / "crawl" / "crawl.sqlite3")) as db:
        for name in ("fetched_at", "doubted_at"):
            db.execute(f"UPDATE page SET {name} = datetime({name}, '-{hours} hours') WHERE {name} != ''")  # noqa: S608
        db.commit()


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_of_a_night_is_an_alarm_and_loses_nothing(
    reason: str, serve: Callable, crawl: Callable
) -> None:
    site = with_host(serve(site_of(news())))
    good = dict(site.pages)
    more_pages(site)
    for path in PATHS[:12]:
        site.pages[path] = FAULTS[reason]
    first = crawl(site.url)
    assert first.code == 3 and f"pages: 12 of 30 ended with “{reason}”" in first.err
    assert set(first.rows()) == set(PATHS[12:])  # what was read is not held back
    site.pages.update(good)
    site.asked.clear()
    second = crawl(site.url)
    assert second.code == 0 and set(second.rows()) == set(PATHS)
    assert not set(site.asked) & set(PATHS[12:])


def test_404_on_everything_is_an_alarm_once_and_a_verdict_on_the_second_night(
    serve: Callable, crawl: Callable
) -> None:
    site = with_host(serve(site_of(news(12))))
    for path in PATHS[:12]:
        site.pages[path] = (410, {}, b"")
    first = crawl(site.url)
    assert first.code == 3 and "12 of 12 ended with “gone”" in first.err
    again = crawl(site.url)  # within the same night it is neither a verdict nor news
    assert again.code == 0 and again.out.startswith("gazeta: nothing new") and again.report["again"] == 12
    hours_later(again)
    second = crawl(site.url)
    assert second.code == 0 and second.report["given_up"] == 12 and "given up" in second.out
    site.asked.clear()
    assert crawl(site.url).code == 0 and not set(site.asked) & set(PATHS)


def test_a_single_page_that_went_astray_is_no_alarm_and_comes_back(serve: Callable, crawl: Callable) -> None:
    site = with_host(serve(site_of(news())))
    more_pages(site)
    good = site.pages[PATHS[7]]
    site.pages[PATHS[7]] = FAULTS["login page"]
    assert crawl(site.url).code == 0
    site.pages[PATHS[7]] = good
    assert set(crawl(site.url).rows()) == set(PATHS)


URL = "https://www.gazeta.ru/social/2024/02/03/18000001.shtml"


@pytest.mark.parametrize(
    ("reasons", "nights"),
    [
        (["gone"] * 9, 2),
        (["login page"] * 9, 5),
        (["gone", "login page", "gone", "gone", "gone"], 4),
        (["gone", "login page"] * 9, 5),
        (["no text"] * 9, 2),
        (["date in the future"] * 9, 5),
    ],
)
def test_a_page_is_given_up_after_a_bounded_number_of_nights(
    reasons: list[str], nights: int, tmp_path
) -> None:
    # Three crawls a night: the last night's first one gives the page up.
    with Store(tmp_path / "crawl.sqlite3") as store:
        queue = store.queue("gazeta")
        queue.add([Link(URL)])
        for night, reason in enumerate(reasons, 1):
            crawl = store.start_crawl("gazeta", {})
            for _ in range(3):
                queue.take_up()
                if queue.state(URL) == "queued":
                    store.end(URL, "gazeta", Ending(State.DROPPED, reason), crawl)
            store.db.execute(
                "UPDATE page SET doubted_at = datetime(doubted_at, '-13 hours') WHERE nights > 0"
            )
            assert store.doubts["given_up"] == (night >= nights), night


def test_a_verdict_is_not_asked_for_again(tmp_path) -> None:
    with Store(tmp_path / "crawl.sqlite3") as store:
        queue = store.queue("gazeta")
        for reason in ("gallery", "live report", Reason.TOO_LARGE, Reason.SAME_ARTICLE):
            assert reason not in NIGHTS
            store.end(URL, "gazeta", Ending(State.DROPPED, reason), store.start_crawl("gazeta", {}))
            queue.take_up()
            assert queue.state(URL) == "dropped"


def test_many_at_once_are_a_burst_and_a_few_are_not() -> None:
    assert bursts([("gone", 9, 30)], {}) == []
    assert bursts([("gone", 60, 4000)], {"gone": 12}) == []
    assert len(bursts([("gone", 10, 40)], {})) == 1
    assert len(bursts([("gone", 600, 4000)], {"gone": 600})) == 1


# Sitemaps


def broken(good: bytes) -> dict[str, tuple[int, dict[str, str], bytes]]:
    return {
        "error page": (200, {}, b"<html><body>Checking your browser</body></html>"),
        "half": (200, X, good[: len(good) // 2]),
        "empty": (200, X, b""),
        "gone": (404, {}, b""),
        "cut gzip": (200, X, gzip.compress(good)[:-9]),
        "cut on the way": (200, {**X, "Content-Encoding": "gzip"}, gzip.compress(good)[:-9]),
    }


@pytest.mark.parametrize("fault", broken(b"x" * 40))
def test_a_sitemap_that_came_broken_is_read_again_though_its_lastmod_stays(
    fault: str, serve: Callable, crawl: Callable
) -> None:
    site = with_host(serve(site_of(news(6))))
    good = site.pages["/sitemap.xml"]
    lastmod = "<lastmod>2024-02-04T00:00:00+03:00</lastmod>"
    index = f"<sitemapindex><sitemap><loc>{site.url}/old.xml</loc>{lastmod}</sitemap></sitemapindex>"
    site.pages["/sitemap.xml"] = (200, X, index.encode())
    site.pages["/old.xml"] = broken(good[2])[fault]
    crawl(site.url, CRAWL_ALARM="0")
    site.pages["/old.xml"] = good
    assert set(crawl(site.url).rows()) == set(PATHS[:6])
    site.asked.clear()
    crawl(site.url)
    assert "/old.xml" not in site.asked  # it was read whole


def test_sitemaps_that_name_each_other_are_read_once_each(serve: Callable, crawl: Callable) -> None:
    site = with_host(serve(site_of(news(2))))
    articles = site.pages["/sitemap.xml"]
    names = ("sitemap.xml", "a.xml", "b.xml", "articles.xml")
    rows = "".join(f"<sitemap><loc>{site.url}/{name}</loc></sitemap>" for name in names)
    for name in names:
        site.pages[f"/{name}"] = (200, X, f"<sitemapindex>{rows}</sitemapindex>".encode())
    site.pages["/articles.xml"] = articles
    for nights in (1, 2):
        done = crawl(site.url)
        assert done.code == 0 and set(done.rows()) == set(PATHS[:2])
        assert {site.asked.count(f"/{name}") for name in names} == {nights}


def test_a_sitemap_is_whole_if_its_root_is_closed() -> None:
    for body in (b"<urlset><url/></urlset>", b"<urlset/>", b"<s:urlset></s:urlset >\n<!-- made in 1 s -->\n",
                 b"<rss><channel></channel></rss>", gzip.compress(b"<feed></feed>")):  # fmt: skip
        assert is_whole(body), body
    for body in (b"<urlset><url><loc>x</loc></url>", b"<urlset><url/></urls", b"<sitemapindex>"):
        assert not is_whole(body), body


def test_a_sitemap_that_was_not_read_keeps_no_lastmod(tmp_path) -> None:
    link = Link("https://www.gazeta.ru/old.xml", Kind.SITEMAP, lastmod="2024-01-01")
    with Store(tmp_path / "crawl.sqlite3") as store:
        queue = store.queue("gazeta")
        for state, waits in ((State.FAILED, True), (State.DROPPED, True), (State.READ, False)):
            queue.add([link])
            store.end(link.url, "gazeta", Ending(state, Reason.CUT_SHORT), store.start_crawl("gazeta", {}))
            queue.add([link])
            assert (queue.state(link.url) == "queued") == waits, state


# Bodies


def test_cut_bodies_are_not_kept_and_come_whole_another_night(serve: Callable, crawl: Callable) -> None:
    site = with_host(serve(site_of(news(4))))
    good = dict(site.pages)
    body = good[PATHS[0]][2]
    site.pages[PATHS[0]] = (200, {"Content-Encoding": "gzip"}, gzip.compress(body)[:-20])
    site.pages[PATHS[1]] = (200, {"Content-Encoding": "deflate"}, zlib.compress(body)[:-6])
    site.pages[PATHS[2]] = (200, {}, body[: len(body) - 90])
    first = crawl(site.url)
    assert list(first.rows()) == [PATHS[3]] and first.report["reasons"]["cut short"] == 3
    assert {first.ends()[path] for path in PATHS[:3]} == {("failed", "cut short")}
    assert site.asked.count(PATHS[0]) == 2  # and once more at the end of the same crawl
    site.pages.update(good)
    second = crawl(site.url)
    assert second.code == 0 and set(second.rows()) == set(PATHS[:4])


def test_packed_bodies_are_whole_or_cut() -> None:
    import brotli

    plain = bytes(range(256)) * 40
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        "br": brotli.compress(plain),
    }
    for encoding, body in packed.items():
        assert unpacks_whole(body, encoding) and not unpacks_whole(body[:-3], encoding), encoding
        assert not unpacks_whole(b"", encoding)
    assert unpacks_whole(raw.compress(plain) + raw.flush(), "deflate")
    assert unpacks_whole(plain, "") and unpacks_whole(plain, "identity")
    assert unpacks_whole(gzip.compress(b"0" * 90_000_000), "gzip")  # its size is judged elsewhere


PAGE = article(1).decode()


@pytest.mark.parametrize(
    "whole",
    [
        PAGE,
        PAGE.replace("</body></html>", ""),  # optional end tags
        PAGE.replace("</article>", ""),  # careless, but the page says that it ends
        PAGE + "<script>count()</script><!-- 0.2 s -->",
        PAGE.replace("</body></html>", "") + "<script>if (a < b) { write('<div>') }</script>",
        "<p>Раз<p>Два<br><img src=x><ul><li>Три</ul>",
        "<div/>Раз",
        "",
        "{}",
    ],
)
def test_a_whole_page_is_not_taken_for_a_cut_one(whole: str) -> None:
    assert not ends_inside(whole)


def test_a_page_that_ends_inside_its_article_is_cut_wherever_it_is() -> None:
    begins, ends = PAGE.index("<article") + 9, PAGE.index("</article>")
    assert all(ends_inside(PAGE[:length]) for length in range(begins, ends + 9, 7))
    assert is_cut(Gazeta(), Fetched(URL, 200, PAGE[:ends].encode("utf-16")))
    assert is_cut(Gazeta(), Fetched(URL, 200, PAGE.encode(), whole=False))
    for unclosed in ("<script>write('</html", "<!-- </html", "<style>p {", "<div"):
        assert ends_inside("<p>Раз</p>" + unclosed + "x" * 3000), unclosed


@pytest.mark.parametrize(
    "hostile", ["<!--", "<script>", "<style ", "<div ", "</", "<", "<p>--><!--", "<a b='"]
)
def test_looking_for_the_end_takes_linear_time(hostile: str) -> None:
    import time

    started = time.monotonic()
    ends_inside(hostile * (2_000_000 // len(hostile)))
    assert time.monotonic() - started < 3


# Clocks and pauses


def test_a_clock_that_is_days_behind_is_reported_and_drops_nothing(serve: Callable, crawl: Callable) -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    site = with_host(serve(site_of(news(3))))
    later = datetime.now(UTC) + timedelta(days=6)
    for path in PATHS[:3]:
        body = site.pages[path][2].replace(b"2024-02-03T10:00:00+03:00", later.isoformat().encode())
        site.pages[path] = (200, {"Date": format_datetime(later, usegmt=True)}, body)
    done = crawl(site.url)
    assert done.code == 0 and set(done.rows()) == set(PATHS[:3])
    assert f"clock is 6 days behind that of {site.url}" in done.err
    assert done.report["clock_behind_hours"] == 144


def test_articles_from_the_future_by_both_clocks_get_another_night(serve: Callable, crawl: Callable) -> None:
    site = with_host(serve(site_of(news(2))))
    good = site.pages[PATHS[0]]
    site.pages[PATHS[0]] = (200, {}, good[2].replace(b"2024-02-03T10", b"2094-02-03T10"))
    first = crawl(site.url)
    assert first.ends()[PATHS[0]] == ("dropped", "date in the future") and "clock" not in first.err
    site.pages[PATHS[0]] = good
    assert set(crawl(site.url).rows()) == set(PATHS[:2])


@pytest.mark.parametrize("asked", ["0", "Sat, 03 Feb 2024 10:00:00 GMT", "-5", "soon", ""])
def test_a_retry_after_without_a_wait_is_no_storm_of_requests(
    asked: str, serve: Callable, crawl: Callable
) -> None:
    site = with_host(serve(site_of(news(3))))
    for path in PATHS[:3]:
        site.pages[path] = (429, {"Retry-After": asked}, b"")
    done = crawl(site.url, CRAWL_GIVE_UP="6")
    assert done.code in (0, 5) and sum(path in PATHS for path in site.asked) < 45
