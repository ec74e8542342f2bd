"""The collector's pure parts: sitemaps and feeds, listings, opt-outs, alarms, arguments."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from gazeta import settings
from gazeta.crawl.optout import page_opt_out, robots_opt_out, tdmrep_opt_out
from gazeta.crawl.plan import BadArgument, Scope, parse_arguments
from gazeta.crawl.verdict import alarms
from gazeta.sites.gazeta import Gazeta
from gazeta.sites.sitemaps import MAX_LINKS, BadSource, parse_source

parse_listing = Gazeta().parse_listing
URL = "https://www.gazeta.ru/social/2024/02/03/18000001.shtml"

# Settings


def test_token_may_be_in_a_mounted_file(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "token").write_text("hf_x\n")
    monkeypatch.setenv("HF_TOKEN", "")
    assert settings.hub_token() == ""
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert settings.hub_token() == "hf_x"
    monkeypatch.setenv("HF_TOKEN", "hf_y")
    assert settings.hub_token() == "hf_y"
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no such file"))
    with pytest.raises(SystemExit) as ended:
        settings.hub_token()
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("error: HF_TOKEN_PATH=")


# The stage


# Sitemaps and feeds


def urlset(*addresses: str) -> bytes:
    rows = "".join(
        f"<url><loc>{address}</loc><lastmod>2024-02-03T23:30:00Z</lastmod></url>" for address in addresses
    )
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'.encode()


def test_a_sitemap_gives_addresses_with_the_moscow_day_of_their_change() -> None:
    (entry,), left_out = parse_source(urlset(URL))
    assert (entry.url, entry.lastmod, entry.day, left_out) == (URL, "2024-02-03T23:30:00Z", "2024-02-04", 0)
    assert parse_source(gzip.compress(urlset(URL))) == parse_source(urlset(URL))


def test_an_index_names_sitemaps_and_a_feed_names_articles() -> None:
    index = b"<sitemapindex><sitemap><loc>https://x/1.xml</loc></sitemap></sitemapindex>"
    assert [entry.is_sitemap for entry in parse_source(index)[0]] == [True]
    feed = f"""<?xml version="1.0" encoding="windows-1251"?><rss version="2.0"><channel><link>https://www.gazeta.ru/</link>
<item><title>Новость</title><link>{URL}</link><pubDate>Sat, 03 Feb 2024 23:30:00 +0300</pubDate></item>
</channel></rss>"""
    (entry,), _ = parse_source(feed.encode("cp1251"))
    assert (entry.url, entry.day) == (URL, "2024-02-03")


def test_external_and_exploding_entities_stay_where_they_are(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("https://www.gazeta.ru/stolen.shtml")
    body = f'<!DOCTYPE u [<!ENTITY e SYSTEM "{secret.as_uri()}">]><urlset><url><loc>&e;</loc></url></urlset>'
    assert parse_source(body.encode())[0] == []
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE u [<!ENTITY l0 "lol">{lol}]><urlset><url><loc>&l9;</loc></url></urlset>'
    assert all(len(entry.url) < 2001 for entry in parse_source(bomb.encode())[0])


def test_a_million_links_are_cut_at_what_the_protocol_allows() -> None:
    entries, left_out = parse_source(urlset(*[f"https://x/{n}" for n in range(MAX_LINKS + 7)]))
    assert (len(entries), left_out) == (MAX_LINKS, 7)


def test_a_broken_tail_keeps_what_came_before_it() -> None:
    assert [entry.url for entry in parse_source(urlset(URL)[:-9] + b"<url><loc>")[0]] == [URL]


@pytest.mark.parametrize("body", [b"", b"<html><body>404</body></html>", b"no xml", b"\x1f\x8bbroken"])
def test_what_is_no_sitemap_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(BadSource):
        parse_source(body)


def test_a_gzip_bomb_is_refused() -> None:
    with pytest.raises(BadSource, match="unpacks to more"):
        parse_source(gzip.compress(b" " * 60_000_000))


# Listings

BASE = "https://www.gazeta.ru/social/"


def test_listings_of_every_time_name_articles_and_the_page_before() -> None:
    of_2021 = f'<a href="{URL}" class="b_ear" data-pubtime="1706943600" data-id="1"></a>'.encode()
    listing = parse_listing(of_2021, f"{BASE}?p=page&d=1707000000")
    assert listing.articles == [(URL, "2024-02-03")]
    assert (listing.older, listing.oldest) == (f"{BASE}?p=page&d=1706943600", "2024-02-03")

    of_2026 = of_2021.replace(b"data-pubtime", b"data-pub_time")
    assert (
        parse_listing(of_2026, f"{BASE}?p=page&pub_time=1707000000").older
        == f"{BASE}?p=page&pub_time=1706943600"
    )

    item = f'<meta itemprop="position" content="1706943600"/><a href="{URL}"></a>'
    of_2015 = f'<article itemprop="itemListElement">{item}</article>'
    older = parse_listing(of_2015.encode(), f"{BASE}?p=page&d=05.02.2024_10:00").older
    assert older == f"{BASE}?p=page&d=03.02.2024_10:00"


def test_a_listing_without_times_goes_back_three_days_and_an_empty_one_ends() -> None:
    body = f'<a href="{URL}">x</a>'.encode()
    assert (
        parse_listing(body, f"{BASE}?p=page&d=1707000000").older
        == f"{BASE}?p=page&d={1707000000 - 3 * 86400}"
    )
    assert parse_listing(b"<p></p>", f"{BASE}?p=page&d=1707000000").older == ""


def test_a_listing_never_goes_forward_in_time() -> None:
    body = f'<a href="{URL}" data-pubtime="1706943600"></a>'.encode()
    assert parse_listing(body, f"{BASE}?p=page&d=1706943600").older == ""


def test_a_listing_names_no_more_links_than_a_page_can_have() -> None:
    body = "".join(
        f'<a href="/tech/news/2023/02/03/{n}.shtml">x</a>' for n in range(50_000_000, 50_005_000)
    ).encode()
    assert len(parse_listing(body, BASE).articles) == 2000


# Opting out of AI training


@pytest.mark.parametrize(
    "robots",
    [
        "User-agent: GPTBot\nDisallow: /",
        "User-agent: *\nAllow: /\n\nUser-agent: CCBot\nUser-agent: Google-Extended\nDisallow: /",
        "User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /",
        "User-agent: *\nContent-Usage: train-ai=n",
    ],
)
def test_robots_that_send_ai_away_are_an_opt_out(robots: str) -> None:
    assert robots_opt_out(robots)


@pytest.mark.parametrize(
    "robots",
    ["", "User-agent: *\nDisallow: /search", "User-agent: GPTBot\nDisallow: /private/",
     "User-agent: Yandex\nDisallow: /\n\nUser-agent: GPTBot\nAllow: /",
     "# GPTBot\nUser-agent: BadBot\nDisallow: /"],
)  # fmt: skip
def test_other_robots_are_none(robots: str) -> None:
    assert robots_opt_out(robots) == ""


def test_the_real_robots_of_2024_are_none(shared) -> None:
    path = shared / "pages" / "robots-2024.txt"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    assert robots_opt_out(path.read_text(encoding="utf-8", errors="replace")) == ""


def test_headers_metas_and_files_opt_out() -> None:
    assert page_opt_out([("X-Robots-Tag", "noai, noimageai")], "")
    assert page_opt_out([("TDM-Reservation", "1")], "")
    assert page_opt_out([], '<meta name="robots" content="max-image-preview:large, noai">')
    assert page_opt_out([], '<meta content="1" name="tdm-reservation" />')
    assert not page_opt_out(
        [("X-Robots-Tag", "noindex")], '<meta name="robots" content="max-image-preview:large">'
    )
    assert tdmrep_opt_out(b'[{"location": "/", "tdm-reservation": 1}]')
    assert not tdmrep_opt_out(b'[{"location": "/shop/*", "tdm-reservation": 1}]') and not tdmrep_opt_out(
        b"{broken"
    )


# The alarm


def figures(coverage: float = 1.0, length: float = 2000, pages: int = 100) -> dict:
    return {"text": {"pages": pages, "coverage": coverage, "length": length}}


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (figures(0.7), {}, "text: found on 70.0% of 100 pages, at least 90% expected"),
        (figures(length=120), {}, "text: 120 characters on average, at least 300 expected"),
        (figures(0.91), figures(), ""),
        (figures(0.9), figures(1.0, pages=5), ""),
        (
            figures(length=700),
            figures(length=2000),
            "text: 700 characters on average, 2000 in the crawl before",
        ),
        (
            figures(length=9000),
            figures(length=2000),
            "text: 9000 characters on average, 2000 in the crawl before",
        ),
        (figures(0.2, pages=8), {}, "text: found on 20.0% of 8 pages"),
        (figures(0.5, pages=8), {}, ""),
        (figures(0.0, pages=2), {}, ""),
        (
            {"lead": {"pages": 50, "coverage": 0.3}},
            {"lead": {"pages": 50, "coverage": 0.9}},
            "lead: found on 30.0%",
        ),
        ({"rubric": {"pages": 50, "coverage": 0.3}}, {}, ""),
    ],
)
def test_the_alarm_names_field_and_figures(now: dict, before: dict, said: str) -> None:
    lines = [str(alarm) for alarm in alarms(now, before)]
    assert (lines[0].startswith(said) and len(lines) == 1) if said else lines == []


# Arguments


def test_arguments_become_a_plan() -> None:
    plan = parse_arguments(
        {"since": "2024-01-31", "rubrics": "sport, tech", "limit": "5"}, ("sport", "tech"), 9
    )
    assert (plan.scope, plan.limit) == (Scope("2024-01-31", "", ("sport", "tech")), 5)
    assert parse_arguments({}, ("sport",), 9).limit == 9
    assert parse_arguments({"limit": "0"}, ("sport",), 9).limit == 0
    assert parse_arguments({"since": "all"}, ("sport",)).beginning


def test_a_misspelt_section_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(
        BadArgument, match=r"rubrics=sprot is no section; did you mean sport\? There are tech"
    ):
        parse_arguments({"rubrics": "tech,sprot"}, ("tech", "sport"))
    with pytest.raises(BadArgument, match="rubrics=news is no section; there are tech, sport"):
        parse_arguments({"rubrics": "news"}, ("tech", "sport"))


def test_since_may_be_today_wherever_one_lives_and_no_later() -> None:
    now = datetime.now(UTC)
    today = (now + timedelta(hours=13)).date().isoformat()
    assert parse_arguments({"since": today}, ()).scope.since == today
    with pytest.raises(BadArgument, match="is in the future"):
        parse_arguments({"since": (now + timedelta(days=2)).date().isoformat()}, ())


def test_dates_that_cross_are_refused() -> None:
    with pytest.raises(BadArgument, match="since=2024-02-01 is after until=2024-01-01"):
        parse_arguments({"since": "2024-02-01", "until": "2024-01-01"}, ())
