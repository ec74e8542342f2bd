"""Checkpoint → model folder: transformers files for those who train on, CTranslate2 int8 for the API.

Both must compute what was trained. Only T5's first generation scales its decoder's output. transformers 5
keeps that in `scale_decoder_outputs`, but CTranslate2's loader reads `tie_word_embeddings`, which is always
true there. With a wrong scale greedy texts stay the same, while probabilities and beams change. So the
conversion takes the scale from the right place, and both are compared before anything is served.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5sum import StageError
from t5sum.config import GenerateTask
from t5sum.generate.predict import Export
from t5sum.generate.tokens import special_ids
from t5sum.progress import say

SAMPLE_TOKENS = 256  # source tokens of a compared text
WRITTEN_TOKENS = 48
LEAST_EQUAL = 0.75  # share of the compared texts that both beam searches must write alike, token for token
# How far a token's log-probability may lie from transformers' own: in float32 for every token, in int8 in the
# mean over all tokens. A wrong scale is off by several.
MOST_OFF = {"float32": 0.02, "int8": 0.5}


def export(checkpoint: Path, model_dir: Path, task: GenerateTask, texts: Sequence[str]) -> dict[str, Any]:
    """Fill `model_dir` from a trained checkpoint; check the conversion on `texts` (sources with prefix).

    Returns {"compared": texts, "equal": those whose beam search gives equal tokens in full precision,
    "off": mean distance of int8's log-probabilities, "eos": the piece that ends a text, "bytes": of ct2/}.
    Raises StageError if CTranslate2 computes something else than transformers does with the trained model.
    """
    from t5sum.generate.model import quiet_libraries

    quiet_libraries()
    fresh = model_dir.with_name(model_dir.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(checkpoint, fresh, copy_function=link_weights)
    eos = complete(fresh, task)
    expected = Expected.of(fresh, task, eos, texts)
    with tempfile.TemporaryDirectory(dir=fresh.parent) as exact:
        if texts:
            convert(fresh, Path(exact) / "ct2", "float32")
        equal, _ = expected.compare(Path(exact) / "ct2", "float32")
    convert(fresh, fresh / "ct2", "int8")
    _, off = expected.compare(fresh / "ct2", "int8")
    shutil.rmtree(model_dir, ignore_errors=True)
    fresh.replace(model_dir)
    size = sum(path.stat().st_size for path in (model_dir / "ct2").iterdir())
    say(
        f"export: int8, {size / 1e6:.1f} MB; {equal} of {len(texts)} texts as transformers writes them, "
        f"log-probabilities within {off:.3f} of its own"
    )
    return {
        "compared": len(texts), "equal": equal, "off": round(off, 4), "eos": eos, "bytes": size
    }  # fmt: skip


def link_weights(source: str, target: str) -> None:
    """Weights are linked, not copied, if the disk can: nobody writes into them again."""
    if source.endswith(".safetensors"):
        try:
            Path(target).hardlink_to(source)
            return
        except OSError:
            pass  # a file system without links: a copy does the same, and takes more room
    shutil.copy2(source, target)


def complete(folder: Path, task: GenerateTask) -> str:
    """Write what every reader must know into config.json and generation_config.json; the piece of the end.

    The special ids are those of the tokenizer and of the model's own config. A model that does not scale its
    output gets `tie_word_embeddings: false` and an lm_head of its own, as transformers 4 and others expect.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape = AutoConfig.from_pretrained(folder)
    ids = special_ids(tokenizer, shape.decoder_start_token_id)
    weights, scaled = folder / "model.safetensors", scales_outputs(shape)
    with safe_open(weights, "pt") as file:
        own_head = "lm_head.weight" in file.keys()  # noqa: SIM118
    if not scaled and not own_head:
        values = load_file(weights)
        values["lm_head.weight"] = values["shared.weight"].clone()
        weights.unlink()  # it may be linked to the checkpoint's
        save_file(values, weights, {"format": "pt"})
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    saved |= ids | {"tie_word_embeddings": scaled and not own_head}
    if shape.model_type == "t5":
        saved["scale_decoder_outputs"] = scaled
    (folder / "config.json").write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    served = task.generation
    GenerationConfig(
        num_beams=served.beam_size, no_repeat_ngram_size=served.no_repeat_ngram_size,
        max_new_tokens=served.max_decoding_length, length_penalty=served.length_penalty,
        repetition_penalty=served.repetition_penalty,
        # CTranslate2 ends a beam search as soon as it has enough finished texts, computes probabilities after
        # no_repeat_ngram_size has ruled out tokens, and writes no empty text. transformers must be asked to.
        early_stopping=served.beam_size > 1, renormalize_logits=True, min_new_tokens=1, **ids,
    ).save_pretrained(folder)  # fmt: skip
    return tokenizer.eos_token


def scales_outputs(shape: Any) -> bool:
    """Whether this T5 multiplies its decoder's output by d_model^-0.5. An mT5 never does."""
    return shape.model_type == "t5" and shape.scale_decoder_outputs


def convert(model_dir: Path, target: Path, quantization: str) -> None:
    """Write the CTranslate2 form of a transformers folder."""
    from ctranslate2.converters import transformers as converters
    from ctranslate2.specs.model_spec import OPTIONAL

    class AsTrained:
        """CTranslate2's loader, with the config's own scale and a name for each row of the vocabulary."""

        def get_model_spec(self, model: Any) -> Any:
            spec = super().get_model_spec(model)  # type: ignore[misc]
            spec.decoder.scale_outputs = (
                model.config.d_model**-0.5 if scales_outputs(model.config) else OPTIONAL
            )
            return spec

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            names = {number: token for token, number in tokenizer.get_vocab().items()}
            return [names.get(number, f"<unused_{number}>") for number in range(model.config.vocab_size)]

    class T5(AsTrained, converters.T5Loader):
        pass

    class MT5(AsTrained, converters.MT5Loader):
        pass

    converters._MODEL_LOADERS |= {"T5Config": T5(), "MT5Config": MT5()}
    try:
        converters.TransformersConverter(str(model_dir)).convert(
            str(target), quantization=quantization, force=True
        )
    except (ValueError, KeyError) as error:
        raise StageError(f"this base model cannot be exported to CTranslate2: {error}", 2) from None


@dataclass(frozen=True)
class Expected:
    """What transformers computes in float32: each source's beam search, and its tokens' log-probabilities."""

    sources: list[list[str]]
    written: list[list[str]]
    log_probabilities: list[np.ndarray]
    start: str
    options: dict[str, Any]

    @classmethod
    def of(cls, model_dir: Path, task: GenerateTask, eos: str, texts: Sequence[str]) -> Expected:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        served = {"tokenizer": "tokenizer.json", "eos": eos, "source_max_tokens": SAMPLE_TOKENS}
        options = vars(task.generation) | {
            "max_decoding_length": min(WRITTEN_TOKENS, task.generation.max_decoding_length),
            # Left out: transformers applies it to log-probabilities, CTranslate2 to logits.
            "repetition_penalty": 1.0,
        }
        if not texts:
            return cls([], [], [], "", options)
        exported = Export(model_dir, "", served)
        tokenizer = exported.load_tokenizer()
        sources = exported.encode(texts, tokenizer)
        plain = AutoTokenizer.from_pretrained(model_dir)(list(texts), split_special_tokens=True)["input_ids"]
        if sources != [[*ids[:-1][: SAMPLE_TOKENS - 1], ids[-1]] for ids in plain]:
            raise StageError(
                "the exported tokenizer.json gives other tokens than transformers does with it", 2
            )
        model = AutoModelForSeq2SeqLM.from_pretrained(model_dir, dtype=torch.float32).eval()
        names = [tokenizer.id_to_token(i) or f"<unused_{i}>" for i in range(model.config.vocab_size)]
        start, end = model.config.decoder_start_token_id, model.config.eos_token_id
        written, log_probabilities = [], []
        for ids in sources:
            with torch.no_grad():
                source = torch.tensor([ids])
                made = model.generate(
                    input_ids=source, max_new_tokens=options["max_decoding_length"], repetition_penalty=1.0,
                    suppress_tokens=[start], do_sample=False,
                )[0, 1:].tolist()  # fmt: skip
                made = made[: made.index(end)] if end in made else made
                logits = model(input_ids=source, decoder_input_ids=torch.tensor([[start, *made]])).logits[0]
                wanted = torch.tensor([[*made, end]]).T
                log_probabilities.append(logits.log_softmax(-1).gather(1, wanted)[:, 0].numpy())
            written.append([names[i] for i in made])
        pieces = [[names[i] for i in ids] for ids in sources]
        return cls(pieces, written, log_probabilities, names[start], options)

    def compare(self, ct2: Path, compute_type: str) -> tuple[int, float]:
        """(texts that its beams write equally, how far off its log-probabilities are), or StageError.

        Beams are compared in float32 only: int8 rounds, and evaluation judges its texts.
        """
        import ctranslate2

        if not self.sources:
            return 0, 0.0
        translator = ctranslate2.Translator(
            str(ct2), device="cpu", compute_type=compute_type, intra_threads=0
        )
        scored = translator.score_batch(
            self.sources, self.written, max_input_length=0, max_batch_size=4, batch_type="examples"
        )
        distances = [
            np.abs(np.array(result.log_probs) - expected)
            for result, expected in zip(scored, self.log_probabilities, strict=True)
        ]
        exact = compute_type == "float32"
        off = float(max(map(np.max, distances)) if exact else np.concatenate(distances).mean())
        if not np.isfinite(off):
            raise StageError(
                f"the {compute_type} export gives scores that are no numbers: the trained weights are broken"
            )
        if off > MOST_OFF[compute_type]:
            raise StageError(
                f"the {compute_type} export computes other probabilities than the trained model (their "
                f"logarithms are off by {off:.2f}, {MOST_OFF[compute_type]} is allowed): this base cannot be "
                "served; choose another model.base"
            )
        if not exact:
            return 0, off
        found = translator.translate_batch(
            self.sources, max_input_length=0, max_batch_size=4, **self.options,
            # Only transformers counts it as the first word of what must not be repeated; no text holds it.
            suppress_sequences=[[self.start]],
        )  # fmt: skip
        equal = sum(a.hypotheses[0] == b for a, b in zip(found, self.written, strict=True))
        if equal < LEAST_EQUAL * len(self.sources):
            raise StageError(
                f"the CTranslate2 export writes other texts than the trained model ({equal} of "
                f"{len(self.sources)} equal, in float32 with {self.options['beam_size']} beams): this base "
                "cannot be served with these generation settings"
            )
        return equal, off
