"""Gazeta.ru: where its articles are listed. Everything else is in crawling.py and pages.py."""

from __future__ import annotations

from gazeta import pages, settings
from gazeta.crawling import NewsSpider


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
