"""What all kinds of tasks have: a checked section of tasks.json, a trial and an answer to a request."""

from __future__ import annotations

import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from ..errors import ModelRefused
from ..masks import compiled, try_masks
from ..served.classifier import TextModel
from ..served.template import BadTemplate, Template
from ..served.text import normalise

# The text that every task must answer before it serves. Invented; about as long as a short news item.
TRIAL_TEXT = normalise(
    "В городе Приозёрске открылся новый железнодорожный мост через реку Светлую. Как сообщил начальник "
    "стройки Олег Рябинин, работы заняли три года и завершились на месяц раньше срока. По мосту уже прошли "
    "первые двадцать поездов. Раньше составы шли в обход, и дорога до областного центра занимала шесть "
    "часов. Теперь путь сократится до четырёх часов. Власти области рассчитывают, что грузы по новой линии "
    "пойдут с начала следующего года."
)

# Texts that break tokenizers and classifiers: what no vocabulary has, no spaces, long, and a single letter.
HARD_TEXTS = (
    "я", "Z", "漢字 𐍈 😀 ﷺ \u0301 ѣ", "а" * 3000, "1" * 3000, "- " * 1500, "</s> <pad> <extra_id_0> <unk>",
    TRIAL_TEXT * 20,
)  # fmt: skip

# A task that reads more characters of a column takes more than a few milliseconds, and so a slot.
USUAL_CHARS = 10_000
REAL = (int, float)
# A type, or (type, least, most). A number outside of its range could hang the engine, fill the memory or stop
# every request, so a revision with one is refused before it serves.
Field = type | tuple[type | tuple[type, ...], float, float]


@dataclass(frozen=True)
class Context:
    """What a computation gets from its request: `run` computes calls on the translators, `check` raises if
    the deadline passed or the client left."""

    run: Callable[[Sequence[Callable[[], Any]]], list]
    check: Callable[[], None] = lambda: None
    max_windows: int = 16


class Task(ABC):
    """One task of a loaded model revision. Many threads use the same object.

    `values` are the normalised columns of one request, `options` the checked options of the kind.
    """

    kind: ClassVar[str]
    section: ClassVar[dict[str, Field]]

    def __init__(self, name: str, section: Mapping[str, Any]):
        self.name = name
        self.template = Template(section["source"])
        self.columns = self.template.columns
        self.metrics: dict = section.get("metrics") or {}

    @classmethod
    def check(cls, name: str, section: Mapping[str, Any]) -> None:
        """Raises ModelRefused if the section of tasks.json is not what this kind needs."""
        check_fields(name, section, {"source": str, **cls.section})
        try:
            Template(section["source"])
        except BadTemplate as error:
            raise ModelRefused(f"tasks.json {name}.source: {error}") from None

    @classmethod
    @abstractmethod
    def files(cls, section: Mapping[str, Any]) -> list[str]:
        """The files that this task needs, relative to the revision; a name with * stands for any number."""

    @classmethod
    @abstractmethod
    def load(cls, name: str, section: Mapping[str, Any], folder: Path, translators: int) -> Task:
        """The task of a checked section. Raises ModelRefused, NotNow."""

    @abstractmethod
    def trial(self) -> None:
        """Answers TRIAL_TEXT, or raises ModelRefused."""

    @classmethod  # noqa: B027
    def try_section(cls, name: str, section: Mapping[str, Any]) -> None:
        """Raises ModelRefused for what in a checked section could hang. Call it where `rehearse` is called,
        before `load`."""

    @abstractmethod
    def rehearse(self) -> None:
        """Answers what could break it. This may raise anything, and may take long: call it in a process that
        may be ended (see rehearsal.py)."""

    def takes_slot(self, options: Mapping[str, Any]) -> bool:
        """Whether the computation is long enough to take a slot of the scheduler."""
        return False

    def cache_key(self, values: Mapping[str, str], options: Mapping[str, Any]) -> tuple:
        """What the result of `compute` depends on."""
        return (self.source(values),)

    @abstractmethod
    def compute(self, values: Mapping[str, str], options: Mapping[str, Any], context: Context) -> Any:
        """The result that is kept in the cache."""

    def lacks(self, result: Any, values: Mapping[str, str]) -> bool:
        """Whether a kept result must first be completed by `add` for these columns."""
        return False

    def add(self, result: Any, values: Mapping[str, str], context: Context) -> None:
        """Complete a kept result."""
        raise NotImplementedError

    @abstractmethod
    def answer(self, result: Any, values: Mapping[str, str], options: Mapping[str, Any]) -> Any:
        """The answer that a request with these options gets from `result`."""

    def source(self, values: Mapping[str, str]) -> str:
        """The string that the model reads."""
        return self.template.fill(values)

    @property
    def trial_values(self) -> dict[str, str]:
        return dict.fromkeys(self.template.required or self.columns, TRIAL_TEXT)


class ArrayTask(Task):
    """A task whose model is the arrays of one safetensors file."""

    section: ClassVar[dict[str, Field]] = {
        "path": str, "max_chars": (int, 1, 1_000_000), "min_chars": (int, 0, 100_000), "mask": list,
    }  # fmt: skip
    most_masks: ClassVar[int] = 100

    def __init__(self, name: str, section: Mapping[str, Any], model: TextModel):
        super().__init__(name, section)
        self.model = model
        self.max_chars: int = section["max_chars"]
        self.min_chars: int = section["min_chars"]
        self._masks = [compiled(f"{name}.mask", pattern) for pattern in section["mask"]]

    @classmethod
    def check(cls, name: str, section: Mapping[str, Any]) -> None:
        super().check(name, section)
        check_path(f"{name}.path", section["path"])
        if len(section["mask"]) > cls.most_masks:
            raise ModelRefused(f"tasks.json {name}.mask has more than {cls.most_masks} patterns")
        for pattern in section["mask"]:
            if not isinstance(pattern, str) or len(pattern) > 1000:
                raise ModelRefused(f"tasks.json {name}.mask holds {shown(pattern)}, no regular expression")
        if not section["path"].endswith(".safetensors"):
            raise ModelRefused(
                f"{section['path']} is never opened: this API reads {name} from a .safetensors file; "
                "train again with this version"
            )

    @classmethod
    def files(cls, section: Mapping[str, Any]) -> list[str]:
        return [section["path"]]

    @classmethod
    def load(cls, name: str, section: Mapping[str, Any], folder: Path, translators: int = 1) -> Task:
        try:
            model = TextModel.load(folder / section["path"])
        except ValueError as error:
            raise ModelRefused(f"{section['path']} is refused: {error}") from None
        return cls(name, section, model)

    @classmethod
    def try_section(cls, name: str, section: Mapping[str, Any]) -> None:
        try_masks(f"{name}.mask", section["mask"], section["max_chars"])

    def rehearse(self) -> None:
        for text in HARD_TEXTS:
            self.compute(dict.fromkeys(self.columns, text), {}, Context(list))

    def source(self, values: Mapping[str, str]) -> str:
        source = self._unmasked(values)
        for mask in self._masks:
            source = mask.sub(" ", source)
        return source

    def _unmasked(self, values: Mapping[str, str]) -> str:
        return self.template.fill({name: values.get(name, "")[: self.max_chars] for name in self.columns})

    def cache_key(self, values: Mapping[str, str], options: Mapping[str, Any]) -> tuple:
        return (self._unmasked(values), self.too_short(values))

    def takes_slot(self, options: Mapping[str, Any]) -> bool:
        return self.max_chars > USUAL_CHARS

    def too_short(self, values: Mapping[str, str]) -> bool:
        """Whether the columns that are read have fewer than `min_chars` letters."""
        letters = filter(str.isalpha, chain.from_iterable(values.get(name, "") for name in self.columns))
        return sum(1 for _ in islice(letters, self.min_chars)) < self.min_chars


def check_fields(where: str, section: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    """Raises ModelRefused for a field of `section` that is missing, of another type or out of its range."""
    for name, field in fields.items():
        value = section.get(name)
        kind, least, most = field if isinstance(field, tuple) else (field, None, None)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ModelRefused(f"tasks.json {where}.{name} is {shown(value)}")
        if least is not None and not least <= value <= most:
            raise ModelRefused(f"tasks.json {where}.{name} is {shown(value)}, not between {least} and {most}")


def shown(value: object) -> str:
    """`value` for a message: its repr, which may be shortened."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)


def check_path(where: str, name: str) -> None:
    """Raises ModelRefused for a path that leaves the revision's folder or that stands for several files."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath() or re.search(r"[\\:*?\[\]]", name):
        raise ModelRefused(f"tasks.json {where} names a file outside the model: {shown(name)}")
