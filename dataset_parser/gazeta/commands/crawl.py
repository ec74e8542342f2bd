"""`scrapy crawl SITE [-a since= -a until= -a rubrics= -a limit=]` with exit codes that tell the truth.

0 done or nothing new, 2 wrong argument or an opt-out that nobody accepted, 3 the site changed, 5 the site
does not answer, 6 another crawl is active, 130 stopped by Ctrl+C. Scrapy's own command always ends with 0.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

from scrapy.commands.crawl import Command as ScrapyCrawl
from scrapy.exceptions import UsageError

from gazeta import reparse, settings
from gazeta.crawl import known, report
from gazeta.crawl import verdict as alarm
from gazeta.crawl.plan import BadArgument, Plan, parse_arguments
from gazeta.crawl.spider import FORBIDDEN, NewsSpider
from gazeta.crawl.store import Scope, Store, StoreBusy


class Command(ScrapyCrawl):
    def short_desc(self) -> str:
        return "Collect a site's new articles into the store"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if len(args) != 1:
            raise UsageError
        self.exitcode = self._crawl(args[0], opts.spargs)

    def _crawl(self, name: str, arguments: dict[str, str]) -> int:
        assert self.crawler_process is not None
        try:
            spider_class = self.crawler_process.spider_loader.load(name)
            plan = parse_arguments(arguments, spider_class.pages.RUBRICS, settings.CRAWL_LIMIT)
        except KeyError:
            return fail(
                2, f"no spider {name!r}; there are {', '.join(self.crawler_process.spider_loader.list())}"
            )
        except BadArgument as error:
            return fail(2, str(error))
        try:
            with Store(settings.STORE_PATH) as store:
                return self._run(name, spider_class, plan, store)
        except StoreBusy as error:
            return fail(6, str(error))
        except (sqlite3.Error, OSError) as error:
            if line := settings.wrong_folder(error):
                return fail(2, line)
            return fail(
                1, f"cannot use {settings.STORE_PATH}: {error}; free some space or check ARTIFACTS_DIR"
            )

    def _run(self, name: str, spider_class: type[NewsSpider], plan: Plan, store: Store) -> int:
        plan = remembered(plan, store, name)
        known.remember_published(store, name, spider_class.pages, spider_class.base)
        loader = self.crawler_process.spider_loader
        modules = {site: loader.load(site).pages for site in loader.list()}
        if fixed := reparse.after_a_fix(store, modules):
            print(f"{name}: the parser changed; {fixed}", file=sys.stderr)
        crawl = store.start_crawl(name, plan.arguments())
        started = time.monotonic()
        for noisy in ("core.downloader.handlers.http11", "downloadermiddlewares.httpcompression"):
            # A page too large or cut off is counted in the report; no need to warn of it as well.
            logging.getLogger(f"scrapy.{noisy}").setLevel(logging.ERROR)
        crawler = self.crawler_process.create_crawler(name)
        self.crawler_process.crawl(crawler, plan=plan, store=store, crawl=crawl)
        self.crawler_process.start()
        spider = crawler.spider
        if spider is None:  # Scrapy has said why
            return 1
        return finish(spider, crawler.stats.get_value("finish_reason", ""), time.monotonic() - started)


def fail(code: int, line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def remembered(plan: Plan, store: Store, site: str) -> Plan:
    """Without since= the crawl goes back as far as the widest one before it: a nightly run stays small."""
    earlier = store.get(f"since {site}")
    if earlier and not (plan.beginning or plan.scope.since or plan.scope.until):
        print(f"{site}: from {earlier} on, as before; since=all goes back to the beginning", file=sys.stderr)
        return replace(plan, scope=Scope(earlier, plan.scope.until, plan.scope.rubrics))
    return plan


def finish(spider: NewsSpider, reason: str, seconds: float) -> int:
    """Judge the crawl, store and print its report; the exit code."""
    store = spider.store
    crawls = store.unchecked(spider.crawl)
    lines: list[str] = []
    outcome, code = "done", 0
    if spider.failed:
        outcome, code = "given up", spider.failed[0]
    elif reason == "shutdown":
        outcome, code = "stopped", 130
    elif reason != "finished":
        outcome, code = "broken", 1
    silent = sum(
        spider.reasons[why] for why in spider.reasons if why.startswith("http ") or why == "no answer"
    )
    if not code and silent >= 10 and silent > spider.counts["fetched"]:
        spider.failed = (
            5,
            f"{silent} of {silent + spider.counts['fetched']} pages did not answer; run again later",
        )
        outcome, code = "given up", 5
    if not code and spider.opt_outs and spider.opt_outs == spider.counts["fetched"]:
        # Too few pages to stop in the middle of the crawl; all of them say it all the same.
        spider.failed = (
            2,
            spider.opt_out_line(f"{spider.opt_out} ({spider.opt_outs} pages of {spider.opt_outs})"),
        )
        outcome, code = "given up", 2
    # A crawl that fetches nothing answers for those before it that nobody judged.
    if not code and (spider.counts["fetched"] or len(crawls) > 1):
        lines = alarm.alarms(store.figures(crawls), store.previous_report(spider.name).get("fields", {}))
    if not code:
        code, line = without_links(spider)
        if code:
            spider.failed, outcome = (code, line), "given up"
        elif line:
            lines.append(line)
    if lines and settings.CRAWL_ALARM:
        outcome, code = "alarm", 3
    told = report.build(spider, outcome, code, seconds, lines)
    if lines:
        told["saved_pages"] = [str(path) for path in save_examples(store, spider, crawls)]
        told["changed"] = [
            {"missing": missing, "pages": pages, "example": url}
            for missing, _, pages, url in store.changed_pages(crawls)
        ]
        told["looked_for"] = report.looked_for(store, spider.selectors, crawls, lines)
    if outcome == "alarm":
        store.hold(crawls)
    elif outcome == "done":
        store.forget_samples()
    store.finish_crawl(spider.crawl, outcome, told)
    store.compact()
    report.write_json(settings.CRAWL_DIR / "report.json", told)
    report.write_json(settings.CRAWL_DIR / "reports" / f"{spider.crawl:05}.json", told)
    show(told, spider)
    return code


def without_links(spider: NewsSpider) -> tuple[int, str]:
    """What to say when no sitemap, feed or listing named an article: (exit code or 0 for an alarm, line).

    A site that was read before and names nothing any more has not stopped publishing: its lists changed.
    """
    sources = spider.sources()
    enough = spider.plan.limit and spider.counts["kept"] >= spider.plan.limit
    forbidden = sum(spider.reasons[f"{kind}: {FORBIDDEN}"] for kind in sources)
    asked = sum(read for read, _ in sources.values()) + sum(
        count for reason, count in spider.reasons.items() if reason.partition(":")[0] in sources
    )
    if any(links for _, links in sources.values()) or enough or not asked:
        return 0, ""
    if forbidden:
        return 5, f"robots.txt of {spider.base} forbids this crawler the site's lists; ask the publisher"
    return 0, "articles: not one link in the sitemaps, feeds and listings"


def show(told: dict, spider: NewsSpider) -> None:
    name = spider.name
    if told["error"]:
        print(f"error: {told['error']}", file=sys.stderr)
    busy = any(told[key] for key in ("fetched", "failed", "failed_sources"))
    if not busy:
        if told["outcome"] == "done":
            count = sum(told["known"].get(state, 0) for state in ("kept", "known"))
            print(f"{name}: nothing new; {count:,} articles known, asked for {told['requests']} pages")
    else:
        print(f"{name}: crawl {told['crawl']} {told['outcome']}")
        print(report.table(told))
    if spider.opt_outs and not told["error"]:
        print(
            f"warning: {spider.opt_outs} pages opt out of AI training ({spider.opt_out}) and were left out",
            file=sys.stderr,
        )
    for kind, (read, links) in spider.sources().items():
        if read and not links and not told["error"] and not told["alarm"]:
            print(f"warning: {read} {kind}s were read and named not one article", file=sys.stderr)
    if told["alarm"]:
        word = "error" if told["outcome"] == "alarm" else "warning"
        print(
            f"{word}: {name} no longer looks as its parser expects: {'; '.join(told['alarm'])}",
            file=sys.stderr,
        )
        for field, tried in told["looked_for"].items():
            print(f"  {field} was looked for {tried}", file=sys.stderr)
        for change in told["changed"][:5]:
            print(
                f"  {change['pages']} pages miss {change['missing']}, as {change['example']}", file=sys.stderr
            )
        if told["saved_pages"]:
            print(f"  pages to look at: {', '.join(told['saved_pages'][:5])}", file=sys.stderr)
        if word == "error":
            print(
                "  nothing of this crawl is published; fix the parser and run again, or set"
                " CRAWL_ALARM=0 if the pages are right",
                file=sys.stderr,
            )
    sys.stdout.flush()


def save_examples(store: Store, spider: NewsSpider, crawls: list[int], most: int = 10) -> list[Path]:
    """Write some saved pages out as files that a browser opens; failing ones first."""
    folder = settings.CRAWL_DIR / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    pages = [page for number in crawls for page in store.saved_pages(number)]
    pages.sort(key=lambda page: store.state(page[0]) == "kept")
    written = []
    for url, _, body in pages[:most]:
        slug = re.sub(r"[^\w-]+", "_", url.partition("://")[2])[-80:]
        path = folder / f"{slug}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.html"
        path.write_bytes(body)
        written.append(path)
    return written
