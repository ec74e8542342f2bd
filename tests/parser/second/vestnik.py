"""Pages of "Северный вестник", an invented outlet that the stand-in site serves (--outlet second).

This is all that another site needs: what an article's address looks like, and where its fields are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from gazeta.sites.base import FIRST_PARAGRAPH, LEAD, Article, NotAnArticle, PageChanged
from gazeta.sites.gazeta import Listing
from gazeta.sites.html import Finder, clean, decode, inline_text, moscow_date, paragraphs, tree

SITE = "vestnik"
# The outlet's own sections, each under the name that the dataset uses for the same rubric.
SECTIONS = {
    "politika": "politics",
    "obschestvo": "social",
    "ekonomika": "business",
    "armiya": "army",
    "kultura": "culture",
    "nauka": "science",
    "sport": "sport",
    "tehnologii": "tech",
    "avto": "auto",
    "stil-zhizni": "style",
    "semya": "family",
}
RUBRICS = tuple(SECTIONS.values())
SELECTORS = {
    "title": ".story__title",
    "summary": ".story__standfirst",
    "text": ".story__text",
    "date": ".story__date",
    "rubric": "address",
}
_ADDRESS = re.compile(r"^/([a-z-]+)/(\d{4}-\d\d)/\d+/$")


def canonical_url(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def same_site(one: str, other: str) -> bool:
    return urlsplit(one)[:2] == urlsplit(other)[:2]


def is_article_url(url: str) -> bool:
    match = _ADDRESS.match(urlsplit(url).path)
    return bool(match) and match[1] in SECTIONS


def url_day(url: str) -> str:
    """Addresses name the month only; its first day is enough to order the queue."""
    match = _ADDRESS.match(urlsplit(url).path)
    return f"{match[2]}-01" if match else ""


def url_rubric(url: str) -> str:
    match = _ADDRESS.match(urlsplit(url).path)
    return SECTIONS.get(match[1], "") if match else ""


def selectors(layout: str = "") -> dict[str, str]:
    return SELECTORS


def listing_urls(base: str, rubrics: Iterable[str] = ()) -> list[str]:
    return [f"{base}/arhiv/"]


def parse_listing(body: bytes, url: str, content_type: str = "") -> Listing:
    page = tree(decode(body, content_type))
    addresses = [urljoin(url, node.get("href", "")) for node in page.iter("a")]
    older = [urljoin(url, node.get("href", "")) for node in page.iter("a") if node.get("rel") == "next"]
    return Listing(
        [(found, url_day(found)) for found in addresses if is_article_url(found)], "".join(older[:1]), ""
    )


def parse_article(body: bytes, url: str, content_type: str = "") -> Article:
    page = tree(decode(body, content_type))
    find = Finder(page).find
    if not find(page, "article.story"):
        raise NotAnArticle(f"no story: {url}")
    found = {
        name: clean(inline_text(nodes[0])) if (nodes := find(page, css)) else ""
        for name, css in SELECTORS.items()
        if name in ("title", "summary")
    }
    bodies = find(page, SELECTORS["text"])
    lines = (
        [words for _, words in paragraphs(bodies[0], lambda node: node.get("class") == "promo")]
        if bodies
        else []
    )
    times = find(page, SELECTORS["date"])
    found["date"] = moscow_date(times[0].get("datetime", "")) if times else ""
    found["text"] = "\n".join(lines)
    if missing := [name for name in ("title", "text", "date") if not found[name]]:
        raise PageChanged(url, missing, "only", SELECTORS)
    return Article(
        url=canonical_url(url),
        title=found["title"],
        summary=found["summary"] or lines[0],
        summary_origin=LEAD if found["summary"] else FIRST_PARAGRAPH,
        text=found["text"],
        date=found["date"],
        rubric=url_rubric(url),
        site=SITE,
    )
