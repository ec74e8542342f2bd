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
from .base import HARD_TEXTS, REAL, Context, Field, Task, check_fields, check_path, shown

# Each is a parameter of CTranslate2's translate_batch; a revision names those that it was evaluated with.
GENERATION: dict[str, Field] = {
    "beam_size": (int, 1, 64), "no_repeat_ngram_size": (int, 0, 1000),
    "max_decoding_length": (int, 1, 4096), "min_decoding_length": (int, 0, 4096),
    "length_penalty": (REAL, -10, 10), "coverage_penalty": (REAL, 0, 10),
    "repetition_penalty": (REAL, 0.01, 100), "patience": (REAL, 0.01, 100),
}  # fmt: skip

# Characters from which looking for names and numbers takes more than a few milliseconds.
_LONG_SOURCE = 5_000
# Drafts of one source that are kept: one for each headline that the model does not read.
_MOST_HEADLINES = 8


@dataclass(frozen=True)
class Draft:
    """One of the texts that were generated, with the names and numbers in it that the source lacks."""

    text: str
    unsupported: list[Unsupported]

    def beginning(self, text: str) -> Draft:
        """This draft shortened to `text`, with those of its names and numbers that are left."""
        left = [part for part in self.unsupported if text[part.start : part.end] == part.text]
        return Draft(text, left)


@dataclass(frozen=True)
class Generated:
    """`drafts` are different from each other, best first; there may be none."""

    drafts: list[Draft]
    source: SourceRead


@dataclass(frozen=True)
class Kept:
    """What was generated from one source, and its drafts by the columns of the requests that asked for it."""

    found: Generation
    drafts: dict[int, list[Draft]]


def _key(values: Mapping[str, str]) -> int:
    return hash(tuple(values.items()))


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
                f"tasks.json {name} asks for the engine {shown(section['engine'])}; this API has only ct2"
            )
        for file in ("tokenizer", "model"):
            check_path(f"{name}.{file}", section[file])
        generation = section["generation"]
        if unknown := sorted(generation.keys() - GENERATION.keys()):
            raise ModelRefused(f"tasks.json asks for unknown generation settings: {', '.join(unknown)[:200]}")
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

    def rehearse(self) -> None:
        for text in HARD_TEXTS:
            self.engine.split(dict.fromkeys(self.columns, text))

    def takes_slot(self, options: Mapping[str, Any]) -> bool:
        return True

    def cache_key(self, values: Mapping[str, str], options: Mapping[str, Any]) -> tuple:
        return (self.source(values), options.get("variants") or 1)

    def compute(self, values: Mapping[str, str], options: Mapping[str, Any], context: Context) -> Kept:
        count = options.get("variants") or 1
        found = self.engine.generate(values, count, context.run, context.max_windows, context.check)
        kept = Kept(found, {})
        self.add(kept, values, context)
        return kept

    def lacks(self, result: Kept, values: Mapping[str, str]) -> bool:
        return _key(values) not in result.drafts

    def add(self, result: Kept, values: Mapping[str, str], context: Context) -> None:
        # A headline supports a name even if the model does not read it.
        source = "\n".join(values.values()) if result.found.texts else ""

        def drafts() -> list[Draft]:
            evidence = Text(source)
            return [Draft(text, find_unsupported(text, evidence)) for text in result.found.texts]

        # A long source takes a fifth of a second: as many at once as there are translators.
        [made] = context.run([drafts]) if len(source) > _LONG_SOURCE else [drafts()]
        if len(result.drafts) >= _MOST_HEADLINES:
            result.drafts.pop(next(iter(result.drafts)), None)
        result.drafts[_key(values)] = made

    def answer(self, result: Kept, values: Mapping[str, str], options: Mapping[str, Any]) -> Generated:
        drafts, read = result.drafts.get(_key(values), []), result.found.source
        most = options.get("max_chars")
        if most is None:
            return Generated(drafts, read)
        short: dict[str, Draft] = {}
        for draft in drafts:
            short.setdefault(shorten(draft.text, most), draft)
        # Two texts may be alike once they are shortened.
        texts = different(list(short), len(short))
        return Generated([short[text].beginning(text) for text in texts], read)
