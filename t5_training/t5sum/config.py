"""config.yaml, an overlay file and the command line, checked against typed dataclasses; and the environment.

config.yaml is the only home of the values: the classes here hold types, choices and ranges. Nothing else in
this folder reads the environment.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from t5sum import StageError
from t5sum.classify.topics import MAP as TOPIC_MAP
from t5sum.classify.topics import TopicConfig
from t5sum.judge.evaluate import EvaluateConfig
from t5sum.judge.gate import GateConfig

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
    save_minutes: float
    select_by: Literal["rougeL", "loss"]
    rouge_rows: int
    patience: int
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    device: Literal["auto", "cuda", "cpu"]
    activation_checkpointing: Literal["auto", "always", "never"]
    threads: int | None


@dataclass
class Config:
    runs_dir: str | None
    tracking: Literal["none", "mlflow", "tensorboard", "trackio"]
    hub: HubConfig
    model: ModelConfig
    data: DataConfig
    summarize: SummarizeConfig
    generation: GenerationConfig
    train: TrainConfig
    topic: TopicConfig
    evaluate: EvaluateConfig
    gate: GateConfig


# What does not change the weights is not part of a run's identity: a run that stops for want of memory goes
# on with a smaller micro-batch, or on another device.
NOT_LEARNED = {
    "micro_batch", "eval_batch", "log_steps", "keep_checkpoints", "save_minutes", "device", "threads",
    "activation_checkpointing",
}  # fmt: skip
# Raised by hand when the code learns or exports something else from the same settings.
RECIPE = 3


@dataclass(frozen=True)
class Environment:
    """What the variables say. The token stays inside huggingface_hub, which reads HF_TOKEN itself."""

    endpoint: str
    token: bool
    artifacts: Path


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Called before huggingface_hub is imported: it reads HF_ENDPOINT and the Xet switch on import."""
    endpoint = environ.get("HF_ENDPOINT") or REAL_HUB
    if endpoint.rstrip("/") != REAL_HUB:
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    artifacts = environ.get("ARTIFACTS_DIR") or str(HOME.parent / "artifacts")
    return Environment(endpoint.rstrip("/"), bool(environ.get("HF_TOKEN")), Path(artifacts))


def load_config(
    overrides: Sequence[str], environ: Mapping[str, str], overlays: Sequence[Path] = ()
) -> Config:
    """config.yaml, then each overlay file, then `key=value` words; checked.

    Raises StageError (code 2) that names the wrong key or value and what is allowed there.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    merged = OmegaConf.structured(Config)
    sources = [(path.name, _read_yaml(path)) for path in (HOME / "config.yaml", *overlays)]
    sources.append(("the command line", OmegaConf.from_dotlist(list(overrides))))
    for origin, values in sources:
        try:
            merged = OmegaConf.merge(merged, values)
        except OmegaConfBaseException as error:
            raise StageError(f"{origin}: {_explain(error, values)}", 2) from None
    missing = OmegaConf.missing_keys(merged)
    if missing:
        raise StageError(f"config.yaml does not set {', '.join(sorted(missing))}", 2)
    try:
        config = OmegaConf.to_object(merged)
    except ValueError as error:  # a section's own check
        raise StageError(str(error), 2) from None
    assert isinstance(config, Config)
    config.hub.dataset_repo = config.hub.dataset_repo or environ.get("DATASET_REPO") or None
    config.hub.model_repo = config.hub.model_repo or environ.get("MODEL_REPO") or None
    config.runs_dir = config.runs_dir or str(read_environment(environ).artifacts / "runs")
    check(config)
    return config


def _read_yaml(path: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        values = OmegaConf.load(path)
    except FileNotFoundError:
        raise StageError(f"config={path}: there is no such file", 2) from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise StageError(f"config={path} cannot be read as YAML: {error}", 2) from None
    if not OmegaConf.is_dict(values):
        raise StageError(f"config={path} must hold sections of settings, as config.yaml does", 2)
    return values


# Values that people try because other models take them.
REASONS = {("train.precision", "fp16"): "fp16 turns T5's activations into NaN"}


def _explain(error: Any, values: Any) -> str:
    """One line for a key or value that does not fit: what is allowed at that place."""
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError

    key = error.full_key or ""
    if isinstance(error, ConfigKeyError):
        section, _, name = key.rpartition(".")
        allowed = [item.name for item in fields(_section(section))]
        close = difflib.get_close_matches(name, allowed, 1)
        hint = f"did you mean {'.'.join(filter(None, (section, close[0])))}? " if close else ""
        place = f" in {section}" if section else ""
        return f"{key} is not a setting; {hint}allowed{place}: {', '.join(allowed)}"
    if not key or is_dataclass(
        _section(key)
    ):  # a plain value where a section belongs; the library names no key
        for key in _section_names(Config):
            value = OmegaConf.select(values, key, throw_on_missing=False)
            if value is not None and not OmegaConf.is_dict(value):
                names = ", ".join(item.name for item in fields(_section(key)))
                return f"{key} is a section; set one of its keys, {key}.KEY=VALUE, with KEY one of {names}"
    value = OmegaConf.select(values, key)
    why = f" ({REASONS[key, value]})" if (key, value) in REASONS else ""
    return f"{key}={value!r} is not allowed{why}: it must be {_wanted(_section(key))}"


def _section_names(kind: Any, above: str = "") -> list[str]:
    """Dotted names of the sections, outer ones first."""
    inner = [(above + name, hint) for name, hint in get_type_hints(kind).items() if is_dataclass(hint)]
    return [name for name, _ in inner] + [
        deeper for name, hint in inner for deeper in _section_names(hint, f"{name}.")
    ]


def _section(key: str) -> Any:
    """The type at a dotted key: a dataclass for a section, else the field's type."""
    kind: Any = Config
    for name in filter(None, key.split(".")):
        kind = get_type_hints(kind).get(name) if is_dataclass(kind) else None
    return kind


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_wanted(item) for item in get_args(kind))
    words = {
        int: "a whole number", float: "a number", bool: "true or false", str: "a text",
        type(None): "null", Path: "a path",
    }  # fmt: skip
    return words.get(get_origin(kind) or kind, str(kind))


LEAST = {
    "data": {"train_rows": 1, "validation_rows": 1},
    "summarize": {"source_max_tokens": 64, "target_max_tokens": 2},
    "generation": {
        "beam_size": 1, "no_repeat_ngram_size": 0, "max_decoding_length": 2, "repetition_penalty": 0.01,
    },
    "train": {
        "seed": 0, "warmup_steps": 0, "max_steps": 1, "effective_batch": 1, "micro_batch": 1, "eval_batch": 1,
        "eval_steps": 1, "log_steps": 1, "keep_checkpoints": 2, "save_minutes": 0, "rouge_rows": 1,
        "patience": 0, "threads": 1, "weight_decay": 0, "max_grad_norm": 0,
    },
    "model.scratch": {
        "vocab_size": 110, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 1,
    },
}  # fmt: skip

# The API's own ranges (`_RANGES` in topic_sum/inference/model.py): beyond them it refuses the trained model.
MOST = {
    "summarize": {"source_max_tokens": 16_384},
    "generation": {
        "beam_size": 64, "no_repeat_ngram_size": 1000, "max_decoding_length": 4096, "length_penalty": 10,
        "repetition_penalty": 100,
    },
    "topic": {"max_chars": 1_000_000, "min_chars": 100_000, "title_repeat": 10},
}  # fmt: skip


def check(config: Config) -> None:
    """Ranges that types cannot say, and settings that exclude each other. Raises StageError, code 2."""
    for section, limits in LEAST.items():
        for name, least in limits.items():
            value = _at(config, f"{section}.{name}")
            if value is not None and value < least:
                raise StageError(f"{section}.{name}={value} must be at least {least}", 2)
    for section, limits in MOST.items():
        for name, most in limits.items():
            value = _at(config, f"{section}.{name}")
            if value > most:
                raise StageError(f"{section}.{name}={value} must be at most {most}", 2)
    for key in ("train.lr", "train.epochs", "generation.length_penalty", "generation.repetition_penalty"):
        if not _at(config, key) > 0 or _at(config, key) == float("inf"):
            raise StageError(f"{key}={_at(config, key)} must be above 0", 2)
    for key in ("train.label_smoothing", "model.scratch.dropout"):
        if not 0 <= _at(config, key) < 1:
            raise StageError(f"{key}={_at(config, key)} must be at least 0 and below 1", 2)
    if config.train.effective_batch % config.train.micro_batch:
        raise StageError(
            f"train.effective_batch={config.train.effective_batch} must be a multiple of "
            f"train.micro_batch={config.train.micro_batch}", 2)  # fmt: skip


def _at(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def training_settings(config: Config) -> dict[str, Any]:
    """The settings that decide the weights."""
    learned = {key: value for key, value in asdict(config.train).items() if key not in NOT_LEARNED}
    model = asdict(config.model)
    if config.model.base != "scratch":
        del model["scratch"]
    rows = {"train_rows": config.data.train_rows, "validation_rows": config.data.validation_rows}
    return {"model": model, "data": rows, "summarize": asdict(config.summarize), "train": learned}


def stage_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what is published: training's, and those of serving, topics and judging."""
    every = asdict(config)
    sections = {name: every[name] for name in ("generation", "evaluate", "gate")}
    return training_settings(config) | sections | {"topic": topic_settings(config)}


def topic_settings(config: Config) -> dict[str, Any]:
    """What decides the topic classifier besides the rows: its settings and the map of rubrics."""
    return asdict(config.topic) | {"map": hashlib.sha256(TOPIC_MAP.read_bytes()).hexdigest()[:12]}


def fingerprint(settings: dict[str, Any]) -> str:
    """A short hash of settings and recipe, the same on every machine."""
    text = json.dumps({"recipe": RECIPE, **settings}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
