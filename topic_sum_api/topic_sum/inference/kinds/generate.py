"""Text in, text out: a T5 that CTranslate2 runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..engine import Engine, Generation, SourceRead, different
from ..errors import ModelRefused
from ..served.support import Text
from ..text import shorten
from ..unsupported import Unsupported, find_unsupported
from .base import REAL, Context, Field, Task, check_fields, check_path

# Each is a parameter of CTranslate2's translate_batch; a revision names those that it was evaluated with.
GENERATION: dict[str, Field] = {
    "beam_size": (int, 1, 64), "no_repeat_ngram_size": (int, 0, 1000),
    "max_decoding_length": (int, 1, 4096), "min_decoding_length": (int, 0, 4096),
    "length_penalty": (REAL, -10, 10), "coverage_penalty": (REAL, 0, 10),
    "repetition_penalty": (REAL, 0.01, 100), "patience": (REAL, 0.01, 100),
}  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """One of the texts that were generated, with the names and numbers in it that the source lacks."""

    text: str
    unsupported: list[Unsupported]


@dataclass(frozen=True)
class Generated:
    """`drafts` are different from each other, best first; there may be none."""

    drafts: list[Draft]
    source: SourceRead


class Generate(Task):
    """Options: `variants`, how many different texts; `max_chars`, the longest text."""

    kind: ClassVar[str] = "generate"
    section: ClassVar[dict[str, Field]] = {
        "eos": str, "compute_type": str, "tokenizer": str, "model": str, "generation": dict,
        "source_max_tokens": (int, 64, 16_384),
    }  # fmt: skip

    def __init__(self, name: str, section: Mapping[str, Any], folder: Path, translators: int):
        super().__init__(name, section)
        self.engine = Engine(folder, section, translators)

    @classmethod
    def check(cls, name: str, section: Mapping[str, Any]) -> None:
        super().check(name, section)
        if section.get("engine", "ct2") != "ct2":
            raise ModelRefused(
                f"tasks.json {name} asks for the engine {section['engine']!r}; this API has only ct2"
            )
        for file in ("tokenizer", "model"):
            check_path(f"{name}.{file}", section[file])
        generation = section["generation"]
        if unknown := sorted(generation.keys() - GENERATION.keys()):
            raise ModelRefused(f"tasks.json asks for unknown generation settings: {', '.join(unknown)}")
        where = f"{name}.generation"
        check_fields(where, generation, {setting: GENERATION[setting] for setting in generation})
        least, most = generation.get("min_decoding_length", 0), generation.get("max_decoding_length", 256)
        if least > most:
            raise ModelRefused(
                f"tasks.json {where}.min_decoding_length is {least}, more than the {most} allowed"
            )

    @classmethod
    def files(cls, section: Mapping[str, Any]) -> list[str]:
        names = ("model.bin", "config.json", "*vocabulary.json", "*vocabulary.txt")
        return [section["tokenizer"], *(f"{section['model']}/{name}" for name in names)]

    @classmethod
    def load(cls, name: str, section: Mapping[str, Any], folder: Path, translators: int) -> Task:
        return cls(name, section, folder, translators)

    def trial(self) -> None:
        try:
            text = self.engine.attempt(self.trial_values)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelRefused(f"{self.name} failed on the trial text: {error}") from None
        if not text:
            raise ModelRefused(f"{self.name} answered the trial text with nothing")

    def takes_slot(self, options: Mapping[str, Any]) -> bool:
        return True

    def cache_key(self, values: Mapping[str, str], options: Mapping[str, Any]) -> tuple:
        return (self.source(values), options.get("variants") or 1)

    def compute(self, values: Mapping[str, str], options: Mapping[str, Any], context: Context) -> Generation:
        count = options.get("variants") or 1
        return self.engine.generate(values, count, context.run, context.max_windows, context.check)

    def answer(self, result: Generation, values: Mapping[str, str], options: Mapping[str, Any]) -> Generated:
        texts = result.texts
        if (most := options.get("max_chars")) is not None:
            # Two texts may be alike once they are shortened.
            texts = different([shorten(text, most) for text in texts], len(texts))
        # A headline supports a name even if the model does not read it.
        evidence = Text("\n".join(values.values()) if texts else "")
        return Generated([Draft(text, find_unsupported(text, evidence)) for text in texts], result.source)
