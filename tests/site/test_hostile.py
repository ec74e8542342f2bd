"""Attacks are there when asked for, are what they say, and never by default."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lxml import etree, html

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def attacks(hostile) -> dict[str, dict]:
    return {page["name"]: page for page in hostile.facts("awkward")}


@contextmanager
def opened(hostile, path: str) -> Iterator[http.client.HTTPResponse]:
    """An answer that is read as far as the test wants, then hung up on."""
    connection = http.client.HTTPConnection(hostile.host, timeout=20)
    try:
        connection.request("GET", path)
        yield connection.getresponse()
    finally:
        connection.close()


def test_attacks_are_off_by_default(site, attacks):
    names = {page["name"] for page in site.facts("awkward")}
    assert len(attacks) >= 12
    assert not names & attacks.keys()
    for page in attacks.values():
        assert site.get(page["path"]).status == 404
    assert site.get("/sitemap_entities.xml").status == 404


def test_gzip_bomb_is_small_on_the_wire_and_never_ends_unpacked(hostile, attacks):
    answer = hostile.get(attacks["gzip_bomb"]["path"])
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 2 * MEGABYTE
    unpacker = zlib.decompressobj(31)
    assert len(unpacker.decompress(answer.body, 64 * MEGABYTE)) == 64 * MEGABYTE
    assert unpacker.unconsumed_tail


def test_huge_page_announces_its_size_and_sends_it(hostile, attacks):
    with opened(hostile, attacks["huge_page"]["path"]) as answer:
        assert int(answer.headers["Content-Length"]) == 200 * MEGABYTE
        assert len(answer.read(30 * MEGABYTE)) == 30 * MEGABYTE


def test_endless_body_has_no_length(hostile, attacks):
    with opened(hostile, attacks["endless_body"]["path"]) as answer:
        assert answer.headers["Content-Length"] is None
        assert len(answer.read(20 * MEGABYTE)) == 20 * MEGABYTE


def test_page_of_links_holds_a_million(hostile, attacks):
    assert hostile.get(attacks["million_links"]["path"]).body.count(b"<a href=") == 1_000_000


def test_nested_page_goes_a_hundred_thousand_deep(hostile, attacks):
    assert b"<div>" * 100_000 in hostile.get(attacks["deep_nesting"]["path"]).body


def test_types_lie_in_both_directions(hostile, attacks):
    picture = hostile.get(attacks["wrong_type"]["path"])
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert b"articleBody" in picture.body
    page = hostile.get(attacks["not_html"]["path"])
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.body.startswith(b"\xff\xd8")


def test_control_characters_stand_between_the_words_of_an_article(hostile, attacks):
    body = hostile.get(attacks["control_characters"]["path"]).body
    assert b"\xed\xa0\x80" in body
    for mark in (b"\x00", b"\x1b", b"&#0;", b"&#xD800;", "\u200b".encode()):
        assert mark in body
    page = html.fromstring(body.replace(b"\x00", b"").decode("utf-8", "ignore"))
    assert attacks["control_characters"]["article"]["title"] in " ".join(page.text_content().split())


def test_future_article_is_dated_2099(hostile, attacks):
    page = html.fromstring(hostile.get(attacks["future_date"]["path"]).text)
    assert page.xpath("//time[@itemprop='datePublished']/@datetime") == ["2099-01-01T10:00:00+03:00"]


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("moved_to_metadata", "http://169.254.169.254/"),
        ("moved_to_loopback_6", "http://[::1]:22/"),
        ("moved_to_a_file", "file:///"),
    ],
)
def test_redirects_tempt_inwards(hostile, attacks, name, where):
    answer = hostile.get(attacks[name]["path"])
    assert answer.status == 302
    assert answer.headers["Location"].startswith(where)


def test_sitemap_index_leads_to_entities_and_to_a_million_foreign_links(hostile):
    index = hostile.get("/sitemap.xml").text
    assert "/sitemap_entities.xml</loc>" in index
    assert "/sitemap_links.xml</loc>" in index
    entities = hostile.get("/sitemap_entities.xml").body
    assert b'SYSTEM "file:///etc/passwd"' in entities
    assert entities.count(b"<!ENTITY l") == 10  # each of them ten times the one before
    with pytest.raises(etree.XMLSyntaxError, match="entity"):
        etree.fromstring(entities, etree.XMLParser(resolve_entities=False, no_network=True))
    assert hostile.get("/sitemap_links.xml").body.count(b"<loc>http://other-outlet.invalid/") == 1_000_000


def test_endless_listing_goes_back_for_ever_with_one_new_dead_address_a_page(hostile):
    query, oldest, paths = "", None, set()
    for _ in range(30):
        items = html.fromstring(f"<div>{hostile.get(f'/family/?p=page{query}').text}</div>").xpath(
            "//a[@data-pubtime]"
        )
        times = [int(item.get("data-pubtime")) for item in items]
        assert times == sorted(times, reverse=True)
        assert oldest is None or times[0] < oldest
        oldest, query = times[-1], f"&d={times[-1]}"
        paths |= {item.get("href") for item in items}
    dead = {path for path in paths if hostile.get(path).status == 404}
    assert len(dead) == 30
    assert len(paths - dead) <= 5
