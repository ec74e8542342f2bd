"""The end of a crawl: what its outcome is, what is held back or saved, and its report."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gazeta import settings
from gazeta.crawl import report
from gazeta.crawl.page import Reason, State, Why
from gazeta.crawl.spider import GivenUp, NewsSpider
from gazeta.crawl.verdict import Alarm, alarms, bursts

FEW_ANSWERS = 10  # so many pages without an answer, and fewer with one, mean that the site is down


@dataclass(frozen=True)
class Outcome:
    """name: done, alarm, stopped, given up or broken; given_up: why, for "given up"."""

    name: str
    exit_code: int
    alarms: tuple[Alarm, ...] = ()
    given_up: GivenUp | None = None
    holds: bool = False  # what the crawl kept is not to be trusted


def conclude(spider: NewsSpider, finish_reason: str, seconds: float) -> dict[str, Any]:
    """Judge the crawl, do what follows from it, store its report and return it. finish_reason: Scrapy's."""
    store, crawl = spider.store, spider.crawl
    crawls = store.history.unjudged(crawl)
    outcome = _outcome(spider, finish_reason, crawls)
    made = report.build(spider, outcome.name, outcome.exit_code, seconds, crawls)
    made["alarm"] = [str(alarm) for alarm in outcome.alarms]
    if outcome.given_up:
        made["error"] = outcome.given_up.message
        made["error_code"] = outcome.given_up.code
    if outcome.alarms:
        made["saved_pages"] = [str(path) for path in _save_examples(spider, crawls)]
        made["unread"] = [asdict(group) for group in store.history.unread(crawls)]
        made["looked_for"] = report.looked_for(store.history, spider.site, crawls, outcome.alarms)
    made["held"] = outcome.holds
    if outcome.name == "alarm":
        made["error_code"] = "site_changed"
        if outcome.holds:
            store.hold(crawls)
    elif outcome.name == "done":
        store.saved.forget_samples()
    store.history.finish(crawl, outcome.name, made)
    store.compact()
    report.write_json(settings.CRAWL_DIR / "report.json", made)
    report.write_json(settings.CRAWL_DIR / "reports" / f"{crawl:05}.json", made)
    return made


def _outcome(spider: NewsSpider, finish_reason: str, crawls: list[int]) -> Outcome:
    if spider.given_up:
        return Outcome("given up", spider.given_up.exit_code, (), spider.given_up)
    if finish_reason == "shutdown":
        return Outcome("stopped", 130)
    if finish_reason != "finished":
        return Outcome("broken", 1)
    if given_up := _unreachable(spider) or _all_opted_out(spider):
        return Outcome("given up", given_up.exit_code, (), given_up)
    found: list[Alarm] = []
    # A crawl that fetches nothing answers for those before it that nobody judged.
    if spider.tally.counts["fetched"] or len(crawls) > 1:
        history = spider.store.history
        found = alarms(history.figures(crawls), history.good_figures(spider.name))
    if _without_links(spider):
        if spider.tally.unread[Reason.FORBIDDEN]:
            base = spider.site.base
            line = f"robots.txt of {base} forbids this crawler the site's lists; ask the publisher"
            given_up = GivenUp(5, "site_refuses", line)
            return Outcome("given up", 5, tuple(found), given_up)
        found.append(Alarm("articles", "not one link in the sitemaps, feeds and listings"))
    # Pages that may be had another night say nothing against those that were read.
    holds = bool(found) and settings.CRAWL_ALARM
    found += bursts(_sudden(spider, crawls), spider.tally.longest)
    if found and settings.CRAWL_ALARM:
        return Outcome("alarm", 3, tuple(found), holds=holds)
    return Outcome("done", 0, tuple(found))


def _sudden(spider: NewsSpider, crawls: list[int]) -> list[tuple[str, int, int]]:
    """The bursts of these crawls, without the dead links of a listing that was found to have no end."""
    endless = spider.tally.reasons[Why(Reason.ENDLESS)]
    found = spider.store.history.bursts(crawls)
    return [burst for burst in found if not (endless and burst[0] == Reason.GONE)]


def _unreachable(spider: NewsSpider) -> GivenUp | None:
    silent, fetched = spider.tally.unanswered(), spider.tally.counts["fetched"]
    if silent < FEW_ANSWERS or silent <= fetched:
        return None
    line = f"{silent} of {silent + fetched} pages did not answer; run again later"
    return GivenUp(5, "site_unreachable", line)


def _all_opted_out(spider: NewsSpider) -> GivenUp | None:
    """Every page of a crawl too short to stop in its middle opts out."""
    opt_outs = spider.opt_outs
    if not opt_outs.pages or opt_outs.pages != spider.tally.counts["fetched"]:
        return None
    return GivenUp(2, "opted_out", opt_outs.line(spider.site.base, opt_outs.summary()))


def _without_links(spider: NewsSpider) -> bool:
    """Whether no sitemap, feed or listing named an article, though some were asked for.

    A site that was read before and names nothing any more has not stopped publishing: its lists changed.
    """
    limit = spider.plan.limit
    enough = limit and spider.tally.counts["kept"] >= limit
    asked = spider.tally.read.total() + spider.tally.unread.total()
    return asked > 0 and not (spider.tally.links.total() or enough)


def _save_examples(spider: NewsSpider, crawls: list[int], most: int = 10) -> list[Path]:
    """Write some saved pages out as files that a browser opens; failing ones first."""
    folder = settings.CRAWL_DIR / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    pages = [saved for number in crawls for saved in spider.store.saved.pages(number)]
    pages.sort(key=lambda saved: saved[1] == State.KEPT)
    written = []
    for _, _, page in pages[:most]:
        slug = re.sub(r"[^\w-]+", "_", page.url.partition("://")[2])[-80:]
        path = folder / f"{slug}.{hashlib.sha256(page.url.encode()).hexdigest()[:8]}.html"
        path.write_bytes(page.body)
        written.append(path)
    return written
