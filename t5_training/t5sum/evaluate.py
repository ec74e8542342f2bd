"""A model revision's folder and test rows in, an Evaluation out: summaries, scores, intervals, comparisons.

What is measured is what is served: the int8 export, through the settings of tasks.json. Importing this module
is cheap; torch and transformers load only for the comparison with full precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class EvaluateConfig:
    """The `evaluate:` section of config.yaml."""

    # Score only this many of the newest test rows; null: the whole test split.
    limit: int | None = None
    # lead-1, lead-3, TextRank and the oracle sentence on the same rows.
    baselines: bool = True
    # Where the export runs: auto takes a GPU when CTranslate2 can use one.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Source tokens in one batch of the export.
    batch_tokens: int = 4096
    # Rows on which the int8 export is compared with full precision through transformers; 0: not at all.
    full_precision_rows: int = 32
    # Resamples and share of them inside an interval.
    samples: int = 1000
    confidence: float = 0.95
    seed: int = 42
    # Best and worst examples kept for the report, of each.
    examples: int = 5
    # Processes for the metrics and translators for the export; null: one for each core.
    processes: int | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"evaluate.{name}={value} must be at least 1, or null")
        for name, least in (("batch_tokens", 1), ("full_precision_rows", 0), ("samples", 1), ("examples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluate.{name}={getattr(self, name)} must be at least {least}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"evaluate.confidence={self.confidence} must lie between 0 and 1")
