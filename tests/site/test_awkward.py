"""Each awkward page answers as its line of the table says."""

from __future__ import annotations

import re
from collections import Counter
from http.client import IncompleteRead

import pytest
from lxml import html

EXPECTED = {"kept", "duplicate", "dropped", "changed", "gone", "failed", "forbidden", "not_followed"}


def text_of(answer) -> str:
    return " ".join(html.fromstring(answer.text).text_content().split())


def test_table_is_small_fixed_and_says_what_each_page_is(site, awkward):
    pages = list(awkward.values())
    assert 25 <= len(pages) == len(site.facts("awkward")) <= 35
    assert {page["expected"] for page in pages} == EXPECTED
    assert len({page["path"] for page in pages}) == len(pages)
    assert all(page["what"] for page in pages)
    for page in pages:
        if page["expected"] in ("kept", "duplicate"):
            assert page["article"]["title"]
            assert len(page["article"]["text"]) > 200
        if page["expected"] == "duplicate":
            assert page["same_as"] in {other["path"] for other in pages}


def test_awkward_pages_do_not_depend_on_what_else_is_served(start, awkward):
    other = start("--articles", "5", "--seed", "9")
    assert {page["name"]: page for page in other.facts("awkward")} == awkward


def test_no_awkward_leaves_them_all_out(start, awkward):
    plain = start("--articles", "5", "--no-awkward")
    assert plain.facts("awkward") == []
    assert plain.get(awkward["live_report"]["path"]).status == 404


def test_encoding_is_named_in_one_place_only(site, awkward):
    by_header = site.get(awkward["cp1251_by_header"]["path"])
    assert by_header.headers.get_content_charset() == "windows-1251"
    assert b"charset" not in by_header.body
    by_meta = site.get(awkward["cp1251_by_meta"]["path"])
    assert by_meta.headers["Content-Type"] == "text/html"
    assert b"charset=windows-1251" in by_meta.body
    assert awkward["cp1251_by_meta"]["article"]["title"] in " ".join(
        html.fromstring(by_meta.body.decode("cp1251")).text_content().split()
    )
    unnamed = site.get(awkward["utf8_unnamed"]["path"])
    assert unnamed.headers["Content-Type"] == "text/html"
    assert b"charset" not in unnamed.body
    assert awkward["utf8_unnamed"]["article"]["title"] in text_of(unnamed)


@pytest.mark.parametrize(
    ("name", "status"), [("error_once", 500), ("too_many_requests", 429), ("unavailable_once", 503)]
)
def test_refusals_end_with_the_second_visit(start, awkward, name, status):
    fresh = start("--articles", "5")
    page = awkward[name]
    first, second = fresh.get(page["path"]), fresh.get(page["path"])
    assert (first.status, second.status) == (status, 200)
    assert first.headers["Retry-After"] == (None if status == 500 else "1")
    assert page["article"]["title"] in text_of(second)


def test_cut_page_breaks_off_once(start, awkward):
    fresh = start("--articles", "5")
    with pytest.raises(IncompleteRead):
        fresh.get(awkward["cut_once"]["path"])
    assert fresh.get(awkward["cut_once"]["path"]).body.rstrip().endswith(b"</html>")


@pytest.mark.parametrize(("name", "status"), [("not_found", 404), ("gone", 410), ("error_always", 500)])
def test_errors_stay_errors(site, awkward, name, status):
    assert {site.get(awkward[name]["path"]).status for _ in range(4)} == {status}


def test_redirects_lead_where_the_table_says(site, awkward):
    def leads(name: str) -> tuple[int, str]:
        answer = site.get(awkward[name]["path"])
        return answer.status, answer.headers["Location"]

    assert leads("moved") == (301, site.url + awkward["moved_here"]["path"])
    assert site.get(awkward["moved_here"]["path"]).status == 200
    status, where = leads("moved_to_another_host")
    assert status == 301
    assert re.match(r"http://[\w-]+\.invalid/", where)
    status, where = leads("moved_to_loopback")
    assert status == 302
    assert where.startswith("http://127.0.0.2:")
    assert leads("moved_in_circles") == (301, site.url + awkward["moved_in_circles"]["path"])


def test_cookie_opens_the_wall(site, awkward):
    page = awkward["cookie_wall"]
    closed = site.get(page["path"])
    assert closed.status == 302
    assert closed.headers["Location"].startswith(f"{site.url}/auth/sso.shtml")
    assert page["article"]["title"] not in text_of(site.get(closed.headers["Location"]))
    assert page["article"]["title"] in text_of(site.get(page["path"], Cookie="unity_pause_sso=1"))


def test_same_story_stands_at_two_addresses_and_near_copy_differs_in_few_words(awkward):
    first, again, near = (awkward[name]["article"] for name in ("told_once", "told_again", "near_copy"))
    assert first["path"] != again["path"]
    assert (first["text"], first["summary"]) == (again["text"], again["summary"])
    assert near["text"] != first["text"]
    changed = Counter(near["text"].split()) - Counter(first["text"].split())
    assert 1 <= changed.total() <= 4


def test_canonical_link_of_the_third_address_names_the_first(site, awkward):
    page = html.fromstring(site.get(awkward["canonical_elsewhere"]["path"]).text)
    assert page.xpath("//link[@rel='canonical']/@href") == [site.url + awkward["told_once"]["path"]]


def test_changed_layout_has_none_of_the_known_anchors(site, awkward):
    for name in ("layout_changed", "layout_changed_json_ld"):
        page = html.fromstring(site.get(awkward[name]["path"]).text)
        assert not page.xpath("//*[@itemprop] | //article | //h1 | //p | //time | //meta[@property]")
        assert bool(page.xpath("//script[@type='application/ld+json']")) == (name != "layout_changed")


def test_pages_that_are_no_articles_lack_what_makes_one(site, awkward):
    live = html.fromstring(site.get(awkward["live_report"]["path"]).text)
    assert len(live.xpath("//p[@class='online_time']")) == 20
    assert "Онлайн-трансляция" in live.xpath("//h1")[0].text_content()
    gallery = html.fromstring(site.get(awkward["photo_gallery"]["path"]).text)
    assert len(gallery.xpath("//figure/img")) == 12
    assert not gallery.xpath("//*[@itemprop='articleBody']")
    empty = html.fromstring(site.get(awkward["no_text"]["path"]).text)
    assert empty.xpath("//*[@itemprop='articleBody']")
    assert not empty.xpath("//*[@itemprop='articleBody']/p[not(contains(., 'Подписывайтесь'))]")


def test_disallowed_page_is_linked_from_a_listing_and_forbidden_by_robots(site, awkward):
    path = awkward["disallowed"]["path"]
    assert path.startswith("/print/")
    assert "Disallow: /print" in site.get("/robots.txt").text
    listing, oldest = site.get("/social/?p=page").text, None
    while path not in listing:
        times = [int(time) for time in re.findall(r'data-pubtime="(\d+)"', listing)]
        assert times, "the listing ended before the disallowed page"
        oldest = min(times)
        listing = site.get(f"/social/?p=page&d={oldest}").text
    assert f'href="{path}"' in listing


def test_old_addresses_have_the_shapes_of_their_years(awkward):
    assert re.fullmatch(r"/news/business/2008/11/21/n_\d+\.shtml", awkward["news_of_2008"]["path"])
    assert re.fullmatch(r"/science/2005/06/09_a_\d+\.shtml", awkward["feature_of_2005"]["path"])


def test_pages_of_before_2013_have_the_reported_classes(site, awkward):
    for name in ("news_of_2008", "feature_of_2005"):
        answer, article = site.get(awkward[name]["path"]), awkward[name]["article"]
        assert answer.headers.get_content_charset() == "windows-1251"
        page = html.fromstring(answer.text)
        (title,), (lead,) = page.xpath("//h2[@class='h_1 mt5 mb10']"), page.xpath("//p[@class='intro']")
        assert " ".join(title.text_content().split()) == article["title"]
        assert " ".join(lead.text_content().split()) == article["summary"]
        (shown,) = page.xpath("//span[@class='ml20 date_time']/text()")
        assert shown == "{2}.{1}.{0}, {3}:{4}".format(*re.split(r"[-: ]", article["date"]))
