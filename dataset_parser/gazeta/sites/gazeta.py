"""Gazeta.ru: its addresses, its page layouts since 2007 and its listings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

from gazeta.sites.base import Anchors, Layout, Listing, NotAnArticle, Reader, Site, page_path
from gazeta.sites.body import decode
from gazeta.sites.html import to_moscow, tree

# Sections that hold articles. "news" is a format: in /social/news/ the rubric is social.
RUBRICS = (
    "politics", "social", "business", "army", "culture", "science", "sport", "tech", "auto", "style",
    "family", "comments",
)  # fmt: skip
SAME_RUBRIC = {"lifestyle": "style"}  # the section's name until 2023
FORMATS = frozenset({"news", "lenta", "photo", "video", "amp", "export", "online"})
# Sections whose pages are no articles, whatever their address looks like.
NO_ARTICLES = frozenset(
    (
        "tags", "gazeta", "auth", "search", "about", "legal", "terms", "privacy", "adbook", "subscribe",
        "quiz", "test", "tests", "subjects", "sitemap", "prcom", "files", "files2", "files3", "nm2015",
        "nm2021", "export", "rss", "core", "dynamic", "print", "vote", "infographics", "tv-program",
    )
)  # fmt: skip
_DATED = re.compile(r"/(?:19|20)\d\d/\d\d?/\d\d?(?:/|_)[^/]+\.shtml\Z")
_MONTHLY = re.compile(r"/(?:19|20)\d\d/\d\d?/(?:[a-z]_)?\d{5,}\.shtml\Z")
_NUMBERED = re.compile(r"/\d{5,}\.shtml\Z")
_SLUG = re.compile(r"[a-z][a-z_-]{1,30}")
_FIRST_MOMENT = 915148800  # 1 January 1999: the site is not older


class GazetaAnchors(Anchors):
    date = (*Anchors.date, ".breadcrumb time, .info time, time.date, time.time")
    rubric = (
        ".dh a[href], .rubric a[href], .breadcrumb a[href], .active a[href],"
        " [itemprop~=itemListElement] a[href]"
    )


class GazetaReader(Reader):
    outlet = "Газета.Ru"
    title_tail = re.compile(r"\s*[-–—|]\s*Газета\.\s?[Rr][uU]\b.*$")
    live = f"{Reader.live}, .b_online, .b_article-online"
    gallery = ".m_photorep, .b_photorep, .photorep"
    other_kinds = (
        ("quiz", ".b_quiz, .b_test"),
        ("login page", "form.sso, .rambler-id-login"),
        ("error page", ".b_error"),
    )

    def refuse_other_kinds(self) -> None:
        if urlsplit(self.url).path.startswith("/auth/"):
            raise NotAnArticle("login page", self.url)
        if len(self.find(self.root, ".online_time")) >= 3:  # the entries of an online report of 2013
            raise NotAnArticle("live report", self.url)
        super().refuse_other_kinds()

    def is_gallery(self) -> bool:
        return super().is_gallery() or "/photo/" in urlsplit(self.url).path


class Gazeta(Site):
    name = "gazeta"
    base = "https://www.gazeta.ru"
    rubrics = RUBRICS
    sitemaps = ("/sitemap.xml", "/sitemap_news.xml")
    feeds = tuple(
        f"/export/rss/{feed}.xml"
        for feed in ("first", "lenta", "lastnews", "politics", "business", "social", "culture", "science")
    )
    # Since 2026 the site sends visitors without this cookie to a sign-in page first.
    cookies = "unity_pause_sso=1"
    article_path = re.compile(
        r"/(?P<year>(?:19|20)\d\d)/(?P<month>\d\d?)/(?:(?P<day>\d\d?)(?:/|_)|(?:[a-z]_)?\d{5,}\.)"
    )
    anchors = GazetaAnchors
    reader = GazetaReader

    # The days on which layouts ended are those of the last pages seen: the site never announced a change.

    class V2007(Layout):
        name = "2007"
        ended = "2012-12-31"
        title = "h2.h_1, h1.h_1, .h_1"
        subtitle = "h3.h_2"
        lead = ".intro"
        date = ".date_time, .article-date"

    class V2013(Layout):
        name = "2013"
        ended = "2014-12-31"
        root = "article.b-article"
        title = ".article_name"
        subtitle = ".article_subheader"
        lead = (".article_intro", ".intro")
        text = "div.text, .article-body"
        common_text = True

    class V2015(Layout):
        name = "2015"
        ended = "2021-06-30"
        root = ("article.article-text", "#article_context")
        title = "h1.article-text-header, h1.txtclear"
        subtitle = ".article-text-subheader"
        lead = ".article-text-intro"
        text = ".article-text-body, .article_text, .text-body"

    class V2021(Layout):
        name = "2021"
        ended = "2023-12-31"
        root = "article.b_article, div.b_article"
        title = (".headline", ".b_article-title > h1, .b_article-header > h1")
        subtitle = ".subheader"
        lead = (".b_article-intro", ".intro")
        text = ".b_article-text"

    class V2024(V2021):
        """The layout of 2021 with its headline in an h2."""

        name = "2024"
        ended = ""
        sign = "h2.headline"

    # Addresses

    def canonical_url(self, url: str) -> str:
        """The desktop site's address for one of the mobile site or of AMP."""
        parts = urlsplit(super().canonical_url(url))
        host = parts.hostname or ""
        if host != "gazeta.ru" and not host.endswith(".gazeta.ru"):
            return parts.geturl()
        if host in {"gazeta.ru", "m.gazeta.ru", "amp.gazeta.ru"}:
            host = "www.gazeta.ru"
        path = parts.path.removeprefix("/amp") if parts.path.startswith("/amp/") else parts.path
        return f"https://{host}{path}"

    def is_article_url(self, url: str) -> bool:
        """Such as /rubric/2024/02/29/1834.shtml and /comments/column/x/12345.shtml."""
        path = page_path(unquote(urlsplit(url).path))
        parts = [part for part in path.split("/") if part]
        if not parts or parts[0] in NO_ARTICLES or "results" in parts or "matches" in parts:
            return False
        dated = _DATED.search(path) or _MONTHLY.search(path)
        return bool(dated or (len(parts) > 1 and _NUMBERED.search(path)))

    def url_rubric(self, url: str) -> str:
        """The first part of an address that is neither a format ("news") nor a date."""
        for part in urlsplit(url).path.split("/")[:-1]:
            if part and not part.isdigit() and part not in FORMATS:
                return SAME_RUBRIC.get(part, part) if _SLUG.fullmatch(part) else ""
        return ""

    def expects_lead(self, url: str) -> bool:
        """A news item has no lead, only a feature has one."""
        return "/news/" not in url

    # Listings

    def listing_urls(self, rubrics: Iterable[str] = ()) -> list[str]:
        """The news of all sections and every section, or the named ones."""
        return [f"{self.base}/{name}/" for name in tuple(rubrics) or ("news", *RUBRICS)]

    def parse_listing(self, body: bytes, url: str, content_type: str = "") -> Listing:
        """The articles that a listing page links, and the address of the page before it in time.

        Times are in data-pubtime (2021 to 2023), data-pub_time (2026) or meta[itemprop=position] (2015 to
        2021). The next page is asked for what is older than the oldest of them; if no item has a time, for
        three days earlier.
        """
        try:
            page = tree(decode(body, content_type))
        except ValueError:
            return Listing()
        found = self.links(page, url)
        named = "pub_time" if page.xpath("//@data-pub_time") else "d"
        stamps = page.xpath("//@data-pubtime | //@data-pub_time")
        minutes = False
        if not stamps:
            stamps = page.xpath("//*[@itemprop='itemListElement']//meta[@itemprop='position']/@content")
            minutes = bool(stamps)
        moments = [
            int(stamp)
            for stamp in stamps
            if str(stamp).isdecimal() and _FIRST_MOMENT < int(str(stamp)[:12]) < 4e9
        ]
        asked = _asked(url)
        if moments and not asked:
            # The first page is a whole page, with old favourites in its sidebars. Going on from the middle of
            # the list costs a page that is half known; going on from a favourite would leave a hole.
            oldest = sorted(moments, reverse=True)[len(moments) * 6 // 10]
        elif moments:
            oldest = min(moments)
        elif found and asked:
            oldest = asked - 3 * 86400
        else:
            return Listing(found)
        if (asked and oldest >= asked) or oldest <= _FIRST_MOMENT:
            return Listing(found)
        when = to_moscow(datetime.fromtimestamp(oldest, UTC))
        value = f"{when:%d.%m.%Y_%H:%M}" if minutes else str(oldest)
        older = f"{self.canonical_url(url)}?p=page&{named}={value}"
        return Listing(found, older, when.strftime("%Y-%m-%d"))


def _asked(url: str) -> int:
    """The moment that a listing address asks for, as unix time; 0 for the first page."""
    match = re.search(r"[?&](?:d|pub_time)=(\d{9,10})(?:&|$)", url)
    if match:
        return int(match[1])
    match = re.search(r"[?&]d=(\d\d)\.(\d\d)\.(\d{4})_(\d\d):(\d\d)", url)
    if not match:
        return 0
    day, month, year, hour, minute = map(int, match.groups())
    try:
        # Within an hour of the truth whatever the zone was then: it only has to move backwards.
        return int((datetime(year, month, day, hour, minute, tzinfo=UTC) - timedelta(hours=3)).timestamp())
    except (ValueError, OverflowError):
        return 0
