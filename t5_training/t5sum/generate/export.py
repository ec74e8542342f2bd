"""Checkpoint → model folder: transformers files for those who train on, CTranslate2 int8 for the API."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.config import Config
from t5sum.progress import say

SAMPLE_TOKENS = 256  # source tokens of a compared text
WRITTEN_TOKENS = 48
LEAST_EQUAL = 0.75  # share of compared outputs that must be the same token for token


def export(checkpoint: Path, model_dir: Path, config: Config, texts: Sequence[str]) -> dict[str, Any]:
    """Fill `model_dir` from a trained checkpoint; check the conversion on `texts` (sources with prefix).

    Returns {"compared": texts, "equal": outputs equal token for token, "bytes": size of ct2/}. Raises
    StageError when CTranslate2 computes something else than transformers: another model than was trained.
    """
    from transformers import GenerationConfig

    from t5sum.generate.train import quiet_libraries

    quiet_libraries()
    fresh = model_dir.with_name(model_dir.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(checkpoint, fresh, copy_function=link_weights)
    settings = config.generation
    GenerationConfig(
        num_beams=settings.beam_size, no_repeat_ngram_size=settings.no_repeat_ngram_size,
        max_new_tokens=settings.max_decoding_length, length_penalty=settings.length_penalty,
        repetition_penalty=settings.repetition_penalty,
        # CTranslate2 ends a beam search as soon as it has enough finished texts; so must transformers.
        early_stopping=settings.beam_size > 1, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0,
    ).save_pretrained(fresh)  # fmt: skip
    equal = 0
    if texts:
        with tempfile.TemporaryDirectory(dir=fresh.parent) as exact:
            convert(fresh, Path(exact) / "ct2", "float32")
            equal = same_outputs(fresh, Path(exact) / "ct2", texts)
        if equal < LEAST_EQUAL * len(texts):
            raise StageError(
                f"the CTranslate2 export writes other texts than the trained model ({equal} of {len(texts)} "
                "equal, greedy, in full precision): this base cannot be served; choose another model.base"
            )
    convert(fresh, fresh / "ct2", "int8")
    check_finite(fresh, texts)
    shutil.rmtree(model_dir, ignore_errors=True)
    fresh.replace(model_dir)
    size = sum(path.stat().st_size for path in (model_dir / "ct2").iterdir())
    say(f"export: int8, {size / 1e6:.1f} MB; {equal} of {len(texts)} texts as transformers writes them")
    return {"compared": len(texts), "equal": equal, "bytes": size}


def link_weights(source: str, target: str) -> None:
    """Weights are linked, not copied, where the disk can: nobody writes into them again."""
    if source.endswith(".safetensors"):
        try:
            Path(target).hardlink_to(source)
            return
        except OSError:
            pass  # a file system without links: a copy does the same, in more room
    shutil.copy2(source, target)


def convert(model_dir: Path, target: Path, quantization: str) -> None:
    """Write the CTranslate2 form of a transformers folder."""
    from ctranslate2.converters import TransformersConverter

    try:
        TransformersConverter(str(model_dir)).convert(str(target), quantization=quantization, force=True)
    except ValueError as error:
        raise StageError(f"this base model cannot be exported to CTranslate2: {error}", 2) from None


def same_outputs(model_dir: Path, ct2: Path, texts: Sequence[str]) -> int:
    """How many of `texts` get the same tokens from both, greedy, in full precision."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    tokenizer, sources = load_sources(model_dir, texts)
    model = AutoModelForSeq2SeqLM.from_pretrained(model_dir).eval()
    results = translate(ct2, "float32", tokenizer, sources, beam_size=1)
    equal = 0
    for ids, result in zip(sources, results, strict=True):
        with torch.no_grad():
            written = model.generate(
                input_ids=torch.tensor([ids]), max_new_tokens=WRITTEN_TOKENS, num_beams=1, do_sample=False,
                no_repeat_ngram_size=0, repetition_penalty=1.0, length_penalty=1.0, early_stopping=False,
            )[0, 1:].tolist()  # fmt: skip
        if tokenizer.eos_token_id in written:
            written = written[: written.index(tokenizer.eos_token_id)]
        equal += tokenizer.convert_ids_to_tokens(written) == result.hypotheses[0]
    return equal


def check_finite(model_dir: Path, texts: Sequence[str]) -> None:
    """Refuse an int8 export whose scores are no numbers."""
    tokenizer, sources = load_sources(model_dir, texts)
    for result in translate(model_dir / "ct2", "int8", tokenizer, sources, beam_size=2):
        if not all(math.isfinite(score) for score in result.scores):
            raise StageError(
                "the int8 export gives scores that are no numbers: the trained weights are broken"
            )


def load_sources(model_dir: Path, texts: Sequence[str]) -> tuple[Any, list[list[int]]]:
    """The folder's tokenizer, and token ids of every text, cut, with </s>."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    ids = (
        tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if texts
        else []
    )
    return tokenizer, [[*each[: SAMPLE_TOKENS - 1], tokenizer.eos_token_id] for each in ids]


def translate(
    ct2: Path, compute_type: str, tokenizer: Any, sources: list[list[int]], beam_size: int
) -> list[Any]:
    import ctranslate2

    if not sources:
        return []
    translator = ctranslate2.Translator(str(ct2), device="cpu", compute_type=compute_type, intra_threads=0)
    return translator.translate_batch(
        [tokenizer.convert_ids_to_tokens(ids) for ids in sources], beam_size=beam_size, max_input_length=0,
        max_decoding_length=WRITTEN_TOKENS, return_scores=True, max_batch_size=4,
    )  # fmt: skip
