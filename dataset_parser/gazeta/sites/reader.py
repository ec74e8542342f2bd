"""Reading one article page by its layouts: HTML in, an article out. No network, no clock.

A field is looked for by the anchors that all layouts share, then by each layout's selectors, inside the
article only; JSON-LD and OpenGraph are the fallback. Layouts differ in class names and itemprops, not in
tags: the subheading is the h1 of one year and the h2 of the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from lxml import etree

from gazeta.sites import russian
from gazeta.sites.article import DESCRIPTION, FIRST_PARAGRAPH, LEAD, Article, NotAnArticle, PageChanged
from gazeta.sites.body import decode
from gazeta.sites.html import (
    LINE_ENDS,
    Finder,
    clean,
    cut,
    inline_text,
    moscow_date,
    paragraphs,
    squeezed,
    too_deep,
    tree,
)
from gazeta.sites.layout import by_layout, rows
from gazeta.sites.metadata import Metadata

_SENTENCE_END = re.compile(r"[.!?…:;»\")*]$")
_MARKED_UP = re.compile(r"</[a-z]|<(?:br|p)\b", re.I)  # a "<" alone is a less-than sign
_OUTER_LINKS = etree.XPath("descendant::a[not(ancestor::a)]")  # nested links would take quadratic time
_NEVER = re.compile(r"(?!)")
Find = Callable[[etree._Element, str], list[etree._Element]]  # the elements below one that match a selector


def find_root(site: Any, page: etree._Element, find: Find) -> tuple[etree._Element, str]:
    """The first element that can hold an article and has a headline or text inside; its layout's name."""
    layouts, anchors = site.layouts, site.anchors
    telling = tuple(layout for layout in (anchors, *layouts) if not layout.common_text)
    marks = [*by_layout((anchors, *layouts), "title"), *by_layout(telling, "text")]
    inside = ", ".join(css for _, css in marks)
    for layout in (*layouts, anchors):
        for node in (node for css in rows(layout.root) for node in find(page, css)):
            if find(node, inside):
                alike = [one for one in layouts if one.root == layout.root] or [layout]
                signed = (one for one in alike if not one.sign or find(node, one.sign))
                return node, next(signed, layout).name
    body = page.find("body")
    return (page if body is None else body), ""


class Reader:
    """Reads one page. A site whose pages are marked differently overrides the attributes.

    The order of calls matters: the lead is cut out of the tree before the text is read.
    """

    # Elements that are not part of what an article says; matched against single words of the class.
    silent_class: ClassVar[re.Pattern[str]] = russian.SILENT_CLASS
    silent_line: ClassVar[re.Pattern[str]] = russian.SILENT_LINE
    outlet = ""  # the outlet's name, with which it signs descriptions
    title_tail: ClassVar[re.Pattern[str]] = _NEVER  # the outlet's name after a title
    live = '[itemtype*="LiveBlogPosting"]'
    gallery = ""
    # (reason, selector) of pages that hold something else than an article.
    other_kinds: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, site: Any, body: bytes, url: str, content_type: str):
        """site: a `gazeta.sites.base.Site`, whose module imports this one."""
        self.site = site
        self.url = url
        self.tree = tree(decode(body, content_type))
        self.find = Finder(self.tree).find
        self.metadata = Metadata(self.tree)
        self.root, self.era = find_root(site, self.tree, self.find)
        signed = (one for one in site.layouts if not one.sign or self.find(self.root, one.sign))
        self.layouts = (site.anchors, *signed)
        self.own_address = self._own_address()
        subtitles = ", ".join(css for _, css in by_layout(self.layouts, "subtitle"))
        self.subtitle = next(
            (words for node in self.find(self.root, subtitles) if (words := self._words(node))),
            self.metadata.linked("alternativeHeadline"),
        )

    def article(self) -> Article:
        """The article of the page. Raises NotAnArticle or PageChanged."""
        lead = self._cut_lead()
        self.refuse_other_kinds()
        title, text, date = self.title(), self.text(), self.date()
        if russian.is_live(text):
            raise NotAnArticle("live report", self.url)
        missing = [name for name, value in (("title", title), ("text", text), ("date", date)) if not value]
        if missing:
            self.complain(missing, bool(title))
        own = self.own_address if self.site.same_site(self.own_address, self.url) else self.url
        address = self.site.canonical_url(own)
        summary, origin = self.summary(lead, text)
        return Article(
            url=address,
            title=title,
            summary=summary,
            text=text,
            date=date,
            rubric=self.rubric(),
            subtitle=self.subtitle,
            summary_origin=origin,
            era=self.era,
            site=self.site.name,
            expects_lead=self.site.expects_lead(address),
        )

    # Where the article is

    def _own_address(self) -> str:
        """What the page itself gives as its address, if that is an article's."""
        for written in self.metadata.addresses():
            address = urljoin(self.url, written)
            if self.site.is_article_url(address):
                return address
        return self.url

    # Pages without an article

    def refuse_other_kinds(self) -> None:
        """Raise NotAnArticle for pages that say themselves that they are something else."""
        for reason, css in self.other_kinds:
            if self.find(self.tree, css) and not self._has_body():
                raise NotAnArticle(reason, self.url)
        head = clean(self.tree.findtext(".//title") or "")
        if russian.NOT_FOUND_TITLE.search(head) and not self._has_body():
            raise NotAnArticle("error page", self.url)
        mark = _advertising_mark(self.root, set(self._bodies()))
        if mark is not None and not self._is_silent(mark) and not self._inside_silent(mark):
            raise NotAnArticle("advertising", self.url)
        titles = (self.subtitle, self._title()[0])
        live = self.metadata.is_live_blog() or self.find(self.tree, self.live)
        if live or any(map(russian.LIVE_TITLE.search, titles)):
            raise NotAnArticle("live report", self.url)

    def is_gallery(self) -> bool:
        return bool(self.gallery and self.find(self.tree, self.gallery))

    def complain(self, missing: list[str], has_title: bool) -> None:
        """Raise what a page with missing fields deserves: PageChanged if it should hold an article."""
        if too_deep(self.tree):
            raise NotAnArticle("nested too deep", self.url)
        if "text" in missing and self.is_gallery():
            raise NotAnArticle("gallery", self.url)
        if missing == ["text"] and has_title and self._bodies():
            # Every anchor is there and nothing is written: a video, a picture, a card.
            raise NotAnArticle("no text", self.url)
        data = self.metadata
        declared = data.meta("og:type") == "article" or bool(data.articles) or bool(self.era)
        if declared or self.site.is_article_url(self.url):
            raise PageChanged(self.url, missing, self.era, self.site.selectors(self.era))
        raise NotAnArticle("not an article", self.url)

    # The fields

    def _title(self) -> tuple[str, str]:
        for era, css in by_layout(self.layouts, "title"):
            for node in self.find(self.root, css):
                if (words := self._words(node)) and not self._inside_silent(node) and not _is_subtitle(node):
                    return self.title_tail.sub("", words), era
        return "", ""

    def title(self) -> str:
        words, era = self._title()
        self.era = self.era or era
        fallback = self.metadata.linked("headline", "name") or self.metadata.meta("og:title", "twitter:title")
        return words or self.title_tail.sub("", fallback)

    def _bodies(self) -> list[etree._Element]:
        for _, css in by_layout(self.layouts, "text"):
            found = [node for node in self.find(self.root, css) if node.tag != "meta"]
            if found:
                known = set(found)
                return [node for node in found if known.isdisjoint(node.iterancestors())]
        return []

    def _has_body(self) -> bool:
        """Whether the page has a place for an article's text.

        Outside an article's element only the shared anchors count: any page may have a div.text.
        """
        inside = self.root.tag not in {"html", "body"}
        layouts = self.layouts if inside else self.layouts[:1]
        return bool(self.find(self.root, ", ".join(css for _, css in by_layout(layouts, "text"))))

    def text(self) -> str:
        lines: list[str] = []
        bodies = self._bodies()
        for body in bodies:
            for element, found in groupby(paragraphs(body, self._is_silent), key=itemgetter(0)):
                written = [line for _, line in found]
                only_links = _only_links(element, written)
                for line in written:
                    if russian.CLOSING_LINE.match(line) and len(line) < 60:
                        return "\n".join(lines)
                    if not self.silent_line.match(line) and line not in only_links:
                        lines.append(line)
        if not bodies:
            lines = _linked_lines(self.metadata.linked("articleBody"), self._is_silent)
            self.era = self.era or ("json-ld" if lines else "")
        return "\n".join(lines)

    def date(self) -> str:
        for era, css in by_layout(self.layouts, "date"):
            for node in self.find(self.root, css):
                # An attribute has the seconds that the text leaves out.
                values = (*map(node.get, ("datetime", "content", "pubdate")), inline_text(node))
                if date := next(filter(None, map(moscow_date, filter(None, values))), ""):
                    self.era = self.era or era
                    return date
        date = moscow_date(
            self.metadata.linked("datePublished")
            or self.metadata.meta("article:published_time", "datePublished")
        )
        if date:
            return date
        day = self.site.url_day(self.url) or self.site.url_day(self.own_address)
        return f"{day} 00:00:00" if day else ""

    def rubric(self) -> str:
        """The section's slug: from the address, or from the page's own link to its section."""
        for address in (self.url, self.own_address):
            if slug := self.site.url_rubric(address):
                return slug
        links = ", ".join(css for _, css in by_layout(self.layouts, "rubric"))
        for node in self.find(self.tree, links) if links else ():
            address = urljoin(self.url, node.get("href", ""))
            section = urlsplit(address).path.strip("/")
            slug = self.site.url_rubric(urljoin(address, f"/{section}/"))
            if slug and "/" not in section and self.site.same_site(address, self.url):
                return slug
        return ""

    def _cut_lead(self) -> str:
        """The lead, taken out of the tree: in some layouts it opens the first paragraph of the text."""
        around = {parent for body in self._bodies() for parent in body.iterancestors()}
        leads = [node for _, css in by_layout(self.layouts, "lead") for node in self.find(self.root, css)]
        for node in leads:
            if node.tag == "meta" or self._inside_silent(node) or self._inside_card(node, around):
                continue
            words = self._words(node)
            if not words:
                continue
            cut(node)  # what follows the lead in its paragraph stays
            if squeezed(words) != squeezed(self.subtitle) and not self.silent_line.match(words):
                return words
        return ""

    def summary(self, lead: str, text: str) -> tuple[str, str]:
        """(summary, origin): the lead; or a description that adds something; or the first paragraph.

        A news item has no lead, and its description repeats the first paragraph, sometimes cut short or typed
        a little differently: then the paragraph itself is the summary, and `Article.source` leaves it out.
        """
        first = text.partition("\n")[0]
        opening = squeezed(first)
        if lead and squeezed(lead) != opening:
            return lead, LEAD
        written = self.metadata.linked("description") or self.metadata.meta("description", "og:description")
        description = re.sub(r"(?:\.\.\.|…)$", "", written).strip()
        same = squeezed(description)
        repeated = opening.startswith(same) or same.startswith(opening[:40])
        repeated = repeated or same in {squeezed(self.subtitle), squeezed(self._title()[0]), ""}
        signed = self.silent_line.match(description) or (self.outlet and self.outlet in description[-40:])
        if len(description) < 60 or repeated or signed or description != written.strip():
            return first, FIRST_PARAGRAPH
        return description, DESCRIPTION

    # Elements

    def _words(self, node: etree._Element) -> str:
        """An element's clean text; of a meta element its content."""
        if node.tag == "meta":
            return clean(node.get("content", ""))
        return clean(inline_text(node, self._is_silent))

    def _is_silent(self, node: etree._Element) -> bool:
        return bool(self.silent_class.search(node.get("class", "")))

    def _above(self, node: etree._Element) -> takewhile:
        return takewhile(lambda one: one is not self.root, node.iterancestors())

    def _inside_silent(self, node: etree._Element) -> bool:
        return any(
            self._is_silent(parent) or parent.tag in {"aside", "nav", "figure", "footer"}
            for parent in self._above(node)
        )

    def _inside_card(self, node: etree._Element, around: set[etree._Element]) -> bool:
        """Inside a link or another item's own scope: a teaser of another article, an author, a picture.

        around: the elements that contain the article's text; a scope among them is the article's own.
        """
        for parent in self._above(node):
            if parent.tag == "a" or (parent.get("itemscope") is not None and parent not in around):
                return True
        return node.tag == "a"


def _linked_lines(raw: str, silent: Callable[[etree._Element], bool]) -> list[str]:
    """The paragraphs of a text in JSON-LD, with markup or without."""
    if _MARKED_UP.search(raw):
        raw = "\n".join(line for _, line in paragraphs(tree(f"<div>{raw}</div>"), silent))
    return [words for line in LINE_ENDS.split(raw) if (words := clean(line))]


def _advertising_mark(root: etree._Element, bodies: set[etree._Element]) -> etree._Element | None:
    """The element in the article's own head, not in or after its text, that says that it is advertising."""
    for node in root.iter("div", "span", "p", "a"):
        if node in bodies:
            return None
        if len(node) == 0 and node.text and russian.ADVERTISING_MARK.match(clean(node.text)):
            return node
    return None


def _is_subtitle(node: etree._Element) -> bool:
    """The itemprop tells the two headings apart, and without one the class does."""
    names = node.get("itemprop", "").split()
    below = "alternativeHeadline" in names or "subheader" in node.get("class", "")
    return below and "headline" not in names


def _only_links(element: etree._Element, lines: list[str]) -> set[str]:
    """The lines of an element that are one link and no sentence: "read also" without those words."""
    loose = {line for line in lines if not _SENTENCE_END.search(line)}
    return loose & {clean(inline_text(link)) for link in _OUTER_LINKS(element)} if loose else loose
