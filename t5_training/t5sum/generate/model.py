"""The model that is trained, and the device and precision that it is trained in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSeq2SeqLM

from t5sum import StageError, first_line
from t5sum.config import ScratchConfig, TrainConfig
from t5sum.generate.scratch import scratch_model
from t5sum.generate.tokens import special_ids
from t5sum.progress import say

FAMILIES = ("t5", "mt5")
ACTIVATIONS = ("relu", "gelu", "gelu_new", "silu")  # of the feed-forward layers; CTranslate2 has them


def quiet_libraries() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def build_model(base: Path | None, scratch: ScratchConfig, tokenizer: Any, seed: int) -> Any:
    """The base model in fp32, or one of our own shape with random weights. Raises StageError (2)."""
    transformers.set_seed(seed)
    if base is None:
        return scratch_model(scratch, tokenizer)
    try:
        shape = transformers.AutoConfig.from_pretrained(base)
        if shape.model_type not in FAMILIES:
            raise StageError(
                f"model.base is a {shape.model_type} model; only {' and '.join(FAMILIES)} can be served here",
                2,
            )
        if shape.dense_act_fn not in ACTIVATIONS:
            raise StageError(
                f"model.base has {shape.feed_forward_proj} layers, which cannot be served here", 2
            )
        if len(tokenizer) > shape.vocab_size:
            raise StageError(
                f"model.base has {shape.vocab_size} tokens, its tokenizer {len(tokenizer)}: no fit", 2
            )
        model = AutoModelForSeq2SeqLM.from_pretrained(base, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise StageError(f"model.base could not be loaded: {first_line(error)}", 2) from None
    named = model.config.eos_token_id
    if named != tokenizer.eos_token_id:
        say(
            f"model.base: its config ends texts with token {named}, its tokenizer with "
            f"{tokenizer.eos_token_id}; the tokenizer's is used"
        )
    start = model.config.decoder_start_token_id
    ids = special_ids(tokenizer, model.generation_config.decoder_start_token_id if start is None else start)
    model.config.update(ids)
    # Nothing else: not the search of an earlier fine-tuning.
    model.generation_config = transformers.GenerationConfig(**ids)
    return model


def choose_device(settings: TrainConfig) -> tuple[bool, bool, str]:
    """(on the CPU, bf16, a line that says why). Raises StageError (2) for what this machine cannot do.

    fp16 is taken only when train.precision asks for it: T5's activations may leave its range.
    """
    cuda, fp16 = torch.cuda.is_available(), settings.precision == "fp16"
    if settings.device == "cuda" and not cuda:
        raise StageError("train.device=cuda: torch sees no NVIDIA GPU here; see README.md, GPU", 2)
    if settings.device == "cpu" or not cuda:
        if fp16:
            raise StageError("train.precision=fp16 needs an NVIDIA GPU; set train.precision=auto", 2)
        bf16 = settings.precision == "bf16"
        return True, bf16, f"CPU, {torch.get_num_threads()} threads, {'bf16' if bf16 else 'fp32'}"
    able, name = torch.cuda.get_device_capability()[0] >= 8, torch.cuda.get_device_name()
    if settings.precision == "bf16" and not able:
        raise StageError(
            f"train.precision=bf16: {name} has no bf16; set train.precision=fp32, or fp16, which is faster", 2
        )
    if fp16:
        kind = "fp16 with a scaled loss" + (" (bf16, which this GPU has, is safer)" if able else "")
    elif able:
        kind = "fp32" if settings.precision == "fp32" else "bf16"
    else:
        kind = "fp32 (it has no bf16; train.precision=fp16 is faster, and stops at the first NaN)"
    return False, kind == "bf16", f"{name}, {kind}"
