# ruff: noqa: E501  (the HTML keeps the line breaks of the real pages)
"""The layout of 2013 and 2014."""

from __future__ import annotations

from outlet.markup import (
    COUNTERS,
    CP1251,
    SCRIPTS,
    author,
    body_paragraphs,
    metas,
    old_list,
    old_menu,
    rubric_link,
    typeset,
)
from outlet.stories import RUBRICS, Story

CHARSET = CP1251


def page(story: Story, base: str, related: list[Story]) -> str:
    bodies = body_paragraphs(story, related)
    intro = f'<span class="intro">{typeset(story.summary)}</span>'
    # On some pages the lead is a separate paragraph, on others the text continues after it.
    first = f"<p>{intro}</p>" if story.turn % 2 else f"<p>{intro} {bodies.pop(0)}</p>"
    paragraphs = [f"<p>{words}</p>" for words in bodies]
    paragraphs[1:1] = [_incut(story), _read_also(related)]
    subtitle = f'<h1 class="article_subheader">{typeset(story.subtitle)}</h1>' if story.subtitle else ""
    body = "\n".join([first, *paragraphs])
    return f"""<!DOCTYPE html>
<html lang="ru"><head>
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251" />
{metas(story, base, "Газета.Ru")}{SCRIPTS}</head><body>
{old_menu(story)}
<div class="b-main"><article class="b-article" itemscope itemtype="http://schema.org/NewsArticle">
<h3 class="dh">{rubric_link(story)}</h3>
<div class="info"><time pubdate>{story.iso}</time>
<span class="author">Автор: <a href="/gazeta/authors/{story.turn % 6}.shtml">{author(story)}</a></span></div>
<h2 class="article_name">{typeset(story.title)}</h2>
{subtitle}
<div class="photo"><img src="/files/{story.number}.jpg" alt=""><p class="photo_caption">Фото: пресс-служба</p></div>
<div class="text">
{body}
</div>
<section class="b-article_social"><p>Поделиться с друзьями</p></section>
</article>
<aside class="b-column"><p class="intro">Мнения и колонки, которые обсуждают сегодня</p>
{old_list("Новости", related)}</aside></div>
{COUNTERS}</body></html>
"""


def _incut(story: Story) -> str:
    return (
        '<div class="incut"><h4>Справка</h4><p>Редакция хранит похожие материалы в разделе '
        f"{RUBRICS.get(story.rubric, 'новостей')}.</p></div>"
    )


def _read_also(related: list[Story]) -> str:
    rows = "".join(
        f'<div><a href="{other.path}">{typeset(other.title)}</a><p class="intro">{typeset(other.summary[:90])}</p></div>'
        for other in related[:2]
    )
    return f'<section class="b-article_read-also b-article_section b-article_read_also">{rows}</section>'
