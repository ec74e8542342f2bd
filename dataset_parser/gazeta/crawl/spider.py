"""The spider of every site: it asks for what the frontier hands out, and settles what comes back.

Each page ends in the store with a reason. What a site's pages look like is in `gazeta.sites`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import scrapy
from scrapy import Request
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

from gazeta.crawl.clock import Clock
from gazeta.crawl.judge import is_cut, judge, wrong_type
from gazeta.crawl.optout import OptOuts, robots_opt_out, tdmrep_opt_out
from gazeta.crawl.page import Ending, Fetched, Kind, Link, Reason, State
from gazeta.crawl.plan import Plan
from gazeta.crawl.politeness import CUT, Refused, keep_crawl_delay
from gazeta.crawl.sources import Sources
from gazeta.crawl.store import Store
from gazeta.crawl.tally import Tally
from gazeta.sites.base import Article, Site
from gazeta.sites.html import to_moscow

MAX_SOURCE_BYTES = 52_428_800
REFUSALS = 10  # answers of 401, 403 or 451 in a row: the site does not want us
SAMPLES = 10  # pages of kept articles that are saved until the crawl ends well, for the alarm


class Pending(Protocol):
    """The frontier, as the spider sees it."""

    def came_back(self, link: Link, done: bool) -> None: ...
    def defer(self, link: Link) -> bool: ...


@dataclass(frozen=True)
class GivenUp:
    """Why a crawl ended early: the exit code, a short name of the cause, and a line for the operator."""

    exit_code: int
    code: str
    message: str


class NewsSpider(scrapy.Spider):
    """Crawls one news site by a plan into a store. Both come from the command; see commands/crawl.py."""

    site: Site  # set by the class of each site; see gazeta.spiders
    frontier: Pending  # set by the frontier

    def __init__(self, *args: Any, plan: Plan, store: Store, crawl: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.plan, self.store, self.crawl = plan, store, crawl
        self.tally = Tally()
        self.opt_outs = OptOuts()
        self.clock = Clock()
        self.sources = Sources(self.site, store, plan, self.tally, crawl)
        self.queue = self.sources.queue
        self.robots = ""
        self.ready = False  # robots.txt is read and the queue is filled
        self.given_up: GivenUp | None = None

    @property
    def stopping(self) -> bool:
        return self.given_up is not None

    # What to ask for

    async def start(self) -> AsyncIterator[Request]:
        # Asked for before anything else: an answer shows that the site is there, its rules hold for every
        # request after it (see PoliteRobots), and its text may opt out of AI training.
        yield self._preliminary("/robots.txt", self.on_robots, self.on_no_robots)

    def _preliminary(self, path: str, callback: Any, errback: Any) -> Request:
        meta = {"dont_obey_robotstxt": True, "download_maxsize": 1_000_000}
        return Request(f"{self.site.base}{path}", callback=callback, errback=errback, meta=meta)

    def on_robots(self, response: Response) -> Request | None:
        if response.status >= 500 or response.status == 429:
            why = f"{response.url} answers {response.status}; without it nothing is fetched. Run again later"
            self.give_up(5, "site_unreachable", why)
            return None
        self.clock.see(_header(response, "Date"))
        self.robots = response.text[:500_000] if response.status == 200 and hasattr(response, "text") else ""
        if self._opts_out(robots_opt_out(self.robots)):
            return None
        keep_crawl_delay(self.crawler, self.robots)
        return self._preliminary("/.well-known/tdmrep.json", self.on_tdmrep, lambda _: self._begin())

    def on_tdmrep(self, response: Response) -> None:
        if not self._opts_out(tdmrep_opt_out(response.body) if response.status == 200 else ""):
            self._begin()

    def on_no_robots(self, failure: Failure) -> None:
        self.give_up(
            5,
            "site_unreachable",
            f"{self.site.base} does not answer ({failure.getErrorMessage()[:200]}); check SITE_URL"
            " and the network",
        )

    def _begin(self) -> None:
        if self.stopping:
            return
        since = self._now() - timedelta(hours=self.settings.getfloat("REREAD_HOURS"))
        again = (Reason.OPTED_OUT,) if self._accepts_opt_out() else ()
        try:
            self.sources.seed(self.robots, since.strftime("%Y-%m-%d"), again)
        except sqlite3.Error as error:
            self.store_failed(error)
            return
        self.ready = True

    def _accepts_opt_out(self) -> bool:
        return self.settings.getbool("ACCEPT_AI_OPT_OUT")

    def _opts_out(self, reason: str) -> bool:
        """Give up if the site opts out of AI training and nobody accepted that."""
        if not reason or self._accepts_opt_out():
            return False
        self.give_up(2, "opted_out", self.opt_outs.line(self.site.base, reason))
        return True

    def request(self, link: Link) -> Request:
        """The request for a page that the frontier hands out."""
        meta: dict[str, Any] = {"page": link}
        if link.kind in (Kind.SITEMAP, Kind.FEED):
            meta["download_maxsize"] = MAX_SOURCE_BYTES
        headers = {"Cookie": self.site.cookies} if self.site.cookies else None
        back = {"callback": self.on_page, "errback": self.on_error}
        return Request(link.url, **back, meta=meta, headers=headers, dont_filter=True)

    # What came back

    def on_page(self, response: Response) -> None:
        link: Link = response.meta["page"]
        self.clock.see(_header(response, "Date"))
        whole = CUT not in response.flags
        page = Fetched(response.url, response.status, response.body, _header(response, "Content-Type"), whole)
        try:
            done = self._settle(link, page, response)
        except sqlite3.Error as error:
            self.store_failed(error)
            return
        except Exception as error:  # a bug of ours must not end the crawl: logged, counted, the page saved
            self.logger.exception("cannot read %s", response.url)
            bug = Ending(State.FAILED, Reason.PARSER_ERROR, repr(error), page.status, copy=page)
            self._end(link, replace(bug, missing=("title", "text", "date")))
            done = True
        self.frontier.came_back(link, done)

    def on_error(self, failure: Failure) -> None:
        link: Link = failure.request.meta["page"]  # type: ignore[attr-defined]
        error = failure.value
        done = True
        try:
            if isinstance(error, Refused):
                self._end(link, Ending(State.DROPPED, error.reason, str(error)))
            elif self.stopping:
                done = False  # it stays in the queue for the next crawl
            elif isinstance(error, DownloadCancelledError | IgnoreRequest):
                # All other reasons to ignore a request are ours, except for a body that unpacks to too much.
                self._end(link, Ending(State.DROPPED, Reason.TOO_LARGE, str(error)))
            else:
                done = self._failed(link, Ending(State.FAILED, Reason.NO_ANSWER, failure.getErrorMessage()))
        except sqlite3.Error as problem:
            self.store_failed(problem)
            return
        self.frontier.came_back(link, done)

    def _settle(self, link: Link, page: Fetched, response: Response) -> bool:
        """Record what became of one page that was answered; False if it stays in the queue."""
        wrong = Ending(State.FAILED, Reason.STATUS, status=page.status)
        if page.status in {401, 403, 451}:
            self.tally.refusals += 1
            if self.tally.refusals >= REFUSALS:
                self.give_up(
                    5,
                    "site_refuses",
                    f"{self.site.base} refuses this crawler ({REFUSALS} answers of {page.status} in a row);"
                    " wait a day, raise CRAWL_DELAY, set CRAWL_CONTACT, or ask the publisher",
                )
                return False
            return self._failed(link, wrong, now=True)
        self.tally.refusals = 0
        if page.status in {404, 410}:
            self._end(link, Ending(State.DROPPED, Reason.GONE, status=page.status))
        elif 300 <= page.status < 400:
            self._end(link, Ending(State.DROPPED, Reason.BROKEN_REDIRECT, status=page.status))
        elif page.status != 200:
            return self._failed(link, wrong)
        elif link.kind in (Kind.SITEMAP, Kind.FEED):
            if ending := self.sources.read_sitemap(link, page):
                self._end(link, ending)
        elif link.kind == Kind.LISTING:
            self.sources.read_listing(link, page)
        else:
            return self._article(link, page, response)
        return True

    def _article(self, link: Link, page: Fetched, response: Response) -> bool:
        verdict: Article | Ending | None = wrong_type(page)
        if verdict is None and is_cut(self.site, page):
            return self._failed(link, Ending(State.FAILED, Reason.CUT_SHORT, status=page.status))
        self.tally.counts["fetched"] += 1
        if verdict is None and not self._accepts_opt_out():
            headers = (
                (name.decode("latin-1"), b",".join(values).decode("latin-1"))
                for name, values in response.headers.items()
            )
            verdict = self.opt_outs.judge(page, headers)
        if verdict is None:
            verdict = judge(self.site, page, self.plan.scope, self._now())
        if isinstance(verdict, Article) and self._lives_elsewhere(link, verdict.url, page):
            verdict = Ending(State.DROPPED, Reason.SAME_ARTICLE, verdict.url, page.status)
        if isinstance(verdict, Article):
            self._keep(link, verdict, page)
            return True
        if verdict.copy is not None and verdict.state == State.DROPPED:
            # Some are saved until the crawl ends well: if all pages are of this kind, somebody must see one.
            self.tally.counts["no_article"] += 1
            if self.tally.counts["no_article"] > SAMPLES:
                verdict = replace(verdict, copy=None)
        self._end(link, verdict)
        if self.opt_outs.too_many() and not self.tally.counts["kept"]:
            self._opts_out(self.opt_outs.summary())
        return True

    def _keep(self, link: Link, article: Article, page: Fetched) -> None:
        url = article.url
        known = self.queue.state(url) in (State.KEPT, State.KNOWN) or self.store.archive.has(url)
        changed = self.store.keep(link.url, article, self.crawl, status=page.status, size=len(page.body))
        self.sources.dead_links[link.rubric] -= 1
        self.tally.in_a_row("")
        self.tally.counts["updated" if known and changed else "unchanged" if known else "kept"] += 1
        if self.tally.counts["kept"] <= SAMPLES and not known:
            self.store.saved.save(article.url, page, self.crawl)

    def _lives_elsewhere(self, link: Link, address: str, page: Fetched) -> bool:
        """Whether the page's own address is another page that has its row, or gets one.

        Its content is taken from there, never from here: a page must not be able to overwrite another one.
        """
        if address == link.url:
            return False
        state = self.queue.state(address)
        if state in (State.KEPT, State.KNOWN, State.QUEUED):
            return True
        if self.site.canonical_url(page.url) == address:
            return False  # we were redirected there: this is that page
        if state == "":
            self.tally.counts["found"] += self.queue.add([self.sources.article_link(address)])
            return True
        return False

    def _end(self, link: Link, ending: Ending) -> None:
        if ending.state == State.DROPPED:
            self.sources.dead_links[link.rubric] += 1
        self.tally.ended(link, ending)
        self.store.end(link.url, self.site.name, ending, self.crawl)

    def _failed(self, link: Link, ending: Ending, now: bool = False) -> bool:
        """A page that does not answer as it should; False if it stays in the queue for another try.

        now: no second try in this crawl.
        """
        if link.kind == Kind.ARTICLE and not now and self.frontier.defer(link):
            self.queue.put_back(link.url)
            return False
        if link.kind != Kind.ARTICLE and link.url not in self.sources.roots:
            # A sitemap or listing that fails today is asked for again in the next crawl.
            self.tally.ended(link, ending)
            self.queue.put_back(link.url)
            return False
        self._end(link, ending)
        return True

    # Stopping

    def give_up(self, exit_code: int, code: str, message: str) -> None:
        """End the crawl with an exit code and one line for the operator; what is queued stays queued."""
        if self.stopping:
            return
        self.given_up = GivenUp(exit_code, code, message)
        self.closing = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason="given up"))

    def store_failed(self, error: sqlite3.Error) -> None:
        what = f"cannot write {self.store.path}: {error}; free some space or check the folder, then run again"
        self.give_up(1, "store_failed", what)

    def _now(self) -> datetime:
        return to_moscow(self.clock.now())


def _header(response: Response, name: str) -> str:
    return (response.headers.get(name) or b"").decode("latin-1")
