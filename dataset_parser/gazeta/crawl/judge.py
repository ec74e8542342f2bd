"""What a fetched article page is: an article to keep, or how the page ends. Pure: values in, values out."""

from __future__ import annotations

from datetime import datetime, timedelta

from gazeta.crawl.page import Ending, Fetched, Reason, State
from gazeta.crawl.plan import Scope
from gazeta.sites.base import Article, NotAnArticle, PageChanged, Site
from gazeta.sites.body import decode, ends_inside

EARLIEST = "1999"  # no site here is older
MAX_TEXT = 300_000  # characters: longer than any story, and than any model reads
HTML_TYPES = ("text/html", "application/xhtml+xml", "")


def wrong_type(page: Fetched) -> Ending | None:
    """How a page ends that is no HTML by its header."""
    if page.content_type.partition(";")[0].strip().lower() in HTML_TYPES:
        return None
    return Ending(State.DROPPED, Reason.WRONG_TYPE, page.content_type, page.status)


def is_cut(site: Site, page: Fetched) -> bool:
    """Whether a page was cut on its way: by its transport, or because it ends inside its own elements."""
    if not page.whole:
        return True
    closed = b"</html" in page.body[-2000:].lower()  # nearly every page is, and needs no decoding for it
    return site.closes_pages and not closed and ends_inside(decode(page.body, page.content_type))


def judge(site: Site, page: Fetched, scope: Scope, now: datetime) -> Article | Ending:
    """The article of a page, or why it is not kept. now: Moscow's wall clock."""
    try:
        article = site.parse_article(page.body, page.url, page.content_type)
    except NotAnArticle as error:
        return Ending(State.DROPPED, error.reason, str(error), page.status, copy=page)
    except PageChanged as error:
        missing = tuple(error.fields)
        return Ending(
            State.FAILED, Reason.CHANGED, status=page.status, missing=missing, layout=error.era, copy=page
        )

    def dropped(reason: Reason, detail: str) -> Ending:
        return Ending(State.DROPPED, reason, detail, page.status)

    if article.date > (now + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S"):
        return dropped(Reason.FUTURE_DATE, article.date)
    if article.date < EARLIEST:
        return dropped(Reason.IMPOSSIBLE_DATE, article.date)
    if len(article.text) > MAX_TEXT:
        return dropped(Reason.TOO_LONG, f"{len(article.text)} characters")
    day = article.date[:10]
    if not scope.contains(day, article.rubric):
        # With its day known, it is not asked for again until a crawl goes back that far.
        return Ending(
            State.SKIPPED, Reason.OUT_OF_SCOPE, article.date, page.status, day=day, rubric=article.rubric
        )
    return article
