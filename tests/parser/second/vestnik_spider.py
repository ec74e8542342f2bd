"""Where "Северный вестник" lists its articles."""

from __future__ import annotations

import vestnik
from gazeta import settings
from gazeta.crawl.spider import NewsSpider


class VestnikSpider(NewsSpider):
    name = vestnik.SITE
    pages = vestnik
    base = settings.SITE_URL
