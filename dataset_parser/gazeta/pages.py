"""A door that keeps `gazeta.pages.parse_article` where its users import it; see sites/gazeta.py."""

from gazeta.sites.gazeta import parse_article

__all__ = ["parse_article"]
