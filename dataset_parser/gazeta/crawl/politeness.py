"""Manners and guards between Scrapy and the network."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from protego import Protego
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Response
from scrapy.robotstxt import ProtegoRobotParser, RobotParser

from gazeta.crawl.page import Reason

BUSY = frozenset({429, 503})  # the site asks for a pause
BROKEN = frozenset({408, 500, 502, 504, 520, 521, 522, 523, 524})
NO_ANSWER = (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    OSError,
)
TRIES = 3  # times that one page is asked for while the rest of the site answers
IN_A_ROW = 5  # failures one after another that mean the site, not the page
LONGEST_PAUSE = 300.0
CUT = "cut"  # the flag of an answer whose body ends before its end
MOST_UNPACKED = 52_428_800


class Refused(IgnoreRequest):
    """A request that is not made: robots.txt forbids it, or a redirect leads off the site or in circles."""

    def __init__(self, reason: Reason, detail: str = ""):
        super().__init__(detail)
        self.reason = reason


def keep_crawl_delay(crawler: Crawler, robots: str) -> None:
    """Keep to a Crawl-delay of robots.txt that is longer than ours."""
    wanted = Protego.parse(robots).crawl_delay(crawler.settings["ROBOTSTXT_USER_AGENT"]) or 0
    if not wanted > crawler.settings.getfloat("DOWNLOAD_DELAY") > 0:
        return
    downloader = crawler.engine.downloader
    for name, slot in downloader.slots.items():
        slot.delay = wanted
        # A slot without requests for a minute (a long Retry-After) is made anew, from these.
        downloader.per_slot_settings.setdefault(name, {})["delay"] = wanted
    if throttle := crawler.get_extension(AutoThrottle):
        throttle.mindelay = wanted


class PoliteRobots(RobotsTxtMiddleware):
    """Holds every request against the robots.txt that the spider read first of all; no second request for it.

    Scrapy's own fetching of it is not used: in 2.19, of several requests that wait for robots.txt, only the
    first gets the rules, and the others pass, allowed or not.
    """

    rules: RobotParser | None = None

    async def robot_parser(self, request: Request) -> RobotParser:
        if self.rules is None:
            spider = self.crawler.spider
            self.rules = ProtegoRobotParser(spider.robots.encode("utf-8", "replace"), spider)
        return self.rules

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest:
            raise Refused(Reason.FORBIDDEN) from None


class PoliteRedirects(RedirectMiddleware):
    """Follows redirects inside the site only: no page can send the crawler to another or an inner host."""

    def process_response(self, request: Request, response: Response) -> Request | Response:  # type: ignore[override]
        try:
            followed = super().process_response(request, response)
        except IgnoreRequest:
            raise Refused(Reason.REDIRECT_LOOP) from None
        except ValueError:
            raise Refused(Reason.BROKEN_REDIRECT) from None
        site = self.crawler.spider.site
        if isinstance(followed, Request) and not site.same_site(followed.url, request.url):
            raise Refused(Reason.OTHER_SITE, urlsplit(followed.url).netloc)
        return followed


class WholeBodies:
    """Marks answers whose packed body ends before its end: unpacking one gives the part that came."""

    def process_response(self, request: Request, response: Response) -> Response:
        encodings = (response.headers.get("Content-Encoding") or b"").decode("latin-1").lower()
        if response.status == 200 and not unpacks_whole(response.body, encodings.rpartition(",")[2].strip()):
            return response.replace(flags=[*response.flags, CUT])
        return response


def unpacks_whole(body: bytes, encoding: str) -> bool:
    """Whether a body in a Content-Encoding has its end; True for an encoding that we do not know."""
    if encoding == "br":
        import brotli  # Scrapy asks for this encoding only if it is there

        try:
            unpacker = brotli.Decompressor()
            unpacker.process(body)
            return unpacker.is_finished()
        except brotli.error:
            return False
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return True
    kinds = (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS) if encoding == "deflate" else (zlib.MAX_WBITS | 16,)
    return any(_inflates(body, kind) for kind in kinds)


def _inflates(body: bytes, kind: int) -> bool:
    unpacker, size = zlib.decompressobj(kind), 0
    try:
        # In pieces: a small body that unpacks to very much takes no memory. Scrapy refuses it later.
        while not unpacker.eof and body and size < MOST_UNPACKED:
            size += len(unpacker.decompress(body, 2**18))
            body = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return unpacker.eof or size >= MOST_UNPACKED


class Patience:
    """Waits when the site asks to, tries again what may pass, and gives up on a site that does not answer.

    All requests wait at one gate: a site that says 429 or 503 gets no request at all until its Retry-After
    (seconds or a date) is over; without one, and when nothing answers, the pauses double. After several
    failures in a row a page that answered before is asked for: if it does, the pages are broken, else the
    site is.
    """

    def __init__(self, crawler: Crawler):
        self.crawler = crawler
        self.give_up_after: float = crawler.settings.getfloat("GIVE_UP_AFTER")
        self.first_pause: float = crawler.settings.getfloat("FIRST_PAUSE")
        self.failures = 0  # in a row
        self.pauses = 0  # that were not asked for, in a row
        self.open_at = 0.0
        self.answered_at = time.monotonic()
        self.answered = False
        self.good = ""  # the address of a page that answered
        self.probing = asyncio.Lock()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Patience:
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        while (wait := self.open_at - time.monotonic()) > 0:
            # In steps, so that a crawl that has to stop does not sit out the pause.
            await asyncio.sleep(min(wait, 1.0))
            if self.crawler.spider.stopping:
                raise IgnoreRequest("stopping")
        if self.failures >= IN_A_ROW and not request.meta.get("probe") and not self.probing.locked():
            async with self.probing:
                probe = Request(self.good or f"{self.crawler.spider.site.base}/", meta={"probe": True})
                # An answer resets the count of failures; none adds to it, and the gate stays shut longer.
                with contextlib.suppress(*NO_ANSWER, IgnoreRequest):
                    await self.crawler.engine.download_async(probe)
            await self.process_request(request)

    def process_response(self, request: Request, response: Response) -> Request | Response:
        self.crawler.spider.tally.answered(response.status, len(response.body))
        if response.status in BUSY | BROKEN:
            asked = _retry_after(response) if response.status in BUSY else None
            return self._again(request, f"http {response.status}", asked, answered=True) or response
        if response.status == 200 and "page" in request.meta:
            self.good = request.url
        elif request.url.endswith("/robots.txt"):
            return response  # a site that can only serve this one is still broken
        self.failures = self.pauses = 0
        self.answered_at = time.monotonic()
        self.answered = True
        return response

    def process_exception(self, request: Request, exception: Exception) -> Request | None:
        if isinstance(exception, NO_ANSWER):
            return self._again(request, str(exception) or type(exception).__name__)
        return None

    def _again(
        self, request: Request, why: str, asked: float | None = None, answered: bool = False
    ) -> Request | None:
        """The request once more, or None if it has had its tries; sets the gate.

        asked: the seconds that the site asks us to wait; answered: it gave some answer.
        """
        spider = self.crawler.spider
        if spider.stopping:
            return None
        self.failures += 1
        probe = request.meta.get("probe", False)
        whole_site = self.failures >= IN_A_ROW
        if asked is not None and asked > self.give_up_after:
            when = f"{spider.site.base} asks to come back in {asked / 60:.0f} minutes ({why}); run again then"
            spider.give_up(5, "site_busy", when)
            return None
        quiet = time.monotonic() - self.answered_at
        silent = not self.answered and self.failures >= TRIES * 2
        if self.failures >= TRIES and (quiet > self.give_up_after or (silent and not answered)):
            spider.give_up(
                5,
                "site_unreachable",
                f"{spider.site.base} does not answer ({why}); check SITE_URL and the network, then run again",
            )
            return None
        tries = request.meta.get("tries", 1)
        if not probe and tries >= TRIES and not whole_site and asked is None:
            return None
        now = time.monotonic()
        if asked is not None or ((whole_site or not self.answered) and self.open_at <= now):
            # One pause for all requests that fail at the same time; the next one is twice as long.
            pause = asked if asked is not None else min(self.first_pause * 2**self.pauses, LONGEST_PAUSE)
            self.pauses += asked is None
            self.open_at = max(self.open_at, now + pause)
            spider.tally.paused(pause, why)
        if probe or tries >= TRIES * 4:
            return None
        again = request.copy()
        # While nothing answers, it is the site that fails: pages do not use up their tries.
        again.meta["tries"] = tries + (0 if whole_site else 1)
        again.dont_filter = True
        return again


def _retry_after(response: Response) -> float | None:
    """The seconds that a Retry-After header asks for; None if it asks for none or cannot be read."""
    raw = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if raw.isdecimal():
        return float(raw[:9]) or None
    try:
        when = parsedate_to_datetime(raw)
    except (ValueError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = (when - datetime.now(UTC)).total_seconds()
    return seconds if seconds > 0 else None
