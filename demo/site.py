"""A stand-in news site on loopback: Gazeta.ru's markup of every era around invented news. Standard library only.

    python demo/site.py --port 8802 [--news FILE.jsonl[.gz]] [--articles N] [--seed N]

The same arguments give the same pages. /_stand-in/articles.json tells what each ordinary page holds,
/_stand-in/awkward.json what the awkward ones are, /_stand-in/stats.json who asked for what.
Exit codes: 0 stopped by Ctrl+C or SIGTERM, 2 wrong option or news file, 5 the port is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from outlet import markup
from outlet.awkward import BROKEN, NOT_FOUND, SSO, Awkward, Request, Response, awkward_pages, moved
from outlet.lists import Lists
from outlet.stories import RUBRICS, BadNews, Story, from_file, invented

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
            self._last = self._shortest = None

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
            self._now = max(0, self._now - 1)
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

    def __init__(
        self,
        stories: list[Story],
        awkward: list[Awkward],
        port: int,
        errors_after: int = 0,
        errors_for: float = 0,
    ) -> None:
        self.port = port
        self.stories = stories
        self.awkward = awkward
        self.stats = Stats()
        self._pages: dict[str, Story | Awkward] = {story.path: story for story in stories}
        self._at = {story.path: place for place, story in enumerate(stories)}
        self._pages |= {entry.story.path: entry for entry in awkward}
        self.lists = Lists(stories + [entry.story for entry in awkward if entry.listed])
        self._errors_after, self._errors_for = errors_after, errors_for
        self._errors_since: float | None = None
        self._lock = threading.Lock()

    def respond(self, target: str, host: str, agent: str, cookie: str) -> Response:
        """The answer to GET `target`; counted in the stats unless it is about the stand-in itself."""
        base = f"http://{host}" if HOST_NAME.match(host) else f"http://127.0.0.1:{self.port}"
        parts = urlsplit(target)
        path = unquote(parts.path)
        if path.startswith("/_stand-in/"):
            return self._about(path)
        visits, before = self.stats.begin(path, agent)
        response = self._answer(path, dict(parse_qsl(parts.query)), base, visits, before, cookie)
        self.stats.end(response.status)
        return response

    def _answer(
        self, path: str, query: dict[str, str], base: str, visits: int, before: int, cookie: str
    ) -> Response:
        if path == "/robots.txt":
            return Response(200, ROBOTS.format(base=base).encode(), "text/plain")
        if self._broken(before):
            return Response(500, BROKEN.encode())
        found = self._pages.get(path)
        if isinstance(found, Story):
            return self._story(found, base)
        if found is not None:
            return found.answer(Request(base, visits, self.port, cookie))
        return self._list(path, query, base) or Response(404, NOT_FOUND.encode(), "text/html; charset=utf-8")

    def _broken(self, before: int) -> bool:
        """Whether this falls into the time that --errors-for and --errors-after ask to fail."""
        if not self._errors_for or before < self._errors_after:
            return False
        with self._lock:
            now = time.monotonic()
            if self._errors_since is None:
                self._errors_since = now
            return now - self._errors_since < self._errors_for

    def _story(self, story: Story, base: str) -> Response:
        at = self._at[story.path]
        related = [self.stories[(at + step) % len(self.stories)] for step in (1, 2, 3)]
        name = markup.charset(story)
        body = markup.encode(markup.render(story, base, related), name)
        return Response(200, body, f"text/html; charset={name}")

    def _list(self, path: str, query: dict[str, str], base: str) -> Response | None:
        if path == "/":
            return Response(200, self.lists.home().encode(), "text/html; charset=utf-8")
        if path == "/auth/sso.shtml":
            return Response(200, SSO.encode(), "text/html; charset=utf-8")
        if path.startswith("/sitemap") and path.endswith(".xml"):
            text = self.lists.sitemap(path[1:-4], base)
            return text and Response(200, text.encode(), "application/xml")
        if path.startswith("/export/rss/") and path.endswith(".xml"):
            text = self.lists.rss(path[len("/export/rss/") : -4], base)
            return text and Response(
                200, markup.encode(text, markup.CP1251), "text/xml; charset=windows-1251"
            )
        section = path.strip("/")
        if section not in SECTIONS:
            return None
        if not path.endswith("/"):
            return moved(f"{base}{path}/")
        text = self.lists.listing(section, query)
        return None if text is None else Response(200, text.encode(), "text/html; charset=utf-8")

    def _about(self, path: str) -> Response:
        if path == "/_stand-in/reset":
            self.stats.reset()
        told = {
            "/_stand-in/articles.json": lambda: [story.expected() for story in self.stories],
            "/_stand-in/awkward.json": lambda: [entry.describe() for entry in self.awkward],
            "/_stand-in/stats.json": self.stats.told,
            "/_stand-in/reset": lambda: {"reset": True},
        }.get(path)
        if told is None:
            return Response(404, b"{}", "application/json")
        return Response(200, json.dumps(told(), ensure_ascii=False, indent=1).encode(), "application/json")


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; headers and body leave in one write, so that no answer waits for an ACK."""

    protocol_version = "HTTP/1.1"
    server_version = "stand-in"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120
    site: Site
    delay = 0.0

    def do_GET(self) -> None:
        if self.delay:
            time.sleep(self.delay)
        headers = self.headers
        response = self.site.respond(
            self.path, headers.get("Host", ""), headers.get("User-Agent", ""), headers.get("Cookie", "")
        )
        self.send_response(response.status)
        if response.content_type and response.body:
            self.send_header("Content-Type", response.content_type)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        if response.cut:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[: len(response.body) // 2] if response.cut else response.body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the stats page tells who came."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    # On Windows the option would let a second program take a port that is in use.
    allow_reuse_address = os.name != "nt"

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor who hangs up is no error of ours; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="site.py", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--port", type=_whole(0, 65535), required=True, help="port on 127.0.0.1; 0 picks a free one"
    )
    parser.add_argument(
        "--news", type=Path, metavar="FILE", help="serve the rows of this .jsonl or .jsonl.gz file"
    )
    parser.add_argument("--articles", type=_whole(1, 1_000_000), metavar="N",
                        help=f"how many invented articles (default {DEFAULT_ARTICLES}), or rows of --news (all)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="another seed, other invented articles")
    parser.add_argument("--new", type=_whole(0, 1_000_000), default=0, metavar="N",
                        help="N invented articles more, dated after all others: what a later run should find")  # fmt: skip
    parser.add_argument("--no-awkward", action="store_true", help="ordinary pages only, for counting")
    parser.add_argument(
        "--delay", type=_whole(0, 60_000), default=0, metavar="MS", help="wait before every answer"
    )
    parser.add_argument("--errors-for", type=float, default=0, metavar="SECONDS",
                        help="answer 500 to everything but robots.txt for so long")  # fmt: skip
    parser.add_argument("--errors-after", type=_whole(0, 1_000_000_000), default=0, metavar="N",
                        help="begin --errors-for after N requests instead of at the first")  # fmt: skip
    return parser.parse_args(arguments)


def _whole(low: int, high: int):
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    number.__name__ = "whole number"
    return number


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    try:
        server = Server(("127.0.0.1", chosen.port), Handler)
    except OSError as error:
        print(f"error: port {chosen.port} on 127.0.0.1 cannot be used ({error.strerror}); choose another --port",
              file=sys.stderr)  # fmt: skip
        return 5
    with server:
        try:
            if chosen.news:
                stories = from_file(chosen.news, chosen.articles)
            else:
                stories = invented(chosen.articles or DEFAULT_ARTICLES, chosen.seed, chosen.new)
        except BadNews as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        port = server.server_address[1]
        awkward = [] if chosen.no_awkward else awkward_pages()
        Handler.site = Site(stories, awkward, port, chosen.errors_after, chosen.errors_for)
        Handler.delay = chosen.delay / 1000
        print(f"stand-in site: http://127.0.0.1:{port}/ with {len(stories)} articles and "
              f"{len(awkward)} awkward pages", flush=True)  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("stand-in site: stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
