"""Every era's page holds its story where the real site's parsers look for it."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from lxml import html

# Where the real pages of each era keep their parts; a lead of None is shown by the description only.
TITLE, LEAD, BODY, DATE = range(4)
XPATHS = {
    "2013": (
        "//h2[@class='article_name']",
        "//article//div[@class='text']//span[@class='intro']",
        "//article[contains(@class, 'b-article')]//div[@class='text']/p",
        "//div[@class='info']/time[@pubdate]/text()",
    ),
    "2015": (
        "//h1[@class='article-text-header' or @class='txtclear']",
        "//span[@itemprop='description']",
        "//div[@itemprop='articleBody']/p",
        "//time[@itemprop='datePublished']/@datetime",
    ),
    "2021": (
        "//h1[@class='headline' and @itemprop='headline']",
        "//article//span[@class='intro']",
        "//article[@class='b_article']//div[@class='b_article-text' and @itemprop='articleBody']/p",
        "//time[@class='time' and @itemprop='datePublished']/@datetime",
    ),
    "2024": (
        "//article//*[@class='headline']",
        "//div[@class='b_article-intro']/span",
        "//article[@class='b_article']//div[@class='b_article-text' and @itemprop='articleBody']/p",
        "//div[contains(@class, 'breadcrumb')]/time/@datetime",
    ),
}
FURNITURE = ("Подписывайтесь на", "Что думаешь?")


def words(element) -> str:
    return " ".join(element.text_content().split())


def tree_of(site, path: str):
    return html.fromstring(site.get(path).text)


@pytest.fixture(scope="module")
def articles(site) -> list[dict]:
    return site.facts("articles")


@pytest.fixture(scope="module")
def pages(site, articles) -> list[tuple[dict, object]]:
    """Twelve articles of every era, news and features, with their parsed pages."""
    taken: Counter[tuple[str, bool]] = Counter()
    chosen = []
    for article in articles:
        kind = (article["era"], article["news"])
        taken[kind] += 1
        if taken[kind] <= 6:
            chosen.append((article, tree_of(site, article["path"])))
    return chosen


def test_invented_articles_cover_every_era_as_news_and_as_features(articles):
    assert {(article["era"], article["news"]) for article in articles} == {
        (era, news) for era in XPATHS for news in (True, False)
    }


def test_headline_is_where_each_era_keeps_it(pages):
    for article, page in pages:
        assert [words(title) for title in page.xpath(XPATHS[article["era"]][TITLE])] == [article["title"]]


def test_lead_is_where_each_era_keeps_it_and_nowhere_on_late_news_items(pages):
    without = 0
    for article, page in pages:
        leads = [words(lead) for lead in page.xpath(XPATHS[article["era"]][LEAD])]
        if article["summary_origin"] == "lead":
            assert leads == [article["summary"]], article["path"]
        else:
            without += 1
            assert leads == []
            assert article["text"].startswith(article["summary"])
    assert without == 12


def test_description_is_the_summary_on_every_page(pages):
    for article, page in pages:
        for name in ("@name='description'", "@property='og:description'"):
            (description,) = page.xpath(f"//meta[{name}]/@content")
            assert " ".join(description.split()) == article["summary"]


def test_body_paragraphs_hold_the_text_with_spaces_around_links(pages):
    links = 0
    for article, page in pages:
        for lead in page.xpath(XPATHS[article["era"]][LEAD]):
            lead.drop_tree()
        bodies = page.xpath(XPATHS[article["era"]][BODY])
        links += sum(len(body.xpath(".//a")) for body in bodies)
        found = [text for text in map(words, bodies) if text and not text.startswith(FURNITURE)]
        if "НОВОСТИ ПО ТЕМЕ:" in found:
            found = found[: found.index("НОВОСТИ ПО ТЕМЕ:")]
        assert "\n".join(found) == article["text"], article["path"]
    assert links > 40


def test_advertising_and_incuts_are_in_the_way(pages):
    in_the_way = Counter()
    for _, page in pages:
        in_the_way["ad"] += bool(page.xpath("//script[contains(., 'AdfProxy')]"))
        in_the_way["ad word"] += "Реклама" in page.text_content()
        in_the_way["incut"] += bool(page.xpath("//*[contains(@class, 'incut')]"))
        in_the_way["read also"] += bool(page.xpath("//*[contains(@class, 'read_also')]"))
        in_the_way["stray intro"] += bool(page.xpath("//section//p[@class='intro']"))
        in_the_way["subscribe"] += bool(
            page.xpath("//div[@itemprop='articleBody']/p[contains(., 'Подписывайтесь')]")
        )
        in_the_way["what do you think"] += bool(
            page.xpath("//div[@itemprop='articleBody']/p[contains(., 'Что думаешь')]")
        )
        in_the_way["related"] += "НОВОСТИ ПО ТЕМЕ:" in page.text_content()
    assert all(count >= 2 for count in in_the_way.values()), in_the_way


def test_date_and_offset_are_moscow_time(pages):
    for article, page in pages:
        (stamp, *_) = page.xpath(XPATHS[article["era"]][DATE])
        assert stamp[:19].replace("T", " ") == article["date"]
        # Moscow stood at +04:00 until 2014-10-26.
        assert stamp[19:] == ("+04:00" if article["date"] < "2014-10-26" else "+03:00")


def test_encoding_in_header_meta_and_bytes_agree(site, pages):
    for article, page in pages:
        answer = site.get(article["path"])
        old = article["era"] in ("2013", "2015")
        assert answer.headers.get_content_charset() == ("windows-1251" if old else "utf-8")
        (meta,) = page.xpath("//meta[@http-equiv='Content-Type']/@content")
        assert meta == ("text/html; charset=windows-1251" if old else "text/html")
        if old:
            with pytest.raises(UnicodeDecodeError):
                answer.body.decode("utf-8")


def test_addresses_have_the_shape_of_their_era(articles):
    shapes = {
        ("2013", True): r"/\w+/news/\d{4}/\d\d/\d\d/n_\d+\.shtml",
        ("2013", False): r"/\w+/\d{4}/\d\d/\d\d_a_\d+\.shtml",
        ("2015", True): r"/\w+/news/\d{4}/\d\d/\d\d/n_\d+\.shtml",
        ("2015", False): r"/\w+/\d{4}/\d\d/\d\d(_|/)a_\d+\.shtml",
        ("2021", True): r"/\w+/news/\d{4}/\d\d/\d\d/\d+\.shtml",
        ("2021", False): r"/\w+/\d{4}/\d\d/\d\d/\d+\.shtml",
    }
    for article in articles:
        era = "2021" if article["era"] == "2024" else article["era"]
        assert re.fullmatch(shapes[era, article["news"]], article["path"]), article["path"]
        assert article["path"].split("/")[1] == article["rubric"]
        assert article["date"][:10].replace("-", "/") in article["path"].replace("_a_", "/")
    assert len({article["path"] for article in articles}) == len(articles) == 300


def test_heading_levels_swap_in_2024_but_classes_do_not(pages):
    orders = set()
    for article, page in pages:
        if article["era"] == "2024" and article["subtitle"]:
            (title,), (subtitle,) = (
                page.xpath("//*[@class='headline']"),
                page.xpath("//*[@class='subheader']"),
            )
            assert words(subtitle) == article["subtitle"]
            orders.add((title.tag, subtitle.tag, title.sourceline < subtitle.sourceline))
    assert orders == {("h2", "h1", True), ("h2", "h1", False)}


def test_newest_pages_carry_the_article_in_json_ld(site, articles):
    article = next(article for article in articles if article["date"] >= "2025")
    (script,) = tree_of(site, article["path"]).xpath("//script[@type='application/ld+json']/text()")
    data = json.loads(script)
    assert data["@type"] == "NewsArticle"
    assert (data["headline"], data["articleBody"]) == (article["title"], article["text"])
    assert data["datePublished"][:19] == article["date"].replace(" ", "T")


def test_same_arguments_serve_the_same_bytes(start):
    first, second = start("--articles", "40", "--seed", "7"), start("--articles", "40", "--seed", "7")
    articles = first.facts("articles")
    assert articles == second.facts("articles")
    assert first.facts("awkward") == second.facts("awkward")
    paths = [article["path"] for article in articles] + [
        "/",
        "/news/",
        "/sitemap.xml",
        "/export/rss/lenta.xml",
    ]
    for path in paths:
        assert first.get(path, Host="site").body == second.get(path, Host="site").body, path
    assert start("--articles", "40", "--seed", "8").facts("articles") != articles


def test_more_articles_leave_the_addresses_of_the_others_alone(start):
    few = start("--articles", "40", "--no-awkward").facts("articles")
    many = start("--articles", "60", "--new", "5", "--no-awkward").facts("articles")
    assert many[:40] == few
    assert len(many) == 65
    assert min(article["date"] for article in many[60:]) > max(article["date"] for article in many[:60])


def test_edited_articles_change_their_text_and_their_lastmod(start):
    before, after = (
        start("--articles", "40", "--no-awkward"),
        start("--articles", "40", "--no-awkward", "--edited", "2"),
    )
    old, new = before.facts("articles"), after.facts("articles")
    changed = [article for article, earlier in zip(new, old, strict=True) if article != earlier]
    assert {article["path"] for article in changed} == {
        article["path"] for article in sorted(old, key=lambda article: article["date"])[-2:]
    }
    month = f"/sitemap_{changed[0]['date'][:4]}_{changed[0]['date'][5:7]}.xml"
    assert before.get(month, Host="site").body != after.get(month, Host="site").body
