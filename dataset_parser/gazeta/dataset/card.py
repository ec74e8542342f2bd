"""The dataset's card: what is in a revision, where it comes from, what may be done with it.

Everything is computed from the dataset, the crawl report and the files that were read; the words that every
card has are in dataset_card.md.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
from gazeta.recipe import GAZETA, Recipe

LICENSE_NAME = "publisher-rights-non-commercial-research-only"
TOKENS_SAMPLED = 2000  # texts
SHOWN = 20  # lines of a list of addresses
MOST_LABELS = 50  # lines of a table of labels
LENGTH_HEAD = ("mean", "5%", "median", "95%", "longest")


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
    names = ["1K", "10K", "100K", "1M", "10M"]
    at = sum(rows >= bound for bound in (10**3, 10**4, 10**5, 10**6, 10**7))
    if at in (0, len(names)):
        return "n>10M" if at else "n<1K"
    return f"{names[at - 1]}<n<{names[at]}"


def metadata(dataset: Dataset, pretty_name: str) -> dict[str, Any]:
    """The YAML head: what the Hub's search and `load_dataset` read."""
    recipe, sizes = dataset.recipe, dataset.split_sizes()
    files = (dataset.folder / "data").glob("*.parquet")
    num_bytes: Counter[str] = Counter()
    for size, split in zip(dataset.facts.sizes, dataset.plan.split, strict=True):
        num_bytes[split] += size
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
                {"name": split, "num_bytes": num_bytes[split], "num_examples": sizes[split]}
                for split in SPLITS
            ],
            "download_size": sum(path.stat().st_size for path in files),
            "dataset_size": num_bytes.total(),
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
        ["tokens", *LENGTH_HEAD], [_quantiles(name, np.array(counts)) for name, counts in lengths.items()]
    )
    return f"In tokens of `{tokenizer.name}`, over {len(counts):,} sampled rows:\n\n{figures}"


def _changes(dataset: Dataset) -> str:
    if dataset.before is None or not dataset.before.split_of:
        return f"This is the first revision: {dataset.rows:,} rows."
    changes = dataset.changes
    said = (
        f"Compared with {dataset.before.name}: {len(changes.added):,} rows added, {len(changes.edited):,}"
        f" edited at their source or cleaned anew, {len(changes.removed):,} removed, {changes.moved:,} moved"
        " to another split."
    )
    lines = [f"- removed: {url} ({why or 'no reason known'})" for url, why in changes.removed]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"- and {len(lines) - SHOWN:,} more"]
    return "\n".join([said, "", *lines] if lines else [said])


def _shares(head: str, values: Sequence[str], names: dict[str, str] | None = None) -> list[str]:
    """A table of how often each value occurs, and what it leaves out. names: what to show for a value."""
    counted = _by_count(Counter(values))
    rows = [
        [(names or {}).get(value, value), count, f"{count / len(values):.1%}"]
        for value, count in counted[:MOST_LABELS]
    ]
    more = [f"And {len(counted) - MOST_LABELS:,} more."] if len(counted) > MOST_LABELS else []
    return [table([head, "rows", "share"], rows), *more]


def _contents(dataset: Dataset, tokenizer: Path | None) -> str:
    """The figures of "What is in it", each with its plot."""
    parts, plots = [], plots_of(dataset)
    if "rows by year" in plots:
        dated = [(date[:4], split) for date, split in zip(dataset.dates, dataset.plan.split, strict=True)]
        count = Counter([*dated, *((year, "rows") for year, _ in dated)])
        shown = ("rows", *SPLITS)
        rows = [[year, *(count[year, one] for one in shown)] for year in sorted({year for year, _ in dated})]
        parts += [f"![Rows by year]({plots['rows by year']})", table(["year", *shown], rows)]
    for name, values in dataset.facts.labels.items():
        parts += _shares(name, values)
    lengths = [
        _quantiles(name, dataset.facts.lengths[name]) for name in dataset.recipe.rules.compared_lengths
    ]
    parts += [
        f"![Lengths]({plots['lengths']})",
        table(["characters", *LENGTH_HEAD], lengths),
        _tokens(dataset, tokenizer),
    ]
    if dataset.recipe.sites and "summary" in dataset.recipe.schema.names:
        origins = _shares("summary", dataset.facts.origins, card_words.ORIGINS)
        parts += ["Where the summaries came from:", *origins]
    return "\n\n".join(parts)


def _sources(recipe: Recipe, crawl: dict[str, Any], files: Sequence[FileReport]) -> Iterator[str]:
    """How the rows were collected: a line per fact."""
    if recipe.sites:
        delay = f"{settings.CRAWL_DELAY:g} s" if settings.CRAWL_DELAY else "no pause"
        yield f"Site: {settings.SITE_URL}"
        yield f"Collector: `{settings.USER_AGENT}`; robots.txt is obeyed; {delay} between requests"
        yield f"Crawl: {_crawl(crawl)}"
    for file in files:
        yield f"File: {file.name}, {file.rows:,} rows" + "".join(
            f"; {what}"
            for count, what in (
                (file.bad, f"lines left out: {file.bad_lines()}"),
                (file.invented_urls, f"{file.invented_urls:,} rows had no address and got a name"),
                (file.invented_dates, f"{file.invented_dates:,} rows had no date and got one"),
            )
            if count
        )


def _crawl(report: dict[str, Any]) -> str:
    if not report:
        return "no crawl has ended in the store that made this revision"
    asked = ", ".join(f"{name}={value}" for name, value in report.get("arguments", {}).items() if value)
    counted = {"fetched": "pages read", "kept": "kept", "dropped": "dropped", "failed": "failed"}
    figures = [
        f"{report[name]:,} {what}" for name, what in counted.items() if isinstance(report.get(name), int)
    ]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.get("reasons", {}).items())
    return (
        f"number {report.get('crawl', '?')} ({asked or 'everything'}): {', '.join(figures) or 'no figures'}"
        + (f" ({reasons})" if reasons else "")
    )


def _name_and_rights(recipe: Recipe) -> tuple[str, str]:
    if not recipe.sites:
        return settings.DATASET_REPO.rpartition("/")[2], card_words.RIGHTS_IN_FILES
    if is_stand_in(settings.SITE_URL):
        return "News of a stand-in site", Template(card_words.INVENTED).substitute(site=settings.SITE_URL)
    return "Gazeta.ru news" if recipe.name == GAZETA.name else recipe.name, card_words.RIGHTS


def _columns(recipe: Recipe) -> Iterator[list[object]]:
    for column in recipe.columns:
        of_news = card_words.OF_NEWS.get(column.name) if recipe.sites else None
        says = of_news or card_words.OF_TYPE[column.type]
        yield [f"`{column.name}`", column.type, says + ("" if column.required else "; may be empty")]


def render(
    dataset: Dataset,
    verdicts: Sequence[Verdict],
    crawl_report: dict[str, Any],
    tokenizer: Path | None = None,
    files: Sequence[FileReport] = (),
) -> str:
    """README.md of a dataset folder. Raises ValueError if the tokenizer cannot be used."""
    recipe, sizes, sources = dataset.recipe, dataset.split_sizes(), dataset.from_sources
    pretty_name, rights = _name_and_rights(recipe)
    head = yaml.safe_dump(metadata(dataset, pretty_name), sort_keys=False, allow_unicode=True, width=120)
    spans: dict[str, list[str]] = {split: [] for split in SPLITS}
    for date, split in zip(dataset.dates, dataset.plan.split, strict=True):
        spans[split].append(date[:10])
    dates = [date[:10] for date in dataset.dates if date]
    splits = [
        [split, sizes[split], *([min(spans[split]), max(spans[split])] if dates else [])] for split in SPLITS
    ]
    explained = Cleaner(recipe).explained()
    drops = [
        [
            reason,
            count,
            explained[reason],
            "; ".join(title or url for url, title in sources.examples[reason][:2]),
        ]
        for reason, count in _by_count(sources.reasons)
    ]
    passed = {True: "", False: " (accepted by hand)"}
    gaps = (*(card_words.GAPS if recipe.sites else ()), *(card_words.GAPS_OF_FILES if recipe.files else ()))
    read = (("articles in the store", recipe.sites), ("rows in the files", recipe.files))
    return Template(Path(__file__).with_name("dataset_card.md").read_text(encoding="utf-8")).substitute(
        metadata=head,
        pretty_name=pretty_name,
        rows=f"{dataset.rows:,}",
        what=card_words.NEWS
        if recipe.sites
        else f"rows from {', '.join(file.name for file in files) or 'files'}",
        span=f" From {min(dates)} to {max(dates)}." if dates else "",
        repo=settings.DATASET_REPO,
        tag=dataset.tag,
        columns_table=table(["column", "type", "what it is"], _columns(recipe)),
        required=", ".join(f"`{name}`" for name in recipe.schema.required) or "none",
        splits_line=card_words.SPLITS_SAY[recipe.splits.by].format(
            test=f"{recipe.splits.test * 100:.3g}%",
            validation=f"{recipe.splits.validation * 100:.3g}%",
            story=card_words.NO_STORY_TWICE if recipe.duplicates.by == "story" else "",
        ),
        splits_table=table(["split", "rows", *(["from", "to"] if dates else [])], splits),
        contents=_contents(dataset, tokenizer),
        read=f"{sources.read:,}",
        sources=" and ".join(what for what, there in read if there),
        dropped=f"{sources.dropped:,}",
        drops_table=table(["reason", "rows", "what it means", "for example"], drops),
        exact_copies=f"{dataset.duplicate_kinds['exact copy']:,}",
        near_copies=f"{dataset.duplicate_kinds['near copy']:,}",
        changes=_changes(dataset),
        checks_table=table(["test", "result"], [[one.name, one.says + passed[one.ok]] for one in verdicts]),
        recipe=recipe.name,
        collected="\n".join(f"- {line}" for line in _sources(recipe, crawl_report, files)),
        fingerprint=fingerprint(),
        how_found=card_words.DUPLICATES_SAY[recipe.duplicates.by].format(
            columns=", ".join(f"`{name}`" for name in recipe.duplicates.columns)
        ),
        rights=rights,
        gaps="\n".join(f"- {gap}" for gap in gaps),
    )


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most first; equal counts by name, so that the same rows give the same card."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
