"""What one page becomes: an article, or the reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass

# Where a summary came from, best first.
LEAD = "lead"  # an element that the editor wrote as the lead
DESCRIPTION = "description"  # the page's description, where it says something that the text does not
FIRST_PARAGRAPH = "first_paragraph"  # a news item without a lead: its first paragraph tells what happened


@dataclass(frozen=True)
class Article:
    """One article. All fields are text; an absent value is the empty string.

    text: paragraphs joined by a line feed, no lead, no advertising. With summary_origin "first_paragraph" the
        first paragraph is both `summary` and the start of `text`, as it is on the page: use `source()` for
        the text that a summarizer may read.
    date: "YYYY-MM-DD HH:MM:SS", Moscow time.
    rubric: the site's section slug, "politics".
    era: which of the site's layouts the page has; only reports and alarms look at it.
    fetched_at: "YYYY-MM-DD HH:MM:SS" UTC, set by the store.
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
    site: str = "gazeta"
    fetched_at: str = ""

    def source(self) -> str:
        """The text without the paragraph that serves as its summary.

        A summary that stands word for word at the start of the text would teach a model to copy.
        """
        if self.summary_origin != FIRST_PARAGRAPH:
            return self.text
        first, _, rest = self.text.partition("\n")
        return rest if first == self.summary else self.text


class NotAnArticle(Exception):
    """The page is well and holds no article: a gallery, an index, a redirect to a login page."""


class PageChanged(Exception):
    """The page should hold an article, and the selectors do not find it.

    fields: the fields that are missing; era: the layout the page looks like; selectors: what was tried.
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
