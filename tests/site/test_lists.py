"""A crawler can find every article by the sitemaps and by the listings, in each of their markups."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from lxml import etree, html
from protego import Protego

NAMES = {
    "s": "http://www.sitemaps.org/schemas/sitemap/0.9",
    "n": "http://www.google.com/schemas/sitemap-news/0.9",
}


# 2014-10-26, when Moscow changed from +04:00 to +03:00.
CLOCKS_WENT_BACK = 1414274400


@pytest.fixture(scope="module")
def everything(site) -> set[str]:
    """The paths of all pages that sitemaps and listings should name, awkward ones included."""
    return {page["path"] for page in site.facts("articles") + site.facts("awkward")}


def rows(site, path: str) -> list[tuple[str, str]]:
    """(address without host, lastmod) of every entry of a sitemap."""
    tree = etree.fromstring(site.get(path).body)
    return [
        (
            node.findtext("s:loc", namespaces=NAMES).removeprefix(site.url),
            node.findtext("s:lastmod", namespaces=NAMES),
        )
        for node in tree
    ]


def test_robots_allows_articles_and_pages_and_forbids_what_the_real_one_does(site):
    lines = site.get("/robots.txt").text.splitlines()
    assert lines[0] == "User-Agent: *"
    assert f"Sitemap: {site.url}/sitemap.xml" in lines
    for closed in (
        "/search",
        "/print",
        "/dynamic/",
        "/core",
        "/*?p=dump_*",
        "/*?p=comments*",
        "/export",
        "/_stand-in/",
    ):
        assert f"Disallow: {closed}" in lines
    assert any(re.fullmatch(r"Allow:\s+/export/rss/", line) for line in lines)
    assert not any(line.lower().startswith("crawl-delay") for line in lines)


def test_robots_reads_the_same_to_the_parser_that_scrapy_uses(site):
    rules = Protego.parse(site.get("/robots.txt").text)
    allowed = "/politics/2022/04/28/1.shtml /politics/?p=page&d=1 /export/rss/lenta.xml /sitemap.xml"
    closed = "/print/2021/1.shtml /export/other.xml /a/?p=dump_1 /_stand-in/stats.json /search?q=1"
    assert all(rules.can_fetch(site.url + path, "anyone") for path in allowed.split())
    assert not any(rules.can_fetch(site.url + path, "anyone") for path in closed.split())
    assert list(rules.sitemaps) == [f"{site.url}/sitemap.xml"]


def test_sitemap_has_three_levels_that_name_every_article_once(site, everything):
    years = rows(site, "/sitemap.xml")
    months = [month for year, _ in years for month in rows(site, year)]
    articles = [article for month, _ in months for article in rows(site, month)]
    assert len(years) >= 13
    assert len(months) > 100
    assert {path for path, _ in articles} == everything
    assert len(articles) == len(everything)


def test_lastmod_of_a_sitemap_is_that_of_its_newest_article(site):
    for year, year_changed in rows(site, "/sitemap.xml")[:3]:
        months = rows(site, year)
        assert max(changed for _, changed in months) == year_changed
        for month, month_changed in months[:3]:
            assert max(changed for _, changed in rows(site, month)) == month_changed


def test_unknown_sitemap_is_not_found(site):
    assert site.get("/sitemap_1875.xml").status == 404
    assert site.get("/sitemap_nonsense.xml").status == 404


def test_news_sitemap_holds_the_newest_two_days(site):
    tree = etree.fromstring(site.get("/sitemap_news.xml").body)
    dates = [
        datetime.fromisoformat(text) for text in tree.xpath("//n:publication_date/text()", namespaces=NAMES)
    ]
    assert dates
    assert max(dates) - min(dates) <= timedelta(days=2)


def fragment(text: str):
    return html.fragment_fromstring(text, create_parent=True)


def page_2021(text: str) -> list[tuple[str, int]]:
    """(path, time) of the items of a listing of mid-2021 to 2023."""
    items = html.fragment_fromstring(text, create_parent=True).xpath(
        "//a[contains(@class, 'b_ear')][@data-pubtime]"
    )
    assert all(item.get("data-id") and item.xpath(".//*[@class='b_ear-title']") for item in items)
    assert all(item.xpath(".//time[@class='b_ear-time']/@datetime") for item in items)
    return [(item.get("href"), int(item.get("data-pubtime"))) for item in items]


def page_2015(text: str) -> list[tuple[str, int]]:
    items = html.fragment_fromstring(text, create_parent=True).xpath("//article[@itemprop='itemListElement']")
    return [
        (item.xpath(".//a/@href")[0], int(item.xpath("meta[@itemprop='position']/@content")[0]))
        for item in items
    ]


def page_2026(text: str) -> list[tuple[str, int]]:
    items = fragment(text).xpath("//div[@class='b_ear m_list'][@data-id]")
    return [(item.xpath(".//a/@href")[0], int(item.get("data-pub_time"))) for item in items]


def walk(site, address: str, read, following) -> list[str]:
    """Page backwards in time, each page from the oldest time of the one before, to the end."""
    found: list[str] = []
    page = read(site.get(address).text)
    while page:
        times = [time for _, time in page]
        assert times == sorted(times, reverse=True)
        found += [path for path, _ in page]
        page = read(site.get(following(min(times))).text)
    return found


def test_rubric_listings_page_back_to_every_article(site, everything):
    found: list[str] = []
    rubrics = {path.split("/")[1] for path in everything} - {"print", "quiz", "news"}
    for rubric in sorted(rubrics | {"lifestyle", "style"}):
        listing = f"/{rubric}/?p=page"
        found += walk(site, listing, page_2021, lambda oldest, listing=listing: f"{listing}&d={oldest}")
    # The quiz belongs to no rubric; everything else is named exactly once.
    assert everything - set(found) == {"/quiz/kto_otkryl_ozero.shtml"}
    assert len(found) == len(set(found))


def test_news_listing_of_2026_pages_back_to_every_page(site, everything):
    found = walk(site, "/news/?p=page", page_2026, lambda oldest: f"/news/?p=page&pub_time={oldest}")
    assert set(found) == everything
    assert len(found) == len(everything)


def test_news_listing_of_2015_pages_back_by_the_minute(site):
    def following(oldest: int) -> str:
        offset = timezone(timedelta(hours=4 if oldest < CLOCKS_WENT_BACK else 3))
        return f"/news/?p=page&d={datetime.fromtimestamp(oldest, offset):%d.%m.%Y_%H:%M}"

    since_2013 = {page["path"] for page in site.facts("articles")}
    assert since_2013 <= set(walk(site, "/news/?p=page&d=01.01.2030_00:00", page_2015, following))


def test_listing_without_page_argument_is_a_whole_page_with_the_same_items(site):
    whole, part = site.get("/science/").text, site.get("/science/?p=page").text
    assert whole.lstrip().startswith("<!DOCTYPE html>")
    assert page_2021(whole) == page_2021(part)


@pytest.mark.parametrize("query", ["d=yesterday", "d=99.99.2020_10:00", "pub_time=-1", "d=%D0%B2"])
def test_listing_with_nonsense_for_a_time_is_not_found(site, query):
    assert site.get(f"/news/?p=page&{query}").status == 404


def test_rubric_without_slash_moves_to_the_one_with(site):
    answer = site.get("/science")
    assert (answer.status, answer.headers["Location"]) == (301, f"{site.url}/science/")


@pytest.mark.parametrize(
    "feed", ["first", "lenta", "lastnews", "politics", "business", "social", "culture", "science"]
)
def test_rss_is_windows_1251_with_cut_descriptions_and_dates(site, everything, feed):
    answer = site.get(f"/export/rss/{feed}.xml")
    assert answer.headers.get_content_charset() == "windows-1251"
    tree = etree.fromstring(answer.body)  # the declaration names the encoding to the parser
    items = tree.findall("channel/item")
    assert 10 <= len(items) <= 30
    times = [parsedate_to_datetime(item.findtext("pubDate")) for item in items]
    assert times == sorted(times, reverse=True)
    assert {item.findtext("link").removeprefix(site.url) for item in items} <= everything
    assert any(item.findtext("description").endswith("...") for item in items)
    if feed in ("politics", "business", "social", "culture", "science"):
        assert all(
            f"/{feed}/" in item.findtext("link") or "/print/" in item.findtext("link") for item in items
        )


def test_home_page_names_the_newest_stories(site):
    newest = max(site.facts("articles"), key=lambda article: article["date"])
    assert newest["path"] in [path for path, _ in page_2021(site.get("/").text)]


def test_links_name_the_host_that_was_asked(site):
    assert (
        b"<loc>http://host.docker.internal:8802/"
        in site.get("/sitemap.xml", Host="host.docker.internal:8802").body
    )
    assert b'">' not in site.get("/robots.txt", Host='evil"><x').body
