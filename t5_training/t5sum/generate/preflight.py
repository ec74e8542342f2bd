"""Before anything long: will it fit into the GPU's memory and onto the disk?

The memory estimate adds up what training keeps. Weights, gradients and AdamW's two moments are exact. What
the layers keep for the backward pass was counted on a CPU with torch's saved-tensor hooks, for a model of
ruT5-base's shape; the attention's share is reasoned from the kernels a GPU uses, not measured on one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t5sum import StageError
from t5sum.config import TrainConfig
from t5sum.progress import say

USABLE = 0.92  # of the free memory: kernels' work space and fragments take the rest
OPTIMIZER_BYTES = {"adamw": 8, "adafactor": 0.1}  # per parameter
# Bytes kept for the backward pass, per token and layer: per d_model, and per d_ff for each projection up.
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
        say("memory: it may not fit; if it does not, the micro-batch is halved and training continues")
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


# The CUDA builds of the torch that requirements.txt names: the CUDA a driver must know, the build's name, and
# the compute capabilities that it has kernels for.
BUILDS = (((13, 0), "cu130", (7, 5), (99, 0)), ((12, 6), "cu126", (5, 0), (9, 0)))
WHEELS = "https://download.pytorch.org/whl"


def gpu_without_its_torch() -> str | None:
    """The line to say when an NVIDIA card is here but this torch was built without CUDA; None otherwise."""
    if torch.version.cuda is not None or (program := shutil.which("nvidia-smi")) is None:
        return None
    found = card(program)
    if found is None:
        return (
            "nvidia-smi is here but sees no NVIDIA GPU: training on the CPU. If there is one, install its "
            "driver from nvidia.com/drivers"
        )
    name, capability, cuda = found
    here = f"{name} is here, but this torch ({torch.__version__}) cannot use it: training on the CPU."
    known = [(needs, build) for needs, build, least, most in BUILDS if least <= capability <= most]
    fits = [build for needs, build in known if cuda >= needs]
    if fits:
        version = torch.__version__.partition("+")[0]
        python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
        return (
            f"{here} To use it: {python} -m pip install torch=={version}+{fits[0]} --index-url "
            f"{WHEELS}/{fits[0]}"
        )
    if known:
        wanted = ".".join(map(str, known[-1][0]))
        return (
            f"{here} Its driver knows CUDA {'.'.join(map(str, cuda))}, and {wanted} is needed: update it "
            "from nvidia.com/drivers, then start again"
        )
    return f"{here} No build of this torch has kernels for a card so old (compute capability {capability[0]})"


def card(program: str) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """(name, compute capability, newest CUDA that the driver knows) of the first GPU, as nvidia-smi says."""
    try:
        asked = [
            subprocess.run([program, *words], capture_output=True, text=True, timeout=30, check=True).stdout
            for words in (["--query-gpu=name,compute_cap", "--format=csv,noheader"], [])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    first = re.match(r"\s*(.+?)\s*,\s*(\d+)\.(\d+)", asked[0])
    cuda = re.search(r"CUDA[^:|]*Version:\s*(\d+)\.(\d+)", asked[1])
    if first is None or cuda is None:
        return None
    name, *capability = first.groups()
    return name, tuple(map(int, capability)), tuple(map(int, cuda.groups()))
