"""What can go wrong on the way to an answer, each with a code that HTTP and logs share."""

from __future__ import annotations


class ModelRefused(Exception):
    """The files of a model revision are missing, damaged, unsafe or of an unknown format."""


class NotNow(Exception):
    """A model revision could not be loaded just now (memory, descriptors, the disk): it is tried again."""


class HubUnavailable(Exception):
    """The Hub did not answer, or did not let us in. The message says what to do."""


class NotReady(Exception):
    """No model is loaded yet. The message says why."""


class Busy(Exception):
    """The waiting room is full."""

    def __init__(self, retry_after: int):
        super().__init__(f"busy, try again in {retry_after} s")
        self.retry_after = retry_after


class TimeLimit(Exception):
    """The request's time was up before its answer was there."""


class ClientGone(Exception):
    """The client closed its connection: nobody waits for the answer."""
