"""The layout before 2013. Headline, lead and date are as public parsers report them; the rest is a guess."""

from __future__ import annotations

from outlet.markup import COUNTERS, CP1251, SCRIPTS, body_paragraphs, old_list, old_menu, rubric_link, typeset
from outlet.stories import Story

CHARSET = CP1251


def page(story: Story, base: str, related: list[Story]) -> str:
    paragraphs = "\n".join(f"<p>{words}</p>" for words in body_paragraphs(story, related))
    subtitle = f'<h3 class="h_2 mb10">{typeset(story.subtitle)}</h3>' if story.subtitle else ""
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<html><head>
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">
<title>{typeset(story.title)} - Газета.Ru</title>
<meta name="description" content="{typeset(story.summary)}">
<link rel="canonical" href="{base}{story.path}">
{SCRIPTS}</head><body>
<table class="main"><tr><td class="left_col">{old_menu(story)}</td><td class="center_col">
<div class="article_head"><span class="rubric">{rubric_link(story)}</span>
<span class="ml20 date_time">{story.when:%d.%m.%Y}, {story.when:%H:%M}</span></div>
<h2 class="h_1 mt5 mb10">{typeset(story.title)}</h2>
{subtitle}
<p class="intro">{typeset(story.summary)}</p>
<div class="text">
{paragraphs}
</div>
<div class="adv_block"><small>Реклама</small></div>
{old_list("Читайте также", related)}
</td></tr></table>
{COUNTERS}</body></html>
"""
