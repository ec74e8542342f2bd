"""Stage 2, dataset revision → model revision. `python main.py --help` says how to call it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from t5sum import StageError, __version__, release
from t5sum.config import read_environment
from t5sum.load import load_config
from t5sum.pipeline import Stage
from t5sum.run.ranks import rank
from t5sum.run.result import Result

# OpenMP's threads spin while they wait for one another. If another program uses a core, all of them wait
# for the one that lost its turn, and training slows down 4 to 10 times. Sleeping threads cost nothing, and on
# idle cores training is as fast. The variable is read when torch is loaded, and nothing above loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HELP = """python main.py [COMMAND] [config=FILE] [KEY=VALUE ...]

Without a command, the whole stage: the newest dataset revision is resolved, and every task of the recipe is
trained on it (a T5 resumes from its last checkpoint), exported and evaluated. The models are published in
one commit, which is tagged `production` if every task passes its gate. If nothing is new, it ends.

  train             only train; a later call without a command goes on from there
  train-topics      only the tasks without a T5; kept for those who know it from the first edition
  evaluate          the served model on the newest dataset; --model REV and --dataset REV choose others
  promote REV       serve the model revision REV (a commit, tag or branch); because="..." is kept with the tag
  rollback          serve what was served before
  upload RUN        publish a finished run again, RUN being its folder or the folder's name

  config=FILE       settings laid over config.yaml and the recipe; may be given more than once
  KEY=VALUE         one setting: train.lr=3e-4, tasks.summarize.source_max_tokens=256
  --smoke           a tiny model on a few rows, published nowhere: does this machine work? Under two minutes

On several GPUs or machines: torchrun --nproc_per_node=N main.py ..., with the same arguments.

Variables: HF_TOKEN, DATASET_REPO, MODEL_REPO; RECIPE (gazeta), HF_ENDPOINT and ARTIFACTS_DIR if they differ.
See .env.example.
Exit codes: 0 done or nothing to do, 2 wrong usage or setting, 3 the data failed its checks, 4 the gate
refused the model, 5 the Hub or a device is unreachable, 6 another run is active, 130 stopped by hand, 1 any
other error.
Every end is also recorded in ARTIFACTS_DIR/results/training.json.
"""


def whole_stage(stage: Stage) -> int:
    stage.need_names()
    stage.join()
    stage.resolve_dataset()
    if (code := stage.nothing_to_do()) is not None:
        return code
    stage.check_rights()
    with stage.open_run():
        stage.read_rows()
        if not stage.train():
            return 0
        stage.export()
        stage.evaluate()
        stage.describe()
        stage.track()
        release.publish(stage)
        return release.promote_if_passed(stage)


def only_train(stage: Stage) -> int:
    stage.need_names(model=False)
    stage.join()
    stage.resolve_dataset()
    with stage.open_run():
        stage.read_rows()
        stage.train()
    return 0


def only_evaluate(stage: Stage, model: str, dataset: str) -> int:
    stage.need_names()
    release.evaluate_revision(stage, model, dataset)
    return 0


def promote(stage: Stage, revision: str, because: str) -> int:
    stage.need_names(dataset=False)
    release.promote(stage, revision, because)
    return 0


def rollback(stage: Stage, because: str) -> int:
    stage.need_names(dataset=False)
    release.rollback(stage, because)
    return 0


def upload(stage: Stage, name: str) -> int:
    stage.need_names(dataset=False)
    with stage.find_run(name):
        stage.check_rights()
        release.publish_again(stage)
        return release.promote_if_passed(stage)


def main(words: list[str], result: Result) -> int:
    command, names, options, overrides, overlays = parse(words)
    read_environment(os.environ)
    config = load_config(overrides, os.environ, overlays)
    result.recipe = config.recipe
    stage = Stage(config, result, t5=command != "train-topics")
    match command:
        case None:
            return whole_stage(stage)
        case "train" | "train-topics":
            return only_train(stage)
        case "evaluate":
            dataset = options["dataset"] or config.hub.dataset_revision
            return only_evaluate(stage, options["model"], dataset)
        case "promote":
            return promote(stage, names[0], options["because"])
        case "rollback":
            return rollback(stage, options["because"])
        case "upload":
            return upload(stage, names[0])
    raise AssertionError(command)


# Command → how many names follow it, what they are, and the options it takes.
COMMANDS = {
    "train": ("", ()),
    "train-topics": ("", ()),
    "evaluate": ("", ("model", "dataset")),
    "promote": ("REV", ("because",)),
    "rollback": ("", ("because",)),
    "upload": ("RUN", ()),
}


def parse(words: list[str]) -> tuple[str | None, list[str], dict[str, str], list[str], list[Path]]:
    """(command, its names, its options, key=value settings, overlay files). Raises StageError, code 2."""
    command: str | None = None
    names: list[str] = []
    options = {"model": "", "dataset": "", "because": ""}
    overrides: list[str] = []
    overlays: list[Path] = []
    waiting = iter(words)
    for word in waiting:
        key, equals, value = word.partition("=")
        if word == "--smoke":
            overlays.append(Path(__file__).parent / "smoke.yaml")
        elif key.removeprefix("--") in options and (word.startswith("--") or key == "because"):
            name = key.removeprefix("--")
            if command is None or name not in COMMANDS[command][1]:
                raise StageError(f"{word} belongs after {option_owner(name)}; see python main.py --help", 2)
            options[name] = value if equals else next(waiting, "")
            if not options[name]:
                raise StageError(f"{key} needs a value, for example {key} main", 2)
        elif word.startswith("-"):
            raise StageError(f"unknown option {word}; see python main.py --help", 2)
        elif key == "config" and equals:
            overlays.append(Path(value))
        elif equals:
            overrides.append(word)
        elif command is None:
            if word not in COMMANDS:
                raise StageError(f"unknown command {word}; there are {', '.join(COMMANDS)}", 2)
            command = word
        else:
            names.append(word)
    wanted = COMMANDS[command][0] if command else ""
    if len(names) != bool(wanted):
        given = f"got {' '.join(names)}" if names else "got none"
        need = f"one {wanted}" if wanted else "nothing"
        raise StageError(f"{command} takes {need} after it, {given}; see python main.py --help", 2)
    return command, names, options, overrides, overlays


def option_owner(name: str) -> str:
    return " or ".join(command for command, (_, options) in COMMANDS.items() if name in options)


def guarded(words: list[str]) -> int:
    """Run. An error that a user can meet becomes one line on stderr and the exit code of its kind."""
    if "--help" in words or "-h" in words:
        print(HELP, end="")
        return 0
    if "--version" in words:
        print(__version__)
        return 0
    environment = read_environment(os.environ)
    result = Result(environment.recipe.stem)
    code, message, reason = attempt(words, result)
    if rank() == 0:
        result.end(environment.artifacts, code, message, reason)
    return code


def attempt(words: list[str], result: Result) -> tuple[int, str, str]:
    """(exit code, message, reason if the code does not say it)."""
    try:
        return main(words, result), "", ""
    except StageError as error:
        if rank() == 0 or error.met_alone:
            print(f"error: {error}", file=sys.stderr)
        return error.code, str(error), ""
    except KeyboardInterrupt:
        line = "stopped; the same command goes on from here"
        if rank() == 0:
            print(line, file=sys.stderr)
        return 130, line, ""
    except OSError as error:
        where = error.filename or "the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            line = f"{where}: {error.strerror}. Make room there; the same command goes on from here"
            code, reason = 1, "disk_full"
        elif is_wrong_folder(error):
            name = "ARTIFACTS_DIR" if is_ours(where) else "ARTIFACTS_DIR or HF_HOME"
            line = f"cannot write in {where}: {error.strerror}; set {name} to a folder of yours"
            code, reason = 2, ""
        else:
            unexpected(result, error)
            raise
        print(f"error: {line}", file=sys.stderr)
        return code, line, reason
    except Exception as error:
        unexpected(result, error)
        raise


def unexpected(result: Result, error: BaseException) -> None:
    """A bug still leaves a result; its traceback follows."""
    if rank() == 0:
        line = f"{type(error).__name__}: {error}".partition("\n")[0]
        result.end(read_environment(os.environ).artifacts, 1, line)


def is_wrong_folder(error: OSError) -> bool:
    """Whether a setting names a folder that is not for us, or none at all; anything else is a bug."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return True
    # A file that is missing in a folder that is there would be a bug of ours.
    missing = error.errno == errno.ENOENT and not read_environment(os.environ).artifacts.is_dir()
    return is_ours(error.filename) and (missing or error.errno in (errno.ENOTDIR, errno.EEXIST))


def is_ours(name: Any) -> bool:
    """Whether this path is in ARTIFACTS_DIR or on the way to it."""
    if not isinstance(name, str | bytes | os.PathLike):
        return False
    where, ours = (
        Path(os.fsdecode(path)).absolute() for path in (name, read_environment(os.environ).artifacts)
    )
    return where.is_relative_to(ours) or ours.is_relative_to(where)


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:]))
