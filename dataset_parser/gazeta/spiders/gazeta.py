"""Gazeta.ru: where its articles are listed. Everything else is in crawling.py and pages.py."""

from __future__ import annotations

from gazeta import settings
from gazeta.crawl.spider import NewsSpider
from gazeta.sites import gazeta as pages


class GazetaSpider(NewsSpider):
    name = pages.SITE
    pages = pages
    base = settings.SITE_URL
    sitemaps = ("/sitemap.xml", "/sitemap_news.xml")
    feeds = tuple(
        f"/export/rss/{feed}.xml"
        for feed in ("first", "lenta", "lastnews", "politics", "business", "social", "culture", "science")
    )
    # Since 2026 the site sends visitors without this cookie to a sign-in page first.
    cookies = "unity_pause_sso=1"
