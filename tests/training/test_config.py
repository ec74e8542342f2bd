"""config.yaml, overlays and the command line: right ones load, wrong ones are named."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import main
import pytest
import yaml
from t5sum import StageError
from t5sum.config import GateConfig, Settings
from t5sum.generate.plan import plan
from t5sum.identity import fingerprint, stage_settings, training_settings
from t5sum.load import load_config
from t5sum.run.result import Result

HOME = Path(main.__file__).parent


def test_waiting_threads_sleep_and_that_is_set_before_torch_is_loaded() -> None:
    """Spinning ones make training crawl as soon as another program uses a core."""
    ask = "import os, sys, main; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    def answer(**own: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", ask], cwd=HOME, env=environment | own, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    assert answer() == "False PASSIVE\n"
    assert answer(OMP_WAIT_POLICY="ACTIVE") == "False ACTIVE\n"  # a setting of the user wins


def met(error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple:
    def fail(words: list[str], result: Result) -> int:
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
    code, said = met(OSError(number, os.strerror(number), where), monkeypatch, capsys)
    assert code == 2
    assert said == (
        f"error: cannot write in {where}: {os.strerror(number)}; set ARTIFACTS_DIR to a folder of yours\n"
    )


def test_a_full_disk_asks_for_room_and_a_missing_file_is_a_bug(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ARTIFACTS_DIR", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))
    code, said = met(full, monkeypatch, capsys)
    assert code == 1 and "Make room there" in said
    for where in (tmp_path / "runs" / "run.json", Path("/elsewhere")):
        with pytest.raises(FileNotFoundError):
            met(FileNotFoundError(errno.ENOENT, "No such file", str(where)), monkeypatch, capsys)


def test_the_default_is_the_published_recipe() -> None:
    config = load_config([], {})
    train = config.train
    assert (train.lr, train.seed, train.micro_batch) == (4e-4, 42, 4)
    planned = plan(60_964, train)  # as many as the published recipe had
    assert (planned.effective_batch, planned.epochs, planned.warmup_steps) == (256, 8, 96)
    assert planned.eval_steps == 239
    summarize = config.tasks["summarize"]
    assert (summarize.source_max_tokens, summarize.target_max_tokens) == (600, 200)
    assert (summarize.generation.beam_size, summarize.generation.no_repeat_ngram_size) == (5, 4)


def test_a_file_lies_over_config_yaml_and_the_command_line_over_both(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("train: {lr: 0.001, seed: 7}\n")
    config = load_config(["train.seed=9"], {}, [overlay])
    assert (config.train.lr, config.train.seed, config.train.log_steps) == (1e-3, 9, 10)


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
        ("train.log_steps=", "train.log_steps=None is not allowed: it must be a whole number"),
        ("train.max_steps=x", "it must be a whole number or null"),
        ("train.group_by_length=maybe", "it must be true or false"),
        ("model.init=best", "model.init='best' is not allowed: it must be one of base, production"),
        ("train.precision=fp8", "one of auto, bf16, fp16, fp32"),
        ("model.scratch=4", "model.scratch is a section"),
        ("train=4", "train is a section; set one of its keys, train.KEY=VALUE"),
        ("train.micro_batch=0", "train.micro_batch=0 must be at least 1"),
        ("train.keep_checkpoints=1", "train.keep_checkpoints=1 must be at least 2"),
        ("train.lr=-1", "train.lr=-1.0 must be above 0"),
        ("train.lr=nan", "train.lr=nan must be above 0"),
        ("model.scratch.dropout=1", "must be at least 0 and below 1"),
        ("train.micro_batch=3", "train.effective_batch=256 must be a multiple of train.micro_batch=3"),
        ("evaluate.limit=0", "evaluate.limit=0 must be at least 1"),
        ("gate.newest=0", "gate.newest=0 must be at least 1"),
        ("gate.samples=0", "gate.samples=0 must be at least 1"),
        ("gate.confidence=1.5", "gate.confidence=1.5 must lie between 0 and 1"),
        ("gate.tie=x", "gate.tie='x' is not allowed: it must be one of higher, production, candidate"),
        ("evaluate.samples=0", "evaluate.samples=0 must be at least 1"),
        ("evaluate.confidence=1", "evaluate.confidence=1.0 must lie between 0 and 1"),
        ("evaluate.batch_tokens=0", "evaluate.batch_tokens=0 must be at least 1"),
        ("tasks.topic.precision=2", "tasks.topic.precision=2.0 must lie between 0 and 1"),
        ("tasks.topic.min_rows=1", "tasks.topic.min_rows=1 must be at least 2"),
        ("classify.hash_bits=2", "classify.hash_bits=2 must be at least 8"),
        ("tasks.topic.latency_ms=0", "tasks.topic.latency_ms=0.0 must be above 0"),
        ("tasks.topic.mn_rows=3", "did you mean tasks.topic.min_rows? allowed in tasks.topic: source"),
        ("tasks.topik.min_rows=3", "no task topik; did you mean topic? there are: summarize, topic"),
        ("tasks.topic=4", "tasks.topic is a section"),
        ("tasks.topic.labels.army.nam=x", "did you mean tasks.topic.labels.army.name?"),
        ("tasks.topic.source={text", "has a { that fits nowhere"),
        ("tasks.topic.mask=['(']", "tasks.topic.mask: '(' is no regular expression"),
        ("tasks.topic.labels.army.takes=[sport]", "tasks.topic.labels: the value sport stands there twice"),
        ("tasks.new={kind: poem}", "tasks.new.kind='poem' is not allowed: it must be one of generate,"),
        ("tasks.new={kind: regress}", "tasks.new needs source and target"),
        ("tasks.New={kind: regress, source: '{text}', target: title}", "a task's name is"),
        ("tasks.ct2={kind: regress, source: '{text}', target: title}", "and is not ct2"),
        ("tasks.x=[", "the command line cannot be read"),
        (
            "summarize.source_max_tokens=9",
            "summarize.source_max_tokens is now tasks.summarize.source_max_tokens",
        ),
        ("summarize.with_title=true", "summarize.with_title is now tasks.summarize.source, a template"),
        ("generation.beam_size=1", "generation.beam_size is now tasks.summarize.generation.beam_size"),
        ("topic.min_rows=9", "topic.min_rows is now tasks.topic.min_rows"),
        ("topic.t5_rows=9", "topic.t5_rows is gone"),
        ("gate.lead_margin=9", "gate.lead_margin is now tasks.summarize.gate.margin"),
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
        "tasks.summarize.source={text}",
        "data.train_rows=5",
    ],
)
def test_what_changes_the_weights_starts_a_new_run(word: str) -> None:
    before, after = load_config([], {}), load_config([word], {})
    assert fingerprint(training_settings(before)) != fingerprint(training_settings(after))


def write_recipe(folder: Path, text: str) -> dict[str, str]:
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    return {"RECIPE": str(folder / "own.yaml")}


OWN = """
name: reviews
columns: {text: {type: text}, score: {type: number}}
tasks:
  rating: {kind: regress, source: "{text}", target: score}
gate: {newest: 50}
training: {train: {lr: 0.001}, regress: {max_rows: 500}}
"""


def test_a_recipe_chooses_the_tasks_and_lies_between_config_yaml_and_the_command_line(tmp_path: Path) -> None:
    environment = write_recipe(tmp_path, OWN)
    config = load_config([], environment)
    assert (config.recipe, list(config.tasks), config.train.lr) == ("reviews", ["rating"], 1e-3)
    rating = config.tasks["rating"]
    assert (rating.kind, rating.max_rows, rating.gate.newest, rating.gate.metric) == (
        "regress",
        500,
        50,
        "mae",
    )
    assert (
        load_config(["tasks.rating.max_rows=700", "gate.newest=9"], environment).tasks["rating"].gate.newest
        == 9
    )


def test_a_section_of_a_kind_holds_for_every_task_of_it_and_a_task_may_differ() -> None:
    add = 'tasks.headline={kind: generate, source: "{text}", target: title}'
    config = load_config([add, "generate.source_max_tokens=99", "tasks.headline.target_max_tokens=9"], {})
    assert [task.source_max_tokens for task in config.of_kind("generate").values()] == [99, 99]
    assert [task.target_max_tokens for task in config.of_kind("generate").values()] == [200, 9]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "gate:",
            "gates:",
            "own.yaml: gates is not a section of a recipe; did you mean gate? there are: name",
        ),
        (
            "target: score",
            "target: scor",
            "tasks.rating.target: own.yaml has no column scor; did you mean score?",
        ),
        ("newest: 50", "newst: 50", "own.yaml: gate.newst is not a setting; did you mean gate.newest?"),
        ("lr: 0.001", "lrr: 1", "own.yaml: train.lrr is not a setting; did you mean train.lr?"),
        ("training: {train", "training: {tasks: {}, train", "own.yaml: training.tasks belongs at the top"),
        (
            'tasks:\n  rating: {kind: regress, source: "{text}", target: score}',
            "tasks: {}",
            "own.yaml: tasks must",
        ),
    ],
)
def test_a_wrong_recipe_is_named_with_the_nearest_known_key(tmp_path: Path, old, new, said) -> None:
    assert old in OWN
    with pytest.raises(StageError, match=re.escape(said)) as caught:
        load_config([], write_recipe(tmp_path, OWN.replace(old, new)))
    assert caught.value.code == 2 and "\n" not in str(caught.value)


def test_config_yaml_shows_every_setting_with_its_default() -> None:
    shown = yaml.safe_load((HOME / "config.yaml").read_text(encoding="utf-8"))

    def compare(section: Any, values: dict[str, Any], above: str = "") -> None:
        for item in fields(section):
            value = getattr(section, item.name)
            if item.name in COMMON and above.endswith("gate.") and above != "gate.":
                assert values.get(item.name, value) == value
                continue
            assert item.name in values, f"config.yaml does not show {above}{item.name}"
            if is_dataclass(value):
                compare(value, values[item.name], f"{above}{item.name}.")
            else:
                assert values[item.name] == value, f"{above}{item.name}"
        assert set(values) <= {item.name for item in fields(section)}

    compare(Settings(), shown)


# A kind's gate has the settings of the common gate, and shows only what differs.
COMMON = {item.name for item in fields(GateConfig)}


def test_the_default_recipe_spells_out_the_defaults() -> None:
    recipe = yaml.safe_load((HOME.parent / "recipes/gazeta.yaml").read_text(encoding="utf-8"))
    assert recipe["gate"] == {"newest": GateConfig().newest}
    config = load_config([], {})
    plain = Settings()
    assert (config.train, config.model) == (plain.train, plain.model)
    for name in ("source_max_tokens", "target_max_tokens", "generation", "gate"):
        assert getattr(config.tasks["summarize"], name) == getattr(plain.generate, name)


@pytest.mark.parametrize(
    "word",
    [
        "tasks.summarize.generation.beam_size=1",
        "tasks.topic.min_rows=5",
        "gate.newest=5",
        "evaluate.limit=5",
        "tasks.topic.labels.army.name=Армия и флот",
    ],
)
def test_what_changes_only_what_is_published_keeps_the_training(word: str) -> None:
    before, after = load_config([], {}), load_config([word], {})
    assert fingerprint(training_settings(before)) == fingerprint(training_settings(after))
    assert fingerprint(stage_settings(before)) != fingerprint(stage_settings(after))
