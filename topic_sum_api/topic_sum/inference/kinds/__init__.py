"""The kinds of tasks, one module each. All have the interface of `base.Task`."""

from __future__ import annotations

from .base import Task
from .classify import Classify
from .generate import Generate
from .regress import Regress

KINDS: dict[str, type[Task]] = {kind.kind: kind for kind in (Generate, Classify, Regress)}
