"""The layout of 2024 and later."""

from __future__ import annotations

from outlet.layouts.from_2021 import body, head
from outlet.markup import json_ld, typeset
from outlet.stories import Story

CHARSET = "utf-8"


def page(story: Story, base: str, related: list[Story]) -> str:
    subtitle = story.subtitle and (
        f'<h1 class="subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)}</h1>'
    )
    level = "h2" if subtitle else "h1"
    title = f'<{level} class="headline" itemprop="headline">{typeset(story.title)}</{level}>'
    # The subheading may come first, and it is the h1: only the classes distinguish the two.
    titles = "\n".join(filter(None, (subtitle, title) if story.turn % 2 else (title, subtitle)))
    lead = ""
    if story.has_lead:
        span = '<span class="intro">{}</span>' if story.turn % 3 == 0 else "<span>{}</span>"
        lead = f'<div class="b_article-intro">{span.format(typeset(story.summary))}</div>'
    extra = json_ld(story, base) if story.when.year >= 2025 else ""
    return head(story, base, extra) + body(story, base, related, titles, lead, "", new=True)
