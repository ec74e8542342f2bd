"""Text generation: tokens in, CTranslate2, tokens out. One object per task, used by many threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ctranslate2
from tokenizers import Tokenizer

from .errors import ModelRefused, NotNow, of_the_machine
from .served.template import Template
from .served.text import literal
from .text import sentences

_TRIAL_TOKENS = 24

# Openings that are less likely than this led to sentences about other news (seen on the demo's model).
_LIKELY_OPENING = 0.02

# Computes calls, perhaps at the same time or in one batch, and returns their results in order.
Run = Callable[[Sequence[Callable[[], list[str]]]], list[list[str]]]

# A batch takes at most the memory of 2.125 of the longest texts that a model reads. All batches that run take
# at most 1.75 longest texts per translator (or two, if there is only one translator).
_LONGEST_IN_BATCH = 2.125
_LONGEST_AT_ONCE = 1.75
# In each window at least this many tokens are for the text; the other columns get the rest.
_LEAST_WINDOW = 16


@dataclass(frozen=True)
class SourceRead:
    """What the model read of a text: tokens over all windows, windows, whether the end was cut off."""

    tokens: int
    windows: int
    cut: bool

    def also(self, cut: bool) -> SourceRead:
        return replace(self, cut=self.cut or cut)


@dataclass(frozen=True)
class Generation:
    """Texts generated from one source, best first, all different."""

    texts: list[str]
    source: SourceRead


@dataclass(frozen=True)
class Translation:
    """One source to be turned into one text: a call that the scheduler may put into a batch."""

    kind: Engine
    source: list[str]

    @property
    def tokens(self) -> int:
        return len(self.source) + self.kind.output_max

    @property
    def batch_tokens(self) -> int:
        return int(_LONGEST_IN_BATCH * self.kind.longest)

    @property
    def running_tokens(self) -> int:
        return int(max(_LONGEST_AT_ONCE * self.kind.translators, 2) * self.kind.longest)

    def __call__(self) -> list[str]:
        return self.kind.translate([self.source])

    def batch(self, calls: Sequence[Translation]) -> list[list[str]]:
        return [[text] for text in self.kind.translate([call.source for call in calls])]


class Engine:
    """A CTranslate2 sequence-to-sequence model with its tokenizer and the settings it was evaluated with."""

    def __init__(self, folder: Path, section: Mapping[str, Any], translators: int):
        self.template = Template(section["source"])
        self._eos: str = section["eos"]
        self.source_max: int = section["source_max_tokens"]
        self._generation: dict = section["generation"]
        # Tokens that a translation remembers of its output: a key and a value per layer and beam, as for each
        # token of the source.
        self.output_max: int = self._generation.get("beam_size", 2) * self._generation.get(
            "max_decoding_length", 256
        )
        self.translators = translators
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / section["tokenizer"]))
        except Exception as error:  # tokenizers raises bare Exception for every bad file
            if of_the_machine(error):
                raise NotNow(f"{section['tokenizer']} cannot be read: {error}") from None
            raise ModelRefused(f"{section['tokenizer']} is not a tokenizer: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # as text; `literal` does the rest
        self._ids: dict[str, int] = {}
        for token, number in sorted(self._tokenizer.get_vocab().items(), key=lambda item: item[1]):
            self._ids.setdefault(token, number)
        if self._eos not in self._ids:
            raise ModelRefused(f"the tokenizer has no piece {self._eos!r}, which tasks.json names as the end")
        if self._left(dict.fromkeys(self.template.columns, "я")) < _LEAST_WINDOW:
            raise ModelRefused(f"the template {self.template.text!r} leaves no tokens for a text")
        try:
            self._translator = ctranslate2.Translator(
                str(folder / section["model"]),
                device="cpu",
                compute_type=section["compute_type"],
                inter_threads=translators,
                intra_threads=1,
            )
        except (RuntimeError, ValueError) as error:
            if of_the_machine(error):
                raise NotNow(f"{section['model']}/ cannot be loaded: {error}") from None
            raise ModelRefused(f"{section['model']}/ cannot be loaded: {error}") from None

    @property
    def longest(self) -> int:
        """Tokens of the longest text that is read, and of its output."""
        return self.source_max + self.output_max

    def generate(
        self,
        values: Mapping[str, str],
        count: int,
        run: Run,
        max_windows: int,
        check: Callable[[], None] = lambda: None,
    ) -> Generation:
        """Up to `count` different texts from one source (columns normalised, not all empty).

        If the source is longer than the model reads, its longest column is split at sentences into windows of
        about equal size. Each window is translated, and the outputs take the place of the column. Windows
        beyond `max_windows` are not read: then `source.cut` is true. `check` is called between the steps that
        `run` does not do, and raises to end them.
        """
        tokens = self._pieces(self.template.fill(values))
        if len(tokens) < self.source_max:
            return Generation(self._outputs(tokens, count, run), SourceRead(len(tokens) + 1, 1, False))
        column = max(self.template.columns, key=lambda name: len(values.get(name, "")))
        now, source = values, None
        while True:
            windows, cut = self._windows(now, column, max_windows, check)
            read = sum(len(window) + 1 for window in windows)
            source = SourceRead(read, len(windows), cut) if source is None else source.also(cut)
            parts = run([Translation(self, self._ended(window)) for window in windows])
            merged = " ".join(text for part in parts for text in part if text)
            # Outputs are a fraction of their windows, so this ends. If a model ever writes as much as it
            # reads, the outputs of the windows are the answer.
            long = len(self._pieces(merged)) >= 0.8 * len(tokens) or len(merged) >= len(now[column])
            if not merged or long:
                return Generation([merged] if merged else [], source)
            fitting = self._frame(values, column)[0]
            for others in (values, fitting):
                tokens = self._pieces(self.template.fill({**others, column: merged}))
                if len(tokens) < self.source_max:
                    return Generation(self._outputs(tokens, count, run), source)
            now = {**fitting, column: merged}

    def attempt(self, values: Mapping[str, str]) -> str:
        """The first words of an output: enough to see that the model answers, in less time."""
        pieces = self._pieces(self.template.fill(values))[: self.source_max - 1]
        most = min(_TRIAL_TOKENS, self._generation.get("max_decoding_length", _TRIAL_TOKENS))
        return self.translate([self._ended(pieces)], max_decoding_length=most, min_decoding_length=1)[0]

    def split(self, values: Mapping[str, str]) -> None:
        """Tokenize `values` as a request does; whatever fails raises."""
        tokens = self._pieces(self.template.fill(values))
        self._text(tokens[:1000])
        if len(tokens) >= self.source_max:
            self._windows(values, max(self.template.columns, key=lambda name: len(values.get(name, ""))), 2)

    def source_tokens(self, values: Mapping[str, str]) -> list[str]:
        """The pieces of the whole source as the model gets them, the end piece included."""
        return self._ended(self._pieces(self.template.fill(values)))

    def _pieces(self, text: str) -> list[str]:
        try:
            return self._tokenizer.encode(literal(text), add_special_tokens=False).tokens
        except Exception as error:
            raise RuntimeError(f"the tokenizer failed: {error}") from None
        except BaseException as error:  # a panic of Rust; it must not end the thread of a request
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise RuntimeError(f"the tokenizer failed: {error}") from None

    def _left(self, values: Mapping[str, str]) -> int:
        """Tokens that a source of these values leaves free."""
        return self.source_max - 1 - len(self._pieces(self.template.fill(values)))

    def _frame(self, values: Mapping[str, str], column: str) -> tuple[dict[str, str], int, bool]:
        """The other columns as each window repeats them, the tokens left for `column`, whether they were cut.

        Columns that would leave too few tokens are left out if the template allows it, else shortened.
        """
        # An optional part is filled only if its column is.
        empty = {column: "" if column in self.template.required else "я"}
        others = {name: text for name, text in values.items() if name in self.template.columns} | empty
        if (left := self._left(others)) >= _LEAST_WINDOW:
            return others, left, False
        others = {name: text for name, text in others.items() if name in self.template.required} | empty
        cut = False
        while (left := self._left(others)) < _LEAST_WINDOW:
            others = {name: text[: len(text) // 2] for name, text in others.items()} | empty
            cut = True
        return others, left, cut

    def _windows(
        self,
        values: Mapping[str, str],
        column: str,
        max_windows: int,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[list[list[str]], bool]:
        """Sources of at most source_max_tokens - 1 pieces, of whole sentences of `column` if they fit."""
        frame, budget, cut = self._frame(values, column)
        units: list[tuple[str, int]] = []
        collected = 0
        for sentence in sentences(values[column]):
            fitting = self._fitting(sentence, budget, check)
            units += fitting
            collected += sum(size for _, size in fitting)
            if collected > (max_windows + 1) * budget:  # the rest will not be read
                break
        groups = _even_groups(units, budget)
        windows = [
            self._pieces(self.template.fill(frame | {column: " ".join(group)}))[: self.source_max - 1]
            for group in groups
        ]
        return windows[:max_windows], cut or len(windows) > max_windows

    def _fitting(self, sentence: str, budget: int, check: Callable[[], None]) -> list[tuple[str, int]]:
        """`sentence` with its size in pieces; if that is more than `budget`, it is split at words."""
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

    def _outputs(self, tokens: list[str], count: int, run: Run) -> list[str]:
        """Up to `count` different outputs for one source (without its end piece), best first."""
        source = self._ended(tokens)
        if count == 1:
            [[text]] = run([Translation(self, source)])
            return [text] if text else []
        # The beam's own hypotheses often differ in a word. So every likely first piece is tried, each
        # finished by the beam: this gives other sentences, and the same ones every time. CTranslate2's own
        # return_alternatives ends the process if no piece reaches min_alternative_expansion_prob.
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
        """The first pieces that an output is likely to begin with, likeliest first."""
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

    With full windows and a short last one, the end of a text would get as much of the output as its start.
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
    """At most `count` of `texts` in order, without those that share most words with one already taken."""
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
