"""A second invented outlet, "Северный вестник": other addresses, other markup, one flat sitemap, an archive.

It is there to try how a site is added to the collector. Its sections have names of their own, each of which
means one of the rubrics in `SECTIONS`.
"""

from __future__ import annotations

from dataclasses import replace

from outlet.lists import SCHEMA, XML
from outlet.markup import linked, russian_date, typeset
from outlet.stories import RUBRICS, Story

NAME = "Северный вестник"
SECTIONS = {
    "politika": "politics",
    "obschestvo": "social",
    "ekonomika": "business",
    "armiya": "army",
    "kultura": "culture",
    "nauka": "science",
    "sport": "sport",
    "tehnologii": "tech",
    "avto": "auto",
    "stil-zhizni": "lifestyle",
    "semya": "family",
}
SECTION_OF = {rubric: section for section, rubric in SECTIONS.items()} | {"style": "stil-zhizni"}
ROBOTS = """User-agent: *
Disallow: /redakciya/
Disallow: /poisk/
Disallow: /_stand-in/
Crawl-delay: 1

Sitemap: {base}/sitemap.xml
"""


def moved_in(stories: list[Story]) -> list[Story]:
    """The same stories at this outlet's addresses. All of them have a lead, and dates to the minute."""
    return [
        replace(
            story,
            path=f"/{SECTION_OF.get(story.rubric, 'obschestvo')}/{story.when:%Y-%m}/{story.number}/",
            when=story.when.replace(second=0),
            news=False,
        )
        for story in stories
    ]


def robots(base: str) -> str:
    return ROBOTS.format(base=base)


def sitemap(stories: list[Story], base: str) -> str:
    rows = "".join(
        f"<url><loc>{base}{story.path}</loc><lastmod>{story.modified:%Y-%m-%d}</lastmod></url>\n"
        for story in stories
    )
    return f"{XML}<urlset {SCHEMA}>\n{rows}</urlset>\n"


def archive(stories: list[Story], page: int) -> str:
    """Twenty headlines of the archive, newest first; the last page links no further one."""
    first = (page - 1) * 20
    cards = "".join(
        f'<li class="card"><a class="card__link" href="{story.path}">{typeset(story.title)}</a>'
        f'<span class="card__date">{russian_date(story.when)}</span></li>\n'
        for story in stories[first : first + 20]
    )
    following = (
        f'<a rel="next" href="/arhiv/?stranica={page + 1}">Раньше</a>' if first + 20 < len(stories) else ""
    )
    return _frame("Архив", f'<ul class="cards">{cards}</ul>{following}')


def page(story: Story, base: str, related: list[Story]) -> str:
    section = story.path.split("/")[1]
    target = related[0].path if related else "/"
    paragraphs = [
        f"<p>{linked(words, story.turn + n, target)}</p>" for n, words in enumerate(story.paragraphs)
    ]
    paragraphs[2:2] = ['<div class="promo"><p>На правах рекламы</p></div>']
    more = "".join(f'<li><a href="{other.path}">{typeset(other.title)}</a></li>' for other in related)
    head = (
        f'<link rel="canonical" href="{base}{story.path}">'
        f'<meta property="article:published_time" content="{story.iso}">'
        f'<meta property="article:section" content="{section}">'
    )
    body = f"""<article class="story">
<p class="story__section"><a href="/{section}/">{RUBRICS[SECTIONS[section]]}</a></p>
<h1 class="story__title">{typeset(story.title)}</h1>
<p class="story__standfirst">{typeset(story.summary)}</p>
<time class="story__date" datetime="{story.iso}">{russian_date(story.when)}</time>
<div class="story__text">
{"".join(paragraphs)}
</div>
<p class="story__sign">Подготовила редакция</p>
</article>
<nav class="more"><h2>Ещё по теме</h2><ul>{more}</ul></nav>"""
    return _frame(typeset(story.title), body, head)


def _frame(title: str, body: str, head: str = "") -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="ru"><head><meta charset="utf-8"><title>{title} | {NAME}</title>{head}'
        f'</head><body><header class="top"><a href="/">{NAME}</a></header><main>{body}</main></body></html>\n'
    )
