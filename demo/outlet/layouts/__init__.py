"""Story in, page out: one module per layout of the real site, as saved pages and public parsers show it.

Only tags, classes, itemprops and their order come from the real site; every word is ours. The pages contain
on purpose what a careful parser must keep out of the text: ads, incuts, captions, subscribe lines.
"""

from __future__ import annotations

from outlet.layouts import before_2013, from_2013, from_2015, from_2021, from_2024
from outlet.stories import Story

LAYOUTS = {"2007": before_2013, "2013": from_2013, "2015": from_2015, "2021": from_2021, "2024": from_2024}


def render(story: Story, base: str, related: list[Story]) -> str:
    """The page of a story as text. `base` is the site's own address, `related` a few other stories."""
    return LAYOUTS[story.era].page(story, base, related)


def charset(story: Story) -> str:
    return LAYOUTS[story.era].CHARSET
