"""Read the saved failing pages again, after the parser was fixed: `python -m gazeta.reparse`. No network.

What comes out is judged as a crawl is: a fix that finds the text and not the lead changes nothing.

Exit codes: 0 done, 2 there is no store, 3 some pages still cannot be read or what was read is an alarm, 6 a
crawl is active.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

from scrapy.spiderloader import SpiderLoader
from scrapy.utils.project import get_project_settings

from gazeta import settings
from gazeta.crawl import report
from gazeta.crawl import verdict as alarm
from gazeta.crawl.store import Store, StoreBusy
from gazeta.sites.base import NotAnArticle, PageChanged


class Unfit(Exception):
    """What the saved pages gave is not what the site's articles look like; the text says in which fields."""

    def __init__(self, site: str, lines: list[str], looked_for: dict[str, str]):
        super().__init__(f"{site} does not look yet as its articles did: {'; '.join(lines)}")
        self.looked_for = looked_for


def parsers() -> dict[str, ModuleType]:
    """Each site's parser module, by the name of its spider."""
    loader = SpiderLoader.from_settings(get_project_settings())
    return {site: loader.load(site).pages for site in loader.list()}


def parser_digest(modules: dict[str, ModuleType]) -> str:
    """Changes when the code that reads pages does."""
    code = hashlib.sha256()
    files = {Path(pages.__file__) for pages in modules.values() if pages.__file__}
    for path in sorted(files | {Path(__file__).parent / "sites" / "html.py"}):
        code.update(path.read_bytes())
    return code.hexdigest()[:16]


def reparse(store: Store, modules: dict[str, ModuleType]) -> dict[str, int]:
    """What became of the saved failing pages: counts of kept, dropped and failed.

    Raises Unfit, and leaves the store as it was, if their articles would have been an alarm.
    """
    with store.transaction():
        counts, crawls = _read_again(store, modules)
        for site, crawl in crawls.items():
            store.finish_crawl(crawl, "reparsed", counts)
            lines = alarm.alarms(store.figures([crawl]), store.previous_report(site).get("fields", {}))
            if lines and settings.CRAWL_ALARM:
                tried = report.looked_for(store, modules[site].selectors, [crawl], lines)
                raise Unfit(site, lines, tried)
    return counts


def _read_again(store: Store, modules: dict[str, ModuleType]) -> tuple[dict[str, int], dict[str, int]]:
    """What became of the pages, and the number of the crawl that they count for, by site."""
    counts = {"kept": 0, "dropped": 0, "failed": 0}
    crawls: dict[str, int] = {}
    for url, content_type, body in list(store.saved_pages()):
        if store.state(url) == "kept":
            continue
        site = store.site_of(url)
        pages = modules.get(site)
        if pages is None:
            counts["failed"] += 1
            continue
        if site not in crawls:
            crawls[site] = store.start_crawl(site, {"reparse": "saved pages"})
        crawl = crawls[site]
        try:
            article = pages.parse_article(body, url, content_type)
        except NotAnArticle as error:
            if store.state(url) != "queued":  # else an alarm queued it: what the site says now counts
                reason = str(error).partition(":")[0][:60]
                store.end(url, pages.SITE, "dropped", crawl, reason=reason, detail=str(error))
            store.forget_page(url)
            counts["dropped"] += 1
        except PageChanged:
            counts["failed"] += 1
        else:
            # A page may name another address as its own: that one is fetched, never filled from here.
            if article.url == url:
                store.keep(url, article, crawl)
                counts["kept"] += 1
            else:
                store.end(url, pages.SITE, "dropped", crawl, reason="same article", detail=article.url)
                store.forget_page(url)
                counts["dropped"] += 1
    return counts, crawls


def after_a_fix(store: Store, modules: dict[str, ModuleType]) -> str:
    """Reparse if the parser is not the one of the last look; what came of it in words, "" for nothing."""
    digest = parser_digest(modules)
    if store.get("parser") == digest:
        return ""
    first = store.get("parser") == ""
    store.set("parser", digest)
    try:
        counts = {"kept": 0, "dropped": 0} if first else reparse(store, modules)
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
            modules = parsers()
            store.set("parser", parser_digest(modules))
            counts = reparse(store, modules)
    except Unfit as unfit:
        print(f"error: {unfit}", file=sys.stderr)
        for field, tried in unfit.looked_for.items():
            print(f"  {field} was looked for {tried}", file=sys.stderr)
        print(
            "  nothing was changed; mend the parser and read them again, or set CRAWL_ALARM=0 if the pages"
            " are right",
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
