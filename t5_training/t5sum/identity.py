"""Which settings make a run or a model revision another one, as short hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from t5sum.config import Config, GenerateTask

# What does not change the weights is not part of a run's identity: a run that stops for want of memory goes
# on with a smaller micro-batch, or on another device.
NOT_LEARNED = {
    "micro_batch", "eval_batch", "log_steps", "keep_checkpoints", "save_minutes", "device", "threads",
    "activation_checkpointing",
}  # fmt: skip
LEARNED_OF_TASK = ("source", "target", "source_max_tokens", "target_max_tokens")
# Raised by hand when the code learns or exports something else from the same settings.
EDITION = 4


def t5_settings(config: Config, task: GenerateTask) -> dict[str, Any]:
    """The settings that decide the weights of one generate task."""
    learned = {key: value for key, value in asdict(config.train).items() if key not in NOT_LEARNED}
    model = asdict(config.model)
    if config.model.base != "scratch":
        del model["scratch"]
    of_task = {key: getattr(task, key) for key in LEARNED_OF_TASK}
    return {"model": model, "data": asdict(config.data), "train": learned, "task": of_task}


def training_settings(config: Config) -> dict[str, Any]:
    """The settings that decide the weights of every T5. They and the dataset are a run's identity."""
    tasks = {name: t5_settings(config, task) for name, task in config.of_kind("generate").items()}
    return {"recipe": config.recipe, "tasks": tasks}


def stage_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what is published: training's, and those of serving and judging."""
    tasks = {name: {"kind": task.kind, **asdict(task)} for name, task in config.tasks.items()}
    return {
        "training": training_settings(config),
        "tasks": tasks,
        "order": list(tasks),
        "evaluate": asdict(config.evaluate),
    }


def fingerprint(settings: dict[str, Any]) -> str:
    """A short hash of settings and of the code's edition, the same on every machine."""
    text = json.dumps({"edition": EDITION, **settings}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
