"""Tests on a finished dataset. One that fails blocks publishing; some may be accepted by name.

Each verdict names its figure and its threshold. Drift is measured against the revision before: lengths by the
Kolmogorov-Smirnov distance of the two samples, rubrics by the total variation distance, both from 0 (the same
distribution) to 1 (nothing in common). The thresholds leave room for chance in small samples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gazeta.dataset.local import Dataset
from gazeta.dataset.rules import REQUIRED_COLUMNS, parse_date
from gazeta.dataset.selection import MIN_ROWS, SPLITS
from gazeta.dataset.shards import DATA, SCHEMA

MAX_LENGTH_DRIFT = 0.25  # all rows now against all rows before
MAX_ADDED_LENGTH_DRIFT = 0.35  # the added rows alone: one night's news differ more
MAX_RUBRIC_DRIFT = 0.35
CHANCE = 1.95  # two samples of one distribution differ by more than this · √(1/n + 1/m) once in 1,000 times
MIN_JUDGED = 30  # rows; fewer say nothing about a distribution
MAX_DROPPED_SHARE = 0.5  # of the store's articles
MIN_RUSSIAN_SHARE = 0.97  # of the sampled texts
SAMPLED_A_SHARD = 50

# The commonest Russian words: 15% to 25% of the words of news. By words where rules.py judges by letters, so
# that one mistake cannot pass both.
_COMMON = "и в во не на что с со по как из за для от к это его о об он она они был было были также"
COMMON_WORDS = frozenset(_COMMON.split())
MIN_COMMON_SHARE = 0.05


@dataclass(frozen=True)
class Verdict:
    name: str
    ok: bool
    says: str
    acceptable: bool = False  # by the option --accept NAME


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest gap between the two cumulative distributions."""
    values = np.union1d(one, other)
    return float(
        np.abs(
            np.searchsorted(np.sort(one), values, side="right") / len(one)
            - np.searchsorted(np.sort(other), values, side="right") / len(other)
        ).max()
    )


def variation(one: Counter[str], other: Counter[str]) -> float:
    """Total variation: half the sum of the differences in share."""
    total, others = sum(one.values()), sum(other.values())
    return sum(abs(one[key] / total - other[key] / others) for key in one.keys() | other.keys()) / 2


def _drift(name: str, what: str, one: Sequence[int], other: Sequence[int], limit: float) -> Verdict:
    if min(len(one), len(other)) < MIN_JUDGED:
        return Verdict(name, True, f"{what}: not judged, {min(len(one), len(other))} rows are too few", True)
    figure = distance(np.asarray(one), np.asarray(other))
    limit = min(limit + CHANCE * sqrt(1 / len(one) + 1 / len(other)), 1.0)
    middle = f"median {np.median(np.asarray(one)):,.0f} before, {np.median(np.asarray(other)):,.0f} now"
    return Verdict(name, figure <= limit, f"{what}: drift {figure:.2f}, at most {limit:.2f} ({middle})", True)


def _files(dataset: Dataset) -> Iterator[Verdict]:
    """What was written is read back: the files are judged, not the plan."""
    urls: set[str] = set()
    rows = Counter[str]()
    wrong: list[str] = []
    bad_dates: list[str] = []
    span: dict[str, tuple[str, str]] = {}
    sampled = russian = 0
    for path in sorted((dataset.folder / "data").glob("*.parquet")):
        name = f"data/{path.name}"
        split = DATA.fullmatch(name)["split"]  # type: ignore[index]
        file = pq.ParquetFile(path)
        if not file.schema_arrow.equals(SCHEMA):
            wrong.append(f"{name} has the columns {', '.join(file.schema_arrow.names)}")
            continue
        empty = {
            column
            for batch in file.iter_batches(1000, columns=list(REQUIRED_COLUMNS))
            for column, values in zip(REQUIRED_COLUMNS, batch.columns, strict=True)
            if values.null_count or not pc.min(pc.binary_length(values)).as_py()
        }
        if empty:
            wrong.append(f"{name} has empty values in {', '.join(sorted(empty))}")
            continue
        table = file.read(["url", "date"])
        dates = table.column("date").to_pylist()
        bad_dates += [date for date in dates if parse_date(date) is None]
        first, last = span.get(split, (dates[0], dates[0]))
        span[split] = (min(first, *dates), max(last, *dates))
        urls.update(table.column("url").to_pylist())
        rows[split] += table.num_rows
        for text in file.read_row_group(0, ["text"]).column(0)[:SAMPLED_A_SHARD].to_pylist():
            found_words = re.findall(r"\w+", text.lower())
            sampled += 1
            russian += sum(word in COMMON_WORDS for word in found_words) >= MIN_COMMON_SHARE * len(
                found_words
            )
    total = sum(rows.values())
    yield Verdict(
        "schema",
        not wrong,
        wrong[0] if wrong else f"{len(SCHEMA)} columns of text, none empty that must not be: {total:,} rows",
    )
    small = total < MIN_ROWS or min(rows[split] for split in SPLITS) < 1
    yield Verdict(
        "size", not small, f"{total:,} rows, at least {MIN_ROWS}: one for each of {', '.join(SPLITS)}"
    )
    copies = dataset.rows - len(set(dataset.stories))
    yield Verdict(
        "uniqueness",
        total == len(urls) == dataset.rows and not copies,
        f"{total - len(urls):,} addresses and {copies:,} texts stand twice, at most 0",
    )
    spans = [span[split] for split in SPLITS if split in span]
    ordered = all(before[1] <= after[0] for before, after in pairwise(spans))
    yield Verdict(
        "dates",
        not bad_dates and ordered,
        f"{len(bad_dates)} dates cannot be read, at most 0" if bad_dates else
        "train, validation and test " + ("follow each other in time" if ordered else "overlap in time"),
    )  # fmt: skip
    share = russian / sampled if sampled else 1.0
    yield Verdict(
        "language",
        share >= MIN_RUSSIAN_SHARE,
        f"{share:.1%} of {sampled:,} sampled texts are Russian, at least {MIN_RUSSIAN_SHARE:.0%}",
        True,
    )


def check(dataset: Dataset) -> list[Verdict]:
    """Every verdict on a dataset folder. Raises OSError, pyarrow.ArrowInvalid when it cannot be read."""
    verdicts = list(_files(dataset))
    read, dropped = dataset.from_store.read, dataset.from_store.dropped
    if read >= MIN_JUDGED:
        reason, count = dataset.from_store.reasons.most_common(1)[0] if dropped else ("", 0)
        most = f", most for: {reason} ({count:,})" if reason else ""
        verdicts.append(
            Verdict(
                "dropped",
                dropped <= MAX_DROPPED_SHARE * read,
                f"{dropped / read:.1%} of {read:,} articles of the store are dropped,"
                f" at most {MAX_DROPPED_SHARE:.0%}{most}",
                True,
            )
        )
    before = dataset.before
    if before is None or not before.split_of:
        return verdicts
    lost = dataset.changes.removed
    because = f": {lost[0][0]} ({lost[0][1] or 'no reason known'})" if lost else ""
    verdicts.append(
        Verdict(
            "rows",
            dataset.rows >= len(before.split_of),
            f"{dataset.rows:,} rows, at least the {len(before.split_of):,} of before;"
            f" {len(lost):,} are gone{because}",
            True,
        )
    )
    added = np.array([url not in before.split_of for url in dataset.urls])
    verdicts.append(
        _drift(
            "text length", "characters of text", before.text_lengths, dataset.text_lengths, MAX_LENGTH_DRIFT
        )
    )
    verdicts.append(
        _drift(
            "summary length", "characters of summary", before.summary_lengths, dataset.summary_lengths,
            MAX_LENGTH_DRIFT,
        )
    )  # fmt: skip
    verdicts.append(
        _drift(
            "added text length", "characters of text in the added rows", before.text_lengths,
            dataset.text_lengths[added], MAX_ADDED_LENGTH_DRIFT,
        )
    )  # fmt: skip
    rubrics = Counter(dataset.rubrics)
    if min(len(before.split_of), dataset.rows) < MIN_JUDGED:
        verdicts.append(Verdict("rubrics", True, "rubrics: not judged, too few rows", True))
    else:
        figure = variation(before.rubrics, rubrics)
        limit = min(MAX_RUBRIC_DRIFT + CHANCE * sqrt(1 / len(before.split_of) + 1 / dataset.rows), 1.0)
        verdicts.append(
            Verdict("rubrics", figure <= limit, f"rubrics: drift {figure:.2f}, at most {limit:.2f}", True)
        )
    return verdicts
