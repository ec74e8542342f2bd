"""A generate task's export and test rows in, an Evaluation out: outputs, scores, intervals, comparisons.

What is measured is what is served: the int8 export, through the settings of tasks.json. Importing this module
is cheap; torch and transformers load only for the comparison with full precision.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.config import EvaluateConfig
from t5sum.data import name_of, newest_first
from t5sum.generate.behaviour import Check, check_all, main_column
from t5sum.generate.predict import Export, Generation, generate, generate_full_precision
from t5sum.judge import scoring
from t5sum.judge.bootstrap import Difference, compare
from t5sum.judge.metrics import Reference, pair_statistics, score, tokens, words
from t5sum.judge.scoring import SystemScores
from t5sum.progress import Progress
from t5sum.served.support import known_names
from t5sum.sources import text_of

MODEL, PRODUCTION, LEAD = "model", "production", "lead-1"
TEXTS_FOR_NAMES = 2000  # enough to tell names from openings of sentences
LONGEST_EXAMPLE = 1500  # characters of a text that are shown with its summaries


@dataclass
class Evaluation:
    """What an evaluation found.

    rows: newest first. text, target: the columns that hold the text and the reference. systems: model,
    production (if there is one), lead-1 and the other baselines, all on these rows. differences: model
    minus each other system, by metric.
    """

    rows: list[dict[str, Any]]
    text: str
    target: str
    systems: dict[str, SystemScores]
    reference: SystemScores
    differences: dict[str, dict[str, Difference]]
    generation: dict[str, Generation]
    settings: EvaluateConfig
    seconds: dict[str, float]
    precision: dict[str, Any] | None = None
    behaviour: list[Check] = field(default_factory=list)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """The model's six scores, 0 to 100, rounded as they are shown."""
        return {name: round(value, 2) for name, value in self.systems[MODEL].corpus().items()}

    def as_json(self) -> dict[str, Any]:
        """Everything the report and the card show; no per-article numbers."""
        dates = [text_of(row.get("date")) for row in self.rows]
        return _json_safe(
            {
                "format": 1,
                "rows": {"count": len(self.rows), "newest": max(dates), "oldest": min(dates)},
                "confidence": self.settings.confidence,
                "samples": self.settings.samples,
                "metrics": self.metrics,
                "systems": {
                    name: {
                        "scores": {
                            metric: interval.as_json() for metric, interval in system.intervals.items()
                        },
                        "published": system.published(),
                        "traits": system.traits(),
                    }
                    for name, system in self.systems.items()
                },
                "reference": {"traits": self.reference.traits()},
                "differences": {
                    name: {metric: difference.as_json() for metric, difference in found.items()}
                    for name, found in self.differences.items()
                },
                "precision": self.precision,
                "generation": {
                    name: {
                        "device": made.device,
                        "made_now": made.fresh,
                        "seconds": made.seconds,
                        "per_second": made.per_second,
                    }
                    for name, made in self.generation.items()
                },
                "lengths": {
                    name: system.per_article["words"].tolist()
                    for name, system in {**self.systems, "reference": self.reference}.items()
                    if name in (MODEL, LEAD, "reference")
                },
                "unsupported": self._unsupported(),
                "behaviour": [check.as_json() for check in self.behaviour],
                "examples": self.examples,
                "seconds": self.seconds,
            }
        )

    def _unsupported(self, most: int = 200) -> list[dict[str, Any]]:
        """The names and numbers of the model's summaries that their texts do not support."""
        listed = []
        for row, wrong in zip(self.rows, self.systems[MODEL].unsupported, strict=True):
            if wrong and len(listed) < most:
                listed.append({"url": row.get("url"), "parts": [mention.surface for mention in wrong]})
        return listed

    def by_article(self) -> list[dict[str, Any]]:
        """One JSON-safe dict per row: url, outputs and scores of every system."""
        found = []
        for place, row in enumerate(self.rows):
            systems = {}
            for name, system in self.systems.items():
                systems[name] = {
                    "summary": system.predictions[place],
                    **{
                        metric: round(float(values[place]), 3)
                        for metric, values in system.per_article.items()
                    },
                    "unsupported_parts": [mention.surface for mention in system.unsupported[place]],
                }
            found.append({"url": row.get("url"), "date": text_of(row.get("date")), "systems": systems})
        return _json_safe(found)


def evaluate(
    export: Export,
    rows: Sequence[dict[str, Any]],
    settings: EvaluateConfig | None = None,
    production: Export | None = None,
    memory_dir: Path | None = None,
) -> Evaluation:
    """Let the export write for test rows, and score it together with production and the baselines.

    export: a task of a model revision's folder, with the full-precision model if settings.full_precision_rows
    is not 0. production: the same of the revision that is served now. memory_dir: keeps outputs as they are
    made, so that an interrupted evaluation continues.
    Raises StageError: 3 rows or files that cannot be used, 5 a device that is not there.
    """
    settings = settings or EvaluateConfig()
    text, target = main_column(export.section), export.section["target"]
    rows = newest_rows(rows, settings.limit, (text, target))
    seconds: dict[str, float] = {}
    made: dict[str, Generation] = {}
    for name, each in ((MODEL, export), (PRODUCTION, production)):
        if each is None:
            continue
        started = time.monotonic()
        what = "summaries" if name == MODEL else "summaries by the model in production"
        with _shown(what, len(rows)) as progress:
            made[name] = generate(
                each,
                rows,
                settings.device,
                settings.batch_tokens,
                settings.processes,
                memory_dir / f"summaries-{name}.jsonl" if memory_dir else None,
                progress.update,
            )
        seconds[f"generation: {name}"] = time.monotonic() - started

    started = time.monotonic()
    articles = [
        scoring.Article(row[text], row[target], {name: made[name].predictions[place] for name in made})
        for place, row in enumerate(rows)
    ]
    names = known_names(row[text] for row in rows[:TEXTS_FOR_NAMES])
    with _shown("scores", len(rows)) as progress:
        systems = scoring.score_systems(
            articles, settings.baselines, names, settings.processes, progress.update
        )
    reference = systems.pop(scoring.REFERENCE)
    differences = scoring.compare_all(systems, MODEL, settings.samples, settings.confidence, settings.seed)
    seconds["scores"] = time.monotonic() - started

    found = Evaluation(rows, text, target, systems, reference, differences, made, settings, seconds)
    if settings.full_precision_rows:
        started = time.monotonic()
        found.precision = lost_to_int8(export, found)
        seconds["full precision"] = time.monotonic() - started
    if settings.behaviour:
        started = time.monotonic()
        found.behaviour = check_all(
            export.folder, rows, settings.device, made[MODEL].predictions, export.name
        )
        seconds["behaviour"] = time.monotonic() - started
    found.examples = pick_examples(found, settings.examples)
    return found


def newest_rows(
    rows: Sequence[dict[str, Any]], limit: int | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The newest `limit` rows, newest first. Raises StageError (3) for rows that cannot be scored."""
    ordered = newest_first(rows)[:limit]
    if not ordered:
        raise StageError("the test split has no rows: collect more articles and publish the dataset again", 3)
    for row in ordered:
        for name in columns:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise StageError(f"test row {name_of(row)} has an empty {name}", 3)
    return ordered


def lost_to_int8(export: Export, found: Evaluation) -> dict[str, Any]:
    """Scores of the int8 export and of the full-precision model on the same sample of rows."""
    settings, rows, served = found.settings, found.rows, found.systems[MODEL].predictions
    count = min(settings.full_precision_rows, len(rows))
    sample = sorted(random.Random(settings.seed).sample(range(len(rows)), count))
    chosen = [rows[place] for place in sample]
    with _shown("full precision", count) as progress:
        full = generate_full_precision(export, chosen, progress=progress.update)
    ours, references = [served[place] for place in sample], [row[found.target] for row in chosen]

    def rouge(predictions: Sequence[str]) -> list[float]:
        return [
            pair_statistics(prediction, Reference(reference), words(tokens(prediction)))["rougeL"]
            for prediction, reference in zip(predictions, references, strict=True)
        ]

    gap = compare(rouge(ours), rouge(full.predictions), settings.samples, settings.confidence, settings.seed)
    return {
        "rows": count,
        "int8": score(ours, references),
        "full": score(full.predictions, references),
        "rougeL": gap.as_json(),
        "identical": sum(a == b for a, b in zip(ours, full.predictions, strict=True)),
        "device": full.device,
        "per_second": full.per_second,
    }


def pick_examples(found: Evaluation, count: int) -> dict[str, list[dict[str, Any]]]:
    """The rows with the model's highest and lowest ROUGE-L, and what is unsupported in its output."""
    model, lead = found.systems[MODEL], found.systems[LEAD]
    scores = model.per_article["rougeL"]
    order = sorted(range(len(found.rows)), key=lambda place: (-scores[place], place))

    def example(place: int) -> dict[str, Any]:
        row = found.rows[place]
        return {
            **{name: text_of(row.get(name)) for name in ("title", "url", "date")},
            "text": row[found.text][:LONGEST_EXAMPLE],
            "cut": len(row[found.text]) > LONGEST_EXAMPLE,
            "reference": row[found.target],
            "prediction": model.predictions[place],
            "lead": lead.predictions[place],
            "rougeL": round(float(scores[place]), 1),
            "unsupported": [[mention.start, mention.end] for mention in model.unsupported[place]],
        }

    worst = [place for place in order[::-1][:count] if place not in order[:count]]
    return {"best": [example(place) for place in order[:count]], "worst": [example(place) for place in worst]}


class _shown:
    """A Progress whose line is left behind, whatever happens."""

    def __init__(self, name: str, total: int) -> None:
        self.progress = Progress(name, total)

    def __enter__(self) -> Progress:
        return self.progress

    def __exit__(self, *_: object) -> None:
        self.progress.end()


def _json_safe(value: Any) -> Any:
    """nan and infinity, which JSON has not, as null; floats to 6 digits."""
    if isinstance(value, dict):
        return {key: _json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(each) for each in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
