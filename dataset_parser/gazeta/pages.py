"""Keeps `gazeta.pages.parse_article` importable; the parser is in sites/gazeta.py."""

from __future__ import annotations

from gazeta.sites.base import Article
from gazeta.sites.gazeta import Gazeta

_SITE = Gazeta()


def parse_article(body: bytes, url: str, content_type: str = "") -> Article:
    """The article of a page of Gazeta.ru, as `gazeta.sites.base.Site.parse_article` describes."""
    return _SITE.parse_article(body, url, content_type)
