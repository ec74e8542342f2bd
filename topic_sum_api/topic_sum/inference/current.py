"""The model that serves now, and how the next one replaces it without a pause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from topic_sum.processor import give_memory_back
from topic_sum.safe_text import without_credentials

from . import revision
from .errors import HubUnavailable, ModelRefused, NotNow, NotReady
from .model import Model, load_model
from .rehearsal import rehearse

log = logging.getLogger("topic_sum")


class CurrentModel:
    """The revision that `source` names, once it is loaded and answered its trials.

    `on_event` is called with the name of each event, `on_change` with each model that begins to serve.
    """

    def __init__(
        self,
        source: revision.Source,
        translators: int,
        on_event: Callable[[str], None] = lambda event: None,
        on_change: Callable[[Model], None] = lambda model: None,
    ):
        self.source = source
        self.from_local_copy = False
        self._translators = translators
        self._on_event = on_event
        self._on_change = on_change
        self._model: Model | None = None
        # What the Hub or the disk last failed with; empty if all is well.
        self._trouble = "the model is being loaded"
        self._refused: dict[str, str] = {}
        self._noted = ""  # the commit that this process noted on the disk

    @property
    def model(self) -> Model:
        """Raises NotReady until a model has answered its trials."""
        model = self._model
        if model is None:
            raise NotReady(self.trouble)
        return model

    @property
    def ready(self) -> bool:
        return self._model is not None

    @property
    def trouble(self) -> str:
        """For /model and /health/ready, which name no paths of this machine and no passwords."""
        return without_credentials(self._trouble.replace(str(self.source.folder), "its folder"))

    def report(self, trouble: str, logged: bool = False) -> None:
        """Log a trouble if it is new, so that a Hub that is down for a day does not fill the log."""
        if trouble and trouble != self._trouble and not logged:
            then = f"; still serving {self._model.revision[:8]}" if self._model else "; trying again"
            log.error("error: %s%s", trouble, then)
        self._trouble = trouble

    def refresh(self) -> None:
        """Resolve the revision. If it is not the one that serves: fetch, load, try and swap in the model."""
        commit = None
        try:
            commit = revision.resolve(self.source)
            if self._model is not None and self._model.revision == commit:
                self.from_local_copy = False
                self._keep(commit)
                return
            if commit in self._refused:
                raise ModelRefused
            model = self._load(commit)
        except HubUnavailable as error:
            self.report(str(error))
            self._on_event("hub_unavailable")
        except NotNow as error:
            self._on_event("model_not_loaded")
            self.report(f"model {self.source.repo}@{commit[:8]} could not be loaded now: {error}")
            if revision.remembered(self.source) == commit:
                return  # it is the local copy
        except ModelRefused as error:
            if commit not in self._refused:
                self._refused[commit] = f"model {self.source.repo}@{commit[:8]} is refused: {error}"
                self._on_event("model_refused")
            self.report(self._refused[commit])
        else:
            self.from_local_copy = False
            self._trouble = ""
            self._swap(model)
            self._keep(commit)
            return
        if self._model is None:
            self._load_remembered()

    def _keep(self, commit: str) -> None:
        """Note the revision that serves, for a start without the Hub, and remove the ones before it.

        If the disk has no room for the note, that is logged once and tried again at every check of the Hub.
        """
        if commit != self._noted:
            try:
                revision.remember(self.source, commit)
            except OSError as error:
                self.report(
                    f"cannot note in {self.source.folder} that {commit[:8]} works here: {error.strerror}: "
                    "free some disk, or a start without the Hub will not find it"
                )
                return
            self._noted = commit
            revision.forget_old(self.source, {commit}, log.info)
        self.report("")

    def _load(self, commit: str) -> Model:
        """Fetch and load one commit. A local copy that is damaged is fetched once more."""
        folder = revision.fetch(self.source, commit)
        damaged = revision.damaged_files(folder)
        if damaged:
            names = ", ".join(path.relative_to(folder).as_posix() for path in damaged)
            log.warning("the local copy of %s was damaged and is fetched again", names)
            folder = revision.fetch(self.source, commit)
        return self._load_from(folder, commit)

    def _load_from(self, folder: Path, commit: str) -> Model:
        began = time.monotonic()
        rehearse(folder)
        model = load_model(folder, self.source.repo, commit, self._translators)
        give_memory_back()
        log.info("loaded %s@%s in %.1f s", self.source.repo, commit[:8], time.monotonic() - began)
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
        name = f"the local copy {self.source.repo}@{commit[:8]}"
        try:
            model = self._load_from(folder, commit)
        except NotNow as error:
            self._on_event("model_not_loaded")
            log.warning("%s could not be loaded now: %s", name, error)
            return
        except ModelRefused as error:
            self._refused[commit] = f"{name} is refused: {error}"
            log.error("error: %s", self._refused[commit])
            return
        log.warning("serving the local copy of %s@%s", self.source.repo, commit[:8])
        self.from_local_copy = True
        self._swap(model)

    def _swap(self, model: Model) -> None:
        # Running requests hold a reference to the old model; it is freed when the last of them ends.
        first, self._model = self._model is None, model
        if not first:
            log.info("now serving %s@%s", model.repo, model.revision[:8])
        self._on_event("model_loaded")
        self._on_change(model)
