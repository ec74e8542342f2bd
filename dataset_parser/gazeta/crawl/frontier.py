"""Scrapy's scheduler on top of the store: what comes next is read from disk, a few pages at a time."""

from __future__ import annotations

from collections import deque

from scrapy import Request
from scrapy.core.scheduler import BaseScheduler

from gazeta.crawl.spider import NewsSpider


class Frontier(BaseScheduler):
    """Hands out the spider's next pages. In memory are only requests that come back: retries and redirects.

    A page leaves the queue on disk when what became of it is committed, so nothing here has to be saved.
    """

    def open(self, spider: NewsSpider) -> None:  # type: ignore[override]
        self.spider = spider
        self.returned: deque[Request] = deque()

    def enqueue_request(self, request: Request) -> bool:
        self.returned.append(request)
        return True

    def next_request(self) -> Request | None:
        if self.returned:
            return self.returned.popleft()
        return self.spider.next_request()

    def has_pending_requests(self) -> bool:
        return bool(self.returned) or self.spider.has_next()
