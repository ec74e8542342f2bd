"""One spider per site of `gazeta.sites`, made here: `scrapy crawl NAME` works for each of them."""

from __future__ import annotations

from gazeta import settings
from gazeta.crawl.spider import NewsSpider
from gazeta.sites import load_sites

STAND_IN = settings.SITE_URL if settings.SITE_URL != settings.GAZETA_URL else ""

for _name, _site in load_sites().items():
    _members = {"__module__": __name__, "name": _name, "site": type(_site)(STAND_IN)}
    globals()[f"{type(_site).__name__}Spider"] = type(_name, (NewsSpider,), _members)
