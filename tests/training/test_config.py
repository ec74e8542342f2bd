"""config.yaml, overlays and the command line: right ones load, wrong ones are named."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import main
import pytest
from t5sum import StageError
from t5sum import config as config_module
from t5sum.config import fingerprint, load_config, stage_settings, training_settings

HOME = Path(main.__file__).parent


def test_threads_that_wait_are_told_to_sleep_before_torch_is_loaded() -> None:
    """Spinning ones make training crawl as soon as another program uses a core."""
    ask = "import os, sys, main; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    def told(**own: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", ask], cwd=HOME, env=environment | own, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    assert told() == "False PASSIVE\n"
    assert told(OMP_WAIT_POLICY="ACTIVE") == "False ACTIVE\n"  # who knows better


def told_of(error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(main, "main", fail)
    return main.guarded([]), capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.EACCES, "mine/runs"), (errno.EPERM, "mine"), (errno.EROFS, "mine"), (errno.ENOTDIR, "mine/runs"),
     (errno.ENOENT, "mine/runs"), (errno.EEXIST, "mine/runs"), (errno.EACCES, "")],
)  # fmt: skip
def test_an_artifacts_folder_that_is_none_of_ours_is_a_wrong_setting(
    number: int, name: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("ARTIFACTS_DIR", str(tmp_path / "mine"))
    where = str(tmp_path / name)
    code, said = told_of(OSError(number, os.strerror(number), where), monkeypatch, capsys)
    assert code == 2
    assert said == (
        f"error: cannot write in {where}: {os.strerror(number)}; set ARTIFACTS_DIR to a folder of yours\n"
    )


def test_a_full_disk_asks_for_room_and_a_missing_file_is_a_bug(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ARTIFACTS_DIR", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))
    code, said = told_of(full, monkeypatch, capsys)
    assert code == 1 and "Make room there" in said
    for where in (tmp_path / "runs" / "run.json", Path("/elsewhere")):
        with pytest.raises(FileNotFoundError):
            told_of(FileNotFoundError(errno.ENOENT, "No such file", str(where)), monkeypatch, capsys)


def test_the_default_is_the_published_recipe() -> None:
    config = load_config([], {})
    train = config.train
    assert (train.lr, train.effective_batch, train.epochs, train.warmup_steps) == (4e-4, 256, 8, 100)
    assert (train.eval_steps, train.seed, train.micro_batch) == (250, 42, 4)
    assert (config.summarize.source_max_tokens, config.summarize.target_max_tokens) == (600, 200)
    assert (config.generation.beam_size, config.generation.no_repeat_ngram_size) == (5, 4)


def test_a_file_lies_over_config_yaml_and_the_command_line_over_both(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("train: {lr: 0.001, seed: 7}\n")
    config = load_config(["train.seed=9"], {}, [overlay])
    assert (config.train.lr, config.train.seed, config.train.epochs) == (1e-3, 9, 8)


def test_names_left_out_come_from_the_environment() -> None:
    config = load_config([], {"DATASET_REPO": "a/b", "MODEL_REPO": "c/d", "ARTIFACTS_DIR": "/x"})
    assert (config.hub.dataset_repo, config.hub.model_repo) == ("a/b", "c/d")
    assert Path(config.runs_dir) == Path("/x/runs")
    assert load_config(["hub.dataset_repo=e/f"], {"DATASET_REPO": "a/b"}).hub.dataset_repo == "e/f"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.lrr=1", "train.lrr is not a setting; did you mean train.lr? allowed in train: seed, lr"),
        (
            "tracking=wandb",
            "tracking='wandb' is not allowed: it must be one of none, mlflow, tensorboard, trackio",
        ),
        ("speed=1", "speed is not a setting; allowed: runs_dir, tracking, hub, model"),
        ("train.lr=fast", "train.lr='fast' is not allowed: it must be a number"),
        ("train.epochs=", "train.epochs=None is not allowed: it must be a number"),
        ("train.max_steps=x", "it must be a whole number or null"),
        ("train.group_by_length=maybe", "it must be true or false"),
        ("model.init=best", "model.init='best' is not allowed: it must be one of base, production"),
        ("train.precision=half", "one of auto, bf16, fp16, fp32"),
        ("model.scratch=4", "model.scratch is a section"),
        ("train=4", "train is a section; set one of its keys, train.KEY=VALUE"),
        ("train.micro_batch=0", "train.micro_batch=0 must be at least 1"),
        ("train.keep_checkpoints=1", "train.keep_checkpoints=1 must be at least 2"),
        ("train.lr=-1", "train.lr=-1.0 must be above 0"),
        ("train.lr=nan", "train.lr=nan must be above 0"),
        ("model.scratch.dropout=1", "must be at least 0 and below 1"),
        ("train.micro_batch=3", "train.effective_batch=256 must be a multiple of train.micro_batch=3"),
        ("evaluate.limit=0", "evaluate.limit=0 must be at least 1"),
        ("gate.metric=luck", "one of rouge1, rouge2, rougeL, meteor"),
        ("topic.precision=2", "topic.precision=2.0 must lie between 0 and 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(word: str, said: str) -> None:
    with pytest.raises(StageError) as caught:
        load_config([word], {})
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["train: [1", "- a list", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    overlay = tmp_path / "broken.yaml"
    overlay.write_text(text)
    with pytest.raises(StageError, match=r"broken\.yaml") as caught:
        load_config([], {}, [overlay])
    assert caught.value.code == 2
    with pytest.raises(StageError, match="there is no such file"):
        load_config([], {}, [tmp_path / "absent.yaml"])


@pytest.mark.parametrize(
    "word", ["train.micro_batch=2", "train.eval_batch=1", "train.device=cpu", "train.threads=1",
             "runs_dir=/x", "hub.private=true", "train.save_minutes=1", "model.scratch.d_model=64"]
)  # fmt: skip
def test_what_does_not_change_the_weights_does_not_start_a_new_run(word: str) -> None:
    before, after = load_config([], {}), load_config([word], {})
    assert fingerprint(training_settings(before)) == fingerprint(training_settings(after))
    assert fingerprint(stage_settings(before)) == fingerprint(stage_settings(after))


@pytest.mark.parametrize(
    "word",
    [
        "train.lr=1",
        "train.effective_batch=128",
        "model.base=scratch",
        "summarize.prefix=x",
        "data.train_rows=5",
    ],
)
def test_what_changes_the_weights_starts_a_new_run(word: str) -> None:
    before, after = load_config([], {}), load_config([word], {})
    assert fingerprint(training_settings(before)) != fingerprint(training_settings(after))


def test_another_map_of_rubrics_trains_the_topics_again(tmp_path, monkeypatch) -> None:
    config = load_config([], {})
    before = fingerprint(training_settings(config)), fingerprint(stage_settings(config))
    changed = tmp_path / "topics.yaml"
    changed.write_bytes(config_module.TOPIC_MAP.read_bytes() + b"# one rubric more\n")
    monkeypatch.setattr(config_module, "TOPIC_MAP", changed)
    after = fingerprint(training_settings(config)), fingerprint(stage_settings(config))
    assert before[0] == after[0] and before[1] != after[1]


@pytest.mark.parametrize(
    "word", ["generation.beam_size=1", "topic.min_rows=5", "gate.newest=5", "evaluate.limit=5"]
)
def test_what_changes_only_what_is_published_keeps_the_training(word: str) -> None:
    before, after = load_config([], {}), load_config([word], {})
    assert fingerprint(training_settings(before)) == fingerprint(training_settings(after))
    assert fingerprint(stage_settings(before)) != fingerprint(stage_settings(after))
