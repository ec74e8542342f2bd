"""The model that serves now, how it got here, and how the next one replaces it without a pause."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from topic_sum.processor import give_memory_back

from . import revision
from .cache import Cache
from .engine import Generation, different
from .engine import Source as ReadSource
from .errors import HubUnavailable, ModelRefused, NotNow, NotReady
from .memory import IDLE_SECONDS, LOOK_SECONDS, Memory
from .model import Model, load_model
from .room import Room, Visit
from .served.text import normalise
from .text import shorten
from .topics import TopicAnswer
from .unsupported import Evidence, Unsupported, find_unsupported

log = logging.getLogger("topic_sum")

# Until a first model is here the Hub is asked this often, whatever MODEL_CHECK_SECONDS says.
FIRST_RETRY_SECONDS = 10
# A summary takes about as long as this many trials, which write a third of its words about a short text.
_SUMMARY_IN_TRIALS = 4


@dataclass(frozen=True)
class Limits:
    """What one process of the API allows itself."""

    translators: int
    queue_size: int
    max_batch_size: int
    request_seconds: float
    max_windows: int
    cache_size: int
    check_seconds: float


@dataclass(frozen=True)
class Draft:
    """One of the summaries of a text, with what in it the text does not support."""

    summary: str
    unsupported: list[Unsupported]


@dataclass(frozen=True)
class SummaryAnswer:
    drafts: list[Draft]
    source: ReadSource
    cached: bool = False


class Service:
    """Answers with the current model; a thread of its own keeps the model current."""

    def __init__(
        self,
        source: revision.Source,
        limits: Limits,
        events: Callable[[str], None] = lambda event: None,
        on_batch: Callable[[int], None] = lambda size: None,
        on_inside: Callable[[int], None] = lambda inside: None,
    ):
        self.source = source
        self.limits = limits
        self.room = Room(
            limits.translators,
            limits.queue_size,
            limits.request_seconds,
            limits.max_batch_size,
            on_batch,
            on_inside,
        )
        self.summaries = Cache(limits.cache_size)
        # Of their own: topics cost milliseconds and must not push out summaries that cost seconds.
        self.topics = Cache(limits.cache_size)
        # What the Hub or the disk last said; empty when all is well.
        self._trouble = "the model is being loaded"
        self.from_local_copy = False
        self._model: Model | None = None
        self._refused: dict[str, str] = {}
        self._kept = ""  # the commit noted on this disk by this process
        self._events = events
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_ready: Callable[[Model], None] = lambda model: None

    # The current model

    @property
    def model(self) -> Model:
        """Raises NotReady until a model answered its trial."""
        model = self._model
        if model is None:
            raise NotReady(self.trouble)
        return model

    @property
    def trouble(self) -> str:
        """In words for /model and /health/ready, which say nothing of where things lie on this machine."""
        return self._trouble.replace(str(self.source.folder), "its folder")

    @property
    def ready(self) -> bool:
        return self._model is not None

    def start(self, on_ready: Callable[[Model], None] = lambda model: None) -> None:
        """Load the model in a thread and watch the Hub from then on. Once a process, after the fork."""
        self._on_ready = on_ready
        self._thread = threading.Thread(target=self._watch, name="model-watcher", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch_memory, name="memory-watcher", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self.room.close()

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            except Exception:  # a bug must not end the watch: the traceback is logged, the old model serves
                log.exception("error: the model watcher failed; it goes on")
                self._trouble = "the model watcher failed, see the log"
            pause = self.limits.check_seconds
            if not self.ready:
                pause = min(pause, FIRST_RETRY_SECONDS)
            # Replicas started together must not ask the Hub together.
            self._stop.wait(pause * random.uniform(0.9, 1.1))

    def _watch_memory(self) -> None:
        memory = Memory()
        while not self._stop.wait(LOOK_SECONDS if self.room.inside else IDLE_SECONDS):
            memory.look(self.room.turns)

    def refresh(self) -> None:
        """Resolve the revision; fetch, load, try and swap in the model when it is another one than serves."""
        try:
            commit = revision.resolve(self.source)
        except HubUnavailable as error:
            self._say(str(error))
            self._events("hub_unavailable")
            if self._model is None:
                self._load_remembered()
            return
        if self._model is not None and self._model.revision == commit:
            self.from_local_copy = False
            self._keep(commit)
            return
        if commit in self._refused:
            self._say(self._refused[commit])
            return
        try:
            model = self._load(commit)
        except HubUnavailable as error:
            self._say(str(error))
            self._events("hub_unavailable")
            if self._model is None:
                self._load_remembered()
            return
        except NotNow as error:
            self._events("model_not_loaded")
            self._say(f"model {self.source.repo}@{commit[:8]} could not be loaded now: {error}")
            if self._model is None and revision.remembered(self.source) != commit:
                self._load_remembered()
            return
        except ModelRefused as error:
            self._refused[commit] = f"model {self.source.repo}@{commit[:8]} is refused: {error}"
            self._events("model_refused")
            self._say(self._refused[commit])
            if self._model is None:
                self._load_remembered()
            return
        self.from_local_copy = False
        self._swap(model)
        self._keep(commit)

    def _keep(self, commit: str) -> None:
        """Note the revision that serves for a start without the Hub, then remove the ones before it.

        A disk without room for the note is told once and tried again with every question to the Hub.
        """
        if commit != self._kept:
            try:
                revision.remember(self.source, commit)
            except OSError as error:
                self._say(
                    f"cannot note in {self.source.folder} that {commit[:8]} works here: {error.strerror}: "
                    "free some disk, or a start without the Hub will not find it"
                )
                return
            self._kept = commit
            revision.forget_old(self.source, {commit}, log.info)
        self._say("")

    def _load(self, commit: str) -> Model:
        """Fetch and load one commit; a local copy damaged since its download is fetched once more."""
        folder = revision.fetch(self.source, commit)
        damaged = revision.damaged_files(folder)
        if damaged:
            names = ", ".join(path.relative_to(folder).as_posix() for path in damaged)
            log.warning("the local copy of %s was damaged and is fetched again", names)
            folder = revision.fetch(self.source, commit)
        return self._load_from(folder, commit)

    def _load_from(self, folder: Path, commit: str) -> Model:
        begun = time.monotonic()
        model = load_model(folder, self.source.repo, commit, self.limits.translators)
        give_memory_back()
        log.info("loaded %s@%s in %.1f s", self.source.repo, commit[:8], time.monotonic() - begun)
        return model

    def _load_remembered(self) -> None:
        """Serve the revision that worked here last, if its files are whole."""
        commit = revision.remembered(self.source)
        folder = revision.local_copy(self.source, commit) if commit else None
        if commit is None or folder is None or commit in self._refused:
            return
        if damaged := revision.damaged_files(folder):
            log.error("error: the local copy of %s is damaged and was removed", damaged[0].name)
            return
        try:
            model = self._load_from(folder, commit)
        except NotNow as error:
            self._events("model_not_loaded")
            log.warning(
                "the local copy %s@%s could not be loaded now: %s", self.source.repo, commit[:8], error
            )
            return
        except ModelRefused as error:
            self._refused[commit] = f"the local copy {self.source.repo}@{commit[:8]} is refused: {error}"
            log.error("error: %s", self._refused[commit])
            return
        log.warning("serving the local copy of %s@%s", self.source.repo, commit[:8])
        self.from_local_copy = True
        self._swap(model, keep_trouble=True)

    def _swap(self, model: Model, keep_trouble: bool = False) -> None:
        # Requests that run hold the old model by reference; it is freed when the last of them ends.
        first, self._model = self._model is None, model
        self.summaries.clear()
        self.topics.clear()
        self._events("model_loaded")
        if not keep_trouble:
            self._trouble = ""
        if first:
            self.room.expect(_SUMMARY_IN_TRIALS * model.trial_seconds)
            self._on_ready(model)
        else:
            log.info("now serving %s@%s", model.repo, model.revision[:8])

    def _say(self, trouble: str) -> None:
        """Log a trouble when it is new, so that a Hub down for a day is not a thousand lines."""
        if trouble and trouble != self._trouble:
            serving = self._model
            then = f"; still serving {serving.revision[:8]}" if serving else "; trying again"
            log.error("error: %s%s", trouble, then)
        self._trouble = trouble

    # Answers

    def visit(self, gone: Callable[[], bool] = lambda: False) -> Visit:
        """The stay of a request that begins now; `gone` tells whether its client hung up."""
        return Visit(time.monotonic() + self.limits.request_seconds, gone)

    def summarize(
        self,
        model: Model,
        text: str,
        title: str = "",
        *,
        variants: int = 1,
        max_chars: int | None = None,
        visit: Visit,
    ) -> SummaryAnswer:
        """Summaries of a normalised text. Hold a place in `room` while calling.

        Raises TimeLimit, ClientGone.
        """
        key = _summary_key(model, text, title, variants)
        kept = self.summaries.get(key)
        if kept is None:
            generation = model.summarize(
                text,
                title,
                variants,
                lambda calls: self.room.run(calls, visit),
                self.limits.max_windows,
                visit.check,
            )
            self.summaries.put(key, generation)
        else:
            generation = kept
        assert isinstance(generation, Generation)
        evidence = Evidence(f"{title}\n{text}")
        summaries = generation.summaries
        if max_chars is not None:
            # Shortened, two may say the same.
            summaries = different([shorten(summary, max_chars) for summary in summaries], len(summaries))
        drafts = [Draft(summary, find_unsupported(summary, evidence)) for summary in summaries]
        return SummaryAnswer(drafts, generation.source, cached=kept is not None)

    def knows_summary(self, model: Model, text: str, title: str, variants: int) -> bool:
        """Whether the summaries of a text lie in the cache, so that asking for them computes nothing."""
        return self.summaries.get(_summary_key(model, text, title, variants)) is not None

    def knows_topic(self, model: Model, text: str, title: str, explain: bool) -> bool:
        return self.topics.get(_topic_key(model, text, title, explain)) is not None

    def detect(
        self,
        model: Model,
        text: str,
        title: str = "",
        *,
        explain: bool = False,
        visit: Visit,
    ) -> tuple[TopicAnswer, bool]:
        """The topic of a normalised text, and whether it lay in the cache. Takes milliseconds, in no line.

        With `explain` also the words that decided: hundreds of detections. Hold a place in `room` for that.
        """
        key = _topic_key(model, text, title, explain)
        kept = self.topics.get(key)
        if kept is not None:
            assert isinstance(kept, TopicAnswer)
            return kept, True
        if explain:
            [found] = self.room.run([lambda: model.detect(text, title, explain=True)], visit)
        else:
            found = model.detect(text, title)
        self.topics.put(key, found)
        return found, False


def clean(text: str) -> str:
    """A text as everything here expects it."""
    return normalise(text)


def _summary_key(model: Model, text: str, title: str, variants: int) -> str:
    # A title that the model does not read must not compute the same summary again.
    return _key(model.revision, title if model.summarizer.with_title else "", text, variants)


def _topic_key(model: Model, text: str, title: str, explain: bool) -> str:
    return _key(model.revision, title, text, explain)


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()
