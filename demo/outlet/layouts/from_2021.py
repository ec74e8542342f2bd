# ruff: noqa: E501  (the HTML keeps the line breaks of the real pages)
"""The layout of mid-2021 to 2023. That of 2024 and later shares its head and body."""

from __future__ import annotations

from outlet.markup import (
    AD,
    COUNTERS,
    MENU,
    SCRIPTS,
    SUBSCRIBE,
    author,
    body_paragraphs,
    brand,
    metas,
    russian_date,
    typeset,
)
from outlet.stories import RUBRICS, Story

CHARSET = "utf-8"


def head(story: Story, base: str, extra: str = "") -> str:
    return f"""
<!DOCTYPE html>
<html lang="ru">
<head>
<meta http-equiv="X-UA-Compatible" content="IE=edge,chrome=1" />
<meta http-equiv="Content-Type" content="text/html" />
<meta http-equiv="Content-Language" content="ru" />
<link rel="manifest" href="/manifest.json">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="max-image-preview:large">
<!-- include_place2 {"news" if story.news else "article"} {story.number} -->
{metas(story, base, brand(story))}<link rel="stylesheet" type="text/css" href="/nm2021/css/desktop_styles.css" />
{SCRIPTS}{extra}</head>
"""


def page(story: Story, base: str, related: list[Story]) -> str:
    subtitle = story.subtitle and (
        f'<h2 class="subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)} </h2>'
    )
    titles = f'<h1 class="headline" itemprop="headline">{typeset(story.title)} </h1>\n{subtitle}'
    lead = inner_lead = ""
    if story.has_lead:
        span = f'<span class="intro">{typeset(story.summary)}</span>'
        # Parsers of that time found the lead before the text block as well as at its beginning.
        if story.turn % 2:
            lead = f'<div class="b_article-intro">{span}</div>'
        else:
            inner_lead = span
    return head(story, base) + body(story, base, related, titles, lead, inner_lead)


def body(
    story: Story, base: str, related: list[Story], titles: str, lead: str, inner_lead: str, new: bool = False
) -> str:
    """The body of the page; `new` is the layout of 2024 and later."""
    paragraphs = [f"<p>{words}</p>" for words in body_paragraphs(story, related)]
    paragraphs[2:2] = [_incut(story, related), AD]
    if story.turn % 4 == 1:
        paragraphs.append(f"<p>{SUBSCRIBE}</p>")
    if new and story.turn % 3 == 0:
        paragraphs.append("<p><b>Что думаешь?</b></p>")
    top = "".join(_top_item(other) for other in related)
    crumb = ""
    if new and story.rubric:
        crumb = f'<a href="/{story.rubric}/" class="breadcrumb-item">{RUBRICS[story.rubric]}</a>\n'
    position = story.rubric and (
        f'<div itemscope itemtype="http://schema.org/BreadcrumbList"><div class="b_menu-item" itemprop="itemListElement" '
        f'itemscope itemtype="http://schema.org/ListItem"><a href="/{story.rubric}/" itemprop="item" ><span '
        f'itemprop="name">{RUBRICS[story.rubric]}</span></a><meta itemprop="position" content="1" /></div></div>'
    )
    return f"""<body>
{COUNTERS}<header id="_id_header" class="b_header"><div class="b_header-row">
<div class="item"><a href="/" class="logo"><img src="/nm2021/img/logo.svg" alt=""></a></div>
<div class="b_menu"><div class="b_menu-content">
{position}
{MENU}</div></div>
<div class="b_nav"><a href="/news/" class="b_nav-item">новости</a><a href="/sport/" class="b_nav-item">спорт</a></div>
</div></header>
<div id="_id_topnews" class="b_topnews "><div class="b_topnews-content" id="_id_topnews_content">
{top}</div></div>
<div class="_s_banner_billboard" aria-hidden="true"></div>
<div id="_id_main_article" style="position: relative; z-index: 100;">
<div class="_s_dynarticle_title_place" style="visibility: hidden;">
<title_scroll> {typeset(story.title)} - Газета.Ru  </title_scroll>
<meta_scroll name="description" content="{typeset(story.summary)}" />
</div>
<div class="b_main"><div class="w_col4">
<article class="b_article" id="_id_article" itemscope itemid="#article" itemtype="http://schema.org/NewsArticle">
<div class="b_article-header">
<div class="breadcrumb ">
{crumb}<time class="time"
itemprop="datePublished"
pubdate
datetime="{story.iso}"
>
{russian_date(story.when)}
</time>
</div>
{titles}
<div class="addinfo"><div class="author"><span class="author-item" itemprop="author" itemscope=""
itemtype="http://schema.org/Person" itemid="/gazeta/authors/{story.turn % 6}.shtml"><span itemprop="name">
<a href="/gazeta/authors/{story.turn % 6}.shtml" itemprop="url">{author(story)}</a></span></span></div>
<div class="b_audio"><div class="b_audio-text play">Прослушать новость</div>
<div class="b_audio-text stop">Остановить прослушивание</div></div></div>
<meta itemprop="dateModified" content="{story.modified.isoformat()}+03:00" />
<link itemprop="publisher" href="/#organization">
<span itemprop="image" itemscope itemtype="http://schema.org/ImageObject">
<link itemprop="url" href="{base}/files3/{story.number}/pic905.jpg"/><meta itemprop="width" content="895"></span>
<link itemprop="mainEntityOfPage" href="{story.path}"/>
</div>
<div class="b_article-media"><div class="i_gallery" id="_igallery_{story.number}"><figure class="item active">
<img src="/files3/{story.number}/pic4.jpg" alt="" class="item-image"></figure>
<div class="infoblock"><div class="signplace"><i>Фотобанк редакции</i></div></div></div></div>
<div class="p2"></div>
{lead}
<div class="b_article-text" itemprop="articleBody">{inner_lead}{"".join(paragraphs)}
</div>
<div class="b_article-media"><div data-widget="Player" data-id='{story.number}'></div></div>
<div class="p2"></div>
</article>
<div class="b_newsbox_more"><div class="wrapper"><div class="title">Все новости на тему:</div>
<a href="/news/seealso/{story.number}.shtml" class="item">{RUBRICS.get(story.rubric, "Новости")}</a></div></div>
<div class="b_social_sharing"><span class="b_social_sharing-text">Поделиться:</span></div>
<aside class="b_telegram" style="clear:both"><div class="b_telegram-text">{SUBSCRIBE}<br/>
Чтобы сообщить об ошибке, выделите текст и нажмите <b>Ctrl+Enter</b></div></aside>
</div>
<aside class="b_rightcol" id="_id_rightcol">
{"".join(_right_item(other) for other in related)}</aside></div></div>
<div id="_id_footer" class="b_footer"><div class="b_footer-info"><p>Учебная копия разметки, не сайт издания.</p>
</div></div>
</body></html>
"""


def _incut(story: Story, related: list[Story]) -> str:
    if not related:
        return ""
    other = related[story.turn % len(related)]
    tag = "aside" if story.turn % 2 else "div"
    return (
        f'<{tag} class="b_article-incut m_read_also"><a href="{other.path}"><div class="b_article-incut-title">'
        f'{typeset(other.title)}</div><p class="b_article-incut-intro">{typeset(other.summary[:90])}...</p>'
        f"<time>{russian_date(other.when)}</time></a></{tag}>"
    )


def _top_item(other: Story) -> str:
    return (
        f"<!-- alien id={other.number},url={other.path},essence=news,place=custom_blocks/topnews -->\n"
        f'<a href="{other.path}" class="item"><div class="item-text">\n{typeset(other.title)}\n'
        f'<span class="time">\n{other.when:%H:%M}\n</span></div></a>\n'
    )


def _right_item(other: Story) -> str:
    return f"""<div class="b_ear
 m_opinion
 item
" data-pubtime="{other.unix}" data-id="{other.number}"
>
<div class="b_ear-textblock"><div class="b_ear-title"><a href="{other.path}" >{typeset(other.title)}</a></div>
<div class="b_ear-intro"><a href="{other.path}" >{typeset(other.subtitle or other.summary[:80])}</a></div>
<time class="b_ear-time" datetime="{other.iso}">{other.when:%d.%m.%Y},&nbsp;{other.when:%H:%M}</time></div></div>
"""
