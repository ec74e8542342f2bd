"""One loaded model revision: files checked, engines loaded, tried on a fixed text before it serves anyone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from .engine import Generation, Run, Summarizer
from .errors import ModelRefused, NotNow
from .served.text import normalise
from .topics import TopicAnswer, TopicClassifier

FORMAT = 1

# The text every revision must answer before it serves. Invented; about as long as a short news item.
TRIAL_TEXT = (
    "В городе Приозёрске открылся новый железнодорожный мост через реку Светлую. Как сообщил начальник "
    "стройки Олег Рябинин, работы заняли три года и завершились на месяц раньше срока. По мосту уже прошли "
    "первые двадцать поездов. Раньше составы шли в обход, и дорога до областного центра занимала шесть "
    "часов. Теперь путь сократится до четырёх часов. Власти области рассчитывают, что грузы по новой линии "
    "пойдут с начала следующего года."
)

_SHAPE: dict[str, dict[str, type | tuple[type, ...]]] = {
    "summarize": {
        "prefix": str, "eos": str, "compute_type": str, "tokenizer": str, "source_max_tokens": int,
        "generation": dict,
    },
    "topic": {
        "path": str, "labels": list, "threshold": (int, float), "max_chars": int,
        "min_chars": int, "mask": list, "title_repeat": int,
    },
    "dataset": {"repo": str, "revision": str},
}  # fmt: skip

# (kind, least, most). A number outside would hang the engine, fill the memory or stop every request, and a
# revision that does that is to be refused before it serves.
_Range = tuple[type | tuple[type, ...], float, float]
_REAL = (int, float)
_RANGES: dict[str, dict[str, _Range]] = {
    "summarize": {"source_max_tokens": (int, 64, 16_384)},
    "topic": {
        "threshold": (_REAL, 0, 1), "max_chars": (int, 1, 1_000_000), "min_chars": (int, 0, 100_000),
        "title_repeat": (int, 0, 10),
    },
    "generation": {
        "beam_size": (int, 1, 64), "no_repeat_ngram_size": (int, 0, 1000),
        "max_decoding_length": (int, 1, 4096), "min_decoding_length": (int, 0, 4096),
        "length_penalty": (_REAL, -10, 10), "coverage_penalty": (_REAL, 0, 10),
        "repetition_penalty": (_REAL, 0.01, 100), "patience": (_REAL, 0.01, 100),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model revision that answered its trial."""

    repo: str
    revision: str
    dataset_repo: str
    dataset_revision: str
    metrics: dict
    summarizer: Summarizer
    topics: TopicClassifier
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    trial_seconds: float = 0.0  # what the first words about the trial text took here

    def summarize(
        self,
        text: str,
        title: str,
        count: int,
        run: Run,
        max_windows: int,
        check: Callable[[], None] = lambda: None,
    ) -> Generation:
        return self.summarizer.summarize(text, title, count, run, max_windows, check)

    def detect(self, text: str, title: str = "", explain: bool = False) -> TopicAnswer:
        return self.topics.detect(text, title, explain)


def load_model(folder: Path, repo: str, revision: str, translators: int) -> Model:
    """Load the revision that lies in `folder` and try it.

    Raises ModelRefused with the reason in one line; NotNow where this machine, not the revision, is at fault.
    """
    try:
        return _load_model(folder, repo, revision, translators)
    except MemoryError:
        raise NotNow("there is too little memory to load it: free some, or give the API more") from None
    except OSError as error:
        raise NotNow(f"a file cannot be read: {error.strerror or error}") from None


def _load_model(folder: Path, repo: str, revision: str, translators: int) -> Model:
    tasks = load_tasks(folder)
    for name in ("ct2/model.bin", "ct2/config.json", tasks["summarize"]["tokenizer"], tasks["topic"]["path"]):
        if not (folder / name).is_file():
            raise ModelRefused(f"{name} is missing")
    model = Model(
        repo=repo,
        revision=revision,
        dataset_repo=tasks["dataset"]["repo"],
        dataset_revision=tasks["dataset"]["revision"],
        metrics=tasks.get("metrics") or {},
        summarizer=Summarizer(folder, tasks["summarize"], translators),
        topics=TopicClassifier(folder, tasks["topic"]),
    )
    return replace(model, trial_seconds=try_model(model))


def load_tasks(folder: Path) -> dict:
    """tasks.json, checked: format, sections, types, and no path that leaves the folder."""
    try:
        tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelRefused("tasks.json is missing: not a model of this project") from None
    except ValueError as error:
        raise ModelRefused(f"tasks.json is damaged: {error}") from None
    if not isinstance(tasks, dict) or tasks.get("format") != FORMAT:
        got = tasks.get("format") if isinstance(tasks, dict) else type(tasks).__name__
        raise ModelRefused(
            f"tasks.json has format {got!r}, this API reads format {FORMAT}: use matching versions"
        )
    for section, keys in _SHAPE.items():
        if not isinstance(tasks.get(section), dict):
            raise ModelRefused(f"tasks.json has no section {section!r}")
        for key, kind in keys.items():
            value = tasks[section].get(key)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ModelRefused(f"tasks.json {section}.{key} is {value!r}")
    if tasks["summarize"].get("engine", "ct2") != "ct2":
        raise ModelRefused(
            f"tasks.json asks for the engine {tasks['summarize']['engine']!r}, here is only ct2"
        )
    check_ranges("summarize", tasks["summarize"])
    check_ranges("topic", tasks["topic"])
    generation = tasks["summarize"]["generation"]
    check_ranges("generation", generation)
    least, most = generation.get("min_decoding_length", 0), generation.get("max_decoding_length", 256)
    if least > most:
        raise ModelRefused(
            f"tasks.json generation.min_decoding_length is {least}, more than the {most} allowed"
        )
    for name in (tasks["summarize"]["tokenizer"], tasks["topic"]["path"]):
        if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
            raise ModelRefused(f"tasks.json names a file outside the model: {name!r}")
    if not tasks["topic"]["path"].endswith(".safetensors"):
        raise ModelRefused(
            f"{tasks['topic']['path']} is never opened: this API reads topics from .safetensors files; "
            "train again with this version"
        )
    for label in tasks["topic"]["labels"]:
        if not isinstance(label, dict) or not {"topic", "name"} <= label.keys():
            raise ModelRefused(f"tasks.json topic.labels holds {label!r}")
    return tasks


def check_ranges(section: str, numbers: dict) -> None:
    """Raises ModelRefused for a number of `section` that is none, or out of its range."""
    for name, (kind, least, most) in _RANGES[section].items():
        value = numbers.get(name, least)
        good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not least <= value <= most:
            raise ModelRefused(f"tasks.json {section}.{name} is {value!r}, not between {least} and {most}")


def try_model(model: Model) -> float:
    """Seconds that the summarizer took for its first words about the trial text.

    Raises ModelRefused unless the model summarizes that text and scores every topic.
    """
    text = normalise(TRIAL_TEXT)
    begun = time.monotonic()
    try:
        summary = model.summarizer.attempt(text)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelRefused(f"the summarizer failed on the trial text: {error}") from None
    took = time.monotonic() - begun
    if not summary:
        raise ModelRefused("the summarizer answered the trial text with nothing")
    try:
        scores = model.detect(text).scores
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelRefused(f"the topic model failed on the trial text: {error}") from None
    total = sum(score.score for score in scores)
    if not 0.98 < total < 1.02:
        raise ModelRefused(f"the topic scores of the trial text sum to {total:.3f}, not 1")
    return took
