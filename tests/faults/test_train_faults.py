"""Training is killed, its disk fills, the Hub goes away: nothing is lost, and the same command goes on."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi
from safetensors.numpy import load_file

# The fixtures of tests/training, without a package: test folders do not import each other.
_spec = importlib.util.spec_from_file_location(
    "training_fixtures", Path(__file__).resolve().parents[1] / "training" / "conftest.py"
)
training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(training)
own_hub, rows, tiny, cycle = training.own_hub, training.rows, training.tiny, training.cycle

SLOW = ["train.max_steps=40", "train.eval_steps=5", "train.keep_checkpoints=2", "train.save_minutes=0"]


@pytest.fixture
def stage(own_hub, rows, tmp_path: Path) -> Any:
    made = rows(60)
    training.publish_rows(own_hub, {"train": made[:40], "validation": made[40:48], "test": made[48:]})
    return training.Stage(own_hub, tmp_path)


def only_run(stage: Any) -> Path:
    [run] = stage.runs()
    return run


def last_step(stage: Any) -> int:
    """The step of the last line that the log holds."""
    for log in stage.artifacts.glob("runs/*/summarize/log.jsonl"):
        lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return json.loads(lines[-1])["step"] if lines else 0
    return 0


def weights(stage: Any) -> dict[str, Any]:
    return load_file(only_run(stage) / "summarize" / "trained" / "model.safetensors")


def losses(stage: Any) -> list[float]:
    lines = (only_run(stage) / "summarize" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if '"loss"' in line]


# Starts `main.py train` again and again, each time killing it once its log has reached a step, at last to the
# end. What is slow to import is imported once, before the forks: a killed process costs no start.
KILLER = """
import json, os, pathlib, signal, sys, time
home, log, steps, words = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
sys.path.insert(0, home)
import main, datasets, matplotlib.pyplot, t5sum.pipeline, t5sum.generate.train

def last_step():
    logs = pathlib.Path(log).glob("*/summarize/log.jsonl")
    lines = [line for path in logs for line in path.read_text().splitlines(True)]
    whole = [line for line in lines if line.endswith("\\n")]
    return json.loads(whole[-1])["step"] if whole else 0

killed = 0
for step in steps + [10**9]:
    child = os.fork()
    if child == 0:
        code = main.guarded(words)
        sys.stdout.flush()
        os._exit(code)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if last_step() >= step:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            break
        time.sleep(0.002)
    killed += os.WIFSIGNALED(status)
print("killed", killed, "times")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot fork")
def test_killed_at_five_random_steps_the_weights_are_those_of_an_undisturbed_run(
    stage, own_hub, tiny, tmp_path: Path
) -> None:
    words = ["train", *tiny, *SLOW]
    undisturbed = training.Stage(own_hub, tmp_path / "undisturbed")
    done = undisturbed(*words)
    assert done.returncode == 0, done.stderr

    seed = random.randrange(10**6)
    print(f"seed of this test: {seed}")
    steps = sorted(random.Random(seed).sample(range(1, 36), 5))
    command = [
        sys.executable,
        "-c",
        KILLER,
        str(training.HOME),
        str(stage.artifacts / "runs"),
        json.dumps(steps),
    ]
    done = subprocess.run(
        [*command, *words], cwd=training.HOME, env=stage.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    killed = int(done.stdout.split("killed ")[1].split()[0])
    print(f"killed {killed} times")
    assert killed >= 3, "it was meant to be killed in the middle; a fast machine may pass a moment by"
    assert "going on from step" in done.stdout
    expected, found = weights(undisturbed), weights(stage)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert losses(stage) == losses(undisturbed)


def test_a_disk_that_fills_up_in_training_loses_no_step_that_was_saved(
    stage, own_hub, tiny, small_disk, tmp_path: Path
) -> None:
    words = ["train", *tiny, *SLOW, "model.scratch.d_ff=2048"]
    disk = small_disk(96_000_000)
    stage.environment["ARTIFACTS_DIR"] = str(disk.folder)
    stage.artifacts = disk.seen
    command = disk.command(stage.command(*words), training.HOME)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=stage.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    process = start()
    while process.poll() is None and not list(disk.seen.glob("runs/*/summarize/checkpoints/*/complete")):
        time.sleep(0.002)
    while process.poll() is None:  # a checkpoint takes 5 MB; what it frees by removing an old one is filled
        disk.leave(2_000_000)
        time.sleep(0.01)
    _, err = process.communicate()
    assert process.returncode == 1, err
    [line] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    # What is said in between is torch's: the system's own words do not come through it.
    said = re.search(
        r"the checkpoint of step \d+ could not be written to .*; 0\.0 GB are free there\. "
        r"Make room, then the same command goes on from step (\d+)$",
        line,
    )
    assert said, line
    step = int(said[1])
    assert step in (5, 10)
    [whole] = disk.seen.glob("runs/*/summarize/checkpoints/*/complete")
    assert whole.parent.name == f"checkpoint-{step}", "nothing half-written stays"

    disk.make_room()
    process = start()
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"going on from step {step}" in out

    undisturbed = training.Stage(own_hub, tmp_path / "undisturbed")
    done = undisturbed(*words)
    assert done.returncode == 0, done.stderr
    assert losses(stage) == losses(undisturbed)
    expected, found = weights(undisturbed), weights(stage)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
def test_a_checkpoint_that_may_not_grow_is_one_line_and_leaves_nothing_half_written(stage, tiny) -> None:
    """The limit on a file's size, which every POSIX system has, stops a writer in the middle of a file."""
    import resource

    words = ["train", *tiny, "model.scratch.d_ff=2048"]
    limit = 1_600_000  # bytes: the weights fit, the optimizer's state, twice as large, does not
    full = subprocess.run(
        stage.command(*words), cwd=training.HOME, env=stage.environment, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert full.returncode == 1, full.stdout + full.stderr
    [line] = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "the checkpoint of step 4 could not be written" in line
    assert "Make room, then the same command goes on from the beginning" in line
    assert "Traceback" not in full.stderr
    assert list((only_run(stage) / "summarize" / "checkpoints").iterdir()) == []
    again = stage(*words)
    assert again.returncode == 0, again.stderr


@pytest.fixture
def finished(cycle, own_hub, tmp_path: Path) -> Any:
    """A run that is ready to be published into a repository that is not there yet."""
    shutil.copytree(cycle.folder / "artifacts", tmp_path / "artifacts")
    own_hub.stop()
    shutil.rmtree(own_hub.root)
    shutil.copytree(cycle.folder / "hub", own_hub.root)
    own_hub.start()
    stage = training.Stage(own_hub, tmp_path)
    stage.environment["MODEL_REPO"] = "demo/other"
    return stage


def test_an_upload_that_fails_is_done_again_without_training(finished, own_hub, tiny, cut_at) -> None:
    cut = cut_at(own_hub.port, b"/commit/main HTTP")
    failed = finished(*tiny, HF_ENDPOINT=cut.url)
    assert cut.broken, "the commit was meant to break"
    assert failed.returncode == 5, failed.stdout + failed.stderr
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert "publishing to demo/other" in line and "the same command goes on from here" in line
    assert "Traceback" not in failed.stderr
    assert HfApi(endpoint=own_hub.url).list_repo_refs("demo/other").tags == []

    again = finished(*tiny)
    assert again.returncode == 0, again.stderr
    for step in ("summarize: train", "topic: train", "summarize: export", "topic: evaluate"):
        assert f"{step}: done before, kept" in again.stdout
    assert "is in production now" in again.stdout


def test_a_tag_that_could_not_be_moved_is_moved_by_the_next_run(finished, own_hub, tiny, cut_at) -> None:
    cut = cut_at(own_hub.port, b"/tag/")
    failed = finished(*tiny, HF_ENDPOINT=cut.url)
    assert cut.broken
    assert failed.returncode == 5, failed.stdout + failed.stderr
    assert "moving the tag production" in failed.stderr
    again = finished(*tiny)
    assert again.returncode == 0, again.stderr
    assert "upload:" not in again.stdout
    refs = HfApi(endpoint=own_hub.url).list_repo_refs("demo/other")
    assert [tag.target_commit for tag in refs.tags] == [refs.branches[0].target_commit]


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ((), "doesn't contain any data files"),
        (("train", "validation", "test"), "no rows in test-2020.parquet, "),
    ],
)
def test_an_empty_dataset_is_code_3_in_one_line(own_hub, rows, tiny, tmp_path: Path, splits, said) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    api = HfApi(endpoint=own_hub.url, token=own_hub.token)
    api.create_repo(training.REPO, repo_type="dataset")
    table = pa.Table.from_pylist(rows(1)).slice(0, 0)
    for split in splits:
        pyarrow.parquet.write_table(table, tmp_path / "empty.parquet")
        api.upload_file(
            path_or_fileobj=tmp_path / "empty.parquet", path_in_repo=f"data/{split}-2020.parquet",
            repo_id=training.REPO, repo_type="dataset",
        )  # fmt: skip
    stage = training.Stage(own_hub, tmp_path)
    done = stage(*tiny)
    assert done.returncode == 3, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said in line and "Traceback" not in done.stderr
    assert stage.runs() == [] or not (only_run(stage) / "summarize" / "checkpoints").exists()


def test_a_hub_that_is_down_costs_no_training(stage, own_hub, tiny) -> None:
    assert stage("train", *tiny).returncode == 0
    own_hub.stop()
    down = stage(*tiny)
    assert down.returncode == 5
    [line] = [line for line in down.stderr.splitlines() if line.startswith("error: ")]
    assert "does not answer" in line
    own_hub.start()
    again = stage("train", *tiny)
    assert again.returncode == 0
    assert "train: done before, kept" in again.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl+C to a whole console, the tests' too")
def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(stage, tiny) -> None:
    words = ["train", *tiny, *SLOW, "train.max_steps=2000", "train.eval_steps=2000"]
    process = stage.start(*words)
    while process.poll() is None and last_step(stage) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "stopped; the same command goes on from here" in err
    assert "Traceback" not in err
    [checkpoint] = (only_run(stage) / "summarize" / "checkpoints").glob("checkpoint-*")
    step = int(checkpoint.name.split("-")[1])
    assert step >= 3
    process = stage.start(*words)
    while process.poll() is None and last_step(stage) <= step:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert f"going on from step {step}" in out
