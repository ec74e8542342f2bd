"""Systems' summaries of the same articles → scores, counts and intervals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np

from t5sum.judge import baselines, metrics, published
from t5sum.judge.bootstrap import Difference, Interval, bounds, resampled_means, verdict
from t5sum.judge.traits import TRAITS, TextWords, traits
from t5sum.served.support import Mention, Text, unsupported

REFERENCE = "reference"
BLOCK = 50  # articles a process takes at a time
# Below this a second process costs more seconds to start than it saves.
FEWEST_FOR_PROCESSES = 400
MOST_PROCESSES = 61  # Windows waits for no more handles than that


@dataclass(frozen=True)
class Article:
    """What is scored: the text, the reference summary, and each system's summary by the system's name."""

    text: str
    reference: str
    summaries: dict[str, str]


@dataclass
class SystemScores:
    """One system on all articles of an evaluation, newest article first."""

    name: str
    predictions: list[str]
    # One number per article: rouge1, rouge2, rougeL, meteor (0 to 100), TRAITS, unsupported and mentions.
    per_article: dict[str, np.ndarray]
    # Counts to sum over articles: those of OF_COUNTS, and published: its means and its BLEU counts.
    counts: dict[str, np.ndarray]
    published_rows: dict[str, np.ndarray]
    unsupported: list[list[Mention]]
    intervals: dict[str, Interval] = field(default_factory=dict)

    def corpus(self) -> dict[str, float]:
        """The scores of METRICS over all articles, as `metrics.score` gives them."""
        return metrics.corpus_scores({**self.per_article, **self.counts})

    def published(self) -> dict[str, float]:
        """The column comparable with the published table."""
        return published.published_corpus(self.published_rows)

    def traits(self) -> dict[str, float]:
        """Means of TRAITS; unsupported: percent of names and numbers that the text does not support;
        with_unsupported: percent of summaries that have one; empty: percent of empty summaries."""
        means = {}
        for name in TRAITS:
            values = self.per_article[name]
            means[name] = float(np.nanmean(values)) if not np.isnan(values).all() else 0.0
        wrong, mentioned = self.per_article["unsupported"], self.per_article["mentions"]
        means["unsupported"] = 100 * float(wrong.sum() / max(mentioned.sum(), 1))
        means["with_unsupported"] = 100 * float((wrong > 0).mean())
        means["empty"] = 100 * sum(not text.strip() for text in self.predictions) / len(self.predictions)
        return means


def score_systems(
    articles: Sequence[Article],
    with_baselines: bool,
    names: frozenset[str] = frozenset(),
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, SystemScores]:
    """Score every system on every article, baselines made on the way, and the reference's own traits.

    with_baselines: lead-3, TextRank and the oracle too, beside lead-1.

    names: see `support.known_names`. The systems come out in the order: those given, the baselines,
    "reference" (which has traits only).
    """
    blocks = [articles[start : start + BLOCK] for start in range(0, len(articles), BLOCK)]
    workers = min(processes or os.cpu_count() or 1, len(blocks), MOST_PROCESSES)
    rows: list[dict] = []
    if workers > 1 and len(articles) >= FEWEST_FOR_PROCESSES:
        # spawn: the caller may have torch's or CTranslate2's threads, which a fork would leave locked.
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )  # fmt: skip
        try:
            tasks = [pool.submit(score_block, block, with_baselines, names) for block in blocks]
            for task in tasks:
                rows += task.result()
                progress(len(rows), len(articles))
        finally:
            # After Ctrl+C nobody waits for the blocks that have not begun.
            pool.shutdown(cancel_futures=True)
    else:
        for block in blocks:
            rows += score_block(block, with_baselines, names)
            progress(len(rows), len(articles))
    return {name: _gather(name, [row[name] for row in rows]) for name in rows[0]}


def score_block(articles: Iterable[Article], with_baselines: bool, names: frozenset[str]) -> list[dict]:
    return [score_article(article, with_baselines, names) for article in articles]


def score_article(article: Article, with_baselines: bool, names: frozenset[str]) -> dict[str, dict]:
    """System → what is known of its summary of one article."""
    summaries = dict(article.summaries)
    parts = baselines.sentences(article.text)
    summaries["lead-1"] = baselines.lead(parts, 1)  # always: the gate asks for it
    if with_baselines:
        summaries |= {
            "lead-3": baselines.lead(parts, 3),
            "TextRank": baselines.textrank(parts),
            "oracle": baselines.oracle(parts, article.reference),
        }
    summaries[REFERENCE] = article.reference
    reference = metrics.Reference(article.reference)
    as_published = published.PublishedReference(reference.tokens)
    text, text_words = Text(article.text), TextWords(metrics.words(metrics.tokens(article.text)))
    found = {}
    for name, summary in summaries.items():
        tokens = metrics.tokens(summary)
        words = metrics.words(tokens)
        wrong, mentioned = unsupported(summary, text, names)
        found[name] = {
            "summary": summary,
            "wrong": wrong,
            "per_article": {
                **traits(summary, words, text_words),
                "unsupported": len(wrong),
                "mentions": mentioned,
            },
            "counts": {},
            "published": {},
        }
        if name != REFERENCE:
            scores = metrics.pair_statistics(summary, reference, words)
            found[name]["per_article"] |= {metric: scores[metric] for metric in metrics.BY_ARTICLE}
            found[name]["counts"] = {metric: scores[metric] for metric in metrics.OF_COUNTS}
            found[name]["published"] = published.published_statistics(tokens, as_published)
    return found


def _gather(name: str, rows: list[dict]) -> SystemScores:
    def stacked(part: str) -> dict[str, np.ndarray]:
        return {key: np.array([row[part][key] for row in rows], float) for key in rows[0][part]}

    return SystemScores(
        name,
        [row["summary"] for row in rows],
        stacked("per_article"),
        stacked("counts"),
        stacked("published"),
        [row["wrong"] for row in rows],
    )


def compare_all(
    systems: dict[str, SystemScores], first: str, samples: int, confidence: float, seed: int
) -> dict[str, dict[str, Difference]]:
    """Fill every system's intervals, and compare `first` with each other system: name → metric → Difference.

    All systems and metrics are resampled together: those of OF_COUNTS from the resampled counts.
    """
    scored = [name for name in systems if name != REFERENCE]
    articles = len(systems[first].predictions)
    columns, places = [], {}
    for name in scored:
        system = systems[name]
        for metric in metrics.METRICS:
            values = (
                system.per_article[metric][:, None] if metric in metrics.BY_ARTICLE else system.counts[metric]
            )
            start = sum(column.shape[1] for column in columns)
            places[name, metric] = slice(start, start + values.shape[1])
            columns.append(values)
    means = resampled_means(np.concatenate(columns, axis=1), samples, seed)

    def resampled(name: str, metric: str) -> np.ndarray:
        values = means[:, places[name, metric]]
        return values[:, 0] if metric in metrics.BY_ARTICLE else metrics.OF_COUNTS[metric](values * articles)

    found = {key: resampled(*key) for key in places}
    corpus = {name: systems[name].corpus() for name in scored}
    differences: dict[str, dict[str, Difference]] = {}
    for name in scored:
        for metric in metrics.METRICS:
            systems[name].intervals[metric] = Interval(
                corpus[name][metric], *bounds(found[name, metric], confidence)
            )
            if name != first:
                low, high = bounds(found[first, metric] - found[name, metric], confidence)
                gap = corpus[first][metric] - corpus[name][metric]
                differences.setdefault(name, {})[metric] = Difference(
                    gap, low, high, verdict(low, high, articles)
                )
    return differences
