"""Outputs of the exported model, as the API makes them; and of full precision, to compare.

Every setting comes from the revision's tasks.json. The longest texts go first, in batches of similar lengths,
with one translator per core, so that neither padding nor the last batch keeps a core waiting.
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

from t5sum import StageError, first_line
from t5sum.config import parsed
from t5sum.progress import say
from t5sum.sources import fitting
from t5sum.tasks import section_of

MOST_EXAMPLES = 32  # in one batch: beyond that the beams' memory grows and the speed does not


@dataclass(frozen=True)
class Export:
    """One generate task of a model revision's folder: where its files lie, and its section of tasks.json."""

    folder: Path
    name: str
    section: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, name: str = "") -> Export:
        """The task with this name, or the first generate task. Raises StageError (3)."""
        return cls(folder, *section_of(folder, "generate", name))

    @property
    def engine(self) -> Path:
        return self.folder / self.section["model"]

    @property
    def full_precision(self) -> Path:
        """The folder of the transformers files."""
        return (self.folder / self.section["tokenizer"]).parent

    def sources(self, rows: Sequence[dict[str, Any]], tokenizer: Any = None) -> list[str]:
        """What the encoder reads for each row, as training made it and as the API makes it."""
        template, most = parsed(self.section["source"]), self.section["source_max_tokens"]
        tokenizer = tokenizer or self.load_tokenizer()

        def count(text: str) -> int:
            return len(tokenizer.encode(text, add_special_tokens=False).ids)

        return [fitting(row, template, most, count) for row in rows]

    def load_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / self.section["tokenizer"]))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # as text, which split_special_tokens is in training
        return tokenizer

    def encode(self, texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
        """Token ids of each source, cut to source_max_tokens with the end token the last of them."""
        most, end = self.section["source_max_tokens"] - 1, tokenizer.token_to_id(self.section["eos"])
        encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[*each.ids[:most], end] for each in encoded]


@dataclass
class Generation:
    """Outputs in the order of the rows; how many were made now (not remembered), and in how many seconds."""

    predictions: list[str]
    device: str
    fresh: int
    seconds: float

    @property
    def per_second(self) -> float | None:
        return self.fresh / self.seconds if self.fresh and self.seconds else None


def load_translator(folder: Path, compute_type: str, device: str, workers: int) -> Any:
    """The export. device: auto takes a GPU when CTranslate2 can run on one, else the CPU."""
    import ctranslate2

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
    export: Export,
    rows: Sequence[dict[str, Any]],
    device: str = "auto",
    batch_tokens: int = 4096,
    workers: int | None = None,
    remembered: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Generation:
    """Outputs for rows through the export, with the settings of tasks.json.

    remembered: a file that keeps every output once it is made, so that an interrupted evaluation
    continues where it stopped. It is dropped if the model or its settings have changed.
    """
    tokenizer = export.load_tokenizer()
    compute_type = export.section["compute_type"]
    translator = load_translator(export.engine, compute_type, device, workers or os.cpu_count() or 1)
    texts = export.sources(rows, tokenizer)
    memory = Memory(remembered, _model_key(export, translator.device)) if remembered else None
    predictions: list[str | None] = [memory.get(text) if memory else None for text in texts]
    missing = [index for index, known in enumerate(predictions) if known is None]
    tokens = export.encode([texts[index] for index in missing], tokenizer)
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
                **export.section["generation"],
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
    export: Export,
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

    logging.disable_progress_bar()  # its bars are drawn without a terminal, too
    settings = export.section["generation"]
    tokenizer = export.load_tokenizer()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = (
        AutoModelForSeq2SeqLM.from_pretrained(export.full_precision, dtype=torch.float32).to(device).eval()
    )
    pad = model.config.pad_token_id or 0
    ids = export.encode(export.sources(rows, tokenizer), tokenizer)
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
                eos_token_id=tokenizer.token_to_id(export.section["eos"]),
                decoder_start_token_id=model.config.decoder_start_token_id,
            )
        for index, made in zip(part, output.tolist(), strict=True):
            predictions[index] = tokenizer.decode(made, skip_special_tokens=True).strip()
        progress(min(start + batch, len(order)), len(order))
    return Generation(predictions, device, len(rows), time.monotonic() - started)


class Memory:
    """Outputs made so far, one JSON line each, under a first line that names model and settings."""

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


def _model_key(export: Export, device: str) -> str:
    served = {key: value for key, value in export.section.items() if key != "metrics"}
    digest = hashlib.sha256(f"{json.dumps(served, sort_keys=True)} {device}".encode())
    for path in (export.engine / "model.bin", export.folder / export.section["tokenizer"]):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
