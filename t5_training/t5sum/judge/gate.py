"""Whether a task's candidate may be served: it must not lose to production nor fall below its baseline.

Pure: numbers in, decision out. A model revision is promoted if every one of its tasks passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from t5sum.config import ClassifyGate, GenerateGate, RegressGate
from t5sum.judge.bootstrap import Difference, compare

AnyGate = GenerateGate | ClassifyGate | RegressGate


def only_column(means: np.ndarray) -> np.ndarray:
    return means[..., 0]


@dataclass(frozen=True)
class Measure:
    """A metric as the gate reads it: a formula over means of columns, (..., columns) → (...)."""

    label: str
    of: Callable[[np.ndarray], np.ndarray] = only_column
    higher: bool = True  # whether more is better
    form: str = ".1f"  # of its figures in the reason


@dataclass(frozen=True)
class Decision:
    """What the gate says about a task. `reason` is one line with the figures, for the card and the screen."""

    promoted: bool
    reason: str
    metric: str
    rows: int
    candidate: float
    baseline: float
    production: float | None
    against_baseline: Difference
    against_production: Difference | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    measure: Measure,
    candidate: np.ndarray,
    baseline: np.ndarray,
    production: np.ndarray | None,
    settings: AnyGate,
    baseline_name: str,
    veto: str = "",
    absent: str = "first model of this repository",
) -> Decision:
    """Compare three systems by their columns for the same test rows, newest first: (rows, columns).

    production is None if no model with this task is served; `absent` says why. veto: what forbids this
    candidate whatever its score. Raises ValueError if the three do not cover the same rows, or without rows.
    """
    ours, base = candidate[: settings.newest], baseline[: settings.newest]
    theirs = production[: settings.newest] if production is not None else None
    if not len(ours):
        raise ValueError("the gate has no test row to judge by")

    def against(other: np.ndarray) -> Difference:
        found = compare(ours, other, settings.samples, settings.confidence, settings.seed, measure.of)
        return found if measure.higher else found.reversed()

    def value(columns: np.ndarray) -> float:
        return float(measure.of(columns.mean(0)))

    def shown(number: float, sign: str = "") -> str:
        return f"{number:{sign}{measure.form}}"

    score, floor_of = value(ours), value(base)
    served = value(theirs) if theirs is not None else None
    over_base, over_served = against(base), against(theirs) if theirs is not None else None

    def decision(promoted: bool, why: str) -> Decision:
        reason = f"{measure.label} {shown(score)} on the newest {len(ours)} test rows: {why}"
        return Decision(
            promoted, reason, settings.metric, len(ours), score, floor_of, served, over_base, over_served
        )

    sign, floor, beyond = (1, "floor", "below") if measure.higher else (-1, "limit", "above")
    limit = floor_of - sign * settings.margin
    of_base = f"{baseline_name} has {shown(floor_of)}, "
    of_base += f"the {floor} {settings.margin:g} {beyond} it is {shown(limit)}"
    if veto:
        return decision(False, veto)
    if sign * score < sign * limit:
        return decision(False, f"{shown(abs(limit - score))} {beyond} the {floor} ({of_base})")
    if over_served is None:
        return decision(True, f"{absent}, it only has to reach the {floor} ({of_base})")
    assert served is not None
    gap = f"{over_served.mean:+.2f} [{over_served.low:+.2f}, {over_served.high:+.2f}]"
    beside = f"{gap} against {shown(served)} in production"
    if over_served.verdict != "cannot tell":
        return decision(over_served.verdict == "better", f"{over_served.verdict}, {beside}; {of_base}")
    takes, rule = {
        "higher": (sign * over_served.mean >= 0, "the better mean wins a tie"),
        "production": (False, "production keeps a tie"),
        "candidate": (True, "the newer model wins a tie"),
    }[settings.tie]
    return decision(takes, f"cannot tell, {beside}; {rule}; {of_base}")


def all_promoted(decisions: dict[str, dict[str, Any]]) -> bool:
    return all(each["promoted"] for each in decisions.values())


def in_words(decisions: dict[str, dict[str, Any]], only_refused: bool = False) -> str:
    """One line about every task: name, outcome and reason."""
    shown = {name: each for name, each in decisions.items() if not (only_refused and each["promoted"])}
    return "; ".join(
        f"{name} {'passed' if each['promoted'] else 'refused'}, {each['reason']}"
        for name, each in shown.items()
    )
