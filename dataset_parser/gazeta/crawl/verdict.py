"""Whether a crawl's articles look like a site whose pages we still understand. Pure: figures in, alarms out.

Two comparisons, both by field: with floors that any crawl of news must reach, and with the previous crawl
that ended well. A crawl of few pages says little, so floors and comparison have their own minimum of pages.
"""

from __future__ import annotations

from dataclasses import dataclass

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
FEW_FLOORS = {"article": 0.01}  # a few galleries in a row are normal, nothing but such pages is not
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
# A burst of pages that ended for one reason that may pass: so many, and such a share of all or so many in a
# row. Ten minutes of a fault at one page per second are 600 in a row, in a crawl of any length.
MANY, BURST, IN_A_ROW = 10, 0.25, 30


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong: the field, and both figures in words."""

    field: str
    says: str

    def __str__(self) -> str:
        return f"{self.field}: {self.says}"


def bursts(found: list[tuple[str, int, int]], longest: dict[str, int]) -> list[Alarm]:
    """One alarm for each reason that may pass and for which many pages ended at once.

    found: (reason, pages, pages of any ending); longest: by reason, how many pages ended so in a row.
    """
    return [
        Alarm("pages", f"{pages} of {asked} ended with “{reason}”, which may pass; they are asked for again")
        for reason, pages, asked in found
        if pages >= MANY and (pages >= asked * BURST or min(pages, longest.get(reason, 0)) >= IN_A_ROW)
    ]


def alarms(now: Figures, before: Figures) -> list[Alarm]:
    """One alarm for each thing that is wrong; empty if all is well."""
    found = []
    for name, figures in now.items():
        pages, coverage = figures["pages"], figures["coverage"]
        few = FEW_FLOORS.get(name, FEW_FLOOR) if name in FLOORS else 0.0
        floor = FLOORS.get(name, 0.0) if pages >= ENOUGH else few
        if pages >= FEW and coverage < floor:
            says = f"found on {coverage:.1%} of {pages:.0f} pages, at least {floor:.0%} expected"
            found.append(Alarm(name, says))
            continue
        length = figures.get("length")
        if pages >= ENOUGH and length is not None:
            low, high = SHORTEST.get(name, 0), LONGEST.get(name, float("inf"))
            if not low <= length <= high:
                wanted = f"at least {low}" if length < low else f"at most {high}"
                found.append(Alarm(name, f"{length:.0f} characters on average, {wanted} expected"))
                continue
        old = before.get(name)
        if not old or min(pages, old["pages"]) < ENOUGH:
            continue
        usual = old.get("length")
        if old["coverage"] - coverage > DROP.get(name, 1.0):
            says = f"found on {coverage:.1%} of pages, {old['coverage']:.1%} in the crawl before"
            found.append(Alarm(name, says))
        elif length and usual and not SHRINK <= length / usual <= GROW and name != "title":
            says = f"{length:.0f} characters on average, {usual:.0f} in the crawl before"
            found.append(Alarm(name, says))
    return found
