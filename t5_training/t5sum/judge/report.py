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

from t5sum.judge.charts import histogram, line_chart
from t5sum.judge.metrics import METRICS
from t5sum.judge.published import COLUMNS, PUBLISHED
from t5sum.judge.values import ERRORS
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
Tasks = dict[str, tuple[str, dict[str, Any]]]  # name → (kind, figures)


def write_report(path: Path, title: str, tasks: Tasks | None = None, **parts: Any) -> None:
    """Write the page of `render_report` to a file, whole or not at all."""
    html = render_report(title, tasks, **parts)
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(html, encoding="utf-8", errors="replace")
    fresh.replace(path)


def render_report(
    title: str,
    tasks: Tasks | None = None,
    decisions: dict[str, dict[str, Any]] | None = None,
    losses: dict[str, list[dict[str, Any]]] | None = None,
    dataset: dict[str, Any] | None = None,
    crawl: dict[str, Any] | None = None,
    lineage: dict[str, Any] | None = None,
    durations: dict[str, float] | None = None,
) -> str:
    """The HTML report. A section whose input is None or empty is left out, and the page says which.

    tasks: name → (kind, figures of metrics.json). decisions: name → Decision.as_json(). losses: name → lines
    of log.jsonl ("step" with "loss" or "eval_loss"). dataset: see `dataset_figures`. crawl: crawl_report.json
    of the dataset revision. lineage: names and values, nested ones flattened. durations: what took how many
    seconds.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"number": _number, "duration": duration, "signed": _signed}
    page.tests["link"] = lambda url: str(url).startswith(("http://", "https://"))
    sections = {
        "the gate's decision": decisions,
        "scores": tasks,
        "dataset": dataset,
        "crawl": crawl,
        "lineage": lineage,
        "durations": durations,
    }
    shown = {
        "generate": lambda name, figures: _generate(figures, (losses or {}).get(name)),
        "classify": lambda name, figures: _classify(figures),
        "regress": lambda name, figures: {"metrics": {each: label for each, (label, _) in ERRORS.items()}},
    }
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        left_out=[name for name, given in sections.items() if not given],
        tasks=[
            {"name": name, "kind": kind, "figures": figures, **shown[kind](name, figures)}
            for name, (kind, figures) in (tasks or {}).items()
        ],
        decisions=decisions,
        dataset=dataset,
        crawl=crawl and _crawl(crawl),
        lineage=lineage and list(_flat(lineage)),
        durations=durations,
        metrics=METRICS,
        traits=TRAITS,
        published_columns=list(COLUMNS.values()),
        most_listed=MOST_LISTED,
    )


def _generate(figures: dict[str, Any], losses: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {
        "curve": _loss_curve(losses),
        "lengths": histogram(figures["lengths"], "words in the output", "how long the outputs are"),
        "published": _published_rows(figures),
        "examples": {
            kind: [{**each, "parts": marked(each["prediction"], each["unsupported"])} for each in shown]
            for kind, shown in figures["examples"].items()
        },
    }


def _classify(figures: dict[str, Any]) -> dict[str, Any]:
    return {"confusion": _confusion(figures), "reliability": _reliability(figures)}


def dataset_figures(
    rows: dict[str, Sequence[dict[str, Any]]], texts: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """What a dataset revision holds. rows: split → rows. texts, labels: columns to measure and to count."""
    splits = []
    for split, part in rows.items():
        dates = sorted(str(row["date"]) for row in part if row.get("date"))
        splits.append(
            {
                "split": split,
                "rows": len(part),
                "oldest": dates[0] if dates else "",
                "newest": dates[-1] if dates else "",
                "words": {
                    column: fmean(len(str(row[column] or "").split()) for row in part) if part else 0.0
                    for column in texts
                },
            }
        )
    counts = {
        column: Counter(str(row.get(column) or "none") for part in rows.values() for row in part)
        for column in labels
    }
    found = {column: dict(each.most_common(30)) for column, each in counts.items()}
    return {"splits": splits, "texts": list(texts), "labels": found}


def text_table(evaluation: dict[str, Any]) -> str:
    """Scores of every system, the model's differences in words, and the rows of the published table.

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
        gap_in_words = ""
        if name in evaluation["differences"]:
            gap = evaluation["differences"][name]["rougeL"]
            gap_in_words = f"   {gap['verdict']}: {gap['mean']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]"
        lines.append(f"{name:{width}}{scores}{gap_in_words}")
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
        verdict = {None: "not tried", True: "passed", False: "FAILED"}[check["passed"]]
        lines.append(f"{verdict}: {check['name']} ({check['says']})")
    lines.append("comparable with the published tables (tokens, algorithms and rounding of summarus):")
    columns = COLUMNS
    label_width = max(len(name) for name, _ in _published_rows(evaluation))
    lines.append(f"  {'':{label_width}}" + "".join(f"{label:>11}" for label in columns.values()))
    for name, values in _published_rows(evaluation):
        cells = "".join(f"{value:11.0f}" if value >= 100 else f"{value:11.1f}" for value in values)
        lines.append(f"  {name:{label_width}}{cells}")
    return "\n".join(lines)


def _published_rows(evaluation: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """Our systems in the published columns, then the published rows themselves."""
    ours = [
        (name, [system["published"][column] for column in COLUMNS])
        for name, system in evaluation["systems"].items()
    ]
    return ours + [(f"published: {name}", list(values)) for name, values in PUBLISHED.items()]


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
    lines = list(losses or ())
    series = {
        label: [(line["step"], line[name]) for line in lines if isinstance(line.get(name), int | float)]
        for name, label in (("loss", "training"), ("eval_loss", "validation"))
    }
    if not any(math.isfinite(y) for points in series.values() for _, y in points):
        return None
    return line_chart(series, "optimizer step", "loss, nats per token", "loss over the steps of training")


def _reliability(figures: dict[str, Any]) -> Any:
    """Scores and how often they were right; None without test rows."""
    bins = figures["calibration"]["bins"]
    if not bins:
        return None
    series = {"answers": [(each["score"], each["right"]) for each in bins], "true scores": [(0, 0), (1, 1)]}
    return line_chart(series, "score of the answer", "share that is right", "how true the scores are")


def _confusion(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the matrix: the label's name, and (count, share of the row) for each predicted label."""
    rows = []
    for named, counts in zip(figures["labels"], figures["confusion"], strict=True):
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
