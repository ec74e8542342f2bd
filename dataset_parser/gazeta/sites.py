"""The sites we can read: a line here, a module like pages.py and a spider make a new one."""

from __future__ import annotations

from types import ModuleType

from gazeta import pages

SITES: dict[str, ModuleType] = {pages.SITE: pages}


def site_of(url: str, default_base: str) -> ModuleType:
    """The parser module for an address; each says by `BASES` which addresses are its own."""
    for module in SITES.values():
        if any(module.same_site(url, base) for base in getattr(module, "BASES", ())):
            return module
    return pages
