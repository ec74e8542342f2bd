"""Addresses of every time and from careless links; charsets and dates as servers write them."""

from __future__ import annotations

import pytest
from gazeta.pages import parse_article
from gazeta.sites.body import decode
from gazeta.sites.gazeta import Gazeta
from gazeta.sites.html import moscow_date

SITE = Gazeta()
WWW = "https://www.gazeta.ru"


@pytest.mark.parametrize(
    ("path", "day", "rubric"),
    [
        ("/lifestyle/style/2018/10/a_12020111.shtml", "2018-10-01", "style"),
        ("/style/2018/10/12020111.shtml", "2018-10-01", "style"),
        ("/comments/2017/05/03_e_10653111.shtml", "2017-05-03", "comments"),
        ("/comments/2017/05/e_10653111.shtml", "2017-05-01", "comments"),
        ("/politics/2012/03/04_x_4021111.shtml", "2012-03-04", "politics"),
        ("/business/oilgas/news/2018/03/04/n_11240111.shtml", "2018-03-04", "business"),
        ("/army/news/9024111.shtml", "", "army"),
    ],
)
def test_addresses_of_every_time_are_articles(path: str, day: str, rubric: str) -> None:
    assert SITE.is_article_url(WWW + path)
    assert (SITE.url_day(WWW + path), SITE.url_rubric(WWW + path)) == (day, rubric)
    # Only a whole day may keep a page out of since= and until=.
    assert SITE.names_day(WWW + path) == (day != "" and not day.endswith("-01"))


@pytest.mark.parametrize(
    "path", ["/social/2024/02/", "/quiz/2018/10/a_12020111.shtml", "/social/2018/10/index.shtml"]
)
def test_other_addresses_are_none(path: str) -> None:
    assert not SITE.is_article_url(WWW + path)


@pytest.mark.parametrize(
    "tail",
    ["/", "&utm_source=rss", "&amp;utm_source=rss", ";jsessionid=1", "?updated", "#top", "/?x=1", "=", "//"],
)
def test_what_careless_links_put_after_a_page_is_left_out(tail: str) -> None:
    page = f"{WWW}/social/2024/02/03/18000001.shtml"
    assert SITE.canonical_url(page + tail) == page and SITE.is_article_url(page + tail)
    assert SITE.url_day(page + tail) == "2024-02-03"


def test_a_host_of_ipv6_keeps_its_brackets() -> None:
    assert SITE.canonical_url("http://[2001:DB8::1]:80/a.shtml/") == "http://[2001:db8::1]/a.shtml"
    assert SITE.canonical_url("http://[::1]:8080/a/") == "http://[::1]:8080/a/"
    assert SITE.same_site("http://[::1]:80/a", "http://[::1]/b")


TEXT = (
    "<html><head>{}</head><body><p>"
    + "Вечером в посёлке открыли каток, и Первыми пришли школьники. " * 6
    + "</p>"
)


@pytest.mark.parametrize(
    ("charset", "header", "inside"),
    [
        ("cp1251", "utf-8", ""), ("cp1251", "", "utf-8"), ("cp1251", "", ""), ("cp1251", "windows-1251", ""),
        ("koi8-r", "", ""), ("koi8-r", "utf-8", "utf-8"), ("koi8-r", "koi8-r", ""), ("cp866", "", ""),
        ("utf-8", "windows-1251", ""), ("utf-16-le", "utf-16le", ""), ("utf-16-be", "", ""),
        ("utf-16", "", ""),
    ],
)  # fmt: skip
def test_a_page_is_read_in_the_charset_that_it_has(charset: str, header: str, inside: str) -> None:
    written = TEXT.format(f'<meta charset="{inside}">' if inside else "")
    assert (
        decode(written.encode(charset), f"text/html; charset={header}" if header else "text/html") == written
    )


@pytest.mark.parametrize(
    "written",
    [
        "2024-05-21T09:30:45+00", "2024-05-21 09:30:45 UTC", "2024-05-21T09:30:45 GMT",
        "2024-05-21T09:30:45Z",
        "2024-05-21T09:30:45.123Z", "Tue, 21 May 2024 09:30:45 GMT", "Tue, 21 May 2024 12:30:45 +0300",
        "21 May 2024 09:30:45 +0000", "2024-05-21T14:30:45+05", "2024-05-21T12:30:45",
        "2024-05-21 12:30:45 +0300",
    ],
)  # fmt: skip
def test_a_moment_is_the_same_however_it_is_written(written: str) -> None:
    assert moscow_date(written) == "2024-05-21 12:30:45"


def test_what_is_no_moment_gives_no_date() -> None:
    for written in ("Tue, 41 May 2024 09:30:45 GMT", "99 Jan 0000 99:99", "21 May", "in May 2024 09:30"):
        assert moscow_date(written) == ""


def test_the_seconds_are_in_the_attribute_of_an_old_page() -> None:
    text = "<p>Вечером в посёлке открыли каток, и первыми на лёд вышли школьники.</p>" * 5
    page = (
        '<html><body><article class="b-article"><h2 class="article_name">Каток открыт</h2><div class="info">'
        '<time pubdate="2013-10-16T09:47:51+04:00">16.10.2013, 09:47</time></div>'
        f'<div class="text" itemprop="articleBody">{text}</div></article></body></html>'
    )
    url = f"{WWW}/politics/2013/10/16_a_5709357.shtml"
    assert parse_article(page.encode(), url).date == "2013-10-16 09:47:51"
    assert parse_article(page.replace('"2013-10-16T09:47:51+04:00"', '""').encode(), url).date == (
        "2013-10-16 09:47:00"
    )


def test_a_block_in_another_charset_does_not_change_that_of_the_page() -> None:
    whole = TEXT.format("").encode()
    mixed = whole + b"<div>" + ("Реклама банка " * 10).encode("cp1251") + b"</div>"
    for header in ("text/html", "text/html; charset=utf-8"):
        assert whole.decode() in decode(mixed, header)
