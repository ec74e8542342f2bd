"""Tests on a finished dataset. One that fails blocks publishing; some may be accepted by name.

Each verdict names its figure and its threshold. Drift is measured against the revision before: lengths by the
Kolmogorov-Smirnov distance of the two samples, labels by the total variation distance, both from 0 (the same
distribution) to 1 (nothing in common). The thresholds leave room for chance in small samples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gazeta.dataset.local import Dataset, Drops
from gazeta.dataset.rules import parse_date
from gazeta.dataset.selection import MIN_ROWS, SPLITS
from gazeta.dataset.shards import DATA
from gazeta.recipe import Recipe

MAX_LENGTH_DRIFT = 0.25  # all rows now against all rows before
MAX_ADDED_LENGTH_DRIFT = 0.35  # the added rows alone: one night's news differ more
MAX_LABEL_DRIFT = 0.35
CHANCE = 1.95  # two samples of one distribution differ by more than this · √(1/n + 1/m) once in 1,000 times
MIN_JUDGED = 30  # rows; fewer say nothing about a distribution
MAX_DROPPED_SHARE = 0.5  # of what the sources have
MIN_RUSSIAN_SHARE = 0.97  # of the sampled texts
SAMPLED = 50  # texts per shard

# The commonest Russian words: 15% to 25% of the words of news. rules.py judges by letters, so one mistake
# cannot pass both.
_COMMON = "и в во не на что с со по как из за для от к это его о об он она они был было были также"
COMMON_WORDS = frozenset(_COMMON.split())
MIN_COMMON_SHARE = 0.05


@dataclass(frozen=True)
class Verdict:
    name: str
    ok: bool
    says: str
    acceptable: bool = False  # by the option --accept NAME


def acceptable(recipe: Recipe) -> tuple[str, ...]:
    """The tests whose failure a person may accept."""
    return (
        "rows", "dropped", *(["language"] if recipe.rules.language else []),
        *(f"{name} length" for name in recipe.rules.compared_lengths), f"added {recipe.schema.text} length",
        *(f"{name}s" for name in recipe.schema.of_type("label")),
    )  # fmt: skip


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest gap between the two cumulative distributions."""
    values = np.union1d(one, other)
    shares = (np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (one, other))
    return float(np.abs(next(shares) - next(shares)).max())


def variation(one: Counter[str], other: Counter[str]) -> float:
    """Total variation: half the sum of the differences in share."""
    total, others = sum(one.values()), sum(other.values())
    return sum(abs(one[key] / total - other[key] / others) for key in one.keys() | other.keys()) / 2


def _drift(name: str, what: str, rows: tuple[int, int], figure: Callable[[], float], most: float) -> Verdict:
    """figure: measures the drift; rows: how many there were before, and are now."""
    if min(rows) < MIN_JUDGED:
        return Verdict(name, True, f"{what}: not judged, {min(rows)} rows are too few", True)
    drift, limit = figure(), min(most + CHANCE * sqrt(1 / rows[0] + 1 / rows[1]), 1.0)
    return Verdict(name, drift <= limit, f"{what}: drift {drift:.2f}, at most {limit:.2f}", True)


def _length_drift(name: str, what: str, before: Sequence[int], now: np.ndarray, most: float) -> Verdict:
    old = np.asarray(before)
    verdict = _drift(f"{name} length", what, (len(old), len(now)), lambda: distance(old, now), most)
    if min(len(old), len(now)) < MIN_JUDGED:
        return verdict
    middle = f" (median {np.median(old):,.0f} before, {np.median(now):,.0f} now)"
    return replace(verdict, says=verdict.says + middle)


@dataclass
class _Found:
    """What the files hold: they are judged, not the plan."""

    wrong: list[str] = field(default_factory=list)  # how a shard differs from the schema
    rows: Counter[str] = field(default_factory=Counter)  # by split
    urls: set[str] = field(default_factory=set)
    bad_dates: list[str] = field(default_factory=list)
    span: dict[str, tuple[str, str]] = field(default_factory=dict)  # split → first and last date
    sampled: int = 0
    russian: int = 0


def _read_back(dataset: Dataset) -> _Found:
    found, schema = _Found(), dataset.recipe.schema
    for path in sorted((dataset.folder / "data").glob("*.parquet")):
        name = f"data/{path.name}"
        split = DATA.fullmatch(name)["split"]  # type: ignore[index]
        file = pq.ParquetFile(path)
        if not file.schema_arrow.equals(schema.arrow):
            found.wrong.append(f"{name} has the columns {', '.join(file.schema_arrow.names)}")
            continue
        empty = {
            column
            for batch in file.iter_batches(1000, columns=list(schema.required))
            for column, values in zip(batch.schema.names, batch.columns, strict=True)
            if values.null_count
            or (pa.types.is_string(values.type) and not pc.min(pc.binary_length(values)).as_py())
        }
        if empty:
            found.wrong.append(f"{name} has empty values in {', '.join(sorted(empty))}")
            continue
        found.rows[split] += file.metadata.num_rows
        if schema.url:
            found.urls.update(file.read([schema.url]).column(0).to_pylist())
        if schema.date:
            dates = file.read([schema.date]).column(0).to_pylist()
            found.bad_dates += [date for date in dates if date and parse_date(date) is None]
            first, last = found.span.get(split, (dates[0], dates[0]))
            found.span[split] = (min(first, *dates), max(last, *dates))
        for text in file.read_row_group(0, [schema.text]).column(0)[:SAMPLED].to_pylist():
            words = re.findall(r"\w+", text.lower())
            found.sampled += 1
            found.russian += sum(word in COMMON_WORDS for word in words) >= MIN_COMMON_SHARE * len(words)
    return found


def _files(dataset: Dataset) -> Iterator[Verdict]:
    recipe, schema, found = dataset.recipe, dataset.recipe.schema, _read_back(dataset)
    total = found.rows.total()
    says = f"{len(schema.names)} columns, none empty that must not be: {total:,} rows"
    yield Verdict("schema", not found.wrong, found.wrong[0] if found.wrong else says)
    yield Verdict(
        "size",
        total >= MIN_ROWS and min(found.rows[split] for split in SPLITS) >= 1,
        f"{total:,} rows, at least {MIN_ROWS}: one for each of {', '.join(SPLITS)}",
    )
    keys = len(found.urls) if schema.url in schema.required else len(set(dataset.keys))
    copies = (
        dataset.rows - len({entry.story for entry in dataset.entries})
        if recipe.duplicates.by != "none"
        else 0
    )
    yield Verdict(
        "uniqueness",
        total == keys == dataset.rows and not copies,
        f"{total - keys:,} addresses and {copies:,} texts occur twice, at most 0",
    )
    if schema.date:
        spans = [found.span[split] for split in SPLITS if split in found.span]
        ordered, says = True, "all dates can be read"
        if recipe.splits.by == "date":
            ordered = all(one[1] <= other[0] for one, other in pairwise(spans))
            says = f"train, validation and test {'follow each other' if ordered else 'overlap'} in time"
        if found.bad_dates:
            says = f"{len(found.bad_dates)} dates cannot be read, at most 0"
        yield Verdict("dates", not found.bad_dates and ordered, says)
    if recipe.rules.language:
        share = found.russian / found.sampled if found.sampled else 1.0
        yield Verdict(
            "language",
            share >= MIN_RUSSIAN_SHARE,
            f"{share:.1%} of {found.sampled:,} sampled texts are Russian, at least {MIN_RUSSIAN_SHARE:.0%}",
            True,
        )


def check(dataset: Dataset) -> list[Verdict]:
    """Every verdict on a dataset folder. Raises OSError, pyarrow.ArrowInvalid if it cannot be read."""
    return [*_files(dataset), *_drops(dataset.from_sources), *_against_before(dataset)]


def _drops(sources: Drops) -> Iterator[Verdict]:
    if sources.read >= MIN_JUDGED:
        share = f"{sources.dropped / sources.read:.1%} of {sources.read:,} collected rows are dropped"
        most = "".join(f", most for: {why} ({count:,})" for why, count in sources.reasons.most_common(1))
        says = f"{share}, at most {MAX_DROPPED_SHARE:.0%}{most}"
        yield Verdict("dropped", sources.dropped <= MAX_DROPPED_SHARE * sources.read, says, True)


def _against_before(dataset: Dataset) -> Iterator[Verdict]:
    before, facts, text = dataset.before, dataset.facts, dataset.recipe.schema.text
    if before is None or not before.split_of:
        return
    lost = dataset.changes.removed
    because = f": {lost[0][0]} ({lost[0][1] or 'no reason known'})" if lost else ""
    says = f"{dataset.rows:,} rows, at least the {len(before.split_of):,} of before;"
    says += f" {len(lost):,} are gone{because}"
    yield Verdict("rows", dataset.rows >= len(before.split_of), says, True)
    for name in dataset.recipe.rules.compared_lengths:
        what, old, now = f"characters of {name}", before.lengths[name], facts.lengths[name]
        yield _length_drift(name, what, old, now, MAX_LENGTH_DRIFT)
    added = facts.lengths[text][np.array([key not in before.split_of for key in dataset.keys], bool)]
    what, old = f"characters of {text} in the added rows", before.lengths[text]
    yield _length_drift(f"added {text}", what, old, added, MAX_ADDED_LENGTH_DRIFT)
    for name, values in facts.labels.items():
        then, now = before.labels[name], Counter(values)
        rows, what = (then.total(), now.total()), f"{name}s"
        yield _drift(what, what, rows, lambda then=then, now=now: variation(then, now), MAX_LABEL_DRIFT)
