"""How many steps a training has, and of what size: the settings that are null are planned from the examples.

Only the inputs of a plan, the rows and the settings, are part of a run's identity.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from t5sum.config import LARGEST_BATCH, TrainConfig
from t5sum.progress import say
from t5sum.run.directory import read_json, write_json
from t5sum.run.ranks import first_then_all

SMALLEST_BATCH = 16
ENOUGH_STEPS = 1000  # fewer hardly move the weights of a pretrained T5
EPOCHS, MOST_EPOCHS = 8, 24  # of the published recipe; more only if the smallest batch gives too few steps
WARMUP = 0.05  # share of the steps: the published recipe's 100 of about 1,900
VALIDATIONS = 8  # at least
MOST_BETWEEN = 250  # steps between two validations, as in the published recipe
PLANNED = ("effective_batch", "epochs", "warmup_steps", "eval_steps")


def plan(examples: int, settings: TrainConfig) -> TrainConfig:
    """The settings with a number for each of PLANNED; a number that was given stays."""
    batch, epochs = settings.effective_batch, settings.epochs
    if batch is None:
        batch = LARGEST_BATCH
        while not settings.max_steps and batch > SMALLEST_BATCH:
            if steps_of(examples, batch, epochs or EPOCHS) >= ENOUGH_STEPS:
                break
            batch //= 2
    if epochs is None:
        enough = math.ceil(ENOUGH_STEPS / math.ceil(examples / batch))
        epochs = float(min(max(EPOCHS, enough), MOST_EPOCHS))
    steps = settings.max_steps or steps_of(examples, batch, epochs)
    warmup, between = settings.warmup_steps, settings.eval_steps
    if warmup is None:
        warmup = round(WARMUP * steps)
    if between is None:
        between = min(MOST_BETWEEN, max(1, steps // VALIDATIONS))
    return replace(settings, effective_batch=batch, epochs=epochs, warmup_steps=warmup, eval_steps=between)


def steps_of(examples: int, batch: int, epochs: float) -> int:
    return math.ceil(epochs * math.ceil(examples / batch))


def keep_plan(kept: Path, examples: int, settings: TrainConfig) -> TrainConfig:
    """The plan, which is also printed. kept: a file that makes a run keep the plan it began with."""
    planned = first_then_all(lambda: load_plan(kept, examples, settings))
    batch, epochs = planned.effective_batch, planned.epochs
    assert batch and epochs
    steps = planned.max_steps or steps_of(examples, batch, epochs)
    length = "" if planned.max_steps else f" ({epochs:g} epochs)"
    say(
        f"plan: {steps} steps of {batch} examples{length}, {planned.warmup_steps} of them warm-up, "
        f"a validation every {planned.eval_steps} steps"
    )
    return planned


def load_plan(kept: Path, examples: int, settings: TrainConfig) -> TrainConfig:
    if not kept.exists():
        planned = plan(examples, settings)
        write_json(kept, {name: getattr(planned, name) for name in PLANNED})
    return replace(settings, **read_json(kept))
