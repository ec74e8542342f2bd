"""The pages where a crawler finds stories: sitemaps, rubric listings in three layouts, RSS, the home page."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import cached_property
from xml.sax.saxutils import escape as xml_escape

from outlet.markup import COUNTERS, MENU, SCRIPTS, typeset
from outlet.stories import RUBRICS, Story, moscow

PAGE = 25
RSS_ITEMS = 30
MINUTE = re.compile(r"^(\d\d)\.(\d\d)\.(\d{4})_(\d\d):(\d\d)$")
WHOLE_FEEDS = ("first", "lenta", "lastnews")  # of all rubrics
FEEDS = (*WHOLE_FEEDS, "politics", "business", "social", "culture", "science")
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
SCHEMA = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


class Lists:
    """Stories from newest to oldest, all of them and by rubric. Built once; pages are slices of it."""

    def __init__(self, stories: list[Story], endless: str = "", more_sitemaps: tuple[str, ...] = ()) -> None:
        """The listing of the section `endless` never ends; the sitemap index also names `more_sitemaps`."""
        self._endless = endless
        self._more_sitemaps = more_sitemaps
        self.all = sorted(stories, key=lambda story: (story.unix, story.number), reverse=True)
        self.by_rubric: dict[str, list[Story]] = defaultdict(list)
        for story in self.all:
            self.by_rubric[story.rubric].append(story)
        # bisect needs ascending keys: negative times, newest first.
        self._keys = {"news": [-story.unix for story in self.all]}
        self._keys |= {rubric: [-story.unix for story in own] for rubric, own in self.by_rubric.items()}

    def section(self, rubric: str) -> list[Story]:
        return self.all if rubric == "news" else self.by_rubric.get(rubric, [])

    def older_than(self, rubric: str, unix: int | None, step: int = 1) -> list[Story]:
        """A page of stories published before `unix` (the newest without it).

        The end of a page never separates stories of the same second (or minute, with step=60). So a crawler
        that continues from the oldest time it saw misses none and sees none twice.
        """
        if rubric and rubric == self._endless:
            return self._never_the_last(unix)
        stories = self.section(rubric)
        keys = self._keys.get(rubric, [])
        start = 0 if unix is None else bisect_right(keys, -unix)
        end = min(start + PAGE, len(stories))
        while 0 < end < len(stories) and stories[end].unix // step == stories[end - 1].unix // step:
            end += 1
        return stories[start:end]

    def _never_the_last(self, unix: int | None) -> list[Story]:
        """A page of the endless listing: stories at earlier times, and one address that does not exist."""
        newest = self.all[1].when
        start = newest if unix is None else datetime.fromtimestamp(unix, moscow(newest)).replace(tzinfo=None)
        hours = [start - timedelta(hours=turn) for turn in range(1, PAGE + 1)]
        page = [replace(self.all[turn % 5], when=hour) for turn, hour in enumerate(hours)]
        nowhere = f"/{self._endless}/{hours[0]:%Y/%m/%d}/{page[0].unix}.shtml"
        return [replace(page[0], path=nowhere), *page[1:]]

    # ------------------------------------------------------------ sitemaps

    @cached_property
    def _months(self) -> dict[str, list[Story]]:
        months: dict[str, list[Story]] = defaultdict(list)
        for story in self.all:
            months[story.when.strftime("%Y_%m")].append(story)
        return months

    def sitemap(self, name: str, base: str) -> str | None:
        """`sitemap` lists the years, `sitemap_2019` its months, `sitemap_2019_11` the articles."""
        if name == "sitemap_news":
            return self._news_sitemap(base)
        part = name.removeprefix("sitemap").removeprefix("_")
        if part in self._months:
            rows = [(story.path, story.modified) for story in self._months[part]]
            return _sitemap("urlset", "url", rows, base)
        newest: dict[str, datetime] = {}
        for month, stories in self._months.items():
            if part in ("", month[:4]):
                child = f"/sitemap_{month[:4] if not part else month}.xml"
                last = max(story.modified for story in stories)
                newest[child] = max(last, newest.get(child, last))
        if not newest:
            return None
        if not part:
            newest |= {path: self.all[0].modified for path in self._more_sitemaps}
        return _sitemap("sitemapindex", "sitemap", sorted(newest.items(), reverse=True), base)

    def _news_sitemap(self, base: str) -> str:
        """The stories of the two days before the newest one, in the schema of news sitemaps."""
        since = self.all[0].when - timedelta(days=2)
        rows = []
        for story in self.all[:1000]:
            if story.when < since:
                break
            rows.append(
                f"<url><loc>{base}{story.path}</loc><news:news><news:publication><news:name>Газета.Ru</news:name>"
                f"<news:language>ru</news:language></news:publication><news:publication_date>{story.iso}"
                f"</news:publication_date><news:title>{xml_escape(story.title)}</news:title></news:news></url>\n"
            )
        news = 'xmlns:news="http://www.google.com/schemas/sitemap-news/0.9"'
        return f"{XML}<urlset {SCHEMA} {news}>\n{''.join(rows)}</urlset>\n"

    # ------------------------------------------------------------ RSS

    def rss(self, feed: str, base: str) -> str | None:
        """The newest stories; like the site, it shortens descriptions with "...". windows-1251."""
        if feed not in FEEDS:
            return None
        stories = (self.all if feed in WHOLE_FEEDS else self.section(feed))[:RSS_ITEMS]
        items = "".join(_rss_item(story, base) for story in stories)
        return f"""<?xml version="1.0" encoding="windows-1251"?>
<rss version="2.0"><channel>
<title>Газета.Ru - {RUBRICS.get(feed, "Новости")}</title>
<link>{base}/</link>
<description>Лента новостей</description>
<language>ru</language>
{items}</channel></rss>
"""

    # ------------------------------------------------------------ listings

    def listing(self, rubric: str, query: dict[str, str]) -> str | None:
        """`/<rubric>/` with `?p=page` and `d` or `pub_time`; None if the arguments make no sense.

        d=<unix>: mid-2021 to 2023. d=DD.MM.YYYY_HH:MM: 2015 to mid-2021. pub_time=<unix> (and /news/ with no
        time): 2026. Without p=page the items are inside a whole page.
        """
        day, unix = query.get("d"), query.get("pub_time")
        if day and (stamp := MINUTE.match(day)):
            date, month, year, hour, minute = map(int, stamp.groups())
            try:
                when = datetime(year, month, date, hour, minute)
                before = int(when.replace(tzinfo=moscow(when)).timestamp())
            except (ValueError, OverflowError):
                return None
            items = "".join(_item_2015(story) for story in self.older_than(rubric, before, step=60))
        elif (unix or day) and not (unix or day or "").isdecimal():
            return None
        elif unix or (rubric == "news" and not day):
            items = "".join(
                _item_2026(story) for story in self.older_than(rubric, int(unix) if unix else None)
            )
        else:
            items = "".join(_item_2021(story) for story in self.older_than(rubric, int(day) if day else None))
        return items if query.get("p") == "page" else _shell(RUBRICS.get(rubric, "Новости"), items)

    def home(self) -> str:
        items = "".join(_item_2021(story) for story in self.all[:40])
        simple = "".join(_item_simple(story) for story in self.all[:20])
        return _shell("Главные новости", f'{items}<div class="b_newslist">{simple}</div>')


def _sitemap(root: str, node: str, rows: list[tuple[str, datetime]], base: str) -> str:
    body = "".join(
        f"<{node}><loc>{base}{path}</loc><lastmod>{when.replace(tzinfo=moscow(when)).isoformat()}</lastmod></{node}>\n"
        for path, when in rows
    )
    return f"{XML}<{root} {SCHEMA}>\n{body}</{root}>\n"


def _rss_item(story: Story, base: str) -> str:
    cut = story.summary if len(story.summary) < 120 else story.summary[:117].rsplit(" ", 1)[0] + "..."
    date = format_datetime(story.when.replace(tzinfo=moscow(story.when)))
    return f"""<item>
<title>{xml_escape(story.title)}</title>
<link>{base}{story.path}</link>
<author>Газета.Ru</author>
<pubDate>{date}</pubDate>
<description>{xml_escape(cut)}</description>
<guid>{base}{story.path}</guid>
</item>
"""


def _item_2021(story: Story) -> str:
    return f"""<a
href="{story.path}"
class="b_ear
" data-pubtime="{story.unix}"
data-id="{story.number}"
id="_id_ear_{story.number}"
>
<div class="b_ear-image"><img src="/files3/{story.number}/pic_32ratio.jpg" alt="" loading="lazy"></div>
<div class="b_ear-textblock">
<div class="b_ear-title">
{typeset(story.title)}
</div>
<div class="b_ear-intro">
{typeset(story.subtitle or story.summary[:100])}
</div>
<time class="b_ear-time" datetime="{story.iso}">
{story.when:%d.%m.%Y},&nbsp;{story.when:%H:%M}
</time>
</div>
</a>
"""


def _item_simple(story: Story) -> str:
    return f"""<a
href="{story.path}"
class="b_ear m_simple
"
id="_id_ear_{story.number}"
>
<div class="b_ear-textblock"><div class="b_ear-title">
{typeset(story.title)}
</div></div>
<time class="b_ear-time" datetime="{story.iso}">
{story.when:%H:%M}
</time>
</a>
"""


def _item_2015(story: Story) -> str:
    return f"""<article itemprop="itemListElement" itemscope itemtype="http://schema.org/ListItem">
<meta itemprop="position" content="{story.unix}" />
<time class="time" datetime="{story.iso}">{story.when:%H:%M}</time>
<div class="article_text"><h2><a itemprop="url" href="{story.path}">{typeset(story.title)}</a></h2></div>
</article>
"""


def _item_2026(story: Story) -> str:
    return f"""<div class="b_ear m_list" data-pub_time="{story.unix}" data-id="{story.number}">
<div class="b_ear-textblock"><a href="{story.path}" class="b_ear-title">{typeset(story.title)}</a>
<time class="b_ear-time" datetime="{story.iso}">{story.when:%d.%m.%Y},&nbsp;{story.when:%H:%M}</time></div>
</div>
"""


def _shell(title: str, items: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="ru"><head>
<meta http-equiv="Content-Type" content="text/html" />
<title>{title} - Газета.Ru</title>
{SCRIPTS}</head><body>
{COUNTERS}<header id="_id_header" class="b_header"><div class="b_menu-content">
{MENU}</div></header>
<div class="b_main" id="_id_main"><div class="w_col4">
{items}</div></div>
<div id="_id_footer" class="b_footer"><p>Учебная копия разметки, не сайт издания.</p></div>
</body></html>
"""
