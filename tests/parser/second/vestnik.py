""" "Северный вестник", an invented outlet that the stand-in site serves (--outlet second).

This one file, put into dataset_parser/gazeta/sites/, is all that another site needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gazeta.sites.base import Layout, Site

# The outlet's own sections, each with the dataset's name of the same rubric.
SECTIONS = {
    "politika": "politics",
    "obschestvo": "social",
    "ekonomika": "business",
    "armiya": "army",
    "kultura": "culture",
    "nauka": "science",
    "sport": "sport",
    "tehnologii": "tech",
    "avto": "auto",
    "stil-zhizni": "style",
    "semya": "family",
}


class Vestnik(Site):
    name = "vestnik"
    base = "https://vestnik.invalid"
    rubrics = tuple(SECTIONS.values())
    # Addresses name the month only.
    article_path = re.compile(rf"^/(?P<section>{'|'.join(SECTIONS)})/(?P<year>\d{{4}})-(?P<month>\d\d)/\d+/$")

    class V2023(Layout):
        name = "2023"
        root = "article.story"
        title = ".story__title"
        lead = ".story__standfirst"
        text = ".story__text"
        date = ".story__date"

    def url_rubric(self, url: str) -> str:
        match = re.match(r"https?://[^/]+/([a-z-]+)/", url)
        return SECTIONS.get(match[1], "") if match else ""

    def listing_urls(self, rubrics: Iterable[str] = ()) -> list[str]:
        return [f"{self.base}/arhiv/"]
