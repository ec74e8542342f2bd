"""Where the fields of an article are on its page: selectors, by layout."""

from __future__ import annotations

from functools import cache

Selectors = str | tuple[str, ...]


class Layout:
    """One layout of a site's article pages, with CSS selectors for each field.

    A field has a comma list, whose first match on the page wins, or a tuple of them, best first.
    """

    name = ""  # the year in which it appeared, as reports and alarms name it
    ended = ""  # the last day on which it is known, "YYYY-MM-DD"; "" while it is in use
    sign = ""  # a selector that only this layout matches, if it has its root in common with another
    root: Selectors = ""  # the element that holds the whole article
    title: Selectors = ""
    subtitle: Selectors = ""
    lead: Selectors = ""
    text: Selectors = ""
    date: Selectors = ""
    rubric: Selectors = ""  # links to the article's section
    common_text = False  # the text's selectors also match teasers, so they do not mark an article


class Anchors(Layout):
    """What schema.org and HTML define for every site."""

    root = ('[itemtype*="NewsArticle"], [itemtype$="/Article"], [itemtype*="LiveBlogPosting"]', "article")
    title = "[itemprop~=headline]"
    subtitle = "[itemprop~=alternativeHeadline]"
    lead = "[itemprop~=description]"
    text = "[itemprop~=articleBody]"
    date = ("[itemprop~=datePublished]", "time[pubdate]")


def rows(selectors: Selectors) -> tuple[str, ...]:
    """The comma lists of a field, best first."""
    return selectors if isinstance(selectors, tuple) else (selectors,) if selectors else ()


@cache
def by_layout(layouts: tuple[type[Layout], ...], field: str) -> list[tuple[str, str]]:
    """(layout's name, comma list) for a field of these layouts, each list once."""
    found: dict[str, str] = {}
    for layout in layouts:
        for css in rows(getattr(layout, field)):
            found.setdefault(css, layout.name)
    return [(name, css) for css, name in found.items()]
