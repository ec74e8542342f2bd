"""What a page says of itself for machines: JSON-LD and meta elements."""

from __future__ import annotations

from typing import Any

from lxml import etree

from gazeta.sites.html import clean, json_ld


class Metadata:
    """articles: the JSON-LD objects that are articles."""

    def __init__(self, tree: etree._Element):
        self.articles = [data for data in json_ld(tree) if _is_article(data)]
        self.tree = tree

    def linked(self, *names: str) -> str:
        """The first value of JSON-LD under one of the names, as one line; articleBody as it is written."""
        for data in self.articles:
            for name in names:
                value: Any = data.get(name)
                if isinstance(value, list) and value:
                    value = value[0]
                if isinstance(value, str) and clean(value):
                    return value if name == "articleBody" else clean(value)
        return ""

    def meta(self, *names: str) -> str:
        """The first content of a meta element with one of the names."""
        for name in names:
            for node in self.tree.iter("meta"):
                own = name in (node.get("property"), node.get("name"), node.get("itemprop"))
                if own and (value := clean(node.get("content", ""))):
                    return value
        return ""

    def addresses(self) -> list[str]:
        """The page's own address, as links and meta elements give it, best first."""
        links, metas = self.tree.iter("link"), self.tree.iter("meta")
        canonical = [node.get("href", "") for node in links if node.get("rel") == "canonical"]
        graph = [node.get("content", "") for node in metas if node.get("property") == "og:url"]
        return [clean(written) for written in (*canonical[:2], *graph[:2])]

    def is_live_blog(self) -> bool:
        return any("LiveBlogPosting" in str(data.get("@type")) for data in self.articles)


def _is_article(data: dict[str, Any]) -> bool:
    kinds = data.get("@type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return any(str(name).endswith(("Article", "BlogPosting", "Report")) for name in names)
