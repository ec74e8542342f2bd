"""Gazeta.ru's pages: HTML in, an article or links out. No network, no clock.

The layouts differ by year; itemprops and class names tell them apart, tags do not (the subheading is the h1
of one year and the h2 of the next). A field is looked for by every layout's anchor, best first, inside the
article only; JSON-LD and OpenGraph are the way out when none of them is there. Adding a layout is adding a
line to the tables below, and two files to tests/parser/pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from lxml import etree

from gazeta.sites.base import DESCRIPTION, FIRST_PARAGRAPH, LEAD, Article, NotAnArticle, PageChanged
from gazeta.sites.html import (
    Finder,
    clean,
    cut,
    decode,
    inline_text,
    json_ld,
    moscow_date,
    paragraphs,
    squeezed,
    to_moscow,
    too_deep,
    tree,
)

SITE = "gazeta"
# Sections that hold articles. "news" is a format: in /social/news/ the rubric is social.
RUBRICS = (
    "politics", "social", "business", "army", "culture", "science", "sport", "tech", "auto", "style",
    "family", "comments",
)  # fmt: skip
FORMATS = frozenset({"news", "lenta", "photo", "video", "amp", "export", "online"})
# Sections whose pages are no articles, whatever their address looks like.
NO_ARTICLES = frozenset(
    (
        "tags", "gazeta", "auth", "search", "about", "legal", "terms", "privacy", "adbook", "subscribe",
        "quiz",
        "test", "tests", "subjects", "sitemap", "prcom", "files", "files2", "files3", "nm2015", "nm2021",
        "export", "rss", "core", "dynamic", "print", "vote", "infographics", "tv-program",
    )
)  # fmt: skip

# Where each field is, by layout. The first that is there wins.
ROOTS = [
    ("2021", "article.b_article, div.b_article"),
    ("2015", "article.article-text"),
    ("2015", "#article_context"),
    ("2013", "article.b-article"),
    ("", '[itemtype*="NewsArticle"], [itemtype$="/Article"], [itemtype*="LiveBlogPosting"]'),
    ("", "article"),
]
TITLES = [
    ("", "[itemprop~=headline]"),
    ("2021", ".headline"),
    ("2015", "h1.article-text-header, h1.txtclear"),
    ("2013", ".article_name"),
    ("2007", "h2.h_1, h1.h_1, .h_1"),
    ("2021", ".b_article-title > h1, .b_article-header > h1"),
]
SUBTITLES = "[itemprop~=alternativeHeadline], .subheader, .article-text-subheader, .article_subheader, h3.h_2"
LEADS = [
    ("", "[itemprop~=description]"),
    ("2021", ".b_article-intro"),
    ("", ".intro"),
    ("2015", ".article-text-intro"),
    ("2013", ".article_intro"),
]
BODIES = [
    ("", "[itemprop~=articleBody]"),
    ("2021", ".b_article-text"),
    ("2015", ".article-text-body, .article_text, .text-body"),
    ("2013", "div.text, .article-body"),
]
DATES = [
    ("", "[itemprop~=datePublished]"),
    ("", "time[pubdate]"),
    ("", ".breadcrumb time, .info time, time.date, time.time"),
    ("2007", ".date_time, .article-date"),
]
RUBRIC_LINKS = (
    ".dh a[href], .rubric a[href], .breadcrumb a[href], .active a[href], [itemprop~=itemListElement] a[href]"
)
LIVE = '[itemtype*="LiveBlogPosting"], .b_online, .b_article-online'
GALLERY = ".m_photorep, .b_photorep, .photorep"
NOT_ARTICLES = [
    ("quiz", ".b_quiz, .b_test"),
    ("login page", "form.sso, .rambler-id-login"),
    ("error page", ".b_error"),
]

# Parts of an article that it does not say itself; matched against single words of the class attribute.
_SILENT_CLASS = re.compile(
    r"(?:^|[\s_-])(?:incut|also|adv|advert|advertisement|banner|inread|subscribe|telegram|social|sharing|share|likes"
    r"|comments?|photo|gallery|i_gallery|caption|signplace|media|tags|author|authors|newsbox|related|promo|player|vote"
    r"|poll|quiz|audio|incuts|addinfo|online_time|adv_mark|hidden|tweet|twitter|instagram|tiktok|embed)"
    r"(?:$|[\s_-]|\d)",
    re.I,
)
_SILENT_PARAGRAPH = re.compile(
    r"^(?:реклама|(?:все )?(?:новости|материалы|статьи) (?:по|на) тем[еу]"
    r"|что думаешь\??|поделиться|читайте также|читать также|смотрите также|по теме|подробнее"
    r"|на правах рекламы"
    r"|следите за нашими новостями.{0,80}|прослушать новость|остановить прослушивание|комментарии"
    r"|ошибка в тексте\?.{0,100}|чтобы сообщить об ошибке.{0,100}"
    r"|фото(?:графия)?:.{0,100}|источник фото.{0,100}"
    r"|подпи(?:сывайтесь|шитесь|шись) на .{0,160}"
    r"|(?:читай|читайте|смотри|смотрите) (?:нас|также|ещ[её]) .{0,160}"
    r"|автор выражает личное мнение, которое может не совпадать с позицией редакции)[\s.:!…]*$",
    re.I,
)
# Only this heading closes an article; others of its kind stand in the middle of one and are dropped alone.
_CUT_OFF = re.compile(r"^новости по теме\s*:", re.I)
_TITLE_TAIL = re.compile(r"\s*[-–—|]\s*Газета\.\s?[Rr][uU]\b.*$")
_LIVE_TITLE = re.compile(r"(?:^|[.:—–-] )онлайн-(?:трансляция|репортаж)\b|[.:] онлайн$", re.I)
_NOT_FOUND_TITLE = re.compile(r"страница не найдена|ошибка 404|^404\b", re.I)
_DATED = re.compile(r"/(?:19|20)\d\d/\d\d?/\d\d?(?:/|_)[^/]+\.shtml\Z")
_DAY = re.compile(r"/((?:19|20)\d\d)/(\d\d?)/(\d\d?)(?:/|_)")
_NUMBERED = re.compile(r"/\d{5,}\.shtml\Z")
_SENTENCE_END = re.compile(r"[.!?…:;»\")*]$")
_MARKED_UP = re.compile(r"</[a-z]|<(?:br|p)\b", re.I)  # a lone "<" is a sign of less
_SLUG = re.compile(r"^/([a-z][a-z_-]{1,30})/?$")
_OUTER_LINKS = etree.XPath("descendant::a[not(ancestor::a)]")  # links in links would cost their depth

# ------------------------------------------------------------------ addresses


def canonical_url(url: str) -> str:
    """One address for one page: no query or fragment, the desktop site in place of the mobile one."""
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").lower()
    path = re.sub(r"/{2,}", "/", parts.path) or "/"
    if host == "gazeta.ru" or host.endswith(".gazeta.ru"):
        if host in {"gazeta.ru", "m.gazeta.ru", "amp.gazeta.ru"}:
            host = "www.gazeta.ru"
        path = path.removeprefix("/amp") if path.startswith("/amp/") else path
        return f"https://{host}{path}"
    port = (
        f":{parts.port}" if parts.port and parts.port != {"http": 80, "https": 443}.get(parts.scheme) else ""
    )
    return f"{parts.scheme.lower()}://{host}{port}{path}"


def same_site(one: str, other: str) -> bool:
    """Whether two addresses belong to one site: the same host and port, or both gazeta.ru."""
    try:
        first, second = urlsplit(canonical_url(one)), urlsplit(canonical_url(other))
    except ValueError:
        return False
    return first.netloc == second.netloc and first.scheme == second.scheme


def is_article_url(url: str) -> bool:
    """Whether an address can be an article's: /rubric/2024/02/29/1834.shtml, /comments/column/x/1.shtml…"""
    path = unquote(urlsplit(url).path)
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] in NO_ARTICLES or "results" in parts or "matches" in parts:
        return False
    return bool(_DATED.search(path)) or (len(parts) > 1 and bool(_NUMBERED.search(path)))


def url_day(url: str) -> str:
    """The day in an address, "YYYY-MM-DD", or "" where it has none."""
    if not (match := _DAY.search(urlsplit(url).path)):
        return ""
    try:
        return datetime(*map(int, match.groups())).strftime("%Y-%m-%d")
    except ValueError:
        return ""


def url_rubric(url: str) -> str:
    """The section in an address: the first part that is neither a format ("news") nor a date."""
    for part in urlsplit(url).path.split("/")[:-1]:
        if part and not part.isdigit() and part not in FORMATS:
            return part if re.fullmatch(r"[a-z][a-z_-]{1,30}", part) else ""
    return ""


# ------------------------------------------------------------------ one article


def parse_article(body: bytes, url: str, content_type: str = "") -> Article:
    """The article of one page as fetched.

    content_type: the HTTP header of that name, for its charset.
    Raises NotAnArticle for a page that is well and holds none, PageChanged for one that should hold an
    article whose title, text or date no selector finds.
    """
    try:
        page = _Page(body, url, content_type)
    except ValueError as error:
        raise NotAnArticle(f"{error}: {url}") from None
    page.refuse_other_kinds()
    title, text = page.title(), page.text()
    date = page.date()
    missing = [name for name, value in (("title", title), ("text", text), ("date", date)) if not value]
    if missing:
        page.complain(missing, bool(title))
    summary, origin = page.summary(text)
    return Article(
        url=page.address,
        title=title,
        summary=summary,
        text=text,
        date=date,
        rubric=page.rubric(),
        subtitle=page.subtitle,
        summary_origin=origin,
        era=page.era,
        site=SITE,
    )


class _Page:
    """One page on its way to an article. The order of calls matters: the lead is cut out before the text."""

    def __init__(self, body: bytes, url: str, content_type: str):
        self.url = url
        self.tree = tree(decode(body, content_type))
        self.find = Finder(self.tree).find
        self.linked = [data for data in json_ld(self.tree) if _is_article(data)]
        self.root, self.era = self._root()
        self.own_canonical = self._canonical()
        self.address = canonical_url(self.own_canonical if same_site(self.own_canonical, url) else url)
        self.subtitle = next(
            (words for node in self.find(self.root, SUBTITLES) if (words := _words(node))),
            self._ld("alternativeHeadline"),
        )
        self.lead = self._cut_lead()

    def _root(self) -> tuple[etree._Element, str]:
        """The element that holds the whole article: the first that has a headline or a body inside."""
        # A body of 2013 is any div.text, which cards of other articles have as well.
        bodies = [row for row in BODIES if row[0] != "2013"]
        anchors = ", ".join(css for _, css in [*TITLES, *bodies])
        for era, css in ROOTS:
            for node in self.find(self.tree, css):
                if self.find(node, anchors):
                    return node, era
        body = self.tree.find("body")
        return (self.tree if body is None else body), ""

    def _canonical(self) -> str:
        """What the page itself gives as its address, if that is an article's."""
        links = [node.get("href", "") for node in self.tree.iter("link") if node.get("rel") == "canonical"]
        metas = [
            node.get("content", "") for node in self.tree.iter("meta") if node.get("property") == "og:url"
        ]
        for written in [*links[:2], *metas[:2]]:
            address = urljoin(self.url, clean(written))
            if is_article_url(address):
                return address
        return self.url

    def _ld(self, *names: str) -> str:
        for data in self.linked:
            for name in names:
                value: Any = data.get(name)
                if isinstance(value, list) and value:
                    value = value[0]
                if isinstance(value, str) and clean(value):
                    return value if name == "articleBody" else clean(value)
        return ""

    def _meta(self, *names: str) -> str:
        metas = list(self.tree.iter("meta"))
        for name in names:
            for node in metas:
                own = name in (node.get("property"), node.get("name"), node.get("itemprop"))
                if own and (value := clean(node.get("content", ""))):
                    return value
        return ""

    def refuse_other_kinds(self) -> None:
        """Raise NotAnArticle for pages that say themselves that they are something else."""
        head = clean(self.tree.findtext(".//title") or "")
        for reason, css in NOT_ARTICLES:
            if self.find(self.tree, css) and not self._has_body():
                raise NotAnArticle(f"{reason}: {self.url}")
        if urlsplit(self.url).path.startswith("/auth/"):
            raise NotAnArticle(f"login page: {self.url}")
        if _NOT_FOUND_TITLE.search(head) and not self._has_body():
            raise NotAnArticle(f"error page: {self.url}")
        live = any("LiveBlogPosting" in str(data.get("@type")) for data in self.linked)
        if (
            live
            or self.find(self.tree, LIVE)
            or _LIVE_TITLE.search(self.subtitle)
            or _LIVE_TITLE.search(self._title()[0])
        ):
            raise NotAnArticle(f"live report: {self.url}")

    def complain(self, missing: list[str], has_title: bool) -> None:
        """Raise what a page with missing fields deserves: PageChanged if it should hold an article."""
        if too_deep(self.tree):
            raise NotAnArticle(f"nested too deep: {self.url}")
        gallery = bool(self.find(self.tree, GALLERY)) or "/photo/" in urlsplit(self.url).path
        if gallery and "text" in missing:
            raise NotAnArticle(f"gallery: {self.url}")
        if missing == ["text"] and has_title and self._bodies():
            # The anchors are all there and nothing is written: a video, a picture, a card.
            raise NotAnArticle(f"no text: {self.url}")
        declared = self._meta("og:type") == "article" or bool(self.linked) or bool(self.era)
        if declared or is_article_url(self.url):
            raise PageChanged(self.url, missing, self.era, selectors(self.era))
        raise NotAnArticle(f"not an article: {self.url}")

    def _title(self) -> tuple[str, str]:
        for era, css in TITLES:
            for node in self.find(self.root, css):
                if (words := _words(node)) and not _inside_silent(node, self.root) and not _is_subtitle(node):
                    return _TITLE_TAIL.sub("", words), era
        return "", ""

    def title(self) -> str:
        words, era = self._title()
        # The layout of 2024 is the one of 2021 with the headline in an h2.
        self.era = self.era or era
        if self.era == "2021" and self.find(self.root, "h2.headline"):
            self.era = "2024"
        fallback = self._ld("headline", "name") or self._meta("og:title", "twitter:title")
        return words or _TITLE_TAIL.sub("", fallback)

    def _bodies(self) -> list[etree._Element]:
        for _, css in BODIES:
            found = [node for node in self.find(self.root, css) if node.tag != "meta"]
            if found:
                known = set(found)
                return [node for node in found if known.isdisjoint(node.iterancestors())]
        return []

    def _has_body(self) -> bool:
        """Whether an article's text has its place here, by any row of the table wherever it stands.

        Outside an article's element only the rows of every layout count, the itemprop: any page may have a
        div.text.
        """
        inside = self.root.tag not in {"html", "body"}
        bodies = ", ".join(css for era, css in BODIES if inside or not era)
        return bool(self.find(self.root, bodies))

    def text(self) -> str:
        lines: list[str] = []
        for body in self._bodies():
            for element, told in groupby(paragraphs(body, _is_silent), key=itemgetter(0)):
                said = [words for _, words in told]
                only_links = _only_links(element, said)
                for words in said:
                    if _CUT_OFF.match(words) and len(words) < 60:
                        return "\n".join(lines)
                    if not _SILENT_PARAGRAPH.match(words) and words not in only_links:
                        lines.append(words)
        if not lines and not self._bodies():
            written = self._ld("articleBody")
            if _MARKED_UP.search(written):
                body = tree(f"<div>{written}</div>")
                written = "\n".join(words for _, words in paragraphs(body, _is_silent))
            lines = [words for line in written.split("\n") if (words := clean(line))]
            self.era = self.era or ("json-ld" if lines else "")
        return "\n".join(lines)

    def date(self) -> str:
        for era, css in DATES:
            for node in self.find(self.root, css):
                written = node.get("datetime") or node.get("content") or inline_text(node)
                if date := moscow_date(written):
                    self.era = self.era or era
                    return date
        date = moscow_date(self._ld("datePublished") or self._meta("article:published_time", "datePublished"))
        if date:
            return date
        day = url_day(self.url) or url_day(self.own_canonical)
        return f"{day} 00:00:00" if day else ""

    def rubric(self) -> str:
        """The slug of the section: from the address, or from the page's own link to its section."""
        for address in (self.url, self.own_canonical):
            if slug := url_rubric(address):
                return slug
        for node in self.find(self.tree, RUBRIC_LINKS):
            href = urlsplit(urljoin(self.url, node.get("href", "")))
            match = _SLUG.match(href.path)
            if match and match[1] not in FORMATS and same_site(href.geturl(), self.url):
                return match[1]
        return ""

    def _cut_lead(self) -> str:
        """The lead, taken out of the tree: in 2013 it opens the first paragraph of the text."""
        around = {parent for body in self._bodies() for parent in body.iterancestors()}
        for node in [node for _, css in LEADS for node in self.find(self.root, css)]:
            if node.tag == "meta" or _inside_silent(node, self.root) or _inside_card(node, self.root, around):
                continue
            words = _words(node)
            if not words:
                continue
            cut(node)  # what follows the lead in its paragraph stays
            if squeezed(words) != squeezed(self.subtitle):
                return words
        return ""

    def summary(self, text: str) -> tuple[str, str]:
        """(summary, origin): the lead; or a description of its own; or the first paragraph.

        A news item has no lead, and its description repeats the first paragraph, sometimes cut short or typed
        a little differently: then the paragraph itself is the summary, and `Article.source` leaves it out.
        """
        first = text.partition("\n")[0]
        opening = squeezed(first)
        lead = self.lead
        if lead and squeezed(lead) != opening:
            return lead, LEAD
        written = self._ld("description") or self._meta("description", "og:description")
        description = re.sub(r"(?:\.\.\.|…)$", "", written).strip()
        same = squeezed(description)
        others = {squeezed(self.subtitle), squeezed(self._title()[0]), ""}
        if len(description) < 60 or same in others:
            return first, FIRST_PARAGRAPH
        if (
            opening.startswith(same)
            or same.startswith(opening[:40])
            or description != written.strip()
            or "Газета.Ru" in description[-40:]
        ):
            return first, FIRST_PARAGRAPH
        return description, DESCRIPTION


def selectors(layout: str = "") -> dict[str, str]:
    """What is tried for each field, for alarms and error texts; with a layout's name only what it could have.

    The layout of 2024 is the one of 2021 with the headline in another tag.
    """
    wanted = {"", layout, "2021"} if layout == "2024" else {"", layout}

    def of(table: list[tuple[str, str]]) -> str:
        return ", ".join(css for era, css in table if not layout or era in wanted)

    return {
        "title": of(TITLES),
        "text": of(BODIES),
        "date": of(DATES),
        "summary": of(LEADS),
        "lead": of(LEADS),
        "rubric": "address, " + RUBRIC_LINKS,
    }


def _is_article(data: dict[str, Any]) -> bool:
    kinds = data.get("@type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return any(str(name).endswith(("Article", "BlogPosting", "Report")) for name in names)


def _words(node: etree._Element) -> str:
    """An element's clean text; of a meta its content."""
    return clean(node.get("content", "")) if node.tag == "meta" else clean(inline_text(node, _is_silent))


def _is_silent(node: etree._Element) -> bool:
    names = node.get("class")
    return bool(names) and bool(_SILENT_CLASS.search(names))


def _inside_silent(node: etree._Element, root: etree._Element) -> bool:
    above = takewhile(lambda one: one is not root, node.iterancestors())
    return any(_is_silent(parent) or parent.tag in {"aside", "nav", "figure", "footer"} for parent in above)


def _inside_card(node: etree._Element, root: etree._Element, around: set[etree._Element]) -> bool:
    """Inside a link or another item's own scope: a teaser of another article, an author, a picture.

    around: the elements that the article's text stands in; a scope of theirs is the article's own.
    """
    for parent in takewhile(lambda one: one is not root, [node, *node.iterancestors()]):
        if parent.tag == "a":
            return True
        if parent is not node and parent.get("itemscope") is not None and parent not in around:
            return True
    return False


def _is_subtitle(node: etree._Element) -> bool:
    """Which heading is which the itemprop tells, and where there is none the class."""
    said = node.get("itemprop", "").split()
    return "headline" not in said and ("alternativeHeadline" in said or "subheader" in node.get("class", ""))


def _only_links(element: etree._Element, lines: list[str]) -> set[str]:
    """The lines of an element that are one link and no sentence: "read also" without saying so."""
    loose = {line for line in lines if not _SENTENCE_END.search(line)}
    return loose & {clean(inline_text(link)) for link in _OUTER_LINKS(element)} if loose else loose


# ------------------------------------------------------------------ listings


@dataclass(frozen=True)
class Listing:
    """What one page of a listing gives: (address, day or "") of each article, and where older ones are."""

    articles: list[tuple[str, str]]
    older: str  # the address of the next page, "" when there is none
    oldest: str  # the day that page starts from


MAX_LISTED = 2000  # a real page lists 20 to 60
_FIRST_MOMENT = 915148800  # 1 January 1999: the site is not older


def listing_urls(base: str, rubrics: Iterable[str] = ()) -> list[str]:
    """The first page of each listing: the news of all sections and every section, or the named ones."""
    names = tuple(rubrics) or ("news", *RUBRICS)
    return [f"{base}/{name}/" for name in names]


def parse_listing(body: bytes, url: str, content_type: str = "") -> Listing:
    """The articles that a listing page links, and the address of the page before it in time.

    Times stand in data-pubtime (2021 to 2023), data-pub_time (2026) or meta[itemprop=position] (2015 to
    2021). The next page asks for what is older than the oldest of them; where no item has one, for three days
    earlier.
    """
    try:
        page = tree(decode(body, content_type))
    except ValueError:
        return Listing([], "", "")
    found: dict[str, str] = {}
    for node in page.iter("a"):
        if len(found) >= MAX_LISTED:
            break
        try:
            address = urljoin(url, clean(node.get("href", ""))[:1000])
            if is_article_url(address) and same_site(address, url):
                found.setdefault(canonical_url(address), url_day(address))
        except ValueError:
            continue
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
        # The first page is a whole page, with old favourites in its sidebars. Going on from the middle of the
        # list costs a page that is half known; going on from a favourite would leave a hole.
        oldest = sorted(moments, reverse=True)[len(moments) * 6 // 10]
    elif moments:
        oldest = min(moments)
    elif found and asked:
        oldest = asked - 3 * 86400
    else:
        return Listing(list(found.items()), "", "")
    if (asked and oldest >= asked) or oldest <= _FIRST_MOMENT:
        return Listing(list(found.items()), "", "")
    when = to_moscow(datetime.fromtimestamp(oldest, UTC))
    value = f"{when:%d.%m.%Y_%H:%M}" if minutes else str(oldest)
    path = canonical_url(url)
    return Listing(list(found.items()), f"{path}?p=page&{named}={value}", when.strftime("%Y-%m-%d"))


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
