"""Everything the stand-in site answers, apart from HTTP: a path and its query in, a Response out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from outlet import hostile, second
from outlet.answers import HTML, Request, Response, Special, moved, page
from outlet.awkward import BROKEN, NOT_FOUND, SSO
from outlet.lists import Lists
from outlet.markup import CP1251, encode
from outlet.stats import Stats
from outlet.stories import RUBRICS, Story

HOST_NAME = re.compile(r"^[A-Za-z0-9.-]+(:\d{1,5})?$")
SECTIONS = frozenset(RUBRICS) | {"news"}
ROBOTS = """User-Agent: *
Allow: /
Disallow: /cgi-bin
Disallow: /print
Disallow: /vote
Disallow: /tmp
Disallow: /*?p=dump_*
Disallow: /*?p=comments*
Disallow: /search.shtml
Disallow: /search
Disallow: /rss
Disallow: /export
Allow:    /export/rss/
Disallow: /dynamic/
Disallow: /subscribe/
Disallow: /core
Disallow: /_stand-in/

Sitemap: {base}/sitemap.xml
"""
# The ways in which outlets say that their texts must not be used to train models.
OPT_OUTS = ("robots", "header", "meta", "tdmrep")
AI_CRAWLERS = "".join(f"\nUser-agent: {name}" for name in ("GPTBot", "CCBot", "Google-Extended", "ClaudeBot"))


@dataclass(frozen=True)
class Behaviour:
    """How the site answers, apart from what it serves. Times are in seconds."""

    delay: float = 0
    errors_for: float = 0
    errors_after: int = 0
    opt_out: str = ""


class Site:
    """The outlet that imitates Gazeta.ru."""

    def __init__(self, stories: list[Story], special: list[Special], port: int, behaviour: Behaviour) -> None:
        self.port, self.stories, self.special, self.behaviour = port, stories, special, behaviour
        self.stats = Stats()
        self._at = {story.path: place for place, story in enumerate(stories)}
        self._special = {each.story.path: each for each in special}
        attacked = any(each.name == "gzip_bomb" for each in special)
        self._attacks = ("/sitemap_entities.xml", "/sitemap_links.xml") if attacked else ()
        everything = stories + [each.story for each in special]
        self.lists = Lists(everything, hostile.ENDLESS if attacked else "", self._attacks)
        self._errors_since: float | None = None
        self._lock = threading.Lock()

    def respond(self, target: str, host: str, agent: str, cookie: str) -> Response:
        """The answer to GET `target`; counted in the stats unless it is about the stand-in itself."""
        # Links name the host that the client asked for, so that the site can be reached by any name.
        base = f"http://{host}" if HOST_NAME.match(host) else f"http://127.0.0.1:{self.port}"
        parts = urlsplit(target)
        path = unquote(parts.path)
        if path.startswith("/_stand-in/"):
            return self._about(path)
        visits, before = self.stats.begin(path, agent)
        if self.behaviour.delay:
            time.sleep(self.behaviour.delay)
        request = Request(base, visits, self.port, cookie)
        response = self._answer(path, dict(parse_qsl(parts.query)), request, before)
        self.stats.end(response.status)
        return response

    def _answer(self, path: str, query: dict[str, str], request: Request, before: int) -> Response:
        if path == "/robots.txt":
            return self._robots(request.base)
        if self._broken(before):
            return Response(500, BROKEN.encode())
        if path in self._at:
            answer = self._story(path, request)
        elif path in self._special:
            answer = self._special[path].answer(request)
        else:
            answer = self._list(path, query, request.base) or Response(404, NOT_FOUND.encode(), HTML)
        return self._opted_out(answer)

    def _robots(self, base: str) -> Response:
        text = ROBOTS.format(base=base)
        if self.behaviour.opt_out == "robots":
            text = f"{AI_CRAWLERS.strip()}\nDisallow: /\n\n{text}"
        return Response(200, text.encode(), "text/plain")

    def _broken(self, before: int) -> bool:
        """Whether --errors-for and --errors-after ask this request to fail."""
        if not self.behaviour.errors_for or before < self.behaviour.errors_after:
            return False
        with self._lock:
            now = time.monotonic()
            if self._errors_since is None:
                self._errors_since = now
            return now - self._errors_since < self.behaviour.errors_for

    def _opted_out(self, answer: Response) -> Response:
        if self.behaviour.opt_out == "header":
            return replace(answer, headers=(*answer.headers, ("X-Robots-Tag", "noai, noimageai")))
        if self.behaviour.opt_out == "meta":
            said = b'<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1">'
            return replace(answer, body=answer.body.replace(b"<head>", b"<head>" + said, 1))
        return answer

    def _related(self, path: str) -> list[Story]:
        return [self.stories[(self._at[path] + step) % len(self.stories)] for step in (1, 2, 3)]

    def _story(self, path: str, request: Request) -> Response:
        return page(self.stories[self._at[path]], request, self._related(path))

    def _list(self, path: str, query: dict[str, str], base: str) -> Response | None:
        """A page that leads to others, or None if there is none at this path."""
        if path == "/":
            return Response(200, self.lists.home().encode(), HTML)
        if path == "/auth/sso.shtml":
            return Response(200, SSO.encode(), HTML)
        if path == "/.well-known/tdmrep.json" and self.behaviour.opt_out == "tdmrep":
            return Response(200, b'[{"location": "/", "tdm-reservation": 1}]', "application/json")
        if path in self._attacks:
            if "links" in path:
                return hostile.sitemap_of_links()
            return Response(200, hostile.sitemap_of_entities(base).encode(), "application/xml")
        if path.startswith("/sitemap") and path.endswith(".xml"):
            text = self.lists.sitemap(path[1:-4], base)
            return text and Response(200, text.encode(), "application/xml")
        if path.startswith("/export/rss/") and path.endswith(".xml"):
            text = self.lists.rss(path.removeprefix("/export/rss/")[:-4], base)
            return text and Response(200, encode(text, CP1251), f"text/xml; charset={CP1251}")
        section = path.strip("/")
        if section not in SECTIONS:
            return None
        if not path.endswith("/"):
            return moved(f"{base}{path}/")
        text = self.lists.listing(section, query)
        return None if text is None else Response(200, text.encode(), HTML)

    def _about(self, path: str) -> Response:
        """The pages about the stand-in itself, in pieces: the articles of a long crawl are hundreds of MB."""
        if path == "/_stand-in/reset":
            self.stats.reset()
        pages: dict[str, Callable[[], Iterator[str]]] = {
            "/_stand-in/articles.json": lambda: _json_list(story.expected() for story in self.stories),
            "/_stand-in/awkward.json": lambda: _json_list(each.describe() for each in self.special),
            "/_stand-in/stats.json": lambda: iter([json.dumps(self.stats.report(), indent=1)]),
            "/_stand-in/reset": lambda: iter(['{"reset": true}']),
        }
        if path not in pages:
            return Response(404, b"{}", "application/json")
        pieces = pages[path]()
        return Response(200, content_type="application/json", stream=lambda: map(str.encode, pieces))


def _json_list(rows: Iterable[dict[str, object]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


class SecondOutlet(Site):
    """The second outlet, with the same behaviour and the same pages about itself."""

    def _robots(self, base: str) -> Response:
        return Response(200, second.robots(base).encode(), "text/plain; charset=utf-8")

    def _story(self, path: str, request: Request) -> Response:
        text = second.page(self.stories[self._at[path]], request.base, self._related(path))
        return Response(200, text.encode(), HTML)

    def _list(self, path: str, query: dict[str, str], base: str) -> Response | None:
        if path == "/sitemap.xml":
            return Response(200, second.sitemap(self.lists.all, base).encode(), "application/xml")
        number = query.get("stranica", "1")
        if path in ("/", "/arhiv/") and number.isdecimal() and number.isascii():
            return Response(200, second.archive(self.lists.all, max(1, int(number))).encode(), HTML)
        return None
