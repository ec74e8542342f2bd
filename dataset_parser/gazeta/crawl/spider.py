"""The spider without a site: the store says where to go next, and every page ends there with a reason.

A site's own spider names its addresses and its `pages` module; see spiders/gazeta.py. `pages` offers SITE,
RUBRICS, parse_article, parse_listing, listing_urls, canonical_url, same_site, is_article_url, url_day,
url_rubric and selectors.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import urljoin

import scrapy
from scrapy import Request
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Response
from twisted.python.failure import Failure

from gazeta.crawl.optout import page_opt_out, robots_opt_out, tdmrep_opt_out
from gazeta.crawl.plan import Plan
from gazeta.crawl.politeness import RedirectRefused
from gazeta.crawl.store import UNKNOWN_LAYOUT, Link, Scope, Store
from gazeta.sites.base import NotAnArticle, PageChanged
from gazeta.sites.html import to_moscow
from gazeta.sites.sitemaps import BadSource, parse_source

BATCH = 64  # pages taken from the store at a time
ENOUGH_QUEUED = 200  # with that many articles to fetch, looking for more can wait
MAX_SOURCE_BYTES = 52_428_800
MAX_TEXT = 300_000  # characters: longer than any story, and than any model reads
MAX_LISTING_PAGES = 20_000  # a listing in one crawl: a bound for listings without end
MAX_POOR_PAGES = 20  # listing pages in a row with less than a tenth of their articles new
MAX_DEAD_LINKS = 100
MAX_DEFERRED = 2_000
REFUSALS = 10  # 401, 403 or 451 in a row: the site does not want us
SAMPLES = 10  # pages of kept articles that are saved until the crawl ends well, for the alarm
OPT_OUT_PAGES = 5
OPTED_OUT = "opted out of AI training"
FORBIDDEN = "forbidden by robots.txt"
HTML_TYPES = ("text/html", "application/xhtml+xml", "")


class NewsSpider(scrapy.Spider):
    """Crawls one news site by a plan into a store. Both come from the command; see commands/crawl.py."""

    pages: ModuleType
    base: str
    sitemaps: tuple[str, ...] = ("/sitemap.xml",)
    feeds: tuple[str, ...] = ()
    listings = True
    cookies = ""  # sent with every request

    def __init__(self, *args: Any, plan: Plan, store: Store, crawl: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.plan, self.store, self.crawl = plan, store, crawl
        self.scope: Scope = plan.scope
        self.ready = False
        self.robots = ""
        self.stopping = False
        self.failed: tuple[int, str] | None = None  # (exit code, error line) once the crawl was given up
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.listing_pages: Counter[str] = Counter()
        self.poor_pages: Counter[str] = Counter()
        self.dead_links: Counter[str] = Counter()  # by rubric: pages without an article, less those with one
        self.opt_outs = 0
        self.opt_out = ""  # how the last of them said it
        self.refusals = 0
        self.note = ""
        self.busy: set[str] = set()
        self.deferred: set[str] = set()
        self.last_pass = False
        self.on_way = 0  # article pages
        self.sitemaps_on_way = 0
        self.closing: asyncio.Task | None = None
        self._batch: list[Link] = []

    # ------------------------------------------------------------ what to ask for

    async def start(self) -> AsyncIterator[Request]:
        # Asked for before anything else: an answer shows that the site is there, its rules hold for every
        # request after it (see PoliteRobots), and its text may opt out of AI training.
        yield Request(
            f"{self.base}/robots.txt",
            callback=self.on_robots,
            errback=self.on_no_robots,
            meta={"dont_obey_robotstxt": True, "download_maxsize": 1_000_000},
        )

    def on_robots(self, response: Response) -> Request | None:
        if response.status >= 500 or response.status == 429:
            self.give_up(
                5, f"{response.url} answers {response.status}; without it nothing is fetched. Run again later"
            )
            return None
        self.robots = response.text[:500_000] if response.status == 200 and hasattr(response, "text") else ""
        if (reason := robots_opt_out(self.robots)) and not self.settings.getbool("ACCEPT_AI_OPT_OUT"):
            self._opted_out(reason)
            return None
        self._slow_down(self.robots)
        return Request(
            f"{self.base}/.well-known/tdmrep.json",
            callback=self.on_tdmrep,
            errback=lambda _: self._begin(),
            meta={"dont_obey_robotstxt": True, "download_maxsize": 1_000_000},
        )

    def on_tdmrep(self, response: Response) -> None:
        reason = tdmrep_opt_out(response.body) if response.status == 200 else ""
        if reason and not self.settings.getbool("ACCEPT_AI_OPT_OUT"):
            self._opted_out(reason)
            return
        self._begin()

    def _begin(self) -> None:
        if self.stopping:
            return
        try:
            self._seed(self.robots)
        except sqlite3.Error as error:
            self._store_failed(error)
            return
        self.ready = True

    def on_no_robots(self, failure: Failure) -> None:
        self.give_up(
            5,
            f"{self.base} does not answer ({failure.getErrorMessage()[:200]}); check SITE_URL"
            " and the network",
        )

    def _opted_out(self, reason: str) -> None:
        self.give_up(2, self.opt_out_line(reason))

    def opt_out_line(self, reason: str) -> str:
        """What the operator is told when the site does not want its texts in a training set."""
        return (
            f"{self.base} opts out of AI training: {reason}. Ask the publisher, or set"
            " ACCEPT_AI_OPT_OUT=1 if you have the right to go on"
        )

    def _slow_down(self, robots: str) -> None:
        """Keep to a Crawl-delay that is longer than ours."""
        from protego import Protego

        wanted = Protego.parse(robots).crawl_delay(self.settings["ROBOTSTXT_USER_AGENT"]) or 0
        if wanted > self.settings.getfloat("DOWNLOAD_DELAY") > 0:
            self.note = f"robots.txt asks for {wanted:g} s between requests"
            downloader = self.crawler.engine.downloader
            for name, slot in downloader.slots.items():
                slot.delay = wanted
                # A slot without requests for a minute (a long Retry-After) is made anew, from these.
                downloader.per_slot_settings.setdefault(name, {})["delay"] = wanted
            if throttle := self.crawler.get_extension(AutoThrottle):
                throttle.mindelay = wanted

    def _seed(self, robots: str) -> None:
        """Queue what is read in every crawl, and articles young enough to have been edited since."""
        named = [
            line.partition(":")[2].strip()
            for line in robots.splitlines()
            if line.lower().startswith("sitemap:")
        ]
        # Sitemaps that robots.txt names at our own site come first; the usual place is tried anyway.
        roots = [urljoin(self.base, path) for path in self.sitemaps]
        roots += [address for address in named[:10] if self.pages.same_site(address, self.base)]
        self.roots = frozenset(roots)
        links = [Link(address, "sitemap") for address in self.roots]
        links += [Link(urljoin(self.base, path), "feed") for path in self.feeds]
        if self.listings:
            addresses = self.pages.listing_urls(self.base, self.scope.rubrics)
            links += [Link(address, "listing", "", self.pages.url_rubric(address)) for address in addresses]
        self.store.queue_again(links, self.name)
        self.store.take_up(self.name, (OPTED_OUT,) if self.settings.getbool("ACCEPT_AI_OPT_OUT") else ())
        self.reread_since = (self._now() - timedelta(hours=self.settings.getfloat("REREAD_HOURS"))).strftime(
            "%Y-%m-%d"
        )
        self.counts["reread"] = self.store.read_again(self.name, self.reread_since)

    def next_request(self) -> Request | None:
        """The next page to ask for, None when there is none (or enough is kept)."""
        if not self.ready or self.stopping:
            return None
        link = self._next_link()
        if link is None:
            return None
        self.busy.add(link.url)
        self.on_way += link.kind == "article"
        self.sitemaps_on_way += link.kind == "sitemap"
        source = link.kind in {"sitemap", "feed"}
        meta: dict[str, Any] = {"page": link}
        if source:
            meta["download_maxsize"] = MAX_SOURCE_BYTES
        return Request(
            link.url,
            callback=self.on_page,
            errback=self.on_error,
            meta=meta,
            headers={"Cookie": self.cookies} if self.cookies else None,
            dont_filter=True,
        )

    def has_next(self) -> bool:
        if not self.ready or self.stopping:
            return False
        link = self._next_link()
        if link is not None:
            self._batch.insert(0, link)
        return link is not None

    def _enough(self) -> bool:
        """With a limit: what is kept and what is on its way could already fill it."""
        return bool(self.plan.limit) and self.counts["kept"] + self.on_way >= self.plan.limit

    def _next_link(self) -> Link | None:
        if self.plan.limit and self.counts["kept"] >= self.plan.limit:
            return None
        if not self._batch:
            try:
                self._batch = self._take_batch()
            except sqlite3.Error as error:
                self._store_failed(error)
                return None
        if self._batch and self._batch[0].kind == "article" and self._enough():
            return None
        return self._batch.pop(0) if self._batch else None

    def _take_batch(self) -> list[Link]:
        """Feeds first (the newest), then articles while there are many; else sitemaps, then listings."""
        take = self.store.next_pages
        if feeds := take(self.name, "feed", self.scope, BATCH, self.busy):
            return feeds
        if (
            self.store.queued(self.name, "article", self.scope, ENOUGH_QUEUED + len(self.busy))
            < ENOUGH_QUEUED
        ):
            if self.sitemaps_on_way < 4 and (
                sitemaps := take(self.name, "sitemap", self.scope, 1, self.busy)
            ):
                return sitemaps
            if self.sitemaps_on_way:
                return []  # with few articles at hand the newest one may be in the sitemap that is on its way
            # What the sitemaps know is known before a listing is paged back through time.
            if listings := take(self.name, "listing", self.scope, 4, self.busy):
                return listings
        if articles := take(self.name, "article", self.scope, BATCH, self.busy):
            return articles
        if self.deferred and not self.last_pass and not (self.busy - self.deferred):
            # Pages that answered 500 get one more chance when everything else is done.
            self.last_pass = True
            self.busy -= self.deferred
            return take(self.name, "article", self.scope, BATCH, self.busy)
        return []

    # ------------------------------------------------------------ what came back

    def count_response(self, response: Response) -> None:
        """Called for every answer, retries and redirects included."""
        self.statuses[response.status] += 1
        self.counts["bytes"] += len(response.body)

    def on_page(self, response: Response) -> None:
        link: Link = response.meta["page"]
        try:
            done = self._page(link, response)
        except sqlite3.Error as error:
            self._store_failed(error)
            return
        except (
            Exception
        ) as error:  # a bug of ours must not end the crawl: said aloud, counted, the page saved
            self.logger.exception("cannot read %s", response.url)
            self._end(
                link,
                "failed",
                "parser error",
                repr(error),
                response.status,
                response.body,
                _content_type(response),
            )
            done = True
        self._left(link, done)

    def on_error(self, failure: Failure) -> None:
        link: Link = failure.request.meta["page"]  # type: ignore[attr-defined]
        error = failure.value
        done = True
        try:
            if isinstance(error, RedirectRefused):
                self._end(link, "dropped", str(error).partition(":")[0], str(error))
            elif isinstance(error, IgnoreRequest) and "robots" in str(error).lower():
                self._end(link, "dropped", FORBIDDEN)
            elif isinstance(error, DownloadCancelledError) or "MAXSIZE" in str(error):
                self._end(link, "dropped", "too large", str(error))
            elif self.stopping:
                done = False  # it stays in the queue for the next crawl
            else:
                done = self._failed(link, "no answer", failure.getErrorMessage())
        except sqlite3.Error as problem:
            self._store_failed(problem)
            return
        self._left(link, done)

    def _left(self, link: Link, done: bool) -> None:
        self.on_way -= link.kind == "article"
        self.sitemaps_on_way -= link.kind == "sitemap"
        if done:
            self.busy.discard(link.url)

    def _page(self, link: Link, response: Response) -> bool:
        """Settle one answered page; False when it stays in the queue."""
        status = response.status
        if status in {401, 403, 451}:
            self.refusals += 1
            if self.refusals >= REFUSALS:
                self.give_up(
                    5,
                    f"{self.base} refuses this crawler ({REFUSALS} answers of {status} in a row); "
                    f"wait a day, raise"
                    " CRAWL_DELAY, set CRAWL_CONTACT, or ask the publisher",
                )
                return False
            return self._failed(link, f"http {status}", "", status, now=True)
        self.refusals = 0
        if status in {404, 410}:
            self._end(link, "dropped", "gone", status=status)
        elif 300 <= status < 400:
            self._end(link, "dropped", "broken redirect", status=status)
        elif status != 200:
            return self._failed(link, f"http {status}", "", status)
        elif link.kind in {"sitemap", "feed"}:
            self._source(link, response)
        elif link.kind == "listing":
            self._listing(link, response)
        else:
            self._article(link, response)
        return True

    def _source(self, link: Link, response: Response) -> None:
        try:
            entries, left_out = parse_source(response.body)
        except BadSource as error:
            self._end(link, "failed", f"bad {link.kind}", str(error))
            return
        if left_out:
            self.reasons["links beyond the limit of a sitemap"] += left_out
        links, changed = [], []
        for entry in entries:
            try:
                address = urljoin(response.url, entry.url)
                if not self.pages.same_site(address, self.base):
                    self.reasons["link to another site"] += 1
                elif entry.is_sitemap:
                    if link.kind == "sitemap" and _depth(link) < 3:
                        links.append(
                            Link(address, "sitemap", entry.day, f"#{_depth(link) + 1}", entry.lastmod)
                        )
                elif self.pages.is_article_url(address):
                    url = self.pages.canonical_url(address)
                    day = self.pages.url_day(url) or entry.day
                    links.append(Link(url, "article", day, self.pages.url_rubric(url), entry.lastmod))
                    if entry.lastmod and day >= self.reread_since:
                        changed.append(links[-1])
            except ValueError:
                self.reasons["broken link"] += 1
        self._read(link, links, response)
        if changed:
            self.counts["reread"] += self.store.read_again(self.name, self.reread_since, changed)
        self.counts["links_in_sitemaps"] += len(links)

    def _listing(self, link: Link, response: Response) -> None:
        listing = self.pages.parse_listing(response.body, response.url, _content_type(response))
        links = [Link(url, "article", day, self.pages.url_rubric(url)) for url, day in listing.articles]
        self.counts["links_in_listings"] += len(links)
        self.counts["listing_pages"] += 1
        new = self._read(link, links, response)
        chain = link.url.partition("?")[0]
        self.listing_pages[chain] += 1
        # A listing that for long names hardly anything new, or mostly dead links, goes nowhere.
        self.poor_pages[chain] = 0 if new * 10 >= len(links) > 0 else self.poor_pages[chain] + 1
        if self.poor_pages[chain] > MAX_POOR_PAGES or self.dead_links[link.rubric] > MAX_DEAD_LINKS:
            self.reasons["listing without end"] += 1
        elif not listing.older:
            self.store.set(f"walked {self.name} {chain}", "1")
        elif (new or not self._seen_behind(chain)) and self.listing_pages[chain] < MAX_LISTING_PAGES:
            self.store.add_links([Link(listing.older, "listing", listing.oldest, link.rubric)], self.name)

    def _seen_behind(self, chain: str) -> bool:
        """Whether what is behind a listing page without anything new was seen, or will be.

        It was if the sitemaps list it, if an earlier crawl followed this listing to its end, or if the way
        back was broken off: then the page to go on from waits in the queue.
        """
        return (
            self.counts["links_in_sitemaps"] > 0
            or bool(self.store.get(f"walked {self.name} {chain}"))
            or self.store.waits(self.name, "listing", f"{chain}?")
        )

    def _read(self, link: Link, links: list[Link], response: Response) -> int:
        if not any(read for read, _ in self.sources().values()):
            # Only now: a site that was never reached must not decide how far back the next crawls go.
            self.plan.remember(self.store, self.name)
        self.counts[f"{link.kind}s read"] += 1
        self.counts[f"links of {link.kind}s"] += len(links)
        new = self.store.end(
            link.url,
            self.name,
            "read",
            self.crawl,
            status=response.status,
            size=len(response.body),
            links=links,
        )
        self.counts["found"] += new
        return new

    def _article(self, link: Link, response: Response) -> None:
        self.counts["fetched"] += 1
        kind = _content_type(response)
        if kind.partition(";")[0].strip().lower() not in HTML_TYPES:
            self._end(link, "dropped", "wrong content type", kind, response.status)
            return
        headers = [
            (name.decode("latin-1"), b",".join(values).decode("latin-1"))
            for name, values in response.headers.items()
        ]
        reason = page_opt_out(headers, response.body[:20_000].decode("latin-1"))
        if reason and not self.settings.getbool("ACCEPT_AI_OPT_OUT"):
            self._end(link, "dropped", OPTED_OUT, reason, response.status)
            self.opt_outs += 1
            self.opt_out = reason
            if self.opt_outs >= OPT_OUT_PAGES and not self.counts["kept"]:
                self._opted_out(f"{reason} ({self.opt_outs} pages of {self.opt_outs})")
            return
        try:
            article = self.pages.parse_article(response.body, response.url, kind)
        except NotAnArticle as error:
            # Some are saved until the crawl ends well: if all pages are of this kind, somebody must see one.
            sample = response.body if self.counts["no_article"] < SAMPLES else b""
            self.counts["no_article"] += 1
            reason = str(error).partition(":")[0][:60]
            self._end(link, "dropped", reason, str(error), response.status, body=sample, kind=kind)
            return
        except PageChanged as error:
            detail = f"{','.join(error.fields)} ({error.era or UNKNOWN_LAYOUT})"
            self._end(link, "failed", "changed", detail, response.status, body=response.body, kind=kind)
            return
        if article.date > (self._now() + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S"):
            self._end(link, "dropped", "date in the future", article.date, response.status)
        elif article.date < "1999":
            self._end(link, "dropped", "impossible date", article.date, response.status)
        elif len(article.text) > MAX_TEXT:
            self._end(link, "dropped", "too long", f"{len(article.text)} characters", response.status)
        elif not self._in_scope(article.date[:10], article.rubric):
            # With its day known, it is not asked for again until a crawl goes back that far.
            self._end(
                link, "skipped", "outside since, until or rubrics", article.date, response.status,
                day=article.date[:10], rubric=article.rubric,
            )  # fmt: skip
        elif article.url != link.url and self._lives_elsewhere(link, article.url, response):
            self._end(link, "dropped", "same article", article.url, response.status)
        else:
            self._keep(link, article, response, kind)

    def _keep(self, link: Link, article: Any, response: Response, kind: str) -> None:
        known = self.store.state(article.url) in {"kept", "known"} or self.store.has_article(article.url)
        changed = self.store.keep(
            link.url, article, self.crawl, status=response.status, size=len(response.body)
        )
        self.dead_links[link.rubric] -= 1
        self.counts["updated" if known and changed else "unchanged" if known else "kept"] += 1
        if self.counts["kept"] <= SAMPLES and not known:
            self.store.save_page(article.url, response.body, kind, self.crawl)

    def _lives_elsewhere(self, link: Link, address: str, response: Response) -> bool:
        """Whether the page's own address is another page that has its row, or gets one.

        Its content is taken from there, never from here: a page must not be able to overwrite another one.
        """
        state = self.store.state(address)
        if state in {"kept", "known", "queued"}:
            return True
        if self.pages.canonical_url(response.url) == address:
            return False  # we were redirected there: this is that page
        if state == "":
            self.counts["found"] += self.store.add_links(
                [Link(address, "article", self.pages.url_day(address), self.pages.url_rubric(address))],
                self.name,
            )
            return True
        return False

    def _in_scope(self, day: str, rubric: str) -> bool:
        scope = self.scope
        if scope.rubrics and rubric and rubric not in scope.rubrics:
            return False
        return (not scope.since or day >= scope.since) and (not scope.until or day <= scope.until)

    def _end(
        self,
        link: Link,
        state: str,
        reason: str,
        detail: str = "",
        status: int = 0,
        body: bytes = b"",
        kind: str = "",
        day: str = "",
        rubric: str = "",
    ) -> None:
        if state == "dropped":
            self.dead_links[link.rubric] += 1
        if link.kind == "article":
            self.reasons[reason] += 1
            self.counts[state] += 1
        else:
            self.reasons[f"{link.kind}: {reason}"] += 1
            if state == "failed":
                self.counts["failed_sources"] += 1
        self.store.end(
            link.url, self.name, state, self.crawl, reason=reason, detail=detail, status=status,
            body=body, content_type=kind, day=day, rubric=rubric,
        )  # fmt: skip

    def _failed(self, link: Link, reason: str, detail: str, status: int = 0, now: bool = False) -> bool:
        """A page that does not answer as it should; False when it stays in the queue for another try."""
        if link.kind == "article" and not now and not self.last_pass and len(self.deferred) < MAX_DEFERRED:
            self.store.put_back(link.url)
            self.deferred.add(link.url)
            return False
        if link.kind != "article" and link.url not in getattr(self, "roots", ()):
            # A sitemap or listing that fails today is asked for again in the next crawl.
            self.counts["failed_sources"] += 1
            self.reasons[f"{link.kind}: {reason}"] += 1
            self.store.put_back(link.url)
            return False
        self._end(link, "failed", reason, detail, status)
        return True

    def sources(self) -> dict[str, tuple[int, int]]:
        """By kind of source: how many were read, and how many links they named."""
        return {
            kind: (self.counts[f"{kind}s read"], self.counts[f"links of {kind}s"])
            for kind in ("feed", "sitemap", "listing")
        }

    def selectors(self, layout: str = "") -> dict[str, str]:
        """What the site's parser looks for, by field; "" for all layouts."""
        return self.pages.selectors(layout)

    # ------------------------------------------------------------ stopping

    def give_up(self, code: int, line: str) -> None:
        """End the crawl with an exit code and one line for the operator; what is queued stays queued."""
        if self.stopping:
            return
        self.failed = (code, line)
        self.stopping = True
        self.closing = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason="given up"))

    def _store_failed(self, error: sqlite3.Error) -> None:
        self.give_up(
            1, f"cannot write {self.store.path}: {error}; free some space or check the folder, then run again"
        )

    def note_pause(self, seconds: float, why: str) -> None:
        self.counts["pauses"] += 1
        self.note = f"the site asks for patience ({why}): waiting {seconds:.0f} s"
        self.note_until = time.monotonic() + seconds

    @staticmethod
    def _now() -> datetime:
        return to_moscow(datetime.now(UTC))


def _depth(link: Link) -> int:
    """How deep in the index a sitemap is, from 1. Kept in the rubric, which sitemaps have no use for."""
    return int(link.rubric[1:]) if link.rubric.startswith("#") else 1


def _content_type(response: Response) -> str:
    return (response.headers.get("Content-Type") or b"").decode("latin-1")
