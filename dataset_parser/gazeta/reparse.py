"""Read the saved failing pages again, after the parser was fixed: `python -m gazeta.reparse`. No network.

Exit codes: 0 done, 3 some pages still cannot be read, 6 a crawl is active.
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
from gazeta.items import NotAnArticle, PageChanged
from gazeta.store import Store, StoreBusy


def parsers() -> dict[str, ModuleType]:
    """Each site's parser module, by the name of its spider."""
    loader = SpiderLoader.from_settings(get_project_settings())
    return {site: loader.load(site).pages for site in loader.list()}


def parser_digest(modules: dict[str, ModuleType]) -> str:
    """Changes when the code that reads pages does."""
    code = hashlib.sha256()
    files = {Path(pages.__file__) for pages in modules.values() if pages.__file__}
    for path in sorted(files | {Path(__file__).with_name("html.py")}):
        code.update(path.read_bytes())
    return code.hexdigest()[:16]


def reparse(store: Store, modules: dict[str, ModuleType]) -> dict[str, int]:
    """What became of the saved failing pages: counts of kept, dropped and failed."""
    counts = {"kept": 0, "dropped": 0, "failed": 0}
    crawl = 0
    for url, content_type, body in list(store.saved_pages()):
        if store.state(url) == "kept":
            continue
        pages = modules.get(store.site_of(url))
        if pages is None:
            counts["failed"] += 1
            continue
        crawl = crawl or store.start_crawl(pages.SITE, {"reparse": "saved pages"})
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
    if crawl:
        store.finish_crawl(crawl, "reparsed", counts)
    return counts


def after_a_fix(store: Store, modules: dict[str, ModuleType]) -> str:
    """Reparse if the parser is not the one of the last look; what came of it in words, "" for nothing."""
    digest = parser_digest(modules)
    if store.get("parser") == digest:
        return ""
    first = store.get("parser") == ""
    store.set("parser", digest)
    counts = {"kept": 0, "dropped": 0} if first else reparse(store, modules)
    return spell(counts) if counts["kept"] or counts["dropped"] else ""


def spell(counts: dict[str, int]) -> str:
    return (
        f"saved pages read again: {counts['kept']} became articles, {counts['dropped']} are none,"
        f" {counts['failed']} still cannot be read"
    )


def main() -> int:
    if not settings.STORE_PATH.exists():
        print(f"nothing to read again: there is no {settings.STORE_PATH}")
        return 0
    try:
        with Store(settings.STORE_PATH) as store:
            modules = parsers()
            counts = reparse(store, modules)
            store.set("parser", parser_digest(modules))
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
