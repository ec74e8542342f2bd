# ruff: noqa: E501  (HTML lines stand as they stand on the pages)
"""Story in, page out: the markup of each era, as far as saved pages and other people's parsers show it.

Only tags, classes, itemprops and their order are the real site's; every word is ours. What a careful parser
must not take into the text (ads, incuts, captions, subscribe lines) is on the pages on purpose.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from html import escape

from outlet.stories import RUBRICS, Story

CP1251 = "windows-1251"
UTF8 = "utf-8"
MONTHS = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
]
AUTHORS = [
    "Вера Залесская", "Илья Приречный", "Олег Камышин", "Анна Суходол", "Тимур Ветлугин", "Нина Озёрная",
]  # fmt: skip
SHORT_WORD = re.compile(
    r"(?<![\w&;])(в|во|на|с|со|о|об|к|у|из|за|от|до|по|не|при|для|В|На|С|О|К|У|По|Из) (?=\S)"
)
WORD = re.compile(r"^[\w-]+$")

MENU = "".join(
    f'<div class="b_menu-item"><a href="/{slug}/">{name}</a></div>\n'
    for slug, name in RUBRICS.items()
    if slug not in ("lifestyle", "economics", "techzone", "travel", "articles")
)
AD = """<div class="_s_banner_inread" aria-hidden="true"><span class="adv_mark">Реклама</span></div>
<script type="text/javascript">
AdfProxy.sspScroll('._s_banner_inread', {'p1': 'stand', 'p2': 'in', 'pct': 'a'}, {'begun-auto-pad': "0"});
</script>"""
COUNTERS = """<script type="text/javascript">
var page_params = {application: "desktop", place: "article"};
(function(w, d, q){ w[q] = w[q] || []; w[q].push({start: 0, event: 'view'});
 function reload(){ if (location.href !== w.last_url) { w.last_url = location.href; w[q].push(page_params); } }
 d.addEventListener('scroll', reload); reload(); })(window, document, 'counters');
</script>
<noscript><div><img src="/dynamic/counter.gif" style="position:absolute; left:-9999px;" alt="" /></div></noscript>
"""
SCRIPTS = """<script>
window.CAPIRS_CONFIG = {REMOVE_ADVERTISING_BY_SUBSCRIPTION: true};
var AdfProxy = {queue: [], ssp: function(){ this.queue.push(arguments); }, sspScroll: function(){
  this.queue.push(arguments); }};
function set_resizeblock_handler(block, callback){ block.addEventListener('resize', callback); }
document.addEventListener('DOMContentLoaded', function(){
  document.querySelectorAll('.b_topnews-content .item-text').forEach(function(el){
    if (el.innerText.length > 110) { el.innerText = el.innerText.slice(0, 107) + '...'; } }); });
</script>
"""
SUBSCRIBE = (
    'Подписывайтесь на «Газету.Ru» в <a href="https://dzen.invalid/gazeta" target="_blank">Дзен</a> '
    'и <a href="https://telegram.invalid/gazeta" target="_blank">Telegram</a>.'
)


@lru_cache(maxsize=512)  # a headline and a description stand on their page four times
def typeset(words: str) -> str:
    """Escape plain text and set it as the site's editor does: no-break spaces, named quotes and dashes."""
    text = escape(words, quote=True)
    text = SHORT_WORD.sub(r"\1&nbsp;", text)
    return text.replace("«", "&laquo;").replace("»", "&raquo;").replace("—", "&mdash;")


def russian_date(when: datetime) -> str:
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}"


def linked(words: str, turn: int, target: str) -> str:
    """A paragraph's HTML, about every second one with a link on one or two words inside a sentence."""
    parts = words.split(" ")
    size = 1 + turn % 2
    start = 2 + turn * 7 % max(1, len(parts) - 5)
    chosen = parts[start : start + size]
    if turn % 2 or len(parts) < 8 or not all(WORD.match(part) for part in chosen):
        return typeset(words)
    before, inside, after = " ".join(parts[:start]), " ".join(chosen), " ".join(parts[start + size :])
    style = "<b>{}</b>" if turn % 4 else "{}"
    tag = ' class="tag"' if turn % 3 == 0 else ' target="_blank"'
    link = f'<a href="{target}"{tag}>{style.format(typeset(inside))}</a>'
    # The space stands outside the link, inside it, or on both sides of a line break: all three are met.
    gap = "\n" if turn % 5 == 2 else " "
    return f"{typeset(before)}{gap}{link} {typeset(after)}"


def body_paragraphs(story: Story, target: str) -> list[str]:
    return [linked(words, story.turn + place, target) for place, words in enumerate(story.paragraphs)]


def render(story: Story, base: str, related: list[Story]) -> str:
    """The page of a story as text. `base` is the site's own address, `related` a few other stories."""
    return PAGES[story.era](story, base, related)


def charset(story: Story) -> str:
    return CP1251 if story.era in ("2007", "2013", "2015") else UTF8


def encode(page: str, charset_name: str) -> bytes:
    """Letters that windows-1251 has not become numeric references, as the real site wrote them."""
    return page.encode(charset_name, "xmlcharrefreplace")


def metas(story: Story, base: str, suffix: str) -> str:
    """Title, description, OpenGraph and Twitter metas in the order of the real pages."""
    title = typeset(story.title)
    description = typeset(story.summary)
    url = base + story.path
    image = f"{base}/files3/{story.number % 1000}/{story.number}/pic905-895x505.jpg"
    return f"""<title> {title} - {suffix}  </title>
<meta name="description" content="{description}" />
<meta property="og:description" content="{description}" />
<meta property="twitter:description" content="{description}" />
<meta name="keywords" content="{RUBRICS.get(story.rubric, "новости").lower()}" />
<meta property="og:title" content="{title} - {suffix}" />
<meta property="og:type" content="article" />
<meta property="og:site_name" content="Газета.Ru"/>
<meta property="og:url" content="{url}" />
<meta property="og:image" content="{image}" />
<meta property="og:image:width" content="895" />
<meta property="og:image:height" content="505" />
<meta name="twitter:card" content="summary_large_image" />
<meta name="twitter:title" content="{title}" />
<meta name="twitter:url" content="{url}" />
<link rel="image_src" href="{image}" />
<link rel="canonical" href="{url}" />
"""


def json_ld(story: Story, base: str) -> str:
    """The NewsArticle of the newest pages; "</" is written so that no text can end the script."""
    fields = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": story.title,
        "alternativeHeadline": story.subtitle,
        "description": story.summary,
        "articleBody": "\n".join(story.paragraphs),
        "articleSection": RUBRICS.get(story.rubric, ""),
        "datePublished": story.iso,
        "author": [{"@type": "Person", "name": author(story)}],
        "mainEntityOfPage": base + story.path,
        "publisher": {"@type": "Organization", "name": "Газета.Ru"},
    }
    written = json.dumps(fields, ensure_ascii=False).replace("</", "<\\/")
    return f'<script type="application/ld+json">{written}</script>\n'


def author(story: Story) -> str:
    return AUTHORS[story.turn % len(AUTHORS)]


def rubric_link(story: Story) -> str:
    return f'<a href="/{story.rubric}/">{RUBRICS[story.rubric]}</a>' if story.rubric else ""


# ---------------------------------------------------------------- before 2013


def page_2007(story: Story, base: str, related: list[Story]) -> str:
    """Headline, lead and date as reported by public parsers; the rest of this page is a guess."""
    paragraphs = "\n".join(f"<p>{words}</p>" for words in body_paragraphs(story, _target(related)))
    subtitle = f'<h3 class="h_2 mb10">{typeset(story.subtitle)}</h3>' if story.subtitle else ""
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<html><head>
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">
<title>{typeset(story.title)} - Газета.Ru</title>
<meta name="description" content="{typeset(story.summary)}">
<link rel="canonical" href="{base}{story.path}">
{SCRIPTS}</head><body>
<table class="main"><tr><td class="left_col">{_old_menu(story)}</td><td class="center_col">
<div class="article_head"><span class="rubric">{rubric_link(story)}</span>
<span class="ml20 date_time">{story.when:%d.%m.%Y}, {story.when:%H:%M}</span></div>
<h2 class="h_1 mt5 mb10">{typeset(story.title)}</h2>
{subtitle}
<p class="intro">{typeset(story.summary)}</p>
<div class="text">
{paragraphs}
</div>
<div class="adv_block"><small>Реклама</small></div>
{_old_list("Читайте также", related)}
</td></tr></table>
{COUNTERS}</body></html>
"""


def _old_menu(story: Story) -> str:
    return "".join(
        f'<div class="menu{" active" if slug == story.rubric else ""}"><a href="/{slug}/"><span>{name}</span></a></div>\n'
        for slug, name in RUBRICS.items()
        if slug not in ("style", "tech", "family")
    )


def _old_list(heading: str, related: list[Story]) -> str:
    rows = "".join(f'<li><a href="{other.path}">{typeset(other.title)}</a></li>' for other in related)
    return f'<div class="see_also"><b>{heading}</b><ul>{rows}</ul></div>'


def _target(related: list[Story]) -> str:
    return related[0].path if related else "/tags/organization/primer.shtml"


# ---------------------------------------------------------------- 2013 and 2014


def page_2013(story: Story, base: str, related: list[Story]) -> str:
    bodies = body_paragraphs(story, _target(related))
    intro = f'<span class="intro">{typeset(story.summary)}</span>'
    # On some pages the lead is a paragraph of its own, on others the text goes on after it.
    first = f"<p>{intro}</p>" if story.turn % 2 else f"<p>{intro} {bodies.pop(0)}</p>"
    paragraphs = [f"<p>{words}</p>" for words in bodies]
    paragraphs[1:1] = [_incut_2013(story), _read_also_2013(related)]
    subtitle = f'<h1 class="article_subheader">{typeset(story.subtitle)}</h1>' if story.subtitle else ""
    body = "\n".join([first, *paragraphs])
    return f"""<!DOCTYPE html>
<html lang="ru"><head>
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251" />
{metas(story, base, "Газета.Ru")}{SCRIPTS}</head><body>
{_old_menu(story)}
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
{_old_list("Новости", related)}</aside></div>
{COUNTERS}</body></html>
"""


def _incut_2013(story: Story) -> str:
    return (
        '<div class="incut"><h4>Справка</h4><p>Редакция хранит похожие материалы в разделе '
        f"{RUBRICS.get(story.rubric, 'новостей')}.</p></div>"
    )


def _read_also_2013(related: list[Story]) -> str:
    rows = "".join(
        f'<div><a href="{other.path}">{typeset(other.title)}</a><p class="intro">{typeset(other.summary[:90])}</p></div>'
        for other in related[:2]
    )
    return f'<section class="b-article_read-also b-article_section b-article_read_also">{rows}</section>'


# ---------------------------------------------------------------- 2015 to mid-2021


def page_2015(story: Story, base: str, related: list[Story]) -> str:
    paragraphs = [f"<p>{words}</p>" for words in body_paragraphs(story, _target(related))]
    advert = (
        '<div class="adv_in_text"><p>\nРеклама\n</p><script type="text/javascript">\n AdfProxy.ssp(".adv_in_text", '
        '{p1: "stand"});\nset_resizeblock_handler(document.body, function(){});</script></div>'
    )
    paragraphs[1:1] = [advert]
    paragraphs[3:3] = [_incut_2015(related)]
    if story.turn % 3 == 0:
        paragraphs.append("<p><b>НОВОСТИ ПО ТЕМЕ:</b></p>")
        paragraphs += [f'<p><a href="{other.path}">{typeset(other.title)}</a></p>' for other in related]
    body = "\n".join(paragraphs)
    head = "txtclear" if story.news else "article-text-header"
    level = "h2" if story.turn % 2 else "div"
    subtitle = (
        f'<{level} class="article-text-subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)}</{level}>'
        if story.subtitle
        else ""
    )
    suffix = "Газета.Ru | Новости" if story.news else "Газета.Ru"
    active = (
        f'<div class="b-navbar-main__item active"><a href="/{story.rubric}/"><span>{RUBRICS[story.rubric]}</span></a></div>'
        if story.rubric
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="ru"><head>
<meta http-equiv="X-UA-Compatible" content="IE=edge" />
<meta http-equiv="Content-Type" content="text/html; charset=windows-1251" />
{metas(story, base, suffix)}{SCRIPTS}</head><body>
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
{_old_list("Новости и материалы", related)}</div>
{COUNTERS}</body></html>
"""


def _incut_2015(related: list[Story]) -> str:
    rows = "".join(f'<a href="{other.path}"><p>{typeset(other.title)}</p></a>' for other in related[:1])
    return f'<aside class="article-text-incut incut"><p class="incut-title">Читайте также</p>{rows}</aside>'


# ---------------------------------------------------------------- mid-2021 to 2023


def head_2021(story: Story, base: str, extra: str = "") -> str:
    suffix = "Газета.Ru | Новости" if story.news else "Газета.Ru"
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
{metas(story, base, suffix)}<link rel="stylesheet" type="text/css" href="/nm2021/css/desktop_styles.css" />
{SCRIPTS}{extra}</head>
"""


def page_2021(story: Story, base: str, related: list[Story]) -> str:
    subtitle = (
        f'<h2 class="subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)} </h2>'
        if story.subtitle
        else ""
    )
    titles = f'<h1 class="headline" itemprop="headline">{typeset(story.title)} </h1>\n{subtitle}'
    lead = inner_lead = ""
    if story.has_lead:
        span = f'<span class="intro">{typeset(story.summary)}</span>'
        # Parsers of the time met the lead before the text block as well as at its beginning.
        lead, inner_lead = (
            (f'<div class="b_article-intro">{span}</div>', "") if story.turn % 2 else ("", span)
        )
    return head_2021(story, base) + _body_2021(story, base, related, titles, lead, inner_lead)


def _body_2021(
    story: Story, base: str, related: list[Story], titles: str, lead: str, inner_lead: str, new: bool = False
) -> str:
    shape = "<p>{}</p>"
    paragraphs = [shape.format(words) for words in body_paragraphs(story, _target(related))]
    paragraphs[2:2] = [_incut_2021(story, related), AD]
    if story.turn % 4 == 1:
        paragraphs.append(f"<p>{SUBSCRIBE}</p>")
    if new and story.turn % 3 == 0:
        paragraphs.append("<p><b>Что думаешь?</b></p>")
    top = "".join(_top_item(other) for other in related)
    crumb = (
        f'<a href="/{story.rubric}/" class="breadcrumb-item">{RUBRICS[story.rubric]}</a>\n'
        if new and story.rubric
        else ""
    )
    position = (
        f'<div itemscope itemtype="http://schema.org/BreadcrumbList"><div class="b_menu-item" itemprop="itemListElement" '
        f'itemscope itemtype="http://schema.org/ListItem"><a href="/{story.rubric}/" itemprop="item" ><span '
        f'itemprop="name">{RUBRICS[story.rubric]}</span></a><meta itemprop="position" content="1" /></div></div>'
        if story.rubric
        else ""
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


def _incut_2021(story: Story, related: list[Story]) -> str:
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


# ---------------------------------------------------------------- 2024 and later


def page_2024(story: Story, base: str, related: list[Story]) -> str:
    if story.subtitle and story.turn % 2:  # the subheading is the h1 on some pages: class tells, not the tag
        titles = (
            f'<h1 class="subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)}</h1>\n'
            f'<h2 class="headline" itemprop="headline">{typeset(story.title)}</h2>'
        )
    elif story.subtitle:
        titles = (
            f'<h2 class="headline" itemprop="headline">{typeset(story.title)}</h2>\n'
            f'<h1 class="subheader" itemprop="alternativeHeadline">{typeset(story.subtitle)}</h1>'
        )
    else:
        titles = f'<h1 class="headline" itemprop="headline">{typeset(story.title)}</h1>'
    lead = ""
    if story.has_lead:
        span = '<span class="intro">{}</span>' if story.turn % 3 == 0 else "<span>{}</span>"
        lead = f'<div class="b_article-intro">{span.format(typeset(story.summary))}</div>'
    extra = json_ld(story, base) if story.when.year >= 2025 else ""
    return head_2021(story, base, extra) + _body_2021(story, base, related, titles, lead, "", new=True)


PAGES = {"2007": page_2007, "2013": page_2013, "2015": page_2015, "2021": page_2021, "2024": page_2024}
