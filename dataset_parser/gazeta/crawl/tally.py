"""What a running crawl counts."""

from __future__ import annotations

import time
from collections import Counter

from gazeta.crawl.page import UNANSWERED, Ending, Kind, Link, Reason, State, Why


class Tally:
    """counts: what reports name, such as "fetched" and "kept"; reasons: why pages gave no article; statuses:
    HTTP statuses of all answers, retries and redirects included."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[Why] = Counter()
        self.statuses: Counter[int] = Counter()
        self.read: Counter[Kind] = Counter()  # sources
        self.links: Counter[Kind] = Counter()  # in the sources that were read
        self.unread: Counter[str] = Counter()  # sources that were not read, by reason
        self.refusals = 0  # in a row
        self.longest: Counter[str] = Counter()  # by reason: article pages in a row that ended so
        self._row = ("", 0)
        self.pause = ""  # why the crawl waits, in words
        self.pause_until = 0.0  # by the monotonic clock

    def answered(self, status: int, size: int) -> None:
        self.statuses[status] += 1
        self.counts["bytes"] += size

    def source(self, kind: Kind, links: int, new: int) -> None:
        self.read[kind] += 1
        self.links[kind] += links
        self.counts["found"] += new

    def ended(self, link: Link, ending: Ending) -> None:
        status = ending.status if ending.reason == Reason.STATUS else 0
        self.reasons[Why(ending.reason, link.kind, status)] += 1
        if link.kind == Kind.ARTICLE:
            self.counts[ending.state] += 1
            self.in_a_row(ending.reason)
            return
        self.unread[ending.reason] += 1
        self.counts["failed_sources"] += ending.state == State.FAILED

    def in_a_row(self, reason: str) -> None:
        """Count an article page that ended for `reason`, "" for one that was kept."""
        last, count = self._row
        self._row = (reason, count + 1 if reason == last else 1)
        self.longest[reason] = max(self.longest[reason], self._row[1])

    def paused(self, seconds: float, why: str) -> None:
        self.counts["pauses"] += 1
        self.pause = f"the site asks for patience ({why}): waiting {seconds:.0f} s"
        self.pause_until = time.monotonic() + seconds

    def unanswered(self) -> int:
        """Article pages that the site did not answer as it should."""
        of_articles = (why for why in self.reasons if why.kind == Kind.ARTICLE and why.reason in UNANSWERED)
        return sum(self.reasons[why] for why in of_articles)
