"""What a crawl reports: a line while it runs, a table and a JSON file when it ends."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from scrapy import signals
from scrapy.crawler import Crawler

from gazeta.crawl.history import History
from gazeta.crawl.page import Kind
from gazeta.crawl.spider import NewsSpider
from gazeta.crawl.verdict import Alarm
from gazeta.sites.base import Site

EVERY_ON_TERMINAL, EVERY_IN_LOG = 1.0, 30.0  # seconds between lines


class Progress:
    """A Scrapy extension: one line that renews itself on a terminal, else a line every half minute."""

    def __init__(self, crawler: Crawler, stream: TextIO | None = None):
        self.crawler = crawler
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started = self.written = time.monotonic()
        self.recent: list[tuple[float, int]] = []

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Progress:
        progress = cls(crawler)
        crawler.signals.connect(progress.step, signal=signals.response_received)
        crawler.signals.connect(progress.close, signal=signals.spider_closed)
        return progress

    def step(self) -> None:
        now = time.monotonic()
        if now - self.written < (EVERY_ON_TERMINAL if self.terminal else EVERY_IN_LOG):
            return
        self.written = now
        spider = self.crawler.spider
        assert isinstance(spider, NewsSpider)
        tally, scope, limit = spider.tally, spider.plan.scope, spider.plan.limit
        fetched, kept = tally.counts["fetched"], tally.counts["kept"]
        # The speed of the last minute: pauses and slow hours show at once.
        self.recent = [(moment, count) for moment, count in self.recent if now - moment < 60] + [
            (now, fetched)
        ]
        since, earlier = self.recent[0]
        speed = (fetched - earlier) / (now - since) if now > since else fetched / (now - self.started)
        queued = spider.queue.waiting(Kind.ARTICLE, scope)
        left = min(queued, max(limit - kept, 0)) if limit else queued
        # While sitemaps wait to be read, what is queued is only the beginning.
        more = "+" if spider.queue.waiting(Kind.SITEMAP, scope, 1) else ""
        word = "more than" if more and not limit else "about"
        eta = f", {word} {spell(left / speed)} left" if speed > 0 and left else ""
        pause = f"; {tally.pause}" if tally.pause_until > now else ""
        self._write(
            f"{spider.name}: {kept} kept of {fetched} read, {left}{more} to go,"
            f" {speed:.1f} pages/s{eta}{pause}"
        )

    def _write(self, line: str) -> None:
        if self.terminal:
            self.stream.write(f"\r\x1b[K{line[:160]}")
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def close(self) -> None:
        if self.terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def spell(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.1f} days"


def build(
    spider: NewsSpider, outcome: str, exit_code: int, seconds: float, crawls: list[int]
) -> dict[str, Any]:
    """The report of a crawl that ended, as it goes into the store and into report.json.

    crawls: this one and those before it that were not judged; "fields" has the figures of all of them.
    """
    tally, counts = spider.tally, spider.tally.counts
    oldest, newest = spider.store.archive.dates(spider.crawl)
    names = ("kept", "updated", "unchanged", "dropped", "skipped", "failed", "failed_sources")
    return {
        "crawl": spider.crawl,
        "site": spider.name,
        "base": spider.site.base,
        "outcome": outcome,
        "exit_code": exit_code,
        "arguments": spider.plan.arguments(),
        "seconds": round(seconds, 1),
        "found": counts["found"],
        "requests": tally.statuses.total(),
        "fetched": counts["fetched"],
        **{name: counts[name] for name in names},
        **{name: spider.store.doubts[name] for name in ("again", "given_up")},
        "reasons": {str(why): count for why, count in tally.reasons.most_common()},
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "bytes": counts["bytes"],
        "pauses": counts["pauses"],
        "listing_pages": tally.read[Kind.LISTING],
        "queued": spider.queue.waiting(Kind.ARTICLE, spider.plan.scope),
        "oldest": oldest,
        "newest": newest,
        "known": spider.queue.totals(),
        "fields": spider.store.history.figures(crawls) if counts["fetched"] else {},
        "alarm": [],
        "error": "",
        "error_code": "",
        "clock_behind_hours": round(spider.clock.behind.total_seconds() / 3600),
    }


def looked_for(history: History, site: Site, crawls: list[int], alarms: Iterable[Alarm]) -> dict[str, str]:
    """Where the fields of an alarm were looked for: in the layout that lacks them most, else in all."""
    found = {}
    for field in (alarm.field for alarm in alarms):
        layout, pages = history.worst_layout(crawls, field)
        if field in (tried := site.selectors(layout)):
            where = f"in the layout of {layout} ({pages} pages miss it) " if layout else ""
            found[field] = f"{where}at: {tried[field]}"
    return found


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        ("found", f"{report['found']:,} new addresses"),
        ("requests", f"{report['requests']:,} ({_each(report['statuses'])}), {report['bytes'] / 1e6:.1f} MB"),
        ("articles read", f"{report['fetched']:,} in {spell(report['seconds'])}"),
        ("kept", f"{report['kept']:,} new, {report['updated']:,} edited, {report['unchanged']:,} as before"),
        ("dropped", f"{report['dropped']:,}"),
        ("failed", f"{report['failed']:,}"),
    ]
    if report["skipped"]:
        rows.append(("outside", f"{report['skipped']:,} (since, until or rubrics)"))
    if report["given_up"]:
        rows.append(("given up", f"{report['given_up']:,} that ended so for several nights"))
    if report["reasons"]:
        rows.append(("why", _each(report["reasons"])))
    if report["newest"]:
        rows.append(("dates", f"{report['oldest']} to {report['newest']}"))
    for name, figures in report["fields"].items():
        length = f", {figures['length']:,.0f} characters on average" if "length" in figures else ""
        rows.append((f"  {name}", f"{figures['coverage']:.1%} of {figures['pages']:,.0f}{length}"))
    if report["queued"]:
        rows.append(("still queued", f"{report['queued']:,}; the next run goes on with them"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def _each(counted: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counted.items()) or "none"


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Replace a JSON file at once: a reader sees the old one or the new one, never a part of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    new.replace(path)
