"""Stage 2, dataset revision → model revision. `python main.py --help` says how to call it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from t5sum import StageError, __version__
from t5sum.config import Config, load_config, read_environment
from t5sum.run.ranks import rank

# OpenMP's threads spin while they wait for one another: where another program has a core, all of them wait
# for the one that lost its turn, and training slows down 4 to 10 times. Asleep they cost nothing, and on idle
# cores training is as fast. Read when torch is loaded, and nothing above loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HELP = """python main.py [COMMAND] [config=FILE] [KEY=VALUE ...]

Without a command, the whole stage: the newest dataset revision is resolved, a T5 is trained on it (or goes
on from its last checkpoint), then a topic classifier; the model is exported, evaluated and published in one
commit, and tagged `production` if it passes the gate. With nothing new it says so and ends.

  train             only train; a later call without a command goes on from there
  train-topics      only the topic classifier, and its report
  evaluate          the served model on the newest dataset; --model REV and --dataset REV choose others
  promote REV       serve the model revision REV (a commit, tag or branch); because="..." is kept with the tag
  rollback          serve what was served before
  upload RUN        publish a finished run again, RUN being its folder or the folder's name

  config=FILE       settings laid over config.yaml; may be given more than once
  KEY=VALUE         one setting, as in config.yaml: train.lr=3e-4
  --smoke           a tiny model on a few rows, published nowhere: does this machine work? Under two minutes

On several GPUs or machines: torchrun --nproc_per_node=N main.py ..., the same words.

Variables: HF_TOKEN, DATASET_REPO, MODEL_REPO; HF_ENDPOINT and ARTIFACTS_DIR if they differ. See .env.example.
Exit codes: 0 done or nothing to do, 2 wrong usage or setting, 3 the data failed its checks, 4 the gate
refused the model, 5 the Hub or a device is not there, 6 another run is active, 130 stopped by hand, 1 else.
"""


def whole_stage(config: Config) -> int:
    from t5sum import pipeline as steps
    from t5sum.run import ranks

    steps.need_names(config)
    ranks.join(config.train.device)
    dataset = steps.resolve_dataset(config)
    if (code := steps.nothing_to_do(config, dataset)) is not None:
        return code
    steps.check_rights(config)
    with steps.open_run(config, dataset) as run:
        rows = steps.read_rows(dataset)
        steps.check_topics(rows, config)
        base = steps.resolve_base(run, config)
        if not steps.train(run, rows, base, config):
            return 0
        steps.topics(run, rows, config)
        steps.export(run, rows, config)
        steps.evaluate(run, rows, dataset, config)
        steps.describe(run, rows, dataset, base, config)
        steps.track(run, config)
        steps.publish(run, dataset, config)
        return steps.promote_if_passed(run, config)


def only_train(config: Config) -> int:
    from t5sum import pipeline as steps
    from t5sum.run import ranks

    steps.need_names(config, model=False)
    ranks.join(config.train.device)
    dataset = steps.resolve_dataset(config)
    with steps.open_run(config, dataset) as run:
        rows = steps.read_rows(dataset)
        steps.train(run, rows, steps.resolve_base(run, config), config)
    return 0


def only_topics(config: Config) -> int:
    from t5sum import pipeline as steps

    steps.need_names(config, model=False)
    dataset = steps.resolve_dataset(config)
    with steps.open_run(config, dataset) as run:
        steps.topics(run, steps.read_rows(dataset), config)
    return 0


def only_evaluate(config: Config, model: str, dataset: str) -> int:
    from t5sum import pipeline as steps

    steps.need_names(config)
    return steps.evaluate_revision(config, model, dataset)


def promote(config: Config, revision: str, because: str) -> int:
    from t5sum import pipeline as steps
    from t5sum import publish

    steps.need_names(config, dataset=False)
    publish.promote(config.hub.model_repo, revision, because or "promoted by hand")
    return 0


def rollback(config: Config, because: str) -> int:
    from t5sum import pipeline as steps
    from t5sum import publish

    steps.need_names(config, dataset=False)
    publish.rollback(config.hub.model_repo, because or "rolled back by hand")
    return 0


def upload(config: Config, name: str) -> int:
    from t5sum import pipeline as steps

    steps.need_names(config, dataset=False)
    with steps.find_run(config, name) as run:
        steps.check_rights(config)
        steps.publish_again(run, config)
        return steps.promote_if_passed(run, config)


def main(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print(HELP, end="")
        return 0
    if "--version" in words:
        print(__version__)
        return 0
    command, names, options, overrides, overlays = parse(words)
    read_environment(os.environ)
    config = load_config(overrides, os.environ, overlays)
    match command:
        case None:
            return whole_stage(config)
        case "train":
            return only_train(config)
        case "train-topics":
            return only_topics(config)
        case "evaluate":
            return only_evaluate(config, options["model"], options["dataset"] or config.hub.dataset_revision)
        case "promote":
            return promote(config, names[0], options["because"])
        case "rollback":
            return rollback(config, options["because"])
        case "upload":
            return upload(config, names[0])
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
    """Run; what a user can meet becomes one line on stderr and the exit code that says its kind."""
    try:
        return main(words)
    except StageError as error:
        if rank() == 0 or error.met_alone:
            print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        if rank() == 0:
            print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        where = error.filename or "the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice, code = "Make room there; the same command goes on from here", 1
            print(f"error: {where}: {error.strerror}. {advice}", file=sys.stderr)
        elif is_wrong_folder(error):
            name = "ARTIFACTS_DIR" if is_ours(where) else "ARTIFACTS_DIR or HF_HOME"
            line, code = f"cannot write in {where}: {error.strerror}; set {name} to a folder of yours", 2
            print(f"error: {line}", file=sys.stderr)
        else:
            raise
        return code


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
