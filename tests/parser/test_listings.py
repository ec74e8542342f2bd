"""Listings in, articles and the address of the page before them out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from gazeta.sites.base import MAX_LISTED, Listing
from gazeta.sites.gazeta import RUBRICS, Gazeta

parse_listing = Gazeta().parse_listing
FIRST = "https://www.gazeta.ru/social/"
NOON = int(datetime(2022, 4, 28, 9, 0, tzinfo=UTC).timestamp())  # in Moscow


def link(number: int, attributes: str = "") -> str:
    return f'<a href="/social/2022/04/28/{18_000_000 + number}.shtml" {attributes}>Новость</a>'


def listing(*items: str) -> bytes:
    return f"<html><body>{''.join(items)}</body></html>".encode()


def stamped(*moments: object, name: str = "data-pubtime") -> bytes:
    return listing(*(link(number, f'{name}="{moment}"') for number, moment in enumerate(moments)))


def asking(moment: int, name: str = "d") -> str:
    return f"{FIRST}?p=page&{name}={moment}"


def test_the_first_page_goes_on_from_the_middle_of_its_times_not_from_an_old_favourite() -> None:
    news = [NOON - 60 * number for number in range(9)]
    found = parse_listing(stamped(*news[::-1], NOON - 400 * 86400), FIRST)
    assert len(found.articles) == 10
    assert found.articles[0] == ("https://www.gazeta.ru/social/2022/04/28/18000000.shtml", "2022-04-28")
    assert (found.older, found.oldest) == (asking(news[6]), "2022-04-28")


def test_a_later_page_goes_on_from_its_oldest_time() -> None:
    found = parse_listing(stamped(NOON - 60, NOON - 300, NOON - 120), asking(NOON))
    assert found.older == asking(NOON - 300)
    assert parse_listing(stamped(NOON - 86400), asking(NOON)).oldest == "2022-04-27"


@pytest.mark.parametrize("newer", [0, 1, 3600])
def test_a_page_that_leads_nowhere_older_is_the_last(newer: int) -> None:
    found = parse_listing(stamped(NOON + newer), asking(NOON))
    assert (len(found.articles), found.older, found.oldest) == (1, "", "")


def test_pages_of_2026_name_their_time_otherwise() -> None:
    found = parse_listing(stamped(NOON - 60, name="data-pub_time"), asking(NOON, "pub_time"))
    assert found.older == asking(NOON - 60, "pub_time")


def test_pages_of_2015_to_2021_tell_the_minute_in_moscow() -> None:
    item = '<div itemprop="itemListElement"><meta itemprop="position" content="{}">{}</div>'
    items = [item.format(NOON - 120 * number, link(number)) for number in range(3)]
    first = parse_listing(listing(*items), FIRST)
    assert first.older == f"{FIRST}?p=page&d=28.04.2022_11:58"
    # What it asks for is understood again: from there on only older times lead on.
    assert parse_listing(listing(*items[1:2]), first.older).older == ""
    assert parse_listing(listing(*items[2:]), first.older).older == f"{FIRST}?p=page&d=28.04.2022_11:56"


def test_a_later_page_without_times_goes_three_days_back() -> None:
    found = parse_listing(listing(link(1)), asking(NOON))
    assert (found.older, found.oldest) == (asking(NOON - 3 * 86400), "2022-04-25")


@pytest.mark.parametrize(("items", "url"), [([link(1)], FIRST), ([], asking(NOON)), ([], FIRST)])
def test_without_times_a_first_or_an_empty_page_leads_nowhere(items: list[str], url: str) -> None:
    assert parse_listing(listing(*items), url).older == ""


def test_no_page_leads_to_before_the_newspaper_opened() -> None:
    opened = 915_148_800
    for days in (2, 3):
        assert parse_listing(listing(link(1)), asking(opened + days * 86400)).older == ""
    assert parse_listing(stamped(opened), asking(opened + 86400)).older == ""
    assert parse_listing(stamped(opened + 1), asking(opened + 86400)).older == asking(opened + 1)


def test_times_that_cannot_be_are_not_times() -> None:
    found = parse_listing(stamped("вчера", "-5", 0, 5_000_000_000, "9" * 400, NOON - 60), asking(NOON))
    assert found.older == asking(NOON - 60)

    first = parse_listing(stamped("9" * 400, 5_000_000_000, NOON - 60), FIRST)
    assert first.older == asking(NOON - 60)
    before_it_opened = parse_listing(stamped(915_148_800, NOON - 60), asking(NOON))
    assert before_it_opened.older == asking(NOON - 60)


def test_what_is_no_page_lists_nothing() -> None:
    assert parse_listing(b"just words", FIRST) == Listing()


@pytest.mark.parametrize("asked", ["99.99.2022_10:00", "28.04.0000_10:00", "1"])
def test_a_moment_that_cannot_be_is_not_asked_for(asked: str) -> None:
    assert parse_listing(stamped(NOON), f"{FIRST}?p=page&d={asked}").older == asking(NOON)


def test_an_endless_page_is_read_to_a_limit() -> None:
    links = [link(number) for number in range(MAX_LISTED + 5)]
    assert len(parse_listing(listing(*links), FIRST).articles) == MAX_LISTED == 2000


def test_links_to_elsewhere_and_twice_the_same_are_left_out() -> None:
    elsewhere = (
        '<a href="https://evil.invalid/social/2022/04/28/18000001.shtml">x</a><a href="//[">x</a><a>x</a>'
    )
    found = parse_listing(listing(link(1), elsewhere, link(1), link(2)), FIRST)
    assert [url[-14:] for url, _ in found.articles] == ["18000001.shtml", "18000002.shtml"]


def test_listings_are_those_of_the_news_and_of_every_section_or_of_those_asked_for() -> None:
    assert Gazeta("https://x").listing_urls(["sport", "tech"]) == ["https://x/sport/", "https://x/tech/"]
    assert Gazeta("https://x").listing_urls() == [
        "https://x/news/",
        *(f"https://x/{name}/" for name in RUBRICS),
    ]
