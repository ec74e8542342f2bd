# ruff: noqa: E501  (the HTML keeps the line breaks of the real pages)
"""The layout of 2015 to mid-2021."""

from __future__ import annotations

from outlet.markup import COUNTERS, CP1251, SCRIPTS, author, body_paragraphs, brand, metas, old_list, typeset
from outlet.stories import RUBRICS, Story

CHARSET = CP1251


def page(story: Story, base: str, related: list[Story]) -> str:
    paragraphs = [f"<p>{words}</p>" for words in body_paragraphs(story, related)]
    advert = (
        '<div class="adv_in_text"><p>\nРеклама\n</p><script type="text/javascript">\n AdfProxy.ssp(".adv_in_text", '
        '{p1: "stand"});\nset_resizeblock_handler(document.body, function(){});</script></div>'
    )
    paragraphs[1:1] = [advert]
    paragraphs[3:3] = [_incut(related)]
    if story.turn % 3 == 0:
        paragraphs.append("<p><b>НОВОСТИ ПО ТЕМЕ:</b></p>")
        paragraphs += [f'<p><a href="{other.path}">{typeset(other.title)}</a></p>' for other in related]
    body = "\n".join(paragraphs)
    head = "txtclear" if story.news else "article-text-header"
    level = "h2" if story.turn % 2 else "div"
    subtitle = story.subtitle and (
        f'<{level} class="article-text-subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)}</{level}>'
    )
    active = story.rubric and (
        f'<div class="b-navbar-main__item active"><a href="/{story.rubric}/"><span>{RUBRICS[story.rubric]}</span></a></div>'
    )
    return f"""<!DOCTYPE html>
<html lang="ru"><head>
<meta http-equiv="X-UA-Compatible" content="IE=edge" />
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251" />
{metas(story, base, brand(story))}{SCRIPTS}</head><body>
<div class="b-navbar-main">{active}</div>
<div id="article_context"><article class="article-text" itemscope itemtype="http://schema.org/NewsArticle">
<div class="article-text-header-block">
<h1 class="{head}" itemprop="headline">{typeset(story.title)}</h1>
{subtitle}
<div class="article-text-author"><span itemprop="author" itemscope itemtype="http://schema.org/Person">
<a itemprop="url" href="/gazeta/authors/{story.turn % 6}.shtml"><span itemprop="name">{author(story)}</span></a></span>
<time class="date" itemprop="datePublished" datetime="{story.iso}">{story.when:%d.%m.%Y}, {story.when:%H:%M}</time>
<meta itemprop="dateModified" content="{story.modified.isoformat()}+03:00" /></div></div>
<div class="article-text-photo" itemprop="image" itemscope itemtype="http://schema.org/ImageObject">
<img itemprop="contentUrl" src="/files3/{story.number}.jpg" alt=""><div class="article-text-photo-author">Фотобанк</div></div>
<div class="article-text-intro mb20"><span itemprop="description">{typeset(story.summary)}</span></div>
<div class="article-text-body" itemprop="articleBody">
{body}
</div>
<div class="article-text-tags"><a href="/tags/{story.turn % 40}.shtml">{RUBRICS.get(story.rubric, "Новости")}</a></div>
</article>
<div class="b-comments-btn">Что думаешь?</div>
{old_list("Новости и материалы", related)}</div>
{COUNTERS}</body></html>
"""


def _incut(related: list[Story]) -> str:
    rows = "".join(f'<a href="{other.path}"><p>{typeset(other.title)}</p></a>' for other in related[:1])
    return f'<aside class="article-text-incut incut"><p class="incut-title">Читайте также</p>{rows}</aside>'
