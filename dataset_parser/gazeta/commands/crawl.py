"""`scrapy crawl SITE [-a since= -a until= -a rubrics= -a limit=]` with exit codes that say how it ended.

0 done or nothing new, 2 wrong argument or an opt-out that nobody accepted, 3 the site changed, 5 the site
does not answer, 6 another crawl is active, 130 stopped by Ctrl+C. Scrapy's own command always ends with 0.
"""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
import time
from typing import Any

from scrapy.commands.crawl import Command as ScrapyCrawl
from scrapy.exceptions import UsageError

from gazeta import reparse, settings
from gazeta.crawl import known, report
from gazeta.crawl.conclusion import conclude
from gazeta.crawl.plan import BadArgument, Plan, parse_arguments, remembered
from gazeta.crawl.spider import NewsSpider
from gazeta.crawl.store import Store, StoreBusy
from gazeta.sites import load_sites


class Command(ScrapyCrawl):
    def short_desc(self) -> str:
        return "Collect a site's new articles into the store"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if len(args) != 1:
            raise UsageError
        try:
            self.exitcode = self._crawl(args[0], opts.spargs)
        except KeyboardInterrupt:  # before or after the crawl itself, which Scrapy stops
            self.exitcode = fail(130, "stopped; nothing is lost, run again to go on")

    def _crawl(self, name: str, arguments: dict[str, str]) -> int:
        assert self.crawler_process is not None
        loader = self.crawler_process.spider_loader
        try:
            spider_class = loader.load(name)
            plan = parse_arguments(arguments, spider_class.site.rubrics, settings.CRAWL_LIMIT)
        except KeyError:
            return fail(2, f"no spider {name!r}; there are {', '.join(loader.list())}")
        except BadArgument as error:
            return fail(2, str(error))
        try:
            with Store(settings.STORE_PATH) as store:
                return self._run(spider_class, plan, store)
        except StoreBusy as error:
            return fail(6, str(error))
        except (sqlite3.Error, OSError) as error:
            if line := settings.wrong_folder(error):
                return fail(2, line)
            return fail(
                1, f"cannot use {settings.STORE_PATH}: {error}; free some space or check ARTIFACTS_DIR"
            )

    def _run(self, spider_class: type[NewsSpider], given: Plan, store: Store) -> int:
        site = spider_class.site
        plan = remembered(given, store.notes, site.name)
        if plan != given:
            since = plan.scope.since
            say(f"{site.name}: from {since} on, as before; since=all goes back to the beginning")
        known.remember_published(store.queue(site.name), site)
        if fixed := reparse.after_a_fix(store, load_sites()):
            say(f"{site.name}: the parser changed; {fixed}")
        crawl = store.start_crawl(site.name, plan.arguments())
        started = time.monotonic()
        for noisy in ("core.downloader.handlers.http11", "downloadermiddlewares.httpcompression"):
            # The report counts pages that are too large or cut off; a warning for each would be too much.
            logging.getLogger(f"scrapy.{noisy}").setLevel(logging.ERROR)
        crawler = self.crawler_process.create_crawler(site.name)
        self.crawler_process.crawl(crawler, plan=plan, store=store, crawl=crawl)
        self.crawler_process.start()
        spider = crawler.spider
        if spider is None:  # Scrapy has said why
            return 1
        made = conclude(spider, crawler.stats.get_value("finish_reason", ""), time.monotonic() - started)
        show(made, spider)
        return made["exit_code"]


def say(line: str) -> None:
    print(line, file=sys.stderr)


def fail(code: int, line: str) -> int:
    say(f"error: {line}")
    return code


def show(made: dict[str, Any], spider: NewsSpider) -> None:
    """Print a report: the table, or one line if nothing happened; warnings and alarms to stderr."""
    name, error = spider.name, made["error"]
    if error:
        say(f"error: {error}")
    ended = sum(made[key] for key in ("kept", "updated", "unchanged", "skipped", "dropped", "failed"))
    asked = made["fetched"] or made["failed"]
    # Pages that ended once more as they did before are no news.
    if made["failed_sources"] or made["given_up"] or (asked and ended > made["again"]):
        print(f"{name}: crawl {made['crawl']} {made['outcome']}")
        print(report.table(made))
    elif made["outcome"] == "done":
        count = sum(made["known"].get(state, 0) for state in ("kept", "known"))
        print(f"{name}: nothing new; {count:,} articles known, asked for {made['requests']} pages")
    if clock := spider.clock.warning(spider.site.base):
        say(f"warning: {clock}")
    opt_outs = spider.opt_outs
    if opt_outs.pages and not error:
        say(f"warning: {opt_outs.pages} pages opt out of AI training ({opt_outs.reason}) and were left out")
    for kind, read in spider.tally.read.items():
        if not spider.tally.links[kind] and not error and not made["alarm"]:
            say(f"warning: {read} {kind}s were read and named not one article")
    if made["alarm"]:
        _show_alarm(made, name)
    sys.stdout.flush()


def _show_alarm(made: dict[str, Any], name: str) -> None:
    stopped = made["outcome"] == "alarm"
    word = "error" if stopped else "warning"
    say(f"{word}: {name} no longer looks as its parser expects: {'; '.join(made['alarm'])}")
    for field, tried in made["looked_for"].items():
        say(f"  {field} was looked for {tried}")
    for group in made["unread"][:5]:
        what = f"miss {','.join(group['missing'])} ({group['layout'] or 'unknown layout'})"
        if group["error"]:
            what = f"fail with {group['error']}"
        say(f"  {group['pages']} pages {what}, as {group['example']}")
    if made["saved_pages"]:
        say(f"  pages to look at: {', '.join(made['saved_pages'][:5])}")
    if stopped and not made["held"]:
        say("  what was read stays; run again when the site is well, or set CRAWL_ALARM=0 if it is")
    elif stopped:
        say(
            "  nothing of this crawl is published; fix the parser and run again, or set CRAWL_ALARM=0 if the"
            " pages are right"
        )
