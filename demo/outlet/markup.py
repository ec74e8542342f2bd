# ruff: noqa: E501  (the HTML keeps the line breaks of the real pages)
"""The pieces that the layouts share: typeset text, links, metas, scripts, menus and lists of other stories."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from html import escape

from news.words import MONTHS

from outlet.stories import RUBRICS, Story

CP1251 = "windows-1251"
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


@lru_cache(maxsize=512)  # a headline and a description appear on their page four times
def typeset(words: str) -> str:
    """Escape plain text and typeset it like the site's editor: no-break spaces, named quotes and dashes."""
    text = escape(words, quote=True)
    text = SHORT_WORD.sub(r"\1&nbsp;", text)
    return text.replace("«", "&laquo;").replace("»", "&raquo;").replace("—", "&mdash;")


def russian_date(when: datetime) -> str:
    return f"{when.day} {MONTHS[when.month - 1][0]} {when.year}, {when:%H:%M}"


def linked(words: str, turn: int, target: str) -> str:
    """A paragraph's HTML. About every second one has a link on one or two words inside a sentence."""
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
    # Before the link the real pages have a space or a line break.
    gap = "\n" if turn % 5 == 2 else " "
    return f"{typeset(before)}{gap}{link} {typeset(after)}"


def body_paragraphs(story: Story, related: list[Story]) -> list[str]:
    target = related[0].path if related else "/tags/organization/primer.shtml"
    return [linked(words, story.turn + place, target) for place, words in enumerate(story.paragraphs)]


def encode(page: str, charset_name: str) -> bytes:
    """Letters that windows-1251 lacks become numeric references, as on the real site."""
    return page.encode(charset_name, "xmlcharrefreplace")


def metas(story: Story, base: str, brand: str) -> str:
    """Title, description, OpenGraph and Twitter metas in the order of the real pages."""
    title = typeset(story.title)
    description = typeset(story.summary)
    url = base + story.path
    image = f"{base}/files3/{story.number % 1000}/{story.number}/pic905-895x505.jpg"
    return f"""<title> {title} - {brand}  </title>
<meta name="description" content="{description}" />
<meta property="og:description" content="{description}" />
<meta property="twitter:description" content="{description}" />
<meta name="keywords" content="{RUBRICS.get(story.rubric, "новости").lower()}" />
<meta property="og:title" content="{title} - {brand}" />
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
    """The NewsArticle of the newest pages; "</" is escaped so that no text can end the script."""
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


def brand(story: Story) -> str:
    """The site's name after the headline, in the titles since 2015."""
    return "Газета.Ru | Новости" if story.news else "Газета.Ru"


def rubric_link(story: Story) -> str:
    return f'<a href="/{story.rubric}/">{RUBRICS[story.rubric]}</a>' if story.rubric else ""


def old_menu(story: Story) -> str:
    """The menu of the layouts before 2015."""
    return "".join(
        f'<div class="menu{" active" if slug == story.rubric else ""}"><a href="/{slug}/"><span>{name}</span></a></div>\n'
        for slug, name in RUBRICS.items()
        if slug not in ("style", "tech", "family")
    )


def old_list(heading: str, related: list[Story]) -> str:
    """The list of other stories on the layouts before mid-2021."""
    rows = "".join(f'<li><a href="{other.path}">{typeset(other.title)}</a></li>' for other in related)
    return f'<div class="see_also"><b>{heading}</b><ul>{rows}</ul></div>'
