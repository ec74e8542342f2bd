"""Every setting of training: its type, its default and its range.

config.yaml shows the same defaults with a comment each; load.py lays a recipe, other files and the command
line over them. Nothing else in this folder reads the environment.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from t5sum import StageError
from t5sum.served.template import BadTemplate, Template

HOME = Path(__file__).resolve().parent.parent
REAL_HUB = "https://huggingface.co"
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
LARGEST_BATCH = 256  # examples in one optimizer step, if the rows are many enough
RESERVED = ("ct2",)  # a folder at the root of a model revision


def ranged(default: Any, **limits: float) -> Any:
    """A setting with limits: least and most are allowed themselves, above and below are not."""
    return field(default=default, metadata=limits)


# ---------------------------------------------------------------------------------------- for the whole stage


@dataclass
class HubConfig:
    dataset_repo: str | None = None
    dataset_revision: str = "main"
    model_repo: str | None = None
    private: bool = False
    upload: bool = True


@dataclass
class ScratchConfig:
    vocab_size: int = ranged(8000, least=110)
    d_model: int = ranged(256, least=8)
    d_kv: int = ranged(64, least=4)
    d_ff: int = ranged(1024, least=8)
    num_layers: int = ranged(4, least=1)
    num_heads: int = ranged(4, least=1)
    dropout: float = ranged(0.1, least=0, below=1)


@dataclass
class ModelConfig:
    base: str = "ai-forever/ruT5-base"
    revision: str = "main"
    init: Literal["base", "production"] = "base"
    scratch: ScratchConfig = field(default_factory=ScratchConfig)


@dataclass
class DataConfig:
    train_rows: int | None = ranged(None, least=1)
    validation_rows: int | None = ranged(None, least=1)


@dataclass
class TrainConfig:
    seed: int = ranged(42, least=0)
    lr: float = ranged(4e-4, above=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = ranged(0.0, least=0)
    label_smoothing: float = ranged(0.0, least=0, below=1)
    max_grad_norm: float = ranged(1.0, least=0)
    epochs: float | None = ranged(None, above=0)
    max_steps: int | None = ranged(None, least=1)
    warmup_steps: int | None = ranged(None, least=0)
    effective_batch: int | None = ranged(None, least=1)
    micro_batch: int = ranged(4, least=1)
    eval_batch: int = ranged(8, least=1)
    group_by_length: bool = True
    eval_steps: int | None = ranged(None, least=1)
    log_steps: int = ranged(10, least=1)
    keep_checkpoints: int = ranged(2, least=2)
    save_minutes: float = ranged(15.0, least=0)
    select_by: Literal["rougeL", "loss"] = "rougeL"
    rouge_rows: int = ranged(200, least=1)
    patience: int = ranged(4, least=0)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    activation_checkpointing: Literal["auto", "always", "never"] = "auto"
    threads: int | None = ranged(None, least=1)


@dataclass
class EvaluateConfig:
    limit: int | None = ranged(None, least=1)
    baselines: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_tokens: int = ranged(4096, least=1)
    full_precision_rows: int = ranged(32, least=0)
    behaviour: bool = True
    samples: int = ranged(1000, least=1)
    confidence: float = ranged(0.95, above=0, below=1)
    seed: int = ranged(42, least=0)
    examples: int = ranged(5, least=0)
    processes: int | None = ranged(None, least=1)


# ---------------------------------------------------------------------------------------- for a task


@dataclass
class GateConfig:
    newest: int = ranged(1000, least=1)
    tie: Literal["higher", "production", "candidate"] = "higher"
    samples: int = ranged(1000, least=1)
    confidence: float = ranged(0.95, above=0, below=1)
    seed: int = ranged(42, least=0)


@dataclass
class GenerateGate(GateConfig):
    metric: str = "rougeL"
    margin: float = 1.0
    max_empty: float = ranged(0.01, least=0, most=1)


@dataclass
class ClassifyGate(GateConfig):
    tie: Literal["higher", "production", "candidate"] = "candidate"
    metric: str = "macro_f1"
    margin: float = 0.0


@dataclass
class RegressGate(GateConfig):
    tie: Literal["higher", "production", "candidate"] = "candidate"
    metric: str = "mae"
    margin: float = 0.0


@dataclass
class GenerationConfig:
    """What the API generates with. The ranges are the API's own: it refuses a model beyond them."""

    beam_size: int = ranged(5, least=1, most=64)
    no_repeat_ngram_size: int = ranged(4, least=0, most=1000)
    max_decoding_length: int = ranged(200, least=2, most=4096)
    length_penalty: float = ranged(1.0, above=0, most=10)
    repetition_penalty: float = ranged(1.0, least=0.01, most=100)


@dataclass
class GenerateConfig:
    source_max_tokens: int = ranged(600, least=64, most=16_384)
    target_max_tokens: int = ranged(200, least=2)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    gate: GenerateGate = field(default_factory=GenerateGate)


@dataclass
class TextModelConfig:
    """What the kinds with hashed n-grams share, classify and regress."""

    max_chars: int = ranged(1500, least=100, most=1_000_000)
    min_chars: int = ranged(40, least=1, most=100_000)
    hash_bits: int = ranged(17, least=8, most=22)
    max_rows: int = ranged(60_000, least=100)
    seed: int = ranged(42, least=0)
    mask: list[str] = field(default_factory=list)


@dataclass
class Label:
    """A label as people read it, and the values of the target column that mean it; none: the label itself."""

    name: str = ""
    takes: list[str] = field(default_factory=list)


@dataclass
class ClassifyConfig(TextModelConfig):
    min_rows: int = ranged(30, least=2)
    precision: float = ranged(0.9, above=0, below=1)
    latency_ms: float = ranged(5.0, above=0)
    size_mb: float = ranged(30.0, above=0)
    forest_rows: int = ranged(8_000, least=0)
    labels: dict[str, Label] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    gate: ClassifyGate = field(default_factory=ClassifyGate)


@dataclass
class RegressConfig(TextModelConfig):
    min_chars: int = ranged(1, least=1, most=100_000)
    minimum: float | None = ranged(None, least=-1e12, most=1e12)
    maximum: float | None = ranged(None, least=-1e12, most=1e12)
    gate: RegressGate = field(default_factory=RegressGate)


@lru_cache
def parsed(source: str) -> Template:
    return Template(source)


@dataclass
class Task:
    """What every task of a recipe has, whatever its kind. metrics: those in tasks.json; none: all."""

    kind: ClassVar[str]
    source: str = "???"  # OmegaConf's mark of a value that must be given
    target: str = "???"
    metrics: list[str] = field(default_factory=list)

    @property
    def template(self) -> Template:
        return parsed(self.source)


@dataclass
class GenerateTask(GenerateConfig, Task):
    kind: ClassVar[str] = "generate"


@dataclass
class ClassifyTask(ClassifyConfig, Task):
    kind: ClassVar[str] = "classify"


@dataclass
class RegressTask(RegressConfig, Task):
    kind: ClassVar[str] = "regress"


AnyTask = GenerateTask | ClassifyTask | RegressTask
KINDS: dict[str, type[AnyTask]] = {each.kind: each for each in (GenerateTask, ClassifyTask, RegressTask)}


# ---------------------------------------------------------------------------------------- together


@dataclass
class Settings:
    """The sections of config.yaml. generate, classify and regress hold for every task of that kind."""

    runs_dir: str | None = None
    tracking: Literal["none", "mlflow", "tensorboard", "trackio"] = "none"
    hub: HubConfig = field(default_factory=HubConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    regress: RegressConfig = field(default_factory=RegressConfig)


@dataclass
class Config(Settings):
    """tasks: each with all its settings, in the recipe's order."""

    recipe: str = "gazeta"
    tasks: dict[str, AnyTask] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Any]:
        return {name: task for name, task in self.tasks.items() if task.kind == kind}


@dataclass(frozen=True)
class Environment:
    """What the variables say. The token stays inside huggingface_hub, which reads HF_TOKEN itself."""

    endpoint: str
    token: bool
    artifacts: Path
    recipe: Path


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Called before huggingface_hub is imported: it reads HF_ENDPOINT and the Xet switch on import."""
    endpoint = environ.get("HF_ENDPOINT") or REAL_HUB
    if endpoint.rstrip("/") != REAL_HUB:
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    artifacts = environ.get("ARTIFACTS_DIR") or str(HOME.parent / "artifacts")
    recipe = environ.get("RECIPE") or "gazeta"
    if not recipe.endswith(".yaml"):
        folder = environ.get("RECIPES_DIR") or str(HOME.parent / "recipes")
        recipe = str(Path(folder) / f"{recipe}.yaml")
    return Environment(endpoint.rstrip("/"), bool(environ.get("HF_TOKEN")), Path(artifacts), Path(recipe))


# ---------------------------------------------------------------------------------------- checks


def check(config: Config) -> None:
    """Ranges that types cannot say, and settings that exclude each other. Raises StageError, code 2."""
    for key, value, limits in numbers(config):
        if wrong := out_of_range(value, limits):
            raise StageError(f"{key}={value} must {wrong}", 2)
    batch = config.train.effective_batch or LARGEST_BATCH
    if batch % config.train.micro_batch:
        raise StageError(
            f"train.effective_batch={batch} must be a multiple of "
            f"train.micro_batch={config.train.micro_batch}", 2)  # fmt: skip
    for name, task in config.tasks.items():
        check_task(name, task)


def numbers(section: Any, above: str = "") -> Iterator[tuple[str, float, Mapping[str, float]]]:
    """(dotted key, value, limits) of every number in a section and those inside it."""
    for item in fields(section):
        value, key = getattr(section, item.name), f"{above}{item.name}"
        if is_dataclass(value):
            yield from numbers(value, f"{key}.")
        elif isinstance(value, dict):
            for name, each in value.items():
                yield from numbers(each, f"{key}.{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value, item.metadata


def out_of_range(value: float, limits: Mapping[str, float]) -> str:
    """What a number must be and is not; empty if it is all right."""
    least, most, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    if above is not None and below is not None:
        return "" if above < value < below else f"lie between {above} and {below}"
    if least is not None and below is not None:
        return "" if least <= value < below else f"be at least {least} and below {below}"
    if least is not None and not value >= least:
        return f"be at least {least}"
    if above is not None and not value > above:
        return f"be above {above}"
    if most is not None and not value <= most:
        return f"be at most {most}"
    return "" if math.isfinite(value) else "be a finite number"


def check_task(name: str, task: AnyTask) -> None:
    """What types and ranges cannot say about one task. Raises StageError, code 2."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise StageError(
            f"tasks.{name}: a task's name is at most 32 small Latin letters, digits and _, begins with a "
            f"letter and is not {', '.join(RESERVED)}", 2)  # fmt: skip
    try:
        task.template  # noqa: B018 - checked when it is made
    except BadTemplate as error:
        raise StageError(f"tasks.{name}.source: {error}", 2) from None
    for pattern in getattr(task, "mask", ()):
        try:
            re.compile(pattern)
        except re.error as error:
            raise StageError(f"tasks.{name}.mask: {pattern!r} is no regular expression: {error}", 2) from None
    if isinstance(task, ClassifyTask):
        taken = [value for label, each in task.labels.items() for value in each.takes or [label]]
        if twice := [value for value in taken if taken.count(value) > 1 or value in task.excluded]:
            raise StageError(f"tasks.{name}.labels: the value {twice[0]} stands there twice", 2)
    if isinstance(task, RegressTask) and None not in (task.minimum, task.maximum):
        assert task.minimum is not None and task.maximum is not None
        if not task.minimum < task.maximum:
            raise StageError(f"tasks.{name}.minimum={task.minimum} must be below its maximum", 2)
