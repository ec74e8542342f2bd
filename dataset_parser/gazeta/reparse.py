"""Read the saved failing pages again, after the parser was fixed: `python -m gazeta.reparse`. No network.

The result is judged as a crawl is: a fix that finds the text and not the lead changes nothing.

Exit codes: 0 done, 2 there is no store, 3 some pages still cannot be read or what was read is an alarm, 6 a
crawl is active.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from pathlib import Path

from gazeta import settings, sites
from gazeta.crawl import report
from gazeta.crawl.page import Ending, Reason, State
from gazeta.crawl.store import Store, StoreBusy
from gazeta.crawl.verdict import Alarm, alarms
from gazeta.sites.base import NotAnArticle, PageChanged, Site

PARSER = "parser"  # the note with the digest of the parser that last read the saved pages


class Unfit(Exception):
    """The saved pages do not give what the site's articles look like; the text says in which fields."""

    def __init__(self, site: str, found: list[Alarm], looked_for: dict[str, str]):
        super().__init__(f"{site} does not look yet as its articles did: {'; '.join(map(str, found))}")
        self.looked_for = looked_for


def parser_digest() -> str:
    """Changes when the code that reads pages does."""
    code = hashlib.sha256()
    for folder in sites.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            code.update(path.read_bytes())
    return code.hexdigest()[:16]


def reparse(store: Store, known: dict[str, Site]) -> dict[str, int]:
    """What became of the saved failing pages: counts of kept, dropped and failed.

    Raises Unfit, and leaves the store as it was, if their articles would have been an alarm.
    """
    counts = dict.fromkeys(("kept", "dropped", "failed"), 0)
    crawls: dict[str, int] = {}
    with store.transaction():
        for name, state, page in list(store.saved.pages()):
            if state == State.KEPT:
                continue
            if name not in known:
                counts["failed"] += 1
                continue
            if name not in crawls:
                crawls[name] = store.start_crawl(name, {"reparse": "saved pages"})
            try:
                article = known[name].parse_article(page.body, page.url, page.content_type)
            except PageChanged:
                counts["failed"] += 1
                continue
            except NotAnArticle as error:
                ending = Ending(State.DROPPED, error.reason, str(error))
            else:
                if article.url == page.url:
                    store.keep(page.url, article, crawls[name])
                    counts["kept"] += 1
                    continue
                # A page may name another address as its own: that one is fetched, never filled from here.
                ending = Ending(State.DROPPED, Reason.SAME_ARTICLE, article.url)
            # If an alarm queued the page, the site is asked again instead.
            if state != State.QUEUED or ending.reason == Reason.SAME_ARTICLE:
                store.end(page.url, name, ending, crawls[name])
            store.saved.forget(page.url)
            counts["dropped"] += 1
        for name, crawl in crawls.items():
            store.finish_crawl(crawl, "reparsed", counts)
            found = alarms(store.history.figures([crawl]), store.history.good_figures(name))
            if found and settings.CRAWL_ALARM:
                raise Unfit(name, found, report.looked_for(store.history, known[name], [crawl], found))
    return counts


def after_a_fix(store: Store, known: dict[str, Site]) -> str:
    """Reparse if the parser is not the one of the last time; what became of the pages, "" for nothing."""
    digest = parser_digest()
    last = store.notes.get(PARSER)
    if last == digest:
        return ""
    store.notes.set(PARSER, digest)
    if not last:
        return ""
    try:
        counts = reparse(store, known)
    except Unfit as unfit:
        return f"saved pages are left as they were: {unfit}"
    return spell(counts) if counts["kept"] or counts["dropped"] else ""


def spell(counts: dict[str, int]) -> str:
    return (
        f"saved pages read again: {counts['kept']} became articles, {counts['dropped']} are none,"
        f" {counts['failed']} still cannot be read"
    )


def main() -> int:
    if not settings.STORE_PATH.exists():
        print(
            f"error: nothing to read again: there is no {settings.STORE_PATH}; name its folder in"
            " ARTIFACTS_DIR, or run this in the container if the crawl ran in one",
            file=sys.stderr,
        )
        return 2
    try:
        with Store(settings.STORE_PATH) as store:
            store.notes.set(PARSER, parser_digest())
            counts = reparse(store, sites.load_sites())
    except Unfit as unfit:
        print(f"error: {unfit}", file=sys.stderr)
        for field, tried in unfit.looked_for.items():
            print(f"  {field} was looked for {tried}", file=sys.stderr)
        print(
            "  nothing was changed; fix the parser and read them again, or set CRAWL_ALARM=0 if the pages are"
            " right",
            file=sys.stderr,
        )
        return 3
    except StoreBusy as error:
        print(f"error: {error}", file=sys.stderr)
        return 6
    except sqlite3.Error as error:
        print(f"error: cannot use {settings.STORE_PATH}: {error}", file=sys.stderr)
        return 1
    print(spell(counts))
    return 3 if counts["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
