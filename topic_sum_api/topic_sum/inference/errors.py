"""What can go wrong on the way to an answer. HTTP turns each of these into an error code."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What libraries say if memory or descriptors are short and no file is to blame.
_OF_THE_MACHINE = re.compile(r"failed to allocate|bad_alloc|open file|os error|MemoryError", re.IGNORECASE)


def of_the_machine(complaint: object) -> bool:
    """Whether the words of a library blame this machine."""
    return bool(_OF_THE_MACHINE.search(str(complaint)))


class ModelRefused(Exception):
    """The files of a model revision are missing, damaged, unsafe or of an unknown format."""


class NotNow(Exception):
    """This machine cannot load the model revision now (memory, descriptors, disk); it is tried again."""


class HubUnavailable(Exception):
    """The Hub does not answer or refuses access. The message says what to do."""


class NotReady(Exception):
    """No model is loaded yet. The message says why."""


class TaskNotServed(Exception):
    """The model revision has no task of that name; `served` are those that it has."""

    def __init__(self, name: str, served: Iterable[str]):
        self.name = name
        self.served = list(served)
        super().__init__(f"no task {name!r}, only {', '.join(self.served)}")


class Busy(Exception):
    """Every slot is taken, or the answer would come too late."""

    def __init__(self, retry_after: int):
        super().__init__(f"busy, try again in {retry_after} s")
        self.retry_after = retry_after


class TimeLimit(Exception):
    """The request's deadline passed before its answer was ready."""


class ClientGone(Exception):
    """The client closed its connection, so nobody waits for the answer."""
