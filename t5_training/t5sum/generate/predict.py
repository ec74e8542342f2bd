"""Summaries through the exported model, as the API makes them; and through full precision, to compare.

Every setting comes from the revision's tasks.json. The longest texts go first, in batches of like lengths,
one translator a core, so that neither padding nor the last batch keeps a core waiting.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.config import SummarizeConfig
from t5sum.generate.examples import source_text
from t5sum.generate.tokens import first_line
from t5sum.progress import say

MOST_EXAMPLES = 32  # in one batch: beyond that the beams' memory grows and the speed does not


@dataclass
class Generation:
    """Summaries in the order of the rows; how many were made now (not remembered) and in how many seconds."""

    predictions: list[str]
    device: str
    fresh: int
    seconds: float

    @property
    def per_second(self) -> float | None:
        return self.fresh / self.seconds if self.fresh and self.seconds else None


def load_tasks(model_dir: Path) -> dict[str, Any]:
    """tasks.json of a model revision's folder. Raises StageError (3) when it cannot be used."""
    path = model_dir / "tasks.json"
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} is missing: the folder holds no exported model revision", 3) from None
    except ValueError as error:
        raise StageError(f"{path} is not JSON: {error}", 3) from None
    if tasks.get("format") != 1 or "summarize" not in tasks:
        raise StageError(f"{path} has format {tasks.get('format')!r}; this program reads format 1", 3)
    return tasks


def sources(rows: Sequence[dict[str, Any]], summarize: dict[str, Any]) -> list[str]:
    """What the encoder reads for each row, as training made it and as the API makes it."""
    settings = SummarizeConfig(
        summarize["prefix"], summarize.get("with_title", False), summarize["source_max_tokens"], 0
    )
    return [source_text(row["text"], row.get("title") or "", settings) for row in rows]


def encode(texts: Sequence[str], tokenizer: Any, summarize: dict[str, Any]) -> list[list[int]]:
    """Token ids of each source, cut to source_max_tokens with </s> the last of them."""
    most, end = summarize["source_max_tokens"] - 1, tokenizer.token_to_id(summarize["eos"])
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [[*each.ids[:most], end] for each in encoded]


def load_tokenizer(model_dir: Path, summarize: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_dir / summarize["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # as text, which split_special_tokens is in training
    return tokenizer


def load_translator(model_dir: Path, compute_type: str, device: str, workers: int) -> Any:
    """The export. device: auto takes a GPU when CTranslate2 can run on one, else the CPU."""
    import ctranslate2

    folder = model_dir / "ct2"
    if not (folder / "model.bin").exists():
        raise StageError(f"{folder} holds no model.bin: export the model first", 3)
    if device in ("auto", "cuda") and ctranslate2.get_cuda_device_count():
        try:
            translator = ctranslate2.Translator(str(folder), device="cuda", compute_type=compute_type)
            # A missing library, such as another CUDA's cuBLAS, is noticed by the first call only.
            translator.translate_batch([["</s>"]], beam_size=1, max_decoding_length=1)
            return translator
        except (RuntimeError, ValueError) as error:
            if device == "cuda":
                raise StageError(
                    f"evaluate.device=cuda, but the GPU cannot run the export: {error}", 5
                ) from None
            say(f"evaluate: CTranslate2 cannot use the GPU ({first_line(error)}); the CPU summarizes instead")
    elif device == "cuda":
        raise StageError("evaluate.device=cuda, but CTranslate2 sees no GPU; set it to cpu or auto", 5)
    try:
        return ctranslate2.Translator(
            str(folder), device="cpu", compute_type=compute_type, inter_threads=workers, intra_threads=1
        )
    except (RuntimeError, ValueError) as error:
        raise StageError(f"{folder} cannot be loaded: {error}", 3) from None


def batches(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Indices, longest first, in batches of at most `most_tokens` tokens with padding."""
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = longest if batch else lengths[index]
        if batch and (longest * (len(batch) + 1) > most_tokens or len(batch) == MOST_EXAMPLES):
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch


def generate(
    model_dir: Path,
    rows: Sequence[dict[str, Any]],
    device: str = "auto",
    batch_tokens: int = 4096,
    workers: int | None = None,
    remembered: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Generation:
    """Summarize rows through model_dir/ct2 with the settings of tasks.json.

    remembered: a file that keeps every summary once it is made, so that an interrupted evaluation goes on
    where it stopped. It is dropped when the model or its settings are others.
    """
    summarize = load_tasks(model_dir)["summarize"]
    tokenizer = load_tokenizer(model_dir, summarize)
    translator = load_translator(model_dir, summarize["compute_type"], device, workers or os.cpu_count() or 1)
    texts = sources(rows, summarize)
    memory = Memory(remembered, _model_key(model_dir, summarize, translator.device)) if remembered else None
    predictions: list[str | None] = [memory.get(text) if memory else None for text in texts]
    missing = [index for index, known in enumerate(predictions) if known is None]
    tokens = encode([texts[index] for index in missing], tokenizer, summarize)
    waiting: deque[tuple[list[int], list[Any]]] = deque()
    started, done = time.monotonic(), len(rows) - len(missing)

    def finish() -> None:
        nonlocal done
        batch, results = waiting.popleft()
        for place, result in zip(batch, results, strict=True):
            index = missing[place]
            predictions[index] = decode(result.result().hypotheses[0], tokenizer)
            if memory:
                memory.add(texts[index], predictions[index])
        done += len(batch)
        progress(done, len(rows))

    try:
        for batch in batches([len(each) for each in tokens], batch_tokens):
            # From ids, not from the encoding's own tokens: encode_batch_fast leaves those empty.
            results = translator.translate_batch(
                [[tokenizer.id_to_token(number) for number in tokens[place]] for place in batch],
                max_input_length=0,  # its own default would cut at 1024 tokens
                asynchronous=True,
                **summarize["generation"],
            )
            waiting.append((batch, results))
            if len(waiting) > 2 * translator.num_translators:
                finish()
        while waiting:
            finish()
    finally:
        if memory:
            memory.close()
    return Generation(predictions, translator.device, len(missing), time.monotonic() - started)


def decode(pieces: Sequence[str], tokenizer: Any) -> str:
    """Tokens of the decoder → text, special tokens left out."""
    ids = [tokenizer.token_to_id(piece) for piece in pieces]
    return tokenizer.decode([known for known in ids if known is not None], skip_special_tokens=True).strip()


def generate_full_precision(
    model_dir: Path,
    rows: Sequence[dict[str, Any]],
    batch: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Generation:
    """The same through transformers in float32: the same sources, tokens, beams and limits.

    early_stopping, renormalize_logits, min_new_tokens: with them transformers searches as CTranslate2 does.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # its bars are drawn where there is no terminal, too
    summarize = load_tasks(model_dir)["summarize"]
    settings = summarize["generation"]
    tokenizer = load_tokenizer(model_dir, summarize)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSeq2SeqLM.from_pretrained(model_dir, dtype=torch.float32).to(device).eval()
    pad = model.config.pad_token_id or 0
    ids = encode(sources(rows, summarize), tokenizer, summarize)
    order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
    predictions = [""] * len(ids)
    started = time.monotonic()
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        longest = max(len(ids[index]) for index in part)
        padded = torch.tensor([ids[i] + [pad] * (longest - len(ids[i])) for i in part])
        mask = torch.tensor([[1] * len(ids[i]) + [0] * (longest - len(ids[i])) for i in part])
        with torch.inference_mode():
            output = model.generate(
                input_ids=padded.to(device),
                attention_mask=mask.to(device),
                num_beams=settings["beam_size"],
                no_repeat_ngram_size=settings["no_repeat_ngram_size"],
                max_new_tokens=settings["max_decoding_length"],
                length_penalty=settings["length_penalty"],
                repetition_penalty=settings["repetition_penalty"],
                early_stopping=settings["beam_size"] > 1,
                renormalize_logits=True,
                min_new_tokens=1,
                do_sample=False,
                # Older revisions name other ids in their generation_config.json than their tokenizer has.
                eos_token_id=tokenizer.token_to_id(summarize["eos"]),
                decoder_start_token_id=model.config.decoder_start_token_id,
            )
        for index, made in zip(part, output.tolist(), strict=True):
            predictions[index] = tokenizer.decode(made, skip_special_tokens=True).strip()
        progress(min(start + batch, len(order)), len(order))
    return Generation(predictions, device, len(rows), time.monotonic() - started)


class Memory:
    """Summaries made so far, one JSON line each, under a first line that names model and settings."""

    def __init__(self, path: Path, key: str) -> None:
        self.known: dict[str, str] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if lines and lines[0] == json.dumps({"key": key}):
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except ValueError:  # the last line of a run that was killed while it wrote
                    continue
                self.known[entry["source"]] = entry["prediction"]
            self.file = path.open("a", encoding="utf-8")
            self.file.write("\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("w", encoding="utf-8")
            self.file.write(json.dumps({"key": key}) + "\n")

    def get(self, source: str) -> str | None:
        return self.known.get(_digest(source))

    def add(self, source: str, prediction: str) -> None:
        entry = {"source": _digest(source), "prediction": prediction}
        self.file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _model_key(model_dir: Path, summarize: dict[str, Any], device: str) -> str:
    digest = hashlib.sha256(f"{json.dumps(summarize, sort_keys=True)} {device}".encode())
    for path in (model_dir / "ct2" / "model.bin", model_dir / summarize["tokenizer"]):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
