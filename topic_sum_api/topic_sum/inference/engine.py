"""The summarizer: tokens in, CTranslate2, tokens out. One object a model revision, used by many threads."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
from tokenizers import Tokenizer

from .errors import ModelRefused, NotNow
from .served.text import literal
from .text import sentences

# Kept as they are asked of the model file: everything here is a parameter of translate_batch.
GENERATION_SETTINGS = {
    "beam_size", "no_repeat_ngram_size", "max_decoding_length", "min_decoding_length", "length_penalty",
    "repetition_penalty", "coverage_penalty", "patience",
}  # fmt: skip

_TRIAL_TOKENS = 24

# Openings less likely than this led to sentences about other news (seen on the demo's model).
_LIKELY_OPENING = 0.02

# What CTranslate2 and tokenizers say where memory or descriptors are short, and the file is not to blame.
_OF_THE_MACHINE = re.compile(r"failed to allocate|bad_alloc|open file|os error", re.IGNORECASE)

# Computes calls, perhaps at the same time or in one batch, and gives their results in order.
Run = Callable[[Sequence[Callable[[], list[str]]]], list[list[str]]]

# A batch takes at most the memory of so many of the longest texts that a model reads, and all that are made
# at the same time that of so many for each translator (or two, where there is only one).
_LONGEST_IN_BATCH = 2.125
_LONGEST_AT_ONCE = 1.75


@dataclass(frozen=True)
class Source:
    """What the model read of a text: tokens over all windows, windows, whether a rest was cut."""

    tokens: int
    windows: int
    cut: bool


@dataclass(frozen=True)
class Generation:
    """Summaries of one text, best first, all different."""

    summaries: list[str]
    source: Source


@dataclass(frozen=True)
class Translation:
    """One source to be made into one text: a call of the room's that may be made in a batch."""

    kind: Summarizer
    source: list[str]

    @property
    def tokens(self) -> int:
        return len(self.source) + self.kind.output_max

    @property
    def batch_tokens(self) -> int:
        return int(_LONGEST_IN_BATCH * self.kind.longest)

    @property
    def room_tokens(self) -> int:
        return int(max(_LONGEST_AT_ONCE * self.kind.translators, 2) * self.kind.longest)

    def __call__(self) -> list[str]:
        return self.kind.translate([self.source])

    def batch(self, calls: Sequence[Translation]) -> list[list[str]]:
        return [[text] for text in self.kind.translate([call.source for call in calls])]


class Summarizer:
    """A CTranslate2 sequence-to-sequence model with its tokenizer and the settings it was evaluated with."""

    def __init__(self, folder: Path, settings: dict, translators: int):
        self._prefix: str = settings["prefix"]
        self._eos: str = settings["eos"]
        self.with_title: bool = settings.get("with_title", False)  # whether it was trained on titles, too
        self.source_max: int = settings["source_max_tokens"]
        self._generation: dict = settings["generation"]
        # Tokens that a translation remembers of its output: a key and a value in each layer for each beam, as
        # each token of the source has them.
        self.output_max: int = self._generation.get("beam_size", 2) * self._generation.get(
            "max_decoding_length", 256
        )
        self.translators = translators
        unknown = set(self._generation) - GENERATION_SETTINGS
        if unknown:
            raise ModelRefused(
                f"tasks.json asks for unknown generation settings: {', '.join(sorted(unknown))}"
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / settings["tokenizer"]))
        except Exception as error:  # tokenizers raises bare Exception for every bad file
            if _OF_THE_MACHINE.search(str(error)):
                raise NotNow(f"{settings['tokenizer']} cannot be read: {error}") from None
            raise ModelRefused(f"{settings['tokenizer']} is not a tokenizer: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # as text; `literal` does the rest
        self._ids: dict[str, int] = {}
        for token, number in sorted(self._tokenizer.get_vocab().items(), key=lambda item: item[1]):
            self._ids.setdefault(token, number)
        if self._eos not in self._ids:
            raise ModelRefused(f"the tokenizer has no piece {self._eos!r}, which tasks.json names as the end")
        try:
            self._translator = ctranslate2.Translator(
                str(folder / "ct2"),
                device="cpu",
                compute_type=settings["compute_type"],
                inter_threads=translators,
                intra_threads=1,
            )
        except (RuntimeError, ValueError) as error:
            if _OF_THE_MACHINE.search(str(error)):
                raise NotNow(f"ct2/ cannot be loaded: {error}") from None
            raise ModelRefused(f"ct2/ cannot be loaded: {error}") from None

    @property
    def longest(self) -> int:
        """Tokens of the longest text that is read, and of its output."""
        return self.source_max + self.output_max

    def summarize(
        self,
        text: str,
        title: str,
        count: int,
        run: Run,
        max_windows: int,
        check: Callable[[], None] = lambda: None,
    ) -> Generation:
        """Up to `count` different summaries of `text` (normalised, not empty).

        A text longer than the model reads is split at sentences into windows of about equal size, each
        is summarized, and the summaries of the parts, put together, are summarized again. More than
        `max_windows` windows are not read: then `source.cut` is true. `check` is called between the steps
        that `run` does not do, and raises to end them.
        """
        lead = self._lead(title)
        tokens = self._pieces(lead + text)
        if len(tokens) < self.source_max:
            return Generation(self._generate(tokens, count, run), Source(len(tokens) + 1, 1, False))
        windows, cut = self._windows(text, lead, max_windows, check)
        read = sum(len(window) + 1 for window in windows)
        parts = run([Translation(self, self._ended(window)) for window in windows])
        merged = " ".join(text for part in parts for text in part if text)
        # Summaries are a fraction of their windows, so this ends; should a model ever answer as long as it
        # reads, the parts' summaries are the answer.
        if not merged or len(self._pieces(merged)) >= len(tokens) * 0.8:
            return Generation([merged] if merged else [], Source(read, len(windows), cut))
        again = self.summarize(merged, title, count, run, max_windows, check)
        return Generation(again.summaries, Source(read, len(windows), cut or again.source.cut))

    def attempt(self, text: str) -> str:
        """The first words of a summary of `text`: enough to see that the model answers, in less time."""
        pieces = self._pieces(self._prefix + text)[: self.source_max - 1]
        most = min(_TRIAL_TOKENS, self._generation.get("max_decoding_length", _TRIAL_TOKENS))
        return self.translate([self._ended(pieces)], max_decoding_length=most, min_decoding_length=1)[0]

    def source_tokens(self, text: str, title: str = "") -> list[str]:
        """The pieces of the whole source as the model would get them, the end piece included."""
        return self._ended(self._pieces(self._lead(title) + text))

    def _lead(self, title: str) -> str:
        return f"{self._prefix}{title}. " if title and self.with_title else self._prefix

    def _pieces(self, text: str) -> list[str]:
        return self._tokenizer.encode(literal(text), add_special_tokens=False).tokens

    def _windows(
        self, text: str, lead: str, max_windows: int, check: Callable[[], None] = lambda: None
    ) -> tuple[list[list[str]], bool]:
        """Sources of at most source_max_tokens - 1 pieces, each made of whole sentences where they fit."""
        budget = self.source_max - 1 - len(self._pieces(lead))
        if budget < 16:  # a title longer than the window: summarize without it
            lead, budget = self._prefix, self.source_max - 1 - len(self._pieces(self._prefix))
        units: list[tuple[str, int]] = []
        collected = 0
        for sentence in sentences(text):
            fitting = self._fitting(sentence, budget, check)
            units += fitting
            collected += sum(size for _, size in fitting)
            if collected > (max_windows + 1) * budget:  # the rest will not be read
                break
        groups = _even_groups(units, budget)
        windows = [self._pieces(lead + " ".join(group))[: self.source_max - 1] for group in groups]
        return windows[:max_windows], len(windows) > max_windows

    def _fitting(self, sentence: str, budget: int, check: Callable[[], None]) -> list[tuple[str, int]]:
        """`sentence` with its size in pieces; one longer than `budget` is split at words."""
        check()
        size = len(self._pieces(sentence)) + 1  # joining may cost one more piece
        if size <= budget:
            return [(sentence, size)]
        words = sentence.split(" ")
        if len(words) == 1:  # no spaces at all: split the characters
            middle = len(sentence) // 2
            halves = [sentence[:middle], sentence[middle:]]
        else:
            middle = len(words) // 2
            halves = [" ".join(words[:middle]), " ".join(words[middle:])]
        return [unit for half in halves for unit in self._fitting(half, budget, check)]

    def _generate(self, tokens: list[str], count: int, run: Run) -> list[str]:
        """Up to `count` different outputs for one source (without its end piece), best first."""
        source = self._ended(tokens)
        if count == 1:
            [[text]] = run([Translation(self, source)])
            return [text] if text else []
        # The beam's own hypotheses often differ in a word. So every likely first piece is tried, each
        # finished by the beam: other sentences, and the same ones every time. CTranslate2's own
        # return_alternatives ends the process when no piece reaches min_alternative_expansion_prob.
        beam, openings = run(
            [
                lambda: self.translate([source], num_hypotheses=self._generation.get("beam_size", 2)),
                lambda: self._openings(source, 2 * count),
            ]
        )
        size = math.ceil(len(openings) / self.translators)
        others = run(
            [
                lambda some=openings[start : start + size]: self.translate(
                    [source] * len(some), [[piece] for piece in some]
                )
                for start in range(0, len(openings), size or 1)
            ]
        )
        found = [*beam[:1], *(text for part in others for text in part), *beam[1:]]
        return different([text for text in found if text], count)

    def _ended(self, tokens: list[str]) -> list[str]:
        return [*tokens, self._eos]

    def _openings(self, source: list[str], count: int) -> list[str]:
        """First pieces an output may well begin with, likeliest first."""
        [result] = self._translator.translate_batch(
            [source], max_input_length=0, beam_size=count, num_hypotheses=count, max_decoding_length=1,
            return_scores=True,
        )  # fmt: skip
        return [
            pieces[0]
            for pieces, score in zip(result.hypotheses, result.scores, strict=True)
            if pieces and score >= math.log(_LIKELY_OPENING)
        ]

    def translate(
        self, sources: list[list[str]], prefixes: list[list[str]] | None = None, **options: object
    ) -> list[str]:
        """The texts of all hypotheses of all sources, in order."""
        results = self._translator.translate_batch(
            sources, prefixes, max_input_length=0, **{**self._generation, **options}
        )
        return [self._text(hypothesis) for result in results for hypothesis in result.hypotheses]

    def _text(self, pieces: list[str]) -> str:
        ids = [self._ids[piece] for piece in pieces if piece in self._ids]
        return " ".join(self._tokenizer.decode(ids, skip_special_tokens=True).split())


def _even_groups(units: list[tuple[str, int]], budget: int) -> list[list[str]]:
    """`units` in order, in the fewest groups of about equal size that all fit into `budget`.

    Full windows and a short last one would give the end of a text as much of the summary as its beginning.
    """
    total = sum(size for _, size in units)
    count = math.ceil(total / budget)
    while True:
        groups: list[list[str]] = [[] for _ in range(count)]
        filled = [0] * count
        before = 0
        for unit, size in units:
            place = min(count - 1, int((before + size / 2) * count / total))
            groups[place].append(unit)
            filled[place] += size
            before += size
        if max(filled) <= budget:
            return [group for group in groups if group]
        count += 1


def different(texts: list[str], count: int) -> list[str]:
    """At most `count` of `texts` in order, leaving out those that share most words with one already taken."""
    taken: list[str] = []
    for text in texts:
        words = set(text.lower().split())
        if all(
            len(words & set(one.lower().split())) <= 0.75 * len(words | set(one.lower().split()))
            for one in taken
        ):
            taken.append(text)
        if len(taken) == count:
            break
    return taken
