"""What parsing news pages of any site needs: text to tree, tree to clean paragraphs, dates.

Everything here is pure, and its work is linear in the size of the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

from lxml import etree
from lxml.cssselect import CSSSelector

MOSCOW = ZoneInfo("Europe/Moscow")
MAX_TREE_BYTES = 8_000_000
# Private characters that `tree` and `clean` take out of every page: they stand for <br>, <a> and </a>.
BREAK, LINK_BEGINS, LINK_ENDS = "\ue000", "\ue001", "\ue002"
MAX_DEPTH = 200
MAX_JSON_LD = 20  # blocks looked at; real pages have one to three

_MARKUP = re.compile(r"<(?:!doctype|html|head|title|body|meta|article|div|p|span|a|h[1-6]|table|ul)\b", re.I)
# Controls, zero-width and direction marks, soft hyphens, lone surrogates, replacements, non-characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffd\ufffe\uffff\ud800-\udfff\ue000-\ue002]"
)
_LINK_BEGINS = re.compile(rf"(\w{{0,40}}){LINK_BEGINS}(\w?)")
_LINK_ENDS = re.compile(rf"(\w?){LINK_ENDS}(\w{{0,40}})")
LINE_ENDS = re.compile("\r\n?|[\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});", re.I)
_BARE_SENTENCE = re.compile(r"[.!?…]$|\S\s+\S+\s+\S.*[:;»\")]$")
_WHITE = re.compile(r"\s+")
_ALNUM = re.compile(r"[^\w]+|_")
_MONTHS = {
    "января": 1, "февраля": 2, "марта": 3, "апреля": 4, "мая": 5, "июня": 6,
    "июля": 7, "августа": 8, "сентября": 9, "октября": 10, "ноября": 11, "декабря": 12,
}  # fmt: skip
_RUSSIAN_DATE = re.compile(
    rf"(\d{{1,2}})\s+({'|'.join(_MONTHS)})\s+(\d{{4}})(?:\D{{1,5}}(\d{{1,2}}):(\d\d)(?::(\d\d))?)?"
)
_DOTTED_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:\D{1,5}(\d{1,2}):(\d\d)(?::(\d\d))?)?")
_RFC822_DATE = re.compile(
    r"\b\d{1,2} (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* \d{4} \d\d:\d\d", re.I
)
_ISO_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T\s]+(\d\d):(\d\d)(?::(\d\d))?(?:[.,]\d+)?\s*(Z\b|UTC|GMT|[+-]\d\d(?::?\d\d)?(?!\d))?)?",
    re.I,
)

# Never part of what an article says.
SILENT_TAGS = frozenset(
    (
        "script", "style", "noscript", "iframe", "form", "button", "select", "textarea", "figure", 
        "figcaption", "aside", "nav",
        "template", "svg", "math", "video", "audio", "object", "embed", "canvas", "head",
        "title",
    )
)  # fmt: skip
BLOCK_TAGS = frozenset(
    (
        "p", "li", "blockquote", "div", "section", "article", "table", "tr", "td", "ul", "ol", "dl", "dd",
        "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre",
    )
)  # fmt: skip


def tree(text: str) -> etree._Element:
    """The page's element tree; raises ValueError if there is none. libxml2 itself limits the depth."""
    if not _MARKUP.search(text[:200_000]):
        raise ValueError("no HTML")
    data = _UNPRINTABLE.sub("", LINE_ENDS.sub("\n", text)).encode("utf-8", "replace")[:MAX_TREE_BYTES]
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"no HTML ({error})") from None
    if root is None:
        raise ValueError("no HTML")
    return root


def cut(node: etree._Element) -> None:
    """Take an element out of its tree; the text after it stays."""
    parent = node.getparent()
    if parent is None:
        return
    before = node.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (node.tail or "")
    else:
        parent.text = (parent.text or "") + (node.tail or "")
    parent.remove(node)


class Finder:
    """CSS selectors over one page. A selector that names a class or tag which the page lacks costs nothing.

    Most selectors of a parser are for other layouts than the page at hand; leaving those out makes parsing
    about twice as fast.
    """

    def __init__(self, root: etree._Element):
        self.names: set[str] = set()
        for node in root.iter(etree.Element):
            self.names.add(node.tag)
            for attribute, mark in (("class", "."), ("itemprop", "@")):
                if written := node.get(attribute):
                    self.names.update(mark + name for name in written.split())

    def find(self, root: etree._Element, css: str) -> list[etree._Element]:
        """The elements under `root` that match, in the order of the page."""
        possible = tuple(one for one, names in _alternatives(css) if names <= self.names)
        return _selector(possible)(root) if possible else []


@cache
def _alternatives(css: str) -> list[tuple[str, frozenset[str]]]:
    """Each selector of a comma list, with the tags, .classes and @itemprops that it cannot match without."""
    found = []
    for one in css.split(","):
        names = {f".{name}" for name in re.findall(r"\.([\w-]+)", one)}
        names |= {f"@{name}" for name in re.findall(r"\[itemprop~=([\w-]+)\]", one)}
        names |= set(re.findall(r"(?:^|\s)([a-z][a-z0-9]*)", one))
        found.append((one.strip(), frozenset(names)))
    return found


@cache
def _selector(alternatives: tuple[str, ...]) -> CSSSelector:
    return CSSSelector(", ".join(alternatives), translator="html")


def too_deep(root: etree._Element) -> bool:
    """Whether elements are nested deeper than any page that people write."""
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def clean(text: str) -> str:
    """One line: no control or zero-width characters, every run of white space (nbsp too) one space.

    Entities that are left in the text were written twice, or in a place without entities, such as JSON.
    """
    for _ in range(2):
        if "&" in text:
            text = _ENTITY.sub(lambda match: unescape(match[0]), text)
    return _WHITE.sub(" ", _UNPRINTABLE.sub("", text)).strip()


def squeezed(text: str) -> str:
    """Letters and digits only, lower case: equal for texts that differ in spaces, quotes and dashes."""
    return _ALNUM.sub("", text).lower()


def inline_text(
    element: etree._Element, silent: Callable[[etree._Element], bool] = lambda _: False, line_break: str = " "
) -> str:
    """The text that an element shows, with the source's spaces: words stay apart at links and line breaks.

    silent: elements to leave out, with all that is in them (their tail stays).
    """
    parts: list[str] = []
    skip = None
    for event, node in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            if skip is not None:
                continue
            if node is not element and (
                not isinstance(node.tag, str) or node.tag in SILENT_TAGS or silent(node)
            ):
                skip = node
                continue
            if node is not element and node.tag == "br":
                parts.append(line_break)
            elif node is not element and node.tag in BLOCK_TAGS:
                parts.append(" ")
            if node.tag == "a":
                parts.append(LINK_BEGINS)
            if node.text:
                parts.append(node.text)
        else:
            if skip is node:
                skip = None
            elif skip is None and node.tag == "a":
                parts.append(LINK_ENDS)
            elif skip is None and node is not element and node.tag in BLOCK_TAGS:
                parts.append(" ")
            if skip is None and node is not element and node.tail:
                parts.append(node.tail)
    text = "".join(parts)
    if LINK_BEGINS in text:
        text = _LINK_BEGINS.sub(_before_link, _LINK_ENDS.sub(_after_link, text))
    return text


def _before_link(match: re.Match[str]) -> str:
    word, first = match.groups()
    return f"{word} {first}" if _glued(word, word[-1:], first) else word + first


def _after_link(match: re.Match[str]) -> str:
    last, word = match.groups()
    return f"{last} {word}" if _glued(word, last, word[:1]) else last + word


def _glued(outside: str, left: str, right: str) -> bool:
    """Whether an editor forgot the space at a link. An ending that declines the link's word is shorter."""
    if not (left.isalpha() and right.isalpha()):
        return False
    return len(outside) > 3 or (left.islower() and right.isupper())


def paragraphs(
    body: etree._Element,
    silent: Callable[[etree._Element], bool],
    kinds: tuple[str, ...] = ("p", "li", "pre"),
) -> Iterator[tuple[etree._Element, str]]:
    """(element, clean text) of each paragraph of a body, in order. Two line breaks end a paragraph as well.

    A heading that asks a question, as in an interview, counts as one. So does a sentence outside of `kinds`,
    such as in a div or beside a p; other bare words are labels. If the body has almost no paragraphs (old
    pages have bare text with <br>), all its bare text is used.
    """
    found: list[tuple[etree._Element, str]] = []
    bare: list[str] = []
    own = False  # whether there are words outside of links
    skip = None
    tables = 0

    def flush(node: etree._Element) -> None:
        nonlocal own
        if own and not tables:
            found.extend((node, part) for part in _split("".join(bare)) if _BARE_SENTENCE.search(part))
        bare.clear()
        own = False

    def add(text: str | None) -> None:
        nonlocal own
        if text:
            bare.append(text)
            own = own or bool(text.strip())

    for event, node in etree.iterwalk(body, events=("start", "end")):
        if event == "end":
            ended = skip is node
            if ended:
                skip = None
            if skip is None and node is not body:
                if not ended and node.tag in BLOCK_TAGS:
                    flush(node)
                tables -= node.tag == "table" and not ended
                add(node.tail)
            continue
        if skip is not None:
            continue
        if node is not body and (not isinstance(node.tag, str) or node.tag in SILENT_TAGS or silent(node)):
            skip = node
        elif node is not body and (node.tag in kinds or _is_question(node)):
            flush(node)
            found += [(node, part) for part in _split(inline_text(node, silent, BREAK))]
            skip = node  # a paragraph inside a list item counts once
        elif node is not body and (node.tag == "a" or node.tag in _HEADINGS):
            skip = node  # a link around whole paragraphs is the card of another article
            if node.tag == "a" and not any(True for _ in node.iter(*BLOCK_TAGS)):
                bare.append(inline_text(node, silent, BREAK))
        elif node.tag == "br":
            bare.append(BREAK)
        else:
            if node.tag in BLOCK_TAGS:
                flush(node)
            tables += node.tag == "table"
            add(node.text)
    flush(body)
    length = sum(len(part) for _, part in found)
    if length < 200:
        bare_text = list(_split(_bare(body, silent)))
        if sum(map(len, bare_text)) > 3 * length:
            return iter([(body, part) for part in bare_text])
    return iter(found)


_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))


def _is_question(node: etree._Element) -> bool:
    """Whether a heading is a question that somebody asks, and no link to another page."""
    return node.tag in _HEADINGS and node.find(".//a") is None and clean(inline_text(node)).endswith("?")


def _bare(body: etree._Element, silent: Callable[[etree._Element], bool]) -> str:
    def heading(node: etree._Element) -> bool:
        return node.tag in _HEADINGS or silent(node)

    parts = []
    for child in body.iter("p", "div", "li"):
        child.tail = f"{BREAK}{BREAK}{child.tail or ''}"
    parts.append(inline_text(body, heading, BREAK))
    return "".join(parts)


def _split(text: str) -> list[str]:
    pieces = re.split(rf"(?:{BREAK}\s*){{2,}}", text)
    return [line for piece in pieces if (line := clean(piece.replace(BREAK, " ")))]


def json_ld(root: etree._Element) -> list[dict[str, Any]]:
    """Every object of the page's JSON-LD, nested @graph and lists unfolded. Broken blocks are left out."""
    found: list[dict[str, Any]] = []
    scripts = [node for node in root.iter("script") if "ld+json" in node.get("type", "").lower()]
    for script in scripts[:MAX_JSON_LD]:
        try:
            loaded = json.loads(script.text or "", strict=False)
        except (ValueError, RecursionError):
            continue
        stack = [loaded]
        while stack and len(found) < 200:
            value = stack.pop()
            if isinstance(value, list):
                stack.extend(reversed(value[:200]))
            elif isinstance(value, dict):
                found.append(value)
                stack.extend(
                    inner
                    for key in ("@graph", "mainEntity")
                    if isinstance(inner := value.get(key), list | dict)
                )
    return found


def moscow_date(text: str) -> str:
    """ "YYYY-MM-DD HH:MM:SS" in Moscow time, or "" if the text holds no date.

    Reads ISO 8601 and RFC 822 (with an offset they are converted, without one it is Moscow time already),
    "15.10.2013, 12:30" and "29 декабря 2021, 23:42". A day without a time gets 00:00:00.
    """
    text = clean(text)
    offset = None
    if match := _ISO_DATE.search(text):
        year, month, day, hour, minute, second, offset = match.groups()
    elif _RFC822_DATE.search(text):
        return _rfc822(text)
    elif match := _DOTTED_DATE.search(text):
        day, month, year, hour, minute, second = match.groups()
    elif match := _RUSSIAN_DATE.search(text.lower()):
        day, name, year, hour, minute, second = match.groups()
        month = _MONTHS[name]
    else:
        return ""
    try:
        when = datetime(*map(int, (year, month, day, hour or 0, minute or 0, second or 0)))
    except ValueError:
        return ""
    if offset and when.year > 1:
        sign = -1 if offset[0] == "-" else 1
        digits = offset.strip("+-").replace(":", "")
        known = digits.isdecimal()  # else it is UTC by one of its names
        shift = (
            sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0)) if known else timedelta()
        )
        when = to_moscow(when.replace(tzinfo=UTC) - shift)
    return when.strftime("%Y-%m-%d %H:%M:%S") if when.year >= 1000 else ""


def _rfc822(text: str) -> str:
    try:
        when = parsedate_to_datetime(text)
        when = to_moscow(when) if when.tzinfo else when
    except (ValueError, TypeError, OverflowError):
        return ""
    return when.strftime("%Y-%m-%d %H:%M:%S") if when.year >= 1000 else ""


def to_moscow(when: datetime) -> datetime:
    """A moment with a time zone as Moscow's wall clock, without a time zone."""
    return when.astimezone(MOSCOW).replace(tzinfo=None)
