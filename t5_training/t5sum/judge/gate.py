"""Whether a candidate may be served: it must not lose to the model in production nor fall below the lead.

Pure: scores in, decision out. Moving the tag is publish.py's work, exit code 4 is main.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from t5sum.judge.bootstrap import Difference, compare

GATE_METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "meteor": "METEOR"}
TIES = ("higher", "production", "candidate")


@dataclass
class GateConfig:
    """The `gate:` section of config.yaml."""

    # Judged by the mean over articles of this metric: rouge1, rouge2, rougeL or meteor.
    metric: Literal["rouge1", "rouge2", "rougeL", "meteor"] = "rougeL"
    # Only this many of the newest test articles count: that is the news the model will meet.
    newest: int = 1000
    # Points that a model may lie below the first sentence of the text (lead-1) and still be served.
    lead_margin: float = 1.0
    # When the interval of (candidate - production) holds zero: "higher" takes the higher mean,
    # "production" keeps what is served, "candidate" takes the newer model.
    tie: Literal["higher", "production", "candidate"] = "higher"
    # At most this share of the summaries may be empty.
    max_empty: float = 0.01
    samples: int = 1000
    confidence: float = 0.95
    seed: int = 42

    def __post_init__(self) -> None:
        if self.metric not in GATE_METRICS:
            raise ValueError(f"gate.metric={self.metric!r} is not one of {', '.join(GATE_METRICS)}")
        if self.tie not in TIES:
            raise ValueError(f"gate.tie={self.tie!r} is not one of {', '.join(TIES)}")
        if self.newest < 1 or self.samples < 1:
            raise ValueError("gate.newest and gate.samples must be at least 1")
        if not 0 < self.confidence < 1:
            raise ValueError(f"gate.confidence={self.confidence} must lie between 0 and 1")


@dataclass(frozen=True)
class Decision:
    """What the gate says. `reason` is one line with the figures; it goes into the card and on the screen."""

    promoted: bool
    reason: str
    metric: str
    articles: int
    candidate: float
    lead: float
    production: float | None
    against_lead: Difference
    against_production: Difference | None

    def as_json(self) -> dict:
        return {
            **{name: getattr(self, name) for name in
               ("promoted", "reason", "metric", "articles", "candidate", "lead", "production")},
            "against_lead": self.against_lead.as_json(),
            "against_production": self.against_production and self.against_production.as_json(),
        }  # fmt: skip


def decide(candidate, production, lead, settings: GateConfig) -> Decision:
    """Compare three systems' scores on the same articles, newest first.

    candidate, production, lead: `SystemScores` of one evaluation (anything with `predictions` and
    `per_article[metric]`); production is None for the first model of a repository.
    Raises ValueError when they do not cover the same articles.
    """
    newest = settings.newest
    label = GATE_METRICS[settings.metric]

    def scores(system) -> np.ndarray:
        return np.asarray(system.per_article[settings.metric][:newest], float)

    def against(other) -> Difference:
        return compare(scores(candidate), scores(other), settings.samples, settings.confidence, settings.seed)

    articles = len(scores(candidate))
    if not articles:
        raise ValueError("the gate has no test article to judge by")
    over_lead = against(lead)
    over_production = against(production) if production is not None else None
    mean, lead_mean = float(scores(candidate).mean()), float(scores(lead).mean())
    production_mean = float(scores(production).mean()) if production is not None else None
    empty = sum(not text.strip() for text in candidate.predictions[:newest]) / articles

    def decision(promoted: bool, why: str) -> Decision:
        reason = f"{label} {mean:.1f} on the newest {articles} test articles: {why}"
        return Decision(promoted, reason, settings.metric, articles, mean, lead_mean, production_mean,
                        over_lead, over_production)  # fmt: skip

    floor = lead_mean - settings.lead_margin
    of_lead = f"lead-1 has {lead_mean:.1f}, the floor {settings.lead_margin:g} below it is {floor:.1f}"
    if empty > settings.max_empty:
        return decision(
            False, f"{empty:.1%} of the summaries are empty, {settings.max_empty:.1%} are allowed"
        )
    if mean < floor:
        return decision(False, f"{floor - mean:.1f} below the floor ({of_lead})")
    if over_production is None:
        return decision(True, f"first model of this repository, it only has to reach the floor ({of_lead})")

    gap = f"{over_production.mean:+.2f} [{over_production.low:+.2f}, {over_production.high:+.2f}]"
    beside = f"{gap} against {production_mean:.1f} in production"
    if over_production.verdict != "cannot tell":
        return decision(
            over_production.verdict == "better", f"{over_production.verdict}, {beside}; {of_lead}"
        )
    takes = {
        "higher": over_production.mean >= 0,
        "production": False,
        "candidate": True,
    }[settings.tie]
    rule = {
        "higher": "the higher mean wins a tie",
        "production": "production keeps a tie",
        "candidate": "the newer model wins a tie",
    }[settings.tie]
    return decision(takes, f"cannot tell, {beside}; {rule}; {of_lead}")
