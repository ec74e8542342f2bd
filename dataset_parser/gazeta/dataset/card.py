"""The dataset's card: what is in a revision, where it comes from, what may be done with it.

Everything is computed from the dataset, the crawl report and the files that were read; the words that every
card has are in dataset_card.md.
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
from gazeta.dataset import card_words
from gazeta.dataset.checks import Verdict
from gazeta.dataset.files import FileReport
from gazeta.dataset.local import Dataset
from gazeta.dataset.plots import plots_of
from gazeta.dataset.rules import Cleaner
from gazeta.dataset.selection import SPLITS
from gazeta.recipe import GAZETA

LICENSE_NAME = "publisher-rights-non-commercial-research-only"
TOKENS_SAMPLED = 2000  # texts
SHOWN = 20  # lines of a list of addresses
MOST_LABELS = 50  # lines of a table of labels


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
    recipe, sizes = dataset.recipe, dataset.split_sizes()
    files = list((dataset.folder / "data").glob("*.parquet"))
    numbers = recipe.schema.of_type("number")
    news = bool(recipe.sites)
    tasks = (
        ("summarization", "summary" in recipe.schema.names, "news-articles-summarization"),
        ("text-classification", bool(recipe.schema.of_type("label")), "topic-classification"),
    )
    return {
        "pretty_name": pretty_name,
        **({"language": ["ru"]} if recipe.rules.language else {}),
        "license": "other",
        "license_name": LICENSE_NAME,
        **({"multilinguality": ["monolingual"]} if recipe.rules.language else {}),
        "task_categories": [category for category, is_there, _ in tasks if is_there],
        **({"task_ids": [detail for _, is_there, detail in tasks if is_there]} if news else {}),
        "size_categories": [size_category(dataset.rows)],
        "tags": ["news"] if news else [recipe.name],
        "configs": [
            {
                "config_name": "default",
                "default": True,
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in SPLITS],
            }
        ],
        "dataset_info": {
            "config_name": "default",
            "features": [
                {"name": name, "dtype": "float64" if name in numbers else "string"}
                for name in recipe.schema.names
            ],
            "splits": [
                {"name": split, "num_bytes": dataset.num_bytes[split], "num_examples": sizes[split]}
                for split in SPLITS
            ],
            "download_size": sum(path.stat().st_size for path in files),
            "dataset_size": sum(dataset.num_bytes.values()),
        },
    }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; numbers are aligned to the right."""
    body = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    if not body:
        return "None."
    first = body[0]
    right = [cell.replace(",", "").replace(".", "").replace("%", "").isdigit() for cell in first]
    lines = [head, ["---:" if numeric else "---" for numeric in right], *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _quantiles(name: str, values: np.ndarray) -> list[object]:
    picked = [int(np.quantile(values, share)) for share in (0.05, 0.5, 0.95)]
    return [name, round(float(values.mean())), *picked, int(values.max())]


def _tokens(dataset: Dataset, tokenizer: Path | None) -> str:
    """Token lengths of a sample, if there is a tokenizer.json. Raises ValueError."""
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
    lengths: dict[str, list[int]] = {name: [] for name in dataset.recipe.rules.compared_lengths}
    paths = sorted((dataset.folder / "data").glob("*.parquet"))
    for path in paths:
        sample = pq.ParquetFile(path).read_row_group(0, list(lengths))[: TOKENS_SAMPLED // len(paths) + 1]
        for column, counts in lengths.items():
            encoded = loaded.encode_batch(sample.column(column).to_pylist(), add_special_tokens=False)
            counts += [len(one.ids) for one in encoded]
    figures = table(
        ["tokens", "mean", "5%", "median", "95%", "longest"],
        [_quantiles(name, np.array(counts)) for name, counts in lengths.items()],
    )
    return f"In tokens of `{tokenizer.name}`, over {len(counts):,} sampled rows:\n\n{figures}"


def _changes(dataset: Dataset) -> str:
    if dataset.before is None or not dataset.before.split_of:
        return f"This is the first revision: {dataset.rows:,} rows."
    changes = dataset.changes
    lines = [
        f"Compared with {dataset.before.name}: {len(changes.added):,} rows added, {len(changes.edited):,}"
        f" edited at their source or cleaned anew, {len(changes.removed):,} removed, {changes.moved:,} moved"
        " to another split."
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


def _contents(dataset: Dataset, tokenizer: Path | None) -> str:
    """The figures of "What is in it", each with its plot."""
    parts, sizes = [], dataset.rows
    plots = plots_of(dataset)
    if "rows by year" in plots:
        years: dict[str, Counter[str]] = defaultdict(Counter)
        for date, split in zip(dataset.dates, dataset.plan.split, strict=True):
            years[date[:4]][split] += 1
        parts += [
            f"![Rows by year]({plots['rows by year']})",
            table(
                ["year", "rows", *SPLITS],
                [
                    [year, count.total(), *(count[split] for split in SPLITS)]
                    for year, count in sorted(years.items())
                ],
            ),
        ]
    for name, values in dataset.labels.items():
        counted = _by_count(Counter(values))
        rows = [[label, count, f"{count / sizes:.1%}"] for label, count in counted[:MOST_LABELS]]
        parts.append(table([name, "rows", "share"], rows))
        if len(counted) > MOST_LABELS:
            parts.append(f"And {len(counted) - MOST_LABELS:,} more.")
    lengths = dataset.recipe.rules.compared_lengths
    parts += [
        f"![Lengths]({plots['lengths']})",
        table(
            ["characters", "mean", "5%", "median", "95%", "longest"],
            [_quantiles(name, dataset.lengths[name]) for name in lengths],
        ),
        _tokens(dataset, tokenizer),
    ]
    if dataset.recipe.sites and "summary" in dataset.recipe.schema.names:
        rows = [
            [card_words.ORIGINS.get(origin, origin), count, f"{count / sizes:.1%}"]
            for origin, count in _by_count(Counter(dataset.origins))
        ]
        parts += ["Where the summaries came from:", table(["summary", "rows", "share"], rows)]
    return "\n\n".join(parts)


def render(
    dataset: Dataset,
    verdicts: Sequence[Verdict],
    crawl_report: dict[str, Any],
    tokenizer: Path | None = None,
    files: Sequence[FileReport] = (),
) -> str:
    """README.md of a dataset folder. Raises ValueError if the tokenizer cannot be used."""
    recipe, sizes, sources = dataset.recipe, dataset.split_sizes(), dataset.from_sources
    spans: dict[str, list[str]] = defaultdict(list)
    for date, split in zip(dataset.dates, dataset.plan.split, strict=True):
        spans[split].append(date[:10])
    stand_in = bool(recipe.sites) and is_stand_in(settings.SITE_URL)
    if stand_in:
        pretty_name, rights = (
            "News of a stand-in site",
            Template(card_words.INVENTED).substitute(site=settings.SITE_URL),
        )
    elif recipe.sites:
        pretty_name, rights = (
            "Gazeta.ru news" if recipe.name == GAZETA.name else recipe.name,
            card_words.RIGHTS,
        )
    else:
        pretty_name, rights = settings.DATASET_REPO.rpartition("/")[2], card_words.RIGHTS_IN_FILES
    dated = any(dataset.dates)
    explained = Cleaner(recipe).explained()
    head = yaml.safe_dump(metadata(dataset, pretty_name), sort_keys=False, allow_unicode=True, width=120)
    gaps = (*(card_words.GAPS if recipe.sites else ()), *(card_words.GAPS_OF_FILES if recipe.files else ()))
    return Template(Path(__file__).with_name("dataset_card.md").read_text(encoding="utf-8")).substitute(
        metadata=head,
        pretty_name=pretty_name,
        intro=card_words.intro(dataset, files),
        repo=settings.DATASET_REPO,
        tag=dataset.tag,
        columns_table=table(
            ["column", "type", "what it is"],
            [
                [f"`{column.name}`", column.type, card_words.column_says(column, recipe)]
                for column in recipe.columns
            ],
        ),
        required=", ".join(f"`{name}`" for name in recipe.schema.required) or "none",
        splits_line=card_words.splits_say(recipe),
        splits_table=table(
            ["split", "rows", *(["from", "to"] if dated else [])],
            [
                [split, sizes[split], *([min(spans[split]), max(spans[split])] if dated else [])]
                for split in SPLITS
            ],
        ),
        contents=_contents(dataset, tokenizer),
        read=f"{sources.read:,}",
        sources=" and ".join(
            what
            for what, there in (("articles in the store", recipe.sites), ("rows in the files", recipe.files))
            if there
        ),
        dropped=f"{sources.dropped:,}",
        drops_table=table(
            ["reason", "rows", "what it means", "for example"],
            [
                [reason, count, explained[reason], _example(sources.examples[reason])]
                for reason, count in _by_count(sources.reasons)
            ],
        ),
        duplicates_line=card_words.duplicates_say(dataset),
        changes=_changes(dataset),
        checks_table=table(
            ["test", "result"],
            [
                [verdict.name, verdict.says + ("" if verdict.ok else " (accepted by hand)")]
                for verdict in verdicts
            ],
        ),
        recipe=recipe.name,
        collected=card_words.how_it_was_collected(recipe, crawl_report, files),
        fingerprint=fingerprint(),
        how_found=card_words.how_duplicates_are_found(recipe),
        rights=rights,
        gaps="\n".join(f"- {gap}" for gap in gaps),
    )


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most first; equal counts by name, so that the same rows give the same card."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
