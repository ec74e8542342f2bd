"""A stand-in news site on loopback: invented news in Gazeta.ru's markup of every era. Standard library only.

    python demo/site.py --port 8802 [--news FILE.jsonl[.gz]] [--articles N] [--seed N]

The same arguments give the same pages. /_stand-in/articles.json tells what each ordinary page holds,
/_stand-in/awkward.json what the others are, /_stand-in/stats.json who asked for what.
Exit codes: 0 stopped by Ctrl+C or SIGTERM, 2 wrong option or news file, 5 the port is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from outlet import hostile, markup, second
from outlet.answers import Request, Response, Special, moved
from outlet.awkward import BROKEN, NOT_FOUND, SSO, awkward_pages
from outlet.lists import Lists
from outlet.stories import RUBRICS, BadNews, Story, edit, from_file, invented

HTML = "text/html; charset=utf-8"
HOST_NAME = re.compile(r"^[A-Za-z0-9.-]+(:\d{1,5})?$")
SECTIONS = frozenset(RUBRICS) | {"news"}
DEFAULT_ARTICLES = 2000
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
# The ways in which outlets say that their texts are not for training models.
OPT_OUTS = ("robots", "header", "meta", "tdmrep")
AI_CRAWLERS = "".join(f"\nUser-agent: {name}" for name in ("GPTBot", "CCBot", "Google-Extended", "ClaudeBot"))


@dataclass(frozen=True)
class Moods:
    """How the site behaves apart from what it serves. Times in seconds."""

    delay: float = 0
    errors_for: float = 0
    errors_after: int = 0
    opt_out: str = ""


class Stats:
    """Who asked for what, from any thread. Requests to /_stand-in/ are not counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._paths: Counter[str] = Counter()
            self._statuses: Counter[int] = Counter()
            self._agents: Counter[str] = Counter()
            self._total = self._now = self._most = 0
            self._last: float | None = None
            self._shortest: float | None = None

    def begin(self, path: str, agent: str) -> tuple[int, int]:
        """Count a request; returns how often this path was asked for before, and all requests before it."""
        moment = time.monotonic()
        with self._lock:
            came, before = self._paths[path], self._total
            self._paths[path] += 1
            self._agents[agent] += 1
            self._total += 1
            self._now += 1
            self._most = max(self._most, self._now)
            if self._last is not None:
                gap = moment - self._last
                self._shortest = gap if self._shortest is None else min(gap, self._shortest)
            self._last = moment
            return came, before

    def end(self, status: int) -> None:
        with self._lock:
            self._now = max(0, self._now - 1)  # a reset may have come in between
            self._statuses[status] += 1

    def told(self) -> dict[str, object]:
        with self._lock:
            return {
                "requests": self._total,
                "most_at_once": self._most,
                "shortest_gap_ms": None if self._shortest is None else round(self._shortest * 1000, 3),
                "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
                "user_agents": dict(self._agents),
                "paths": dict(sorted(self._paths.items())),
            }


class Site:
    """Everything the site answers, apart from the wire: a path and its query in, a Response out."""

    def __init__(self, stories: list[Story], special: list[Special], port: int, moods: Moods) -> None:
        self.port, self.stories, self.special, self.moods = port, stories, special, moods
        self.stats = Stats()
        self._at = {story.path: place for place, story in enumerate(stories)}
        self._special = {page.story.path: page for page in special}
        everything = stories + [page.story for page in special]
        if any(page.name == "gzip_bomb" for page in special):
            self._attacks = {"/sitemap_entities.xml", "/sitemap_links.xml"}
            self.lists = Lists(everything, hostile.ENDLESS, tuple(sorted(self._attacks)))
        else:
            self._attacks = set()
            self.lists = Lists(everything)
        self._errors_since: float | None = None
        self._lock = threading.Lock()

    def respond(self, target: str, host: str, agent: str, cookie: str) -> Response:
        """The answer to GET `target`; counted in the stats unless it is about the stand-in itself."""
        # Links name the host the visitor asked for, so that the site can be reached by any name.
        base = f"http://{host}" if HOST_NAME.match(host) else f"http://127.0.0.1:{self.port}"
        parts = urlsplit(target)
        path = unquote(parts.path)
        if path.startswith("/_stand-in/"):
            return self._about(path)
        visits, before = self.stats.begin(path, agent)
        if self.moods.delay:
            time.sleep(self.moods.delay)
        response = self._answer(
            path, dict(parse_qsl(parts.query)), Request(base, visits, self.port, cookie), before
        )
        self.stats.end(response.status)
        return response

    def _answer(self, path: str, query: dict[str, str], request: Request, before: int) -> Response:
        if path == "/robots.txt":
            return self._robots(request.base)
        if self._broken(before):
            return Response(500, BROKEN.encode())
        if path in self._at:
            answer = self._story(path, request.base)
        elif path in self._special:
            answer = self._special[path].answer(request)
        else:
            answer = self._list(path, query, request.base) or Response(404, NOT_FOUND.encode(), HTML)
        return self._opted_out(answer)

    def _robots(self, base: str) -> Response:
        text = ROBOTS.format(base=base)
        if self.moods.opt_out == "robots":
            text = f"{AI_CRAWLERS.strip()}\nDisallow: /\n\n{text}"
        return Response(200, text.encode(), "text/plain")

    def _broken(self, before: int) -> bool:
        """Whether this request falls into the time that --errors-for and --errors-after ask to fail."""
        if not self.moods.errors_for or before < self.moods.errors_after:
            return False
        with self._lock:
            now = time.monotonic()
            if self._errors_since is None:
                self._errors_since = now
            return now - self._errors_since < self.moods.errors_for

    def _opted_out(self, answer: Response) -> Response:
        if self.moods.opt_out == "header":
            return replace(answer, headers=(*answer.headers, ("X-Robots-Tag", "noai, noimageai")))
        if self.moods.opt_out == "meta":
            said = b'<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1">'
            return replace(answer, body=answer.body.replace(b"<head>", b"<head>" + said, 1))
        return answer

    def _related(self, path: str) -> list[Story]:
        return [self.stories[(self._at[path] + step) % len(self.stories)] for step in (1, 2, 3)]

    def _story(self, path: str, base: str) -> Response:
        story = self.stories[self._at[path]]
        name = markup.charset(story)
        body = markup.encode(markup.render(story, base, self._related(path)), name)
        return Response(200, body, f"text/html; charset={name}")

    def _list(self, path: str, query: dict[str, str], base: str) -> Response | None:
        """A page that leads to others, or None where there is none."""
        if path == "/":
            return Response(200, self.lists.home().encode(), HTML)
        if path == "/auth/sso.shtml":
            return Response(200, SSO.encode(), HTML)
        if path == "/.well-known/tdmrep.json" and self.moods.opt_out == "tdmrep":
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
            return text and Response(
                200, markup.encode(text, markup.CP1251), "text/xml; charset=windows-1251"
            )
        section = path.strip("/")
        if section not in SECTIONS:
            return None
        if not path.endswith("/"):
            return moved(f"{base}{path}/")
        text = self.lists.listing(section, query)
        return None if text is None else Response(200, text.encode(), HTML)

    def _about(self, path: str) -> Response:
        if path == "/_stand-in/reset":
            self.stats.reset()
        told: dict[str, Callable[[], Iterator[str]]] = {
            "/_stand-in/articles.json": lambda: _json_list(story.expected() for story in self.stories),
            "/_stand-in/awkward.json": lambda: _json_list(page.describe() for page in self.special),
            "/_stand-in/stats.json": lambda: iter([json.dumps(self.stats.told(), indent=1)]),
            "/_stand-in/reset": lambda: iter(['{"reset": true}']),
        }
        if path not in told:
            return Response(404, b"{}", "application/json")
        # In pieces: the articles of a long crawl are hundreds of megabytes.
        pieces = told[path]()
        return Response(200, content_type="application/json", stream=lambda: map(str.encode, pieces))


def _json_list(rows: Iterable[dict[str, object]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


class SecondOutlet(Site):
    """The other outlet, with the same moods and the same pages about itself."""

    def _robots(self, base: str) -> Response:
        return Response(200, second.robots(base).encode(), "text/plain; charset=utf-8")

    def _story(self, path: str, base: str) -> Response:
        story = self.stories[self._at[path]]
        return Response(200, second.page(story, base, self._related(path)).encode(), HTML)

    def _list(self, path: str, query: dict[str, str], base: str) -> Response | None:
        if path == "/sitemap.xml":
            return Response(200, second.sitemap(self.lists.all, base).encode(), "application/xml")
        number = query.get("stranica", "1")
        if path in ("/", "/arhiv/") and number.isdecimal() and number.isascii():
            return Response(200, second.archive(self.lists.all, max(1, int(number))).encode(), HTML)
        return None


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; headers and body leave in one write, so that no answer waits for an ACK."""

    protocol_version = "HTTP/1.1"
    server_version = "stand-in"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120
    site: Site

    def do_GET(self) -> None:
        asked = self.headers
        answer = self.site.respond(
            self.path, asked.get("Host", ""), asked.get("User-Agent", ""), asked.get("Cookie", "")
        )
        self.send_response(answer.status)
        if answer.content_type and (answer.body or answer.stream):
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers:
            self.send_header(name, value)
        chunked = answer.stream is not None and answer.length is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header(
                "Content-Length", str(len(answer.body) if answer.length is None else answer.length)
            )
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.stream is not None:
            for block in answer.stream():
                self.wfile.write(b"%X\r\n%b\r\n" % (len(block), block) if chunked else block)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        elif answer.cut:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the stats page tells who came."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    # On Windows the option would let a second program take a port that is in use.
    allow_reuse_address = os.name != "nt"

    def server_bind(self) -> None:
        """As the base class, without asking the name service what 127.0.0.1 is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor who hangs up is no error of ours; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="site.py",
        description="A news site on loopback: invented news in Gazeta.ru's markup of every era.",
    )
    add = parser.add_argument
    add("--port", type=_whole(0, 65535), required=True, help="port on 127.0.0.1; 0 picks a free one")
    add("--news", type=Path, metavar="FILE", help="serve the rows of this .jsonl or .jsonl.gz file instead")
    add("--articles", type=_whole(1, 1_000_000), metavar="N",
        help=f"so many invented articles ({DEFAULT_ARTICLES}), or rows of --news (all)")  # fmt: skip
    add("--seed", type=int, default=0, help="another seed, other invented articles")
    add("--new", type=_whole(0, 1_000_000), default=0, metavar="N",
        help="N invented articles more, dated after all others: what a later crawl should find")  # fmt: skip
    add("--edited", type=_whole(0, 1_000_000), default=0, metavar="N",
        help="the newest N articles have been edited: a paragraph more and a later lastmod")  # fmt: skip
    add("--no-awkward", action="store_true", help="ordinary pages only, for counting")
    add("--hostile", action="store_true", help="also pages that attack the crawler: bombs, endless pages")
    add("--outlet", choices=["gazeta", "second"], default="gazeta",
        help="second: another invented outlet with other markup, without awkward pages")  # fmt: skip
    add("--delay", type=_whole(0, 60_000), default=0, metavar="MS", help="wait before every answer")
    add("--errors-for", type=_seconds, default=0, metavar="SECONDS",
        help="answer 500 to everything but robots.txt for so long")  # fmt: skip
    add("--errors-after", type=_whole(0, 1_000_000_000), default=0, metavar="N",
        help="begin --errors-for after N requests instead of with the first")  # fmt: skip
    add("--opt-out", choices=OPT_OUTS, default="", help="say in this way that texts are not for AI training")
    return parser.parse_args(arguments)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def build(chosen: argparse.Namespace, port: int) -> Site:
    """The site these options ask for. Raises BadNews."""
    if chosen.news:
        stories = from_file(chosen.news, chosen.articles)
    else:
        stories = invented(chosen.articles or DEFAULT_ARTICLES, chosen.seed, chosen.new)
    if chosen.edited:
        stories = edit(stories, chosen.edited)
    moods = Moods(chosen.delay / 1000, chosen.errors_for, chosen.errors_after, chosen.opt_out)
    if chosen.outlet == "second":
        return SecondOutlet(second.moved_in(stories), [], port, moods)
    special = [] if chosen.no_awkward else awkward_pages()
    special += hostile.hostile_pages() if chosen.hostile else []
    return Site(stories, special, port, moods)


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    try:
        server = Server(("127.0.0.1", chosen.port), Handler)
    except OSError as error:
        why = f"port {chosen.port} on 127.0.0.1 cannot be used ({error.strerror})"
        print(f"error: {why}; choose another --port or stop what runs there", file=sys.stderr)
        return 5
    with server:
        port = server.server_address[1]
        try:
            site = build(chosen, port)
        except BadNews as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        Handler.site = site
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print(f"stand-in site: http://127.0.0.1:{port}/ with {len(site.stories)} articles and "
              f"{len(site.special)} awkward pages", flush=True)  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
