"""What one page becomes: an article, a list of links, or the reason why it is neither."""

from __future__ import annotations

from dataclasses import dataclass, field

# Where a summary came from, best first.
LEAD = "lead"  # an element that the editor wrote as the lead
DESCRIPTION = "description"  # the page's description, if it says something that the text does not
FIRST_PARAGRAPH = "first_paragraph"  # a news item without a lead: its first paragraph says what happened


@dataclass(frozen=True)
class Article:
    """One article. All fields but the last are text; an absent value is the empty string.

    text: paragraphs joined by a line feed, no lead, no advertising. With summary_origin "first_paragraph" the
        first paragraph is both `summary` and the start of `text`, as it is on the page: use `source()` for
        the text that a summarizer may read.
    date: "YYYY-MM-DD HH:MM:SS", Moscow time.
    rubric: the site's section slug, "politics".
    era: the name of the page's layout; only reports and alarms use it.
    site: the site's name, "gazeta".
    fetched_at: "YYYY-MM-DD HH:MM:SS" UTC, set by the store.
    expects_lead: false for a kind of page that has no lead on its site, so that no alarm misses one there.
    """

    url: str
    title: str
    summary: str
    text: str
    date: str
    rubric: str
    subtitle: str = ""
    summary_origin: str = ""
    era: str = ""
    site: str = ""
    fetched_at: str = ""
    expects_lead: bool = True

    def source(self) -> str:
        """The text without the paragraph that serves as its summary.

        A summary that is repeated word for word at the start of the text would teach a model to copy.
        """
        if self.summary_origin != FIRST_PARAGRAPH:
            return self.text
        first, _, rest = self.text.partition("\n")
        return rest if first == self.summary else self.text


@dataclass(frozen=True)
class Listing:
    """The links on one page of a listing.

    articles: (address, day or "") of each article.
    older: the address of the page with older articles, "" if there is none.
    oldest: the day from which that page starts, "" if unknown.
    """

    articles: list[tuple[str, str]] = field(default_factory=list)
    older: str = ""
    oldest: str = ""


class NotAnArticle(Exception):
    """The page is intact and holds no article: a gallery, an index, a redirect to a login page.

    reason: two or three words that reports count by.
    """

    def __init__(self, reason: str, url: str):
        super().__init__(f"{reason}: {url}")
        self.reason = reason
        self.url = url


class PageChanged(Exception):
    """The page should hold an article, but the selectors do not find it.

    fields: the fields that are missing; era: the page's layout, "" if unknown; selectors: what was tried.
    """

    def __init__(self, url: str, fields: list[str], era: str = "", selectors: dict[str, str] | None = None):
        self.url = url
        self.fields = fields
        self.era = era
        self.selectors = selectors or {}
        tried = "; ".join(f"{name}: {self.selectors[name]}" for name in fields if name in self.selectors)
        super().__init__(
            f"no {', '.join(fields)} on {url} (layout: {era or 'unknown'}; tried {tried or 'all'})"
        )
