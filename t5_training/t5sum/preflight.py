"""Before anything long: will it fit into the GPU's memory and onto the disk?

The memory estimate adds up what training keeps. Weights, gradients and AdamW's two moments are exact. What
the layers keep for the backward pass was counted on a CPU with torch's saved-tensor hooks, for a model of
ruT5-base's shape; the attention's share is reasoned from the kernels a GPU uses, not measured on one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t5sum import StageError
from t5sum.config import TrainConfig
from t5sum.progress import say

USABLE = 0.92  # of the free memory: kernels' work space and fragments take the rest
OPTIMIZER_BYTES = {"adamw": 8, "adafactor": 0.1}  # a parameter
# Bytes kept for the backward pass, a token and layer: per d_model, and per d_ff for each projection up.
LAYER = {True: (42, 6), False: (48, 12)}  # in bf16, in fp32
DECODER_MORE, CROSS = 18, 12  # per d_model: a decoder token more, and a source token for each decoder layer


@dataclass(frozen=True)
class Shape:
    """What decides the memory: parameters, and the sizes of a micro-batch."""

    parameters: int
    d_model: int
    d_ff: int
    gated: bool
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    micro_batch: int
    source: int
    target: int

    @classmethod
    def of(cls, model: Any, micro_batch: int, source: int, target: int) -> Shape:
        config = model.config
        return cls(
            sum(each.numel() for each in model.parameters()), config.d_model, config.d_ff,
            config.is_gated_act, config.num_heads, config.num_layers, config.num_decoder_layers,
            config.vocab_size, micro_batch, source, target,
        )  # fmt: skip


def memory_needed(shape: Shape, bf16: bool, optimizer: str, checkpointing: bool) -> int:
    """Bytes of GPU memory that training with this micro-batch takes at its peak."""
    fixed = shape.parameters * (4 + 4 + OPTIMIZER_BYTES[optimizer] + (2 if bf16 else 0))
    number = 2 if bf16 else 4
    per_model, per_ff = LAYER[bf16]
    token = per_model * shape.d_model + per_ff * shape.d_ff * (2 if shape.gated else 1)
    encoder = shape.source * token + number * shape.heads * shape.source**2
    decoder = (
        shape.target * (token + DECODER_MORE * shape.d_model)
        + shape.source * CROSS * shape.d_model
        + number * shape.heads * shape.target * (shape.target + shape.source)
    )
    if checkpointing:  # only each layer's input is kept, and one layer at a time is computed again
        inputs = (
            4 * shape.d_model * (shape.encoder_layers * shape.source + shape.decoder_layers * shape.target)
        )
        layers = inputs + max(encoder, decoder)
    else:
        layers = shape.encoder_layers * encoder + shape.decoder_layers * decoder
    logits = shape.target * shape.vocabulary * (number + 8)  # and in fp32 with their gradient
    return int(fixed + shape.micro_batch * (layers + logits))


def choose_checkpointing(shape: Shape, settings: TrainConfig, bf16: bool, cpu: bool) -> bool:
    """Whether to compute activations twice to save memory; says what it found about the GPU's memory."""
    wanted = settings.activation_checkpointing
    if cpu:
        return wanted == "always"
    free = torch.cuda.mem_get_info()[0] * USABLE
    without, with_it = (memory_needed(shape, bf16, settings.optimizer, each) for each in (False, True))
    on = wanted == "always" or (wanted == "auto" and without > free)
    needed = with_it if on else without
    say(
        f"memory: about {needed / 1e9:.1f} GB needed of {free / 1e9:.1f} GB usable, activation checkpointing "
        f"{'on' if on else 'off'}"
    )
    if needed > free:
        say("memory: it may not fit; if it does not, the micro-batch is halved and training goes on")
    return on


def check_disk(folder: Path, parameters: int, settings: TrainConfig) -> None:
    """Refuse to begin what the disk cannot hold. Raises StageError."""
    checkpoint = parameters * (4 + OPTIMIZER_BYTES[settings.optimizer])
    needed = (settings.keep_checkpoints + 2) * checkpoint  # the best one, and the one being written
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StageError(
            f"checkpoints need about {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free: make "
            "room, or set runs_dir (or ARTIFACTS_DIR) to a larger disk"
        )


def gpu_without_its_torch() -> str | None:
    """The line to say when an NVIDIA card is here but this torch was built without CUDA."""
    if torch.version.cuda is not None or shutil.which("nvidia-smi") is None:
        return None
    version = torch.__version__.partition("+")[0]
    return (
        f"an NVIDIA GPU seems to be here, but this torch ({torch.__version__}) cannot use one: training "
        f"on the CPU. To use it: pip install --force-reinstall torch=={version} with the index that "
        "pytorch.org names for your system and CUDA; see README.md, GPU"
    )
