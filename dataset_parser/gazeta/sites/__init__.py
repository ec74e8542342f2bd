"""The news sites that the collector knows: one module per site, found by looking into this folder."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gazeta.sites.base import Site


def load_sites() -> dict[str, Site]:
    """Every site of this folder by its name: each `Site` class with a name that a module here defines."""
    from gazeta.sites.base import Site

    found: dict[str, Site] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            is_site = isinstance(value, type) and issubclass(value, Site)
            if is_site and value.name and value.__module__ == f"{__name__}.{module.name}":
                found[value.name] = value()
    return dict(sorted(found.items()))
