"""A revision is first loaded and tried in a process of its own, which may panic, crash or hang.

python -m topic_sum.inference.rehearsal FOLDER
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

from .errors import ModelRefused, NotNow, of_the_machine

# How long loading and trying may take. A model of 300 MB takes 3 s.
SECONDS = 30
_PACKAGES = Path(__file__).resolve().parents[2]
# The system or an operator ended the process, which says nothing about the revision.
_ENDED = {getattr(signal, name, None) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")}


def rehearse(folder: Path) -> None:
    """Load and try the revision in `folder` elsewhere. Raises ModelRefused or NotNow as `load_model` does."""
    command = [sys.executable, "-m", "topic_sum.inference.rehearsal", str(folder)]
    try:
        process = subprocess.Popen(
            command, cwd=_PACKAGES, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except (OSError, MemoryError) as error:
        raise NotNow(f"no process to try it in can be started: {error}") from None
    with process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise ModelRefused(f"{_last(out)['step']} did not end in {SECONDS} s") from None
    said, complaint = _last(out), err.decode("utf-8", "replace")
    if "refused" in said:
        raise ModelRefused(said["refused"])
    if "not_now" in said:
        raise NotNow(said["not_now"])
    if process.returncode == 0 and said.get("ok"):
        return
    if -process.returncode in _ENDED or of_the_machine(complaint):
        raise NotNow(
            f"{said['step']} was ended ({process.returncode}): there may be too little memory; free some"
        )
    raise ModelRefused(f"{said['step']} ended its process ({process.returncode}): {_first_line(complaint)}")


def _last(out: bytes) -> dict:
    """The last thing that the process said of itself."""
    said = {"step": "loading"}
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            said = {"step": said["step"]} | json.loads(line)
    return said


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:300]


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(folder: Path) -> None:
    with contextlib.suppress(ImportError):  # Windows
        import resource

        # If the API dies meanwhile, nobody else would end a search that hangs.
        resource.setrlimit(resource.RLIMIT_CPU, (4 * SECONDS, 4 * SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from .kinds import KINDS
    from .model import load_model
    from .tasks import read_tasks

    try:
        for name, section in read_tasks(folder).tasks.items():
            _say(step=name)
            KINDS[section["kind"]].try_section(name, section)
        model = load_model(folder, "", "", 1, lambda step: _say(step=step))
        for name, task in model.tasks.items():
            _say(step=name)
            task.rehearse()
    except ModelRefused as error:
        _say(refused=str(error))
    except NotNow as error:
        _say(not_now=str(error))
    except MemoryError:
        _say(not_now="there is too little memory to try it: free some, or give the API more")
    except BaseException as error:  # whatever a library raises; a panic of Rust is no Exception
        _say(refused=f"it failed when it was tried ({type(error).__name__}: {_first_line(str(error))})")
    else:
        _say(ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
