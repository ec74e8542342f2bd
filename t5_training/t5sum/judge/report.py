"""The report of a cycle: one static HTML file that needs no network, and the same tables as plain text.

The texts in it come from the news and from a model: all of them are escaped, nothing in the page can run (no
script, and a content policy that forbids any), links go only to http and https.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from t5sum.judge.metrics import METRICS
from t5sum.progress import duration

TEMPLATE = Path(__file__).with_name("report.html.j2")
TRAITS = {
    "words": "words",
    "characters": "characters",
    "novel1": "new words, %",
    "novel2": "new 2-grams, %",
    "novel3": "new 3-grams, %",
    "copied": "words in copied spans of 5 or more, %",
    "longest_copy": "longest copied span, words",
    "repeated": "repeated 3-grams, %",
    "unsupported": "names and numbers not in the text, %",
    "with_unsupported": "summaries with one, %",
    "empty": "empty, %",
}
MOST_LISTED = 50


def write_report(
    path: Path,
    title: str,
    evaluation: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
    topics: dict[str, Any] | None = None,
    crawl: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    losses: Iterable[dict[str, Any]] | None = None,
    lineage: dict[str, Any] | None = None,
    durations: dict[str, float] | None = None,
) -> None:
    """Write the HTML report. A section whose input is None or empty is left out, and the page says which.

    evaluation: Evaluation.as_json(). decision: Decision.as_json(). topics: the "report" of train_topics.
    crawl: crawl_report.json of the dataset revision. dataset: see `dataset_figures`. losses: lines of
    log.jsonl ("step" with "loss" or "eval_loss"). lineage: names and values, nested ones flattened.
    durations: what took how many seconds.
    """
    html = render_report(title, evaluation, decision, topics, crawl, dataset, losses, lineage, durations)
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(html, encoding="utf-8", errors="replace")
    fresh.replace(path)


def render_report(
    title: str,
    evaluation: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
    topics: dict[str, Any] | None = None,
    crawl: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    losses: Iterable[dict[str, Any]] | None = None,
    lineage: dict[str, Any] | None = None,
    durations: dict[str, float] | None = None,
) -> str:
    """The page of `write_report` as text."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"number": _number, "duration": duration, "signed": _signed}
    page.tests["link"] = lambda url: str(url).startswith(("http://", "https://"))
    curve = _loss_curve(losses)
    sections = {
        "the gate's decision": decision,
        "scores and examples": evaluation,
        "topics": topics and topics.get("topics") and topics,
        "loss curve": curve,
        "dataset": dataset,
        "crawl": crawl,
        "lineage": lineage,
        "durations": durations,
    }
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        left_out=[name for name, given in sections.items() if not given],
        evaluation=evaluation,
        decision=decision,
        topics=sections["topics"],
        confusion=_confusion(topics) if sections["topics"] else None,
        reliability=_reliability(topics) if sections["topics"] else None,
        crawl=crawl and _crawl(crawl),
        dataset=dataset,
        curve=curve,
        lengths=evaluation and _length_chart(evaluation["lengths"]),
        lineage=lineage and list(_flat(lineage)),
        durations=durations,
        metrics=METRICS,
        traits=TRAITS,
        published=evaluation and _published_rows(evaluation),
        published_columns=list(_published_columns().values()),
        examples=evaluation and _examples(evaluation["examples"]),
        most_listed=MOST_LISTED,
    )


def dataset_figures(rows: dict[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """What a dataset revision holds. rows: split → rows with text, summary, date and rubric."""
    splits = []
    for split, part in rows.items():
        dates = sorted(row["date"] for row in part if row.get("date"))
        splits.append(
            {
                "split": split,
                "rows": len(part),
                "oldest": dates[0] if dates else "",
                "newest": dates[-1] if dates else "",
                "text_words": fmean(len(row["text"].split()) for row in part) if part else 0.0,
                "summary_words": fmean(len(row["summary"].split()) for row in part) if part else 0.0,
            }
        )
    rubrics = Counter(row.get("rubric") or "none" for part in rows.values() for row in part)
    return {"splits": splits, "rubrics": dict(rubrics.most_common(30))}


def text_table(evaluation: dict[str, Any]) -> str:
    """Scores of every system, the model's differences in words, and the row beside the published table.

    For the terminal and for logs. evaluation: Evaluation.as_json().
    """
    systems = evaluation["systems"]
    width = max(len(name) for name in (*systems, "comparable"))
    rows = evaluation["rows"]
    lines = [
        f"{rows['count']} test articles, {rows['oldest'][:10]} to {rows['newest'][:10]}",
        f"{'':{width}}" + "".join(f"{label:>9}" for label in METRICS.values()) + "   the model's ROUGE-L is",
    ]
    for name, system in systems.items():
        scores = "".join(f"{system['scores'][metric]['mean']:9.1f}" for metric in METRICS)
        told = ""
        if name in evaluation["differences"]:
            gap = evaluation["differences"][name]["rougeL"]
            told = f"   {gap['verdict']}: {gap['mean']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]"
        lines.append(f"{name:{width}}{scores}{told}")
    lines.append("* exact + stem matches, not the published METEOR")
    if evaluation["precision"]:
        lost = evaluation["precision"]
        gap = lost["rougeL"]
        lines.append(
            f"int8 against full precision on {lost['rows']} articles: ROUGE-L {gap['mean']:+.2f} "
            f"[{gap['low']:+.2f}, {gap['high']:+.2f}], {lost['identical']} summaries identical"
        )
    traits = systems["model"]["traits"]
    human = evaluation["reference"]["traits"]
    lines.append(
        f"names and numbers not in the text: {traits['unsupported']:.1f}% of the model's, "
        f"{human['unsupported']:.1f}% of the reference summaries'"
    )
    for check in evaluation["behaviour"]:
        told = {None: "not tried", True: "passed", False: "FAILED"}[check["passed"]]
        lines.append(f"{told}: {check['name']} ({check['says']})")
    lines.append("comparable with the published tables (tokens, algorithms and rounding of summarus):")
    columns = _published_columns()
    label_width = max(len(name) for name, _ in _published_rows(evaluation))
    lines.append(f"  {'':{label_width}}" + "".join(f"{label:>11}" for label in columns.values()))
    for name, values in _published_rows(evaluation):
        cells = "".join(f"{value:11.0f}" if value >= 100 else f"{value:11.1f}" for value in values)
        lines.append(f"  {name:{label_width}}{cells}")
    return "\n".join(lines)


def _published_columns() -> dict[str, str]:
    from t5sum.judge.published import COLUMNS

    return COLUMNS


def _published_rows(evaluation: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """Our systems in the published columns, then the published rows themselves."""
    from t5sum.judge.published import COLUMNS, PUBLISHED

    ours = [
        (name, [system["published"][column] for column in COLUMNS])
        for name, system in evaluation["systems"].items()
    ]
    return ours + [(f"published: {name}", list(values)) for name, values in PUBLISHED.items()]


def _examples(examples: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [{**each, "parts": marked(each["prediction"], each["unsupported"])} for each in shown]
        for kind, shown in examples.items()
    }


def marked(text: str, spans: Sequence[Sequence[int]]) -> list[tuple[str, bool]]:
    """`text` cut into pieces, each with whether it stands in one of the (start, end) spans."""
    pieces, at = [], 0
    for start, end in sorted(map(tuple, spans)):
        if start > at:
            pieces.append((text[at:start], False))
        if end > max(at, start):
            pieces.append((text[max(at, start) : end], True))
        at = max(at, end)
    if at < len(text):
        pieces.append((text[at:], False))
    return pieces


def _loss_curve(losses: Iterable[dict[str, Any]] | None) -> Any:
    from t5sum.judge.charts import line_chart

    lines = list(losses or ())
    series = {
        label: [(line["step"], line[name]) for line in lines if isinstance(line.get(name), int | float)]
        for name, label in (("loss", "training"), ("eval_loss", "validation"))
    }
    if not any(math.isfinite(y) for points in series.values() for _, y in points):
        return None
    return line_chart(series, "optimizer step", "loss, nats a token", "loss over the steps of training")


def _length_chart(lengths: dict[str, list[float]]) -> Any:
    from t5sum.judge.charts import histogram

    return histogram(lengths, "words in the summary", "how long the summaries are")


def _reliability(topics: dict[str, Any]) -> Any:
    """Scores and how often they were right; None without test rows."""
    from t5sum.judge.charts import line_chart

    bins = topics["calibration"]["bins"]
    if not bins:
        return None
    series = {"topics": [(each["score"], each["right"]) for each in bins], "true scores": [(0, 0), (1, 1)]}
    return line_chart(series, "score of the answer", "share that is right", "how true the scores are")


def _confusion(topics: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the matrix: the topic's name, and (count, share of the row) for each predicted topic."""
    rows = []
    for named, counts in zip(topics["topics"], topics["confusion"], strict=True):
        whole = sum(counts)
        rows.append(
            {
                "name": named["name"],
                "rows": whole,
                "cells": [(count, count / whole if whole else 0.0) for count in counts],
            }
        )
    return rows


def _crawl(crawl: dict[str, Any]) -> dict[str, Any]:
    """The crawl report as tables: figures that are single numbers or words, counted reasons, tests."""
    counted = {
        "requests by status": crawl.get("crawl", {}).get("statuses"),
        "pages left out by the crawl": crawl.get("crawl", {}).get("reasons"),
        "articles dropped": {
            reason: each.get("count", each) if isinstance(each, dict) else each
            for reason, each in (crawl.get("store", {}).get("dropped") or {}).items()
        },
        "duplicates": crawl.get("duplicates"),
        "published rows dropped": crawl.get("published_rows_dropped"),
    }
    single = {**crawl, **crawl.get("crawl", {})} if isinstance(crawl.get("crawl"), dict) else crawl
    removed = crawl.get("removed")
    figures = {name: value for name, value in single.items() if isinstance(value, int | float | str)}
    if isinstance(removed, list):
        figures["removed"] = len(removed)
    return {
        "figures": {name.replace("_", " "): value for name, value in figures.items() if value != ""},
        "counted": {name: each for name, each in counted.items() if each},
        "tests": [each for each in crawl.get("tests") or () if isinstance(each, dict)],
    }


def _flat(value: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _flat(each, f"{prefix}{name}.")
        elif isinstance(each, list | tuple):
            yield prefix + name, json.dumps(each, ensure_ascii=False)
        else:
            yield prefix + name, "" if each is None else str(each)


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
