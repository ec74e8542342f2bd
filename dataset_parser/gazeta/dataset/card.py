"""The dataset's card: what is in a revision, where it comes from, what may be done with it; and two plots.

Everything is computed from the dataset and the crawl report; the words are in dataset_card.md.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import yaml

from gazeta import settings
from gazeta.dataset import duplicates as near
from gazeta.dataset import rules, words
from gazeta.dataset.checks import Verdict
from gazeta.dataset.local import Dataset
from gazeta.dataset.rules import COLUMNS
from gazeta.dataset.selection import SPLITS
from gazeta.sites.base import DESCRIPTION, FIRST_PARAGRAPH, LEAD

PLOTS = ("plots/rows_by_year.png", "plots/lengths.png")
LICENSE_NAME = "publisher-rights-non-commercial-research-only"
ORIGINS = {
    LEAD: "the lead that the editors wrote",
    DESCRIPTION: "the page's description, where it says what the text does not",
    FIRST_PARAGRAPH: "the first paragraph of a news item without a lead (it is not in `text`)",
    "": "not known: the row came without its lineage",
}
TOKENS_SAMPLED = 2000  # texts
SHOWN = 20  # lines of a list of addresses

RIGHTS = (
    "The texts belong to their publisher and its authors. This dataset is for non-commercial research only:"
    " you may train and evaluate models on it and quote from it as the law allows; you may not republish the"
    " articles or sell them, alone or inside a product. The selection and the code are free to use; that"
    " gives no right in the texts."
)
INVENTED = (
    "**This revision was collected from a stand-in site ($site), not from a newspaper.** By default that site"
    " tells invented news: no person, company or event in them is real, and they may be used as freely as the"
    " code that made them (MIT). If it was started with other news (`--news FILE`), the rights in those texts"
    " stay with their publishers, and they are for non-commercial research only."
)
GAPS = (
    "One newspaper: its choice of topics, its style and its mistakes.",
    "Comments, galleries, live reports and pages behind a login are left out on purpose; an article whose"
    " page could not be read is missing here, and counted in the crawl report only.",
    "An article edited after it was collected stands here as it was when last read.",
    "Near-duplicates are told by shared wording: two articles that tell one event in other words both stay.",
    "Language is judged by letters and common words, so a short foreign quotation passes.",
    "Rubrics are the site's own, and it renamed some over the years.",
)


def is_stand_in(site: str) -> bool:
    host = urlsplit(site).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fingerprint() -> str:
    """Twelve hex digits that change when the code of this package does."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        code.update(path.name.encode() + path.read_bytes())
    return code.hexdigest()[:12]


def size_category(rows: int) -> str:
    bounds = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"), (10_000_000, "10M")]
    low = None
    for bound, name in bounds:
        if rows < bound:
            return f"{low}<n<{name}" if low else f"n<{name}"
        low = name
    return "n>10M"


def metadata(dataset: Dataset, pretty_name: str) -> dict[str, Any]:
    """The YAML head: what the Hub's search and `load_dataset` read."""
    sizes = dataset.split_sizes()
    files = list((dataset.folder / "data").glob("*.parquet"))
    return {
        "pretty_name": pretty_name,
        "language": ["ru"],
        "license": "other",
        "license_name": LICENSE_NAME,
        "multilinguality": ["monolingual"],
        "task_categories": ["summarization", "text-classification"],
        "task_ids": ["news-articles-summarization", "topic-classification"],
        "size_categories": [size_category(dataset.rows)],
        "tags": ["news"],
        "configs": [
            {
                "config_name": "default",
                "default": True,
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in SPLITS],
            }
        ],
        "dataset_info": {
            "config_name": "default",
            "features": [{"name": column, "dtype": "string"} for column in COLUMNS],
            "splits": [
                {"name": split, "num_bytes": dataset.num_bytes[split], "num_examples": sizes[split]}
                for split in SPLITS
            ],
            "download_size": sum(path.stat().st_size for path in files),
            "dataset_size": sum(dataset.num_bytes.values()),
        },
    }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; numbers stand to the right."""
    told = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    if not told:
        return "None."
    first = next(iter(told))
    right = [cell.replace(",", "").replace(".", "").replace("%", "").isdigit() for cell in first]
    lines = [head, ["---:" if numeric else "---" for numeric in right], *told]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _quantiles(name: str, values: np.ndarray) -> list[object]:
    picked = [int(np.quantile(values, share)) for share in (0.05, 0.5, 0.95)]
    return [name, round(float(values.mean())), *picked, int(values.max())]


def _tokens(dataset: Dataset, tokenizer: Path | None) -> str:
    """Token lengths of a sample, when a tokenizer.json is at hand. Raises ValueError."""
    if tokenizer is None:
        return "Lengths in tokens were not measured: no tokenizer was given when this revision was made."
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ValueError(
            "--tokenizer needs the package `tokenizers`; install it, or leave the option out"
        ) from None
    try:
        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{tokenizer} is no tokenizer.json: {error}") from None
    loaded.no_truncation()
    lengths: dict[str, list[int]] = {"text": [], "summary": []}
    paths = sorted((dataset.folder / "data").glob("*.parquet"))
    for path in paths:
        sample = pq.ParquetFile(path).read_row_group(0, ["text", "summary"])[
            : TOKENS_SAMPLED // len(paths) + 1
        ]
        for column, counts in lengths.items():
            encoded = loaded.encode_batch(sample.column(column).to_pylist(), add_special_tokens=False)
            counts += [len(one.ids) for one in encoded]
    told = table(
        ["tokens", "mean", "5%", "median", "95%", "longest"],
        [_quantiles(name, np.array(counts)) for name, counts in lengths.items()],
    )
    return f"In tokens of `{tokenizer.name}`, over {len(lengths['text']):,} sampled rows:\n\n{told}"


def _changes(dataset: Dataset) -> str:
    if dataset.before is None or not dataset.before.split_of:
        return f"This is the first revision: {dataset.rows:,} rows."
    changes = dataset.changes
    lines = [
        f"Against {dataset.before.name}: {len(changes.added):,} rows added, {len(changes.edited):,} edited by"
        f" the newspaper or cleaned anew, {len(changes.removed):,} removed, {changes.moved:,} moved to"
        " another split."
    ]
    if changes.removed:
        lines += [
            "",
            *(f"- removed: {url} ({why or 'no reason known'})" for url, why in changes.removed[:SHOWN]),
        ]
        if len(changes.removed) > SHOWN:
            lines.append(f"- and {len(changes.removed) - SHOWN:,} more")
    return "\n".join(lines)


def _example(found: list[tuple[str, str]]) -> str:
    return "; ".join(title or url for url, title in found[:2])


def _crawl(report: dict[str, Any]) -> str:
    if not report:
        return "no crawl has ended in the store that made this revision"
    asked = ", ".join(f"{name}={value}" for name, value in report.get("arguments", {}).items() if value)
    figures = [
        f"{report[name]:,} {what}"
        for name, what in (
            ("fetched", "pages read"),
            ("kept", "kept"),
            ("dropped", "dropped"),
            ("failed", "failed"),
        )
        if isinstance(report.get(name), int)
    ]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.get("reasons", {}).items())
    return (
        f"number {report.get('crawl', '?')} ({asked or 'everything'}): {', '.join(figures) or 'no figures'}"
        + (f" ({reasons})" if reasons else "")
    )


def render(
    dataset: Dataset, verdicts: Sequence[Verdict], crawl_report: dict[str, Any], tokenizer: Path | None = None
) -> str:
    """README.md of a dataset folder. Raises ValueError when the tokenizer cannot be used."""
    sizes = dataset.split_sizes()
    spans: dict[str, list[str]] = defaultdict(list)
    years: dict[str, Counter[str]] = defaultdict(Counter)
    for date, split in zip(dataset.dates, dataset.plan.split, strict=True):
        spans[split].append(date[:10])
        years[date[:4]][split] += 1
    rubrics = Counter(dataset.rubrics)
    origins = Counter(dataset.origins)
    stand_in = is_stand_in(settings.SITE_URL)
    pretty_name = "News of a stand-in site" if stand_in else "Gazeta.ru news"
    store = dataset.from_store
    kinds = dataset.duplicate_kinds
    head = yaml.safe_dump(metadata(dataset, pretty_name), sort_keys=False, allow_unicode=True, width=120)
    return Template(Path(__file__).with_name("dataset_card.md").read_text(encoding="utf-8")).substitute(
        metadata=head,
        pretty_name=pretty_name,
        repo=settings.DATASET_REPO,
        tag=dataset.tag,
        rows=f"{dataset.rows:,}",
        first_date=dataset.dates[0][:10],
        last_date=dataset.dates[-1][:10],
        splits_table=table(
            ["split", "rows", "from", "to"],
            [[split, sizes[split], min(spans[split]), max(spans[split])] for split in SPLITS],
        ),
        years_table=table(
            ["year", "rows", *SPLITS],
            [
                [year, sum(count.values()), *(count[split] for split in SPLITS)]
                for year, count in sorted(years.items())
            ],
        ),
        rubrics_table=table(
            ["rubric", "rows", "share"],
            [[rubric, count, f"{count / dataset.rows:.1%}"] for rubric, count in _by_count(rubrics)],
        ),
        lengths_table=table(
            ["characters", "mean", "5%", "median", "95%", "longest"],
            [_quantiles("text", dataset.text_lengths), _quantiles("summary", dataset.summary_lengths)],
        ),
        tokens_line=_tokens(dataset, tokenizer),
        origins_table=table(
            ["summary", "rows", "share"],
            [
                [ORIGINS.get(origin, origin), count, f"{count / dataset.rows:.1%}"]
                for origin, count in _by_count(origins)
            ],
        ),
        store_read=f"{store.read:,}",
        store_dropped=f"{store.dropped:,}",
        drops_table=table(
            ["reason", "articles", "what it means", "for example"],
            [
                [reason, count, rules.EXPLAINED[reason], _example(store.examples[reason])]
                for reason, count in _by_count(store.reasons)
            ],
        ),
        duplicates_line=f"{kinds['exact copy']:,} exact and {kinds['near copy']:,} near copies of rows are"
        " known and left out: the same story told again under another address.",
        changes=_changes(dataset),
        checks_table=table(
            ["test", "result"],
            [
                [verdict.name, verdict.says + ("" if verdict.ok else " (accepted by hand)")]
                for verdict in verdicts
            ],
        ),
        site=settings.SITE_URL,
        user_agent=settings.USER_AGENT,
        delay=f"{settings.CRAWL_DELAY:g} s" if settings.CRAWL_DELAY else "no pause",
        crawl=_crawl(crawl_report),
        fingerprint=fingerprint(),
        run=words.RUN,
        min_similarity=f"{near.MIN_SIMILARITY:.0%}",
        min_contained=f"{near.MIN_CONTAINED:.0%}",
        min_names=f"{near.MIN_AGREEING_NAMES:.0%}",
        min_numbers=f"{near.MIN_AGREEING_NUMBERS:.0%}",
        rights=Template(INVENTED).substitute(site=settings.SITE_URL) if stand_in else RIGHTS,
        gaps="\n".join(f"- {gap}" for gap in GAPS),
    )


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most first; equal counts by name, so that the same rows give the same card."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def draw(dataset: Dataset) -> None:
    """The two plots, as PNG in the dataset folder. The same dataset gives the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    (dataset.folder / "plots").mkdir(exist_ok=True)
    shades = {"train": "#4c78a8", "validation": "#f2a541", "test": "#d1495b"}
    years = sorted({date[:4] for date in dataset.dates})
    figure = Figure(figsize=(8, 3.2), dpi=110)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.1, top=0.9)
    axes = figure.subplots()
    bottom = np.zeros(len(years))
    for split in SPLITS:
        counted = Counter(
            date[:4] for date, where in zip(dataset.dates, dataset.plan.split, strict=True) if where == split
        )
        heights = np.array([counted[year] for year in years])
        axes.bar(years, heights, bottom=bottom, label=split, color=shades[split])
        bottom += heights
    axes.set_ylabel("rows")
    axes.legend(frameon=False, ncols=len(SPLITS), loc="lower right", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    # matplotlib writes its version into a PNG: another version of it would make another file.
    figure.savefig(dataset.folder / PLOTS[0], metadata={"Software": None})

    figure = Figure(figsize=(8, 3.2), dpi=110)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.2, top=0.95, wspace=0.25)
    for axes, (name, lengths) in zip(
        figure.subplots(1, 2),
        (("text", dataset.text_lengths), ("summary", dataset.summary_lengths)),
        strict=True,
    ):
        axes.hist(np.minimum(lengths, np.quantile(lengths, 0.99)), bins=40, color=shades["train"])
        axes.set_xlabel(f"characters of {name}\n(the longest 1% stand in the last bar)")
        axes.set_ylabel("rows")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(dataset.folder / PLOTS[1], metadata={"Software": None})
