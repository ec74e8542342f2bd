"""Stage 2: a dataset revision in, an evaluated and published model revision out."""

__version__ = "1.0.0"


class StageError(Exception):
    """What the user has to know, in one line, and the exit code the process ends with.

    Codes: 1 unexpected, 2 wrong usage or setting, 3 the data failed its checks, 4 the model was not promoted,
    5 a service or device that is needed is not there, 6 another run is active.
    """

    def __init__(self, message: str, code: int = 1, met_alone: bool = False) -> None:
        """met_alone: of several processes perhaps only this one met it, so it has to say so itself."""
        super().__init__(" ".join(message.split()))
        self.code, self.met_alone = code, met_alone


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
