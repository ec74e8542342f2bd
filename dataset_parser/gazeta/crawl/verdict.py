"""Whether a crawl's articles look like a site whose pages we still understand. Pure: figures in, lines out.

Two comparisons, both by field: with floors that any crawl of news must reach, and with the previous crawl
that ended well. A crawl of few pages says little, so floors and comparison have their own minimum of pages.
"""

from __future__ import annotations

Figures = dict[str, dict[str, float]]

# The share of pages on which a field was found. A rubric has no floor: old addresses name none. "article" is
# the share of pages that are one; the others are galleries, live reports, redirects to a login page.
FLOORS = {"article": 0.50, "title": 0.95, "text": 0.90, "date": 0.95, "summary": 0.80}
# Mean length in characters: shorter than this is a teaser or a menu, not an article.
SHORTEST = {"title": 15, "text": 300, "summary": 40}
LONGEST = {"title": 300, "summary": 2000}
ENOUGH = 20  # pages for a floor or a comparison to mean something
FEW = 5  # below ENOUGH only a field that is missing on most pages counts, from this many pages on
FEW_FLOOR = 0.34
FEW_FLOORS = {"article": 0.01}  # a few galleries in a row are no wonder; nothing but such pages is
# How much worse than in the previous crawl: points of coverage, and times the mean length.
DROP = {
    "article": 0.35,
    "title": 0.10,
    "text": 0.10,
    "date": 0.10,
    "summary": 0.10,
    "rubric": 0.30,
    "lead": 0.40,
}
SHRINK, GROW = 0.4, 2.5


def alarms(now: Figures, before: Figures) -> list[str]:
    """One line for each thing that is wrong, naming the field and both figures; empty when all is well."""
    lines = []
    for name, figures in now.items():
        pages, coverage = figures["pages"], figures["coverage"]
        few = FEW_FLOORS.get(name, FEW_FLOOR) if name in FLOORS else 0.0
        floor = FLOORS.get(name, 0.0) if pages >= ENOUGH else few
        if pages >= FEW and coverage < floor:
            lines.append(
                f"{name}: found on {coverage:.1%} of {pages:.0f} pages, at least {floor:.0%} expected"
            )
            continue
        length = figures.get("length")
        if pages >= ENOUGH and length is not None:
            low, high = SHORTEST.get(name, 0), LONGEST.get(name, float("inf"))
            if not low <= length <= high:
                wanted = f"at least {low}" if length < low else f"at most {high}"
                lines.append(f"{name}: {length:.0f} characters on average, {wanted} expected")
                continue
        old = before.get(name)
        if not old or min(pages, old["pages"]) < ENOUGH:
            continue
        if old["coverage"] - coverage > DROP.get(name, 1.0):
            lines.append(
                f"{name}: found on {coverage:.1%} of pages, {old['coverage']:.1%} in the crawl before"
            )
        elif (
            length and old.get("length") and not SHRINK <= length / old["length"] <= GROW and name != "title"
        ):
            lines.append(
                f"{name}: {length:.0f} characters on average, {old['length']:.0f} in the crawl before"
            )
    return lines
