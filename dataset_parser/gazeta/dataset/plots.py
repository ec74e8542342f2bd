"""The plots of the dataset card."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gazeta.dataset.local import Dataset
from gazeta.dataset.selection import SPLITS

SHADES = {"train": "#4c78a8", "validation": "#f2a541", "test": "#d1495b"}


def plots_of(dataset: Dataset) -> dict[str, str]:
    """Which plots a dataset has, and their paths in it."""
    dated = {"rows by year": "plots/rows_by_year.png"} if all(dataset.dates) else {}
    return dated | {"lengths": "plots/lengths.png"}


def draw(dataset: Dataset) -> None:
    """The plots as PNG in the dataset folder. The same dataset gives the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    paths = plots_of(dataset)
    (dataset.folder / "plots").mkdir(exist_ok=True)
    if "rows by year" in paths:
        years = sorted({date[:4] for date in dataset.dates})
        figure = Figure(figsize=(8, 3.2), dpi=110)
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.1, top=0.9)
        axes = figure.subplots()
        counted = Counter(
            (split, date[:4]) for date, split in zip(dataset.dates, dataset.plan.split, strict=True)
        )
        bottom = np.zeros(len(years))
        for split in SPLITS:
            heights = np.array([counted[split, year] for year in years])
            axes.bar(years, heights, bottom=bottom, label=split, color=SHADES[split])
            bottom += heights
        axes.set_ylabel("rows")
        axes.legend(frameon=False, ncols=len(SPLITS), loc="lower right", bbox_to_anchor=(1, 1))
        axes.spines[["top", "right"]].set_visible(False)
        # matplotlib writes its version into a PNG: another version of it would make another file.
        figure.savefig(dataset.folder / paths["rows by year"], metadata={"Software": None})

    names = dataset.recipe.rules.compared_lengths
    figure = Figure(figsize=(8, 3.2), dpi=110)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.2, top=0.95, wspace=0.25)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        lengths = dataset.facts.lengths[name]
        axes.hist(np.minimum(lengths, np.quantile(lengths, 0.99)), bins=40, color=SHADES["train"])
        axes.set_xlabel(f"characters of {name}\n(the last bar has the longest 1%)")
        axes.set_ylabel("rows")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(dataset.folder / paths["lengths"], metadata={"Software": None})
