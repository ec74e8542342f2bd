"""What the collector has to know about a news site. Each site is a subclass in a separate file.

A site is pure: it turns addresses and pages into values, and uses neither the network nor the clock. A simple
site names its address, its rubrics, the pattern of its articles' addresses and one `Layout`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

from gazeta.sites.article import (
    DESCRIPTION,
    FIRST_PARAGRAPH,
    LEAD,
    Article,
    Listing,
    NotAnArticle,
    PageChanged,
)
from gazeta.sites.body import decode
from gazeta.sites.html import clean, tree
from gazeta.sites.layout import Anchors, Layout, rows
from gazeta.sites.reader import Reader

__all__ = [
    "DESCRIPTION", "FIRST_PARAGRAPH", "LEAD", "Anchors", "Article", "Layout", "Listing", "NotAnArticle",
    "PageChanged", "Reader", "Site", "page_path",
]  # fmt: skip
# What careless links put after a page's name: a slash, or a query without its question mark.
_AFTER_PAGE = re.compile(r"(?:(?<=\.html)|(?<=\.shtml)|(?<=\.htm))(?:/|[&;=].*)\Z", re.S)
MAX_LISTED = 2000  # links taken from one listing page; a real page has 20 to 60


def page_path(path: str) -> str:
    """The path of a page with single slashes and nothing after the page's name."""
    return _AFTER_PAGE.sub("", re.sub(r"/{2,}", "/", path)) or "/"


class Site:
    """One news site. Addresses are absolute; paths begin with a slash.

    A layout is a nested subclass of `Layout`; those in use are tried first, then those that ended last.
    """

    name: ClassVar[str] = ""  # as in `scrapy crawl NAME`
    base: str = ""  # "https://www.example.org"
    rubrics: ClassVar[tuple[str, ...]] = ()  # the sections with articles, by the names the dataset uses
    sitemaps: ClassVar[tuple[str, ...]] = ("/sitemap.xml",)  # besides those that robots.txt names
    feeds: ClassVar[tuple[str, ...]] = ()  # RSS or Atom
    cookies: ClassVar[str] = ""  # sent with every request
    closes_pages: ClassVar[bool] = True  # False if whole pages of the site leave elements open at their end
    # The path of an article. Its groups "rubric", "year", "month" and "day" are used if it has them.
    article_path: ClassVar[re.Pattern[str]]
    anchors: ClassVar[type[Layout]] = Anchors  # selectors that all layouts share, tried before theirs
    layouts: ClassVar[tuple[type[Layout], ...]] = ()
    reader: ClassVar[type[Reader]] = Reader

    def __init_subclass__(cls) -> None:
        nested = (value for value in vars(cls).values() if isinstance(value, type))
        own = [value for value in nested if issubclass(value, Layout) and value.name]
        if own:
            cls.layouts = tuple(sorted(own, key=lambda layout: layout.ended or "9999", reverse=True))

    def __init__(self, base: str = ""):
        """base: another address that serves the same pages, such as a stand-in's."""
        self.base = base or self.base

    # Addresses

    def canonical_url(self, url: str) -> str:
        """The one address of a page: no query, fragment or default port, nothing after .html or .shtml.

        Raises ValueError for a bad port.
        """
        parts = urlsplit(url.strip())
        default = {"http": 80, "https": 443}.get(parts.scheme)
        port = f":{parts.port}" if parts.port and parts.port != default else ""
        path = page_path(parts.path)
        host = (parts.hostname or "").lower()
        return f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}{port}{path}"

    def same_site(self, one: str, other: str) -> bool:
        """Whether two addresses belong to one site: the same scheme, host and port."""
        try:
            return urlsplit(self.canonical_url(one))[:2] == urlsplit(self.canonical_url(other))[:2]
        except ValueError:
            return False

    def is_article_url(self, url: str) -> bool:
        """Whether an address can be an article's: only such links are queued."""
        return bool(self.article_path.search(urlsplit(url).path))

    def url_day(self, url: str) -> str:
        """The day in an address, "YYYY-MM-DD", "" if there is none; the first of the month for a month."""
        match = self.article_path.search(urlsplit(url).path)
        found = match.groupdict() if match else {}
        if not found.get("year"):
            return ""
        try:
            return date(int(found["year"]), int(found["month"]), int(found.get("day") or 1)).isoformat()
        except ValueError:
            return ""

    def names_day(self, url: str) -> bool:
        """Whether an address names the whole day, not only the month."""
        match = self.article_path.search(urlsplit(url).path)
        return bool(match and match.groupdict().get("day"))

    def url_rubric(self, url: str) -> str:
        """The rubric in the address of an article or of a section's own page, "" if there is none."""
        path = urlsplit(url).path
        match = self.article_path.search(path)
        rubric = match.groupdict().get("rubric") if match else path.strip("/")
        return rubric if rubric in self.rubrics else ""

    def expects_lead(self, url: str) -> bool:
        """Whether articles at such addresses have a separate lead."""
        return True

    # Pages

    def parse_article(self, body: bytes, url: str, content_type: str = "") -> Article:
        """The article of one page as fetched. content_type: the HTTP header of that name, for its charset.

        Raises NotAnArticle for an intact page without an article, and PageChanged for one that should hold an
        article but whose title, text or date no selector finds.
        """
        try:
            page = self.reader(self, body, url, content_type)
        except ValueError:
            raise NotAnArticle("no HTML", url) from None
        return page.article()

    def listing_urls(self, rubrics: Iterable[str] = ()) -> list[str]:
        """The first page of each listing, newest articles first: of the named rubrics, else of all."""
        return []

    def parse_listing(self, body: bytes, url: str, content_type: str = "") -> Listing:
        """The articles that a listing page links, and the next page by its link with rel="next"."""
        try:
            page = tree(decode(body, content_type))
        except ValueError:
            return Listing()
        following = [node.get("href", "") for node in page.iter("a") if node.get("rel") == "next"]
        older = urljoin(url, following[0]) if following else ""
        return Listing(self.links(page, url), older)

    def links(self, page, url: str) -> list[tuple[str, str]]:
        """(address, day or "") of the articles that a page's tree links, each once."""
        found: dict[str, str] = {}
        for node in page.iter("a"):
            if len(found) >= MAX_LISTED:
                break
            try:
                address = urljoin(url, clean(node.get("href", ""))[:1000])
                if self.is_article_url(address) and self.same_site(address, url):
                    day = self.url_day(address) if self.names_day(address) else ""
                    found.setdefault(self.canonical_url(address), day)
            except ValueError:
                continue
        return list(found.items())

    def selectors(self, layout: str = "") -> dict[str, str]:
        """What is tried for each field, for alarms and error texts: by all layouts, or by the named one."""
        tried = [self.anchors, *(one for one in self.layouts if layout in ("", one.name))]

        def of(field: str) -> str:
            return ", ".join(dict.fromkeys(css for one in tried for css in rows(getattr(one, field))))

        rubric = ", ".join(part for part in ("address", of("rubric")) if part)
        fields = {name: of(name) for name in ("title", "text", "date", "lead")}
        return {**fields, "summary": fields["lead"], "rubric": rubric}
