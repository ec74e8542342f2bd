"""Pages that attack the crawler, served with --hostile only.

awkward.json says what a crawler should do with them: "kept", "dropped" and "not_followed" as for the awkward
pages; "refused" pages must be counted and skipped without using up memory or time.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from functools import cache, partial

from outlet.answers import FIRST_INDEX, HTML, SEED, Answer, Request, Response, Special, Table, moved, shown
from outlet.layouts import render
from outlet.lists import SCHEMA, XML
from outlet.stories import Story

MEGABYTE = 2**20
BOMB = 1024 * MEGABYTE
HUGE = 200 * MEGABYTE
LINKS = 1_000_000
NESTED = 100_000
# With --hostile the listing of this section never ends, and every page of it has something new.
ENDLESS = "family"


def hostile_pages() -> list[Special]:
    table = Table(first_index=FIRST_INDEX + 1000, seed=SEED + 1)

    def add(name: str, what: str, expected: str, answer: Answer | None, story: Story | None = None) -> None:
        minute = len(table.pages)
        story = story or table.story(f"2023-02-03 10:{minute:02}:00", "tech")
        table.add(name, what, expected, story, answer)

    add("gzip_bomb", "1 GiB of spaces in a megabyte of gzip", "refused", lambda request: _bomb())
    add("huge_page", "200 MiB of paragraphs, announced in Content-Length", "refused", lambda request: _huge())
    add("endless_body", "a chunked body without an end", "refused", lambda request: _endless())
    add("million_links", "a page of a million links to other pages", "refused", lambda request: _links())
    add("deep_nesting", "100,000 nested tags", "refused", _nested)

    story = table.story("2023-02-03 11:00:00", "tech")
    picture = shown(story, content_type="image/jpeg")
    add("wrong_type", "an article that the header calls a picture", "dropped", picture, story)
    jpeg = Response(200, b"\xff\xd8\xff\xe0" + bytes(range(256)) * 64, HTML)
    add("not_html", "a picture that the header calls HTML", "dropped", lambda request: jpeg)
    story = table.story("2023-02-03 11:02:00", "tech")
    what = "NUL, escape codes and lone surrogates in the text"
    add("control_characters", what, "kept", _dirty(story), story)
    story = table.story("2099-01-01 10:00:00", "tech")
    add("future_date", "an article dated 2099", "dropped", None, story)

    def astray(name: str, where: str) -> None:
        add(name, f"302 to {where}", "not_followed", lambda request: moved(where, 302))

    astray("moved_to_metadata", "http://169.254.169.254/latest/meta-data/")
    astray("moved_to_loopback_6", "http://[::1]:22/")
    astray("moved_to_a_file", "file:///etc/passwd")
    return table.pages


@cache
def _bomb_bytes() -> bytes:
    """One gzip member of BOMB spaces.

    A compressed block that ends in a full flush can be repeated unchanged, so a gigabyte costs the time of
    compressing one megabyte and of the checksum.
    """
    block = b" " * MEGABYTE
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(BOMB // MEGABYTE):
        checksum = zlib.crc32(block, checksum)
    header, last_block = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", b"\x03\0"
    return header + packed * (BOMB // MEGABYTE) + last_block + struct.pack("<II", checksum, BOMB % 2**32)


def _bomb() -> Response:
    return Response(200, _bomb_bytes(), HTML, (("Content-Encoding", "gzip"),))


def _huge() -> Response:
    paragraph = "<p>Абзац, за которым следует точно такой же абзац.</p>\n".encode()
    block = (paragraph * (MEGABYTE // len(paragraph) + 1))[:MEGABYTE]
    stream = partial(itertools.repeat, block, HUGE // MEGABYTE)
    return Response(200, content_type=HTML, stream=stream, length=HUGE)


def _endless() -> Response:
    block = "<p>И ещё одна новость.</p>\n".encode() * 2000
    return Response(200, content_type=HTML, stream=lambda: itertools.repeat(block))


def _links() -> Response:
    def body() -> Iterator[bytes]:
        yield b"<html><body>"
        for first in range(0, LINKS, 1000):
            yield "".join(
                f'<a href="/tech/news/2023/02/03/{number}.shtml">{number}</a>\n'
                for number in range(50_000_000 + first, 50_001_000 + first)
            ).encode()
        yield b"</body></html>"

    return Response(200, content_type=HTML, stream=body)


def _nested(request: Request) -> Response:
    return Response(200, b"<html><body>" + b"<div>" * NESTED + "Дно".encode() + b"</div>" * NESTED)


def _dirty(story: Story) -> Answer:
    """The story with characters that no text may contain; without them it is as expected."""
    marks = ["\x00", "&#0;", "&#x1F;", "\x1b", "&#xD800;", "\u200b", "&#8238;", "\ufeff"]

    def answer(request: Request) -> Response:
        head, mark, body = render(story, request.base, []).partition('itemprop="articleBody">')
        first, *paragraphs = body.split("<p>")
        dirty = [f"<p>{marks[turn % len(marks)]}{words}" for turn, words in enumerate(paragraphs)]
        text = head + mark + first + "".join(dirty)
        # A lone surrogate as the three bytes that a careless encoder writes for it.
        return Response(200, text.encode().replace(b"</p>", b"\xed\xa0\x80</p>", 1), HTML)

    return answer


def sitemap_of_entities(base: str) -> str:
    """Entities that refer to a file, to another host and, ten times per level, to each other."""
    bombs = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">\n' for level in range(1, 10))
    return (
        f'{XML}<!DOCTYPE urlset [\n<!ENTITY file SYSTEM "file:///etc/passwd">\n'
        f'<!ENTITY far SYSTEM "http://169.254.169.254/">\n<!ENTITY l0 "ha">\n{bombs}]>\n'
        f"<urlset {SCHEMA}>\n<url><loc>{base}/tech/&file;</loc></url>\n"
        f"<url><loc>{base}/tech/&far;&l9;</loc></url>\n</urlset>\n"
    )


def sitemap_of_links() -> Response:
    """A sitemap of a million addresses on another host."""

    def body() -> Iterator[bytes]:
        yield f"{XML}<urlset {SCHEMA}>\n".encode()
        for first in range(0, LINKS, 1000):
            yield "".join(
                f"<url><loc>http://other-outlet.invalid/2023/02/03/{number}.shtml</loc></url>\n"
                for number in range(first, first + 1000)
            ).encode()
        yield b"</urlset>\n"

    return Response(200, content_type="application/xml", stream=body)
