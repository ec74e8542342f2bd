"""Scrapy's scheduler on top of the queue on disk, from which it reads a few pages at a time."""

from __future__ import annotations

import sqlite3
from collections import deque

from scrapy import Request
from scrapy.core.scheduler import BaseScheduler

from gazeta.crawl.page import Kind, Link
from gazeta.crawl.spider import NewsSpider

BATCH = 64  # pages taken from the queue at a time
ENOUGH_QUEUED = 200  # with that many articles to fetch, looking for more can wait
MAX_DEFERRED = 2_000


class Frontier(BaseScheduler):
    """Hands out the spider's next pages. In memory are only pages on their way, retries and redirects.

    A page leaves the queue on disk when its ending is committed, so nothing here has to be saved.
    """

    def open(self, spider: NewsSpider) -> None:  # type: ignore[override]
        self.spider = spider
        self.returned: deque[Request] = deque()
        self.batch: deque[Link] = deque()
        self.busy: set[str] = set()  # addresses that are on their way or deferred
        self.deferred: set[str] = set()  # pages that get one more chance when everything else is done
        self.last_pass = False
        self.on_way = {kind: 0 for kind in Kind}
        spider.frontier = self

    # What Scrapy asks

    def enqueue_request(self, request: Request) -> bool:
        self.returned.append(request)
        return True

    def next_request(self) -> Request | None:
        if self.returned:
            return self.returned.popleft()
        link = self._next_link()
        if link is None:
            return None
        self.batch.popleft()
        self.busy.add(link.url)
        self.on_way[link.kind] += 1
        return self.spider.request(link)

    def has_pending_requests(self) -> bool:
        return bool(self.returned) or self._next_link() is not None

    # What the spider says

    def came_back(self, link: Link, done: bool) -> None:
        """A page is no longer on its way. done: it has left the queue."""
        self.on_way[link.kind] -= 1
        if done:
            self.busy.discard(link.url)

    def defer(self, link: Link) -> bool:
        """Ask for a page again when everything else is done; False if that is not possible."""
        if self.last_pass or len(self.deferred) >= MAX_DEFERRED:
            return False
        self.deferred.add(link.url)
        return True

    # What comes next

    def _next_link(self) -> Link | None:
        """The first link of the batch; None if there is nothing to ask for, or enough is kept."""
        spider = self.spider
        kept, limit = spider.tally.counts["kept"], spider.plan.limit
        if not spider.ready or spider.stopping or (limit and kept >= limit):
            return None
        if not self.batch:
            try:
                self.batch.extend(self._take_batch())
            except sqlite3.Error as error:
                spider.store_failed(error)
                return None
        link = self.batch[0] if self.batch else None
        # With a limit: what is kept and what is on its way could already fill it.
        enough = limit and kept + self.on_way[Kind.ARTICLE] >= limit
        return None if link is not None and link.kind == Kind.ARTICLE and enough else link

    def _take_batch(self) -> list[Link]:
        """Feeds first (the newest), then articles while there are many; else sitemaps, then listings."""
        if feeds := self._take(Kind.FEED, BATCH):
            return feeds
        enough = ENOUGH_QUEUED + len(self.busy)
        if self.spider.queue.waiting(Kind.ARTICLE, self.spider.plan.scope, enough) < ENOUGH_QUEUED:
            if self.on_way[Kind.SITEMAP] < 4 and (sitemaps := self._take(Kind.SITEMAP, 1)):
                return sitemaps
            if self.on_way[Kind.SITEMAP]:
                return []  # with few articles at hand the newest one may be in the sitemap that is on its way
            # What the sitemaps know is known before a listing is paged back through time.
            if listings := self._take(Kind.LISTING, 4):
                return listings
        if articles := self._take(Kind.ARTICLE, BATCH):
            return articles
        if self.deferred and not self.last_pass and not (self.busy - self.deferred):
            self.last_pass = True
            self.busy -= self.deferred
            return self._take(Kind.ARTICLE, BATCH)
        return []

    def _take(self, kind: Kind, count: int) -> list[Link]:
        return self.spider.queue.next(kind, self.spider.plan.scope, count, self.busy)
