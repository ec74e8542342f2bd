"""Sitemaps and feeds of any site: bytes in, links out. No network, no entities, bounded in size."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass

from lxml import etree

from gazeta.sites.html import moscow_date

MAX_LINKS = 50_000  # what the sitemap protocol allows in one file
MAX_XML_BYTES = 52_428_800  # and its limit for the size, uncompressed


# The root's end tag, or a root without content; servers write a comment after it at most.
_END = re.compile(
    rb"(?:</\s*(?:\w+:)?(?:urlset|sitemapindex|rss|rdf|feed)\s*|<(?:urlset|sitemapindex)[^<>]*/)>(?:\s|<!--.*?-->)*+\Z",
    re.I | re.S,
)


class BadSource(Exception):
    """Not a sitemap or feed, or one that is larger than the protocol allows."""


@dataclass(frozen=True)
class Entry:
    """One address that a sitemap or feed names. lastmod is as written, day "YYYY-MM-DD" of it in Moscow."""

    url: str
    lastmod: str = ""
    day: str = ""
    is_sitemap: bool = False


def unpack(body: bytes) -> bytes:
    """The body, unpacked if it is gzip. Raises BadSource for a bomb or a broken archive."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(MAX_XML_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadSource(f"broken gzip: {error}") from None
    if len(unpacked) > MAX_XML_BYTES:
        raise BadSource(f"unpacks to more than {MAX_XML_BYTES // 2**20} MB")
    return unpacked


def is_whole(body: bytes) -> bool:
    """Whether a sitemap or feed that could be parsed has its end: half of one parses as well."""
    return bool(_END.search(unpack(body)[-2000:]))


def parse_source(body: bytes) -> tuple[list[Entry], int]:
    """(entries, how many more were left out) of a sitemap, a sitemap index, a news sitemap, RSS or Atom.

    External entities are never fetched, internal ones never expanded. A broken tail keeps what came before
    it. Raises BadSource if the root element is none of these.
    """
    entries: list[Entry] = []
    left_out = 0
    seen_root = False
    # Parsed as it streams, each entry freed when read: a 50 MB file takes no more memory than its links.
    parser = etree.iterparse(
        io.BytesIO(unpack(body)),
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        recover=True,
        huge_tree=False,
        remove_comments=True,
    )
    try:
        for event, node in parser:
            name = etree.QName(node).localname.lower() if isinstance(node.tag, str) else ""
            if event == "start":
                if not seen_root and name not in {"urlset", "sitemapindex", "rss", "rdf", "feed"}:
                    raise BadSource(f"the root element is <{name[:40]}>, not a sitemap or feed")
                seen_root = True
                continue
            if name not in {"url", "sitemap", "item", "entry"}:
                continue
            entry = _entry(node, name)
            node.clear()
            while node.getprevious() is not None:
                del node.getparent()[0]
            if entry and len(entries) < MAX_LINKS:
                entries.append(entry)
            elif entry:
                left_out += 1
    except etree.XMLSyntaxError as error:
        if not entries:
            raise BadSource(f"no XML: {str(error)[:200]}") from None
    if not seen_root:
        raise BadSource("empty")
    return entries, left_out


def _entry(node: etree._Element, name: str) -> Entry | None:
    found: dict[str, str] = {}
    for child in node.iter():
        if not isinstance(child.tag, str):
            continue
        key = etree.QName(child).localname.lower()
        value = (child.text or "").strip() or (child.get("href", "") if key == "link" else "")
        if value and key not in found:
            found[key] = value
    url = found.get("loc") or found.get("link") or found.get("guid") or found.get("id") or ""
    if not url or len(url) > 2000:
        return None
    written = found.get("lastmod", "")[:40]
    when = (
        written or found.get("publication_date", "") or found.get("published", "") or found.get("updated", "")
    )
    day = moscow_date(when or found.get("pubdate", ""))[:10]
    return Entry(url, written, day, name == "sitemap")
