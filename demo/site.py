"""A stand-in news site on loopback: invented news in Gazeta.ru's markup of every era. Standard library only.

    python demo/site.py --port 8802 [--news FILE.jsonl[.gz]] [--articles N] [--seed N]

The same arguments give the same pages. /_stand-in/articles.json lists the contents of every ordinary page,
/_stand-in/awkward.json describes the other pages, and /_stand-in/stats.json counts the requests. The code is
in outlet/ and news/; this file is the command line.
Exit codes: 0 stopped by Ctrl+C or SIGTERM, 2 wrong option or news file, 5 the port is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from outlet import second
from outlet.awkward import awkward_pages
from outlet.hostile import hostile_pages
from outlet.routes import OPT_OUTS, Behaviour, SecondOutlet, Site
from outlet.server import Handler, Server
from outlet.stories import BadNews, edit, from_file, invented

DEFAULT_ARTICLES = 2000


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="site.py",
        description="A news site on loopback: invented news in Gazeta.ru's markup of every era.",
    )
    add = parser.add_argument
    add("--port", type=_whole(0, 65535), required=True, help="port on 127.0.0.1; 0 picks a free one")
    add("--news", type=Path, metavar="FILE", help="serve the rows of this .jsonl or .jsonl.gz file instead")
    add("--articles", type=_whole(1, 1_000_000), metavar="N",
        help=f"number of invented articles ({DEFAULT_ARTICLES}), or of rows of --news (all)")  # fmt: skip
    add("--seed", type=int, default=0, help="another seed gives other invented articles")
    add("--new", type=_whole(0, 1_000_000), default=0, metavar="N",
        help="add N invented articles, dated after all others, for a later crawl to find")  # fmt: skip
    add("--edited", type=_whole(0, 1_000_000), default=0, metavar="N",
        help="edit the newest N articles: one more paragraph and a later lastmod")  # fmt: skip
    add("--no-awkward", action="store_true", help="serve ordinary pages only, for counting")
    add(
        "--hostile",
        action="store_true",
        help="also serve pages that attack the crawler, such as bombs",
    )
    add("--outlet", choices=["gazeta", "second"], default="gazeta",
        help="second: another invented outlet with other markup, without awkward pages")  # fmt: skip
    add("--delay", type=_whole(0, 60_000), default=0, metavar="MS", help="wait before every answer")
    add("--errors-for", type=_seconds, default=0, metavar="SECONDS",
        help="answer 500 to everything but robots.txt for this time")  # fmt: skip
    add("--errors-after", type=_whole(0, 1_000_000_000), default=0, metavar="N",
        help="begin --errors-for after N requests, not with the first")  # fmt: skip
    add("--opt-out", choices=OPT_OUTS, default="", help="how to say that texts are not for AI training")
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
    """The site that these options ask for. Raises BadNews."""
    if chosen.news:
        stories = from_file(chosen.news, chosen.articles)
    else:
        stories = invented(chosen.articles or DEFAULT_ARTICLES, chosen.seed, chosen.new)
    if chosen.edited:
        stories = edit(stories, chosen.edited)
    behaviour = Behaviour(chosen.delay / 1000, chosen.errors_for, chosen.errors_after, chosen.opt_out)
    if chosen.outlet == "second":
        return SecondOutlet(second.moved_in(stories), [], port, behaviour)
    special = [] if chosen.no_awkward else awkward_pages()
    special += hostile_pages() if chosen.hostile else []
    return Site(stories, special, port, behaviour)


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
