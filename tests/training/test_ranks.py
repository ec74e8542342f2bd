"""Two processes train one model: the same steps, one writer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

QUIET = ["model.scratch.dropout=0", "train.micro_batch=2", "train.group_by_length=false"]

# main.py, but the second process's loss is no number in its fifth micro-batch, the first of step 3.
SPOILED = """
import os, sys
sys.path.insert(0, os.getcwd())
import main
from t5sum.generate.trainer import SummaryTrainer
whole, count = SummaryTrainer.compute_loss, [0]

def spoiled(self, *given, **more):
    count[0] += 1
    return whole(self, *given, **more) * (float("nan") if count[0] == 5 else 1.0)

if os.environ["RANK"] == "1":
    SummaryTrainer.compute_loss = spoiled
sys.exit(main.guarded(sys.argv[1:]))
"""


@pytest.fixture
def two(stage, free_port):
    """`torchrun` with two processes on this CPU."""

    def work(*words: str, program: Path | None = None) -> subprocess.CompletedProcess[str]:
        [_, main, *words] = stage.command(*words)
        launcher = [
            sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2",
            "--master_addr=127.0.0.1", f"--master_port={free_port()}",
        ]  # fmt: skip
        return subprocess.run(
            [*launcher, str(program or main), *words], cwd=Path(main).parent, env=stage.environment,
            capture_output=True, text=True,
        )  # fmt: skip

    return work


def test_accelerate_launch_starts_them_as_well(stage, dataset, tiny, free_port) -> None:
    # As for two GPUs: for CPUs (--cpu) accelerate starts one process only.
    [_, main, *words] = stage.command("train", *tiny, *QUIET, "train.max_steps=2", "train.eval_steps=2")
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2",
        "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no",
        f"--main_process_port={free_port()}",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, main, *words], cwd=Path(main).parent, env=stage.environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("device: ") == 1
    [run] = stage.runs()
    assert logged(run) == [1, 2]


def logged(run: Path) -> list[int]:
    """The steps in the log."""
    lines = (run / "summarize" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines if '"loss"' in line]


def weights(run: Path) -> dict[str, Any]:
    return load_file(run / "summarize" / "trained" / "model.safetensors")


def test_two_processes_learn_what_one_learns_and_go_on_where_they_were(
    two, stage, dataset, tiny, tmp_path: Path
) -> None:
    words = ["train", *tiny, *QUIET]
    half = two(*words, "train.save_minutes=0")
    assert half.returncode == 0, half.stderr[-3000:]
    [run] = stage.runs()
    assert half.stdout.count("device: ") == 1, "only the first process speaks"
    assert logged(run) == list(range(1, 9)), "each step is logged once"
    together = weights(run)

    # Back to the checkpoint of step 4, as after a power cut.
    import shutil

    here = run / "summarize"
    shutil.rmtree(here / "checkpoints" / "checkpoint-8")
    (here / "steps" / "train.json").unlink()
    clock = ["train.save_minutes=0.0001", "train.keep_checkpoints=9"]  # a checkpoint after each step
    again = two(*words, *clock)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "going on from step 4" in again.stdout
    assert (here / "checkpoints" / "checkpoint-7" / "complete").exists()
    resumed = weights(run)
    assert all(abs(together[name] - resumed[name]).max() < 1e-6 for name in together)

    alone = stage(*words, ARTIFACTS_DIR=str(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    [single] = [path.parent for path in (tmp_path / "alone" / "runs").glob("*/run.json")]
    expected = weights(single)
    assert all(abs(together[name] - expected[name]).max() < 1e-4 for name in expected)


def test_an_error_of_another_process_is_said(two, dataset, tiny, tmp_path: Path) -> None:
    program = tmp_path / "spoiled.py"
    program.write_text(SPOILED)
    done = two("train", *tiny, *QUIET, program=program)
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "the loss became nan at step 3, articles https://news.invalid/" in line


def test_an_error_of_the_first_process_ends_them_all(two, dataset, tiny) -> None:
    done = two("train", *tiny, "hub.dataset_repo=demo/absent")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "no such repository" in lines[0]
