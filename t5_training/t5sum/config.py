"""config.yaml, an overlay file and the command line, checked against typed dataclasses; and the environment.

config.yaml is the only home of the values: the classes here hold types, choices and ranges. Nothing else in
this folder reads the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from t5sum import StageError

HOME = Path(__file__).resolve().parent.parent
REAL_HUB = "https://huggingface.co"


@dataclass
class HubConfig:
    dataset_repo: str | None
    dataset_revision: str
    model_repo: str | None
    private: bool
    upload: bool


@dataclass
class ScratchConfig:
    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    dropout: float


@dataclass
class ModelConfig:
    base: str
    revision: str
    init: Literal["base", "production"]
    scratch: ScratchConfig


@dataclass
class DataConfig:
    train_rows: int | None
    validation_rows: int | None
    workers: int


@dataclass
class SummarizeConfig:
    prefix: str
    with_title: bool
    source_max_tokens: int
    target_max_tokens: int


@dataclass
class GenerationConfig:
    beam_size: int
    no_repeat_ngram_size: int
    max_decoding_length: int
    length_penalty: float
    repetition_penalty: float


@dataclass
class TrainConfig:
    seed: int
    lr: float
    schedule: Literal["linear", "cosine", "constant"]
    optimizer: Literal["adamw", "adafactor"]
    weight_decay: float
    label_smoothing: float
    max_grad_norm: float
    epochs: float
    max_steps: int | None
    warmup_steps: int
    effective_batch: int
    micro_batch: int
    eval_batch: int
    group_by_length: bool
    eval_steps: int
    log_steps: int
    keep_checkpoints: int
    select_by: Literal["rougeL", "loss"]
    rouge_rows: int
    patience: int
    precision: Literal["auto", "bf16", "fp32"]
    device: Literal["auto", "cuda", "cpu"]
    activation_checkpointing: Literal["auto", "on", "off"]
    threads: int | None
    tracking: Literal["none", "mlflow", "tensorboard"]


@dataclass
class Config:
    runs_dir: str | None
    hub: HubConfig
    model: ModelConfig
    data: DataConfig
    summarize: SummarizeConfig
    generation: GenerationConfig
    train: TrainConfig
    topic: dict[str, Any]
    evaluate: dict[str, Any]
    gate: dict[str, Any]
