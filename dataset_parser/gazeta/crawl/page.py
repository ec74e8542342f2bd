"""Pages as values: an address that was found, what came back, and how the page ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    ARTICLE = "article"
    FEED = "feed"
    SITEMAP = "sitemap"
    LISTING = "listing"


class State(StrEnum):
    QUEUED = "queued"
    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"
    KNOWN = "known"  # in the published dataset, never fetched by this store
    SKIPPED = "skipped"  # outside this crawl's dates or rubrics: a wider crawl queues it again
    READ = "read"  # a sitemap, feed or listing


class Reason(StrEnum):
    """Why a page gave no article. A site can add other reasons with NotAnArticle, such as "gallery"."""

    GONE = "gone"
    FORBIDDEN = "forbidden by robots.txt"
    OTHER_SITE = "redirect to another site"
    REDIRECT_LOOP = "redirect loop"
    BROKEN_REDIRECT = "broken redirect"
    TOO_LARGE = "too large"
    WRONG_TYPE = "wrong content type"
    OPTED_OUT = "opted out of AI training"
    NO_TEXT = "no text"
    TOO_LONG = "too long"
    FUTURE_DATE = "date in the future"
    IMPOSSIBLE_DATE = "impossible date"
    SAME_ARTICLE = "same article"
    OUT_OF_SCOPE = "outside since, until or rubrics"
    CHANGED = "changed"
    PARSER_ERROR = "parser error"
    CUT_SHORT = "cut short"  # the body ends before its end
    STATUS = "http"  # an answer whose status is an error; the status says which
    NO_ANSWER = "no answer"
    BAD_SOURCE = "bad"  # not the sitemap or feed that it should be
    # Counted, but no page ends for these.
    LINK_LIMIT = "links beyond the limit of a sitemap"
    LINK_ELSEWHERE = "link to another site"
    BROKEN_LINK = "broken link"
    ENDLESS = "listing without end"


# The page was dropped without judging its content. Every other reason says: this is no article.
NOT_JUDGED = (
    Reason.GONE, Reason.FORBIDDEN, Reason.TOO_LARGE, Reason.TOO_LONG, Reason.SAME_ARTICLE, Reason.OPTED_OUT,
    Reason.FUTURE_DATE, Reason.IMPOSSIBLE_DATE,
)  # fmt: skip
# The parser could not read the page; a fixed parser may.
UNREAD = (Reason.CHANGED, Reason.PARSER_ERROR)
# The site failed, not the page.
UNANSWERED = (Reason.STATUS, Reason.NO_ANSWER)
# Reasons that may pass: on how many nights a page must end so before it is given up. An answer that says
# that there is nothing must be seen twice; the others say nothing about the article. Each crawl asks again,
# but only answers that are NIGHT_HOURS apart count as two nights, so that no fault of an afternoon, however
# often the crawl is started in it, is taken for a verdict. The names in quotes are those of NotAnArticle.
NIGHTS = {
    **dict.fromkeys((Reason.GONE, Reason.NO_TEXT, "not an article"), 2),
    **dict.fromkeys(
        (
            Reason.FORBIDDEN, Reason.OTHER_SITE, Reason.REDIRECT_LOOP, Reason.BROKEN_REDIRECT,
            Reason.WRONG_TYPE, Reason.FUTURE_DATE, Reason.CHANGED, Reason.PARSER_ERROR, Reason.CUT_SHORT,
            Reason.STATUS, Reason.NO_ANSWER, "no HTML", "login page", "error page",
        ),
        5,
    ),
}  # fmt: skip
NIGHT_HOURS = 12


class Why(NamedTuple):
    """What reports count by."""

    reason: str
    kind: Kind = Kind.ARTICLE
    status: int = 0

    def __str__(self) -> str:
        reason = self.reason
        if reason == Reason.STATUS:
            reason = f"http {self.status}"
        elif reason == Reason.BAD_SOURCE:
            reason = f"bad {self.kind}"
        return reason if self.kind == Kind.ARTICLE else f"{self.kind}: {reason}"


@dataclass(frozen=True)
class Link:
    """An address that a source named. day and rubric are empty if nobody knows them yet.

    lastmod: as the sitemap wrote it; depth: of a sitemap, how deep in the index it is, from 1.
    """

    url: str
    kind: Kind = Kind.ARTICLE
    day: str = ""
    rubric: str = ""
    lastmod: str = ""
    depth: int = 0


@dataclass(frozen=True)
class Fetched:
    """A page as the site answered, after redirects. whole: False if the body was cut on its way."""

    url: str
    status: int
    body: bytes
    content_type: str = ""
    whole: bool = True


@dataclass(frozen=True)
class Ending:
    """How a page without an article ended.

    detail: for people. missing and layout: the fields that were not found, and on which layout ("" if
    unknown). day and rubric: what the page said of itself, if its address did not. copy: the page itself, if
    it is worth a look later.
    """

    state: State
    reason: str = ""
    detail: str = ""
    status: int = 0
    size: int = 0
    missing: tuple[str, ...] = ()
    layout: str = ""
    day: str = ""
    rubric: str = ""
    copy: Fetched | None = None
