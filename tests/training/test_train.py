"""Training itself, in this process, on a model that fits in a thimble."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from t5sum import StageError
from t5sum.generate.model import build_model, choose_device
from t5sum.generate.train import train
from t5sum.generate.trainer import SummaryTrainer, last_checkpoint, patience_is_over
from t5sum.load import load_config
from t5sum.run.directory import TaskRun, read_json


@pytest.fixture
def splits(rows) -> dict[str, list[dict[str, Any]]]:
    made = rows(40)
    return {"train": made[:28], "validation": made[28:34], "test": made[34:]}


@pytest.fixture
def fit(splits, tiny, tmp_path: Path):
    """Train with the tiny settings and these; the run."""

    def work(*words: str, name: str = "run", base: Path | None = None) -> TaskRun:
        config = load_config([*tiny, *words], {"ARTIFACTS_DIR": str(tmp_path)})
        run = TaskRun(tmp_path / "runs" / name / "summarize")
        run.path.mkdir(parents=True, exist_ok=True)
        train(run, splits, base, config, config.tasks["summarize"])
        return run

    return work


def weights(run: TaskRun) -> dict[str, torch.Tensor]:
    return load_file(run.trained / "model.safetensors")


def same(a: TaskRun, b: TaskRun, tolerance: float = 1e-6) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(
        torch.allclose(first[name], second[name], atol=tolerance) for name in first
    )


def log(run: TaskRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def test_training_learns_and_leaves_a_model_a_log_and_a_picture(fit) -> None:
    run = fit("train.max_steps=30", "train.eval_steps=10")
    losses = [line["loss"] for line in log(run) if "loss" in line]
    assert losses[-1] < losses[0] - 1
    assert {line["step"] for line in log(run)} == set(range(1, 31))
    assert (run.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForSeq2SeqLM.from_pretrained(run.trained),
        AutoTokenizer.from_pretrained(run.trained),
    )
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.decoder_start_token_id == 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(fit) -> None:
    first = fit(name="a")
    assert same(first, fit(name="b"), 0)
    assert not same(first, fit("train.seed=1", name="c"))


def test_the_micro_batch_does_not_change_what_is_learned(fit) -> None:
    """One step over eight examples is the same step in pieces of eight, four, two or one."""
    runs = [
        fit(
            f"train.micro_batch={micro}",
            "model.scratch.dropout=0",
            "train.group_by_length=false",
            name=f"m{micro}",
        )
        for micro in (8, 4, 1)
    ]
    assert all(same(runs[0], run, 1e-4) for run in runs[1:])


@pytest.fixture
def best_at(monkeypatch):
    """Make the validation loss lowest at a step, whatever is learned."""

    def work(best: int) -> None:
        evaluate = SummaryTrainer.evaluate

        def measured(self, *arguments, **others):
            return {**evaluate(self, *arguments, **others), "eval_loss": abs(self.state.global_step - best)}

        monkeypatch.setattr(SummaryTrainer, "evaluate", measured)

    return work


def test_the_best_checkpoint_is_kept_and_the_old_ones_are_removed(fit, best_at) -> None:
    best = 6
    best_at(best)
    run = fit("train.max_steps=20", "train.eval_steps=2")
    kept = sorted(int(path.name.split("-")[1]) for path in run.checkpoints.iterdir())
    assert best in kept
    assert len(kept) <= 3
    saved = load_file(run.checkpoints / f"checkpoint-{best}" / "model.safetensors")
    assert all(torch.equal(saved[name], weights(run)[name]) for name in saved)


def test_it_stops_early_when_validation_gets_no_better(fit, best_at) -> None:
    best_at(4)
    run = fit("train.max_steps=200", "train.eval_steps=2", "train.patience=3")
    assert [line["step"] for line in log(run) if "eval_loss" in line] == [2, 4, 6, 8, 10]
    again = fit("train.max_steps=200", "train.eval_steps=2", "train.patience=3")
    assert max(line["step"] for line in log(again)) == 10, "patience outlives the process"


def test_patience_counts_validations_since_the_best() -> None:
    history = [{"step": step, "eval_loss": 1.0} for step in (10, 20, 30)]
    assert patience_is_over(history, best=10, patience=2)
    assert not patience_is_over(history, best=20, patience=2)
    assert not patience_is_over(history, best=10, patience=0)


def test_validation_rouge_chooses_when_asked_to(fit) -> None:
    run = fit("train.select_by=rougeL", "train.rouge_rows=3")
    found = [line["eval_rougeL"] for line in log(run) if "eval_rougeL" in line]
    assert len(found) == 2
    assert read_json(last_checkpoint(run.checkpoints) / "trainer_state.json")["best_metric"] == max(found)


def test_a_finished_training_is_not_done_again(fit, capsys) -> None:
    run = fit()
    before = weights(run)
    lines = len(log(run))
    again = fit()
    assert len(log(again)) == lines
    assert all(torch.equal(before[name], weights(again)[name]) for name in before)


def test_ctrl_c_keeps_the_step_and_the_next_run_ends_as_if_nothing_had_been(fit, monkeypatch) -> None:
    whole = fit(name="whole")
    step = SummaryTrainer.training_step

    def interrupted(self, *arguments):
        if self.state.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(SummaryTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(name="cut")
    monkeypatch.undo()
    cut = fit(name="cut")
    assert [line["loss"] for line in log(cut) if "loss" in line] == [
        line["loss"] for line in log(whole) if "loss" in line
    ]
    assert same(whole, cut)


def test_out_of_memory_halves_the_micro_batch_and_goes_on_from_the_same_step(
    fit, monkeypatch, capsys
) -> None:
    quiet = ("model.scratch.dropout=0", "train.group_by_length=false")
    whole = fit(*quiet, name="whole")
    step = SummaryTrainer.training_step
    steps = []

    def hungry(self, model, inputs, *others):
        if len(inputs["input_ids"]) > 2 and self.state.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        steps.append(self.state.global_step)
        return step(self, model, inputs, *others)

    monkeypatch.setattr(SummaryTrainer, "training_step", hungry)
    run = fit(*quiet, name="hungry")
    assert (
        "out of memory: going on with micro-batches of 2, accumulated to the same 8"
        in capsys.readouterr().out
    )
    assert read_json(run.path / "memory.json") == {"micro_batch": 2}
    # 28 examples: every fourth step has four of them, the others eight.
    assert steps == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7]
    assert same(whole, run, 1e-4)


def test_out_of_memory_with_single_examples_says_what_to_change(fit, monkeypatch) -> None:
    def hungry(self, model, inputs, *others):
        raise torch.OutOfMemoryError("CUDA out of memory (simulated)")

    monkeypatch.setattr(SummaryTrainer, "training_step", hungry)
    with pytest.raises(StageError, match=r"micro-batches of 1: set train\.activation_checkpointing=always"):
        fit()


def test_out_of_memory_in_validation_halves_its_batch(fit, monkeypatch, capsys) -> None:
    loss = SummaryTrainer.compute_loss

    def hungry(self, model, inputs, *arguments, **others):
        if not model.training and len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return loss(self, model, inputs, *arguments, **others)

    monkeypatch.setattr(SummaryTrainer, "compute_loss", hungry)
    run = fit("train.eval_batch=8")
    assert "validation: out of memory, going on with batches of 2" in capsys.readouterr().out
    assert sum("eval_loss" in line for line in log(run)) == 2


def test_a_loss_that_is_no_number_names_the_articles_and_goes_on_without_them(
    fit, splits, monkeypatch, capsys
) -> None:
    loss = SummaryTrainer.compute_loss

    def broken(self, model, inputs, *arguments, **others):
        found = loss(self, model, inputs, *arguments, **others)
        at_fault = model.training and self.state.global_step >= 6 and 5 in self.now
        return found * float("nan") if at_fault else found

    step, fed = SummaryTrainer.training_step, set()

    def noted(self, model, inputs, *others):
        self.now = inputs["row"].tolist()
        fed.update(self.now)
        return step(self, model, inputs, *others)

    monkeypatch.setattr(SummaryTrainer, "training_step", noted)

    monkeypatch.setattr(SummaryTrainer, "compute_loss", broken)
    with pytest.raises(StageError) as caught:
        fit(name="cut")
    said = str(caught.value)
    assert "the loss became nan at step" in said
    assert "The same command goes on from step 4, which is intact, without them." in said
    assert "If it stops again, lower train.lr (now 0.01): that begins another run" in said
    named = re.search(r"articles (\S+, \S+, \S+, \S+)\.", said)
    assert named and set(named[1].split(", ")) <= {row["url"] for row in splits["train"]}
    assert splits["train"][5]["url"] in said
    capsys.readouterr()
    fed.clear()
    run = fit(name="cut")  # the same command, and the article is as bad as before
    lines = capsys.readouterr().out
    assert "examples: 4 that stopped training before are left out" in lines
    assert "going on from step 4" in lines
    assert fed and not fed & set(read_json(run.path / "not_finite.json")["rows"])
    assert max(line["step"] for line in log(run)) == 8
    assert all(torch.isfinite(each).all() for each in weights(run).values())


def test_gradients_that_are_no_number_never_reach_the_weights(fit, monkeypatch) -> None:
    step = SummaryTrainer.training_step

    def broken(self, model, *arguments):
        found = step(self, model, *arguments)
        if self.state.global_step == 5:
            next(model.parameters()).grad.fill_(float("inf"))
        return found

    monkeypatch.setattr(SummaryTrainer, "training_step", broken)
    with pytest.raises(StageError, match="the gradients became infinite or not a number at step 6"):
        fit()


def test_a_half_written_checkpoint_does_not_count(fit) -> None:
    whole, run = fit(name="whole"), fit("train.max_steps=8", name="cut")
    newest = last_checkpoint(run.checkpoints)
    (newest / "complete").unlink()
    (newest / "optimizer.pt").write_bytes(b"half")
    assert last_checkpoint(run.checkpoints).name == "checkpoint-4"
    assert same(whole, fit(name="cut"))


def test_a_folder_can_be_the_base_and_keeps_its_tokenizer(fit) -> None:
    first = fit(name="first")
    words = ["model.base=" + str(first.trained), "train.lr=0.0000001"]
    second = fit(*words, name="second", base=first.trained)
    assert (second.trained / "tokenizer.json").read_text() == (first.trained / "tokenizer.json").read_text()
    assert same(first, second, 1e-3)


def test_mt5_can_be_the_base(fit, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, MT5Config, MT5ForConditionalGeneration

    first = fit(name="first")
    tokenizer = AutoTokenizer.from_pretrained(first.trained)
    folder = tmp_path / "mt5"
    MT5ForConditionalGeneration(
        MT5Config(vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2,
                  decoder_start_token_id=0)
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    assert read_json(fit(name="second", base=folder).trained / "config.json")["model_type"] == "mt5"


def test_byt5_is_refused_as_a_base_before_anything_is_learned(fit, tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    folder = tmp_path / "byt5"
    tokenizer = ByT5Tokenizer()
    shape = T5Config(vocab_size=384, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2,
                     decoder_start_token_id=0, feed_forward_proj="gated-gelu")  # fmt: skip
    T5ForConditionalGeneration(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(StageError, match="byte-level models such as ByT5 cannot be used") as raised:
        fit(base=folder)
    assert raised.value.code == 2
    assert not (tmp_path / "runs" / "run" / "summarize" / "log.jsonl").exists()


def test_a_base_that_is_no_t5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bart"}')
    with pytest.raises(StageError, match=r"model\.base is a bart model"):
        build_model(tmp_path, None, [], 0)


def test_a_base_with_too_few_tokens_is_refused(fit) -> None:
    first = fit(name="first")
    with pytest.raises(StageError, match="no fit"):
        build_model(first.trained, None, range(10_000), 0)


def test_a_gpu_that_is_not_there_is_said(tiny, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StageError, match=r"train\.device=cuda"):
        choose_device(load_config([*tiny, "train.device=cuda"], {}).train)
    assert choose_device(load_config([*tiny, "train.device=auto"], {}).train)[:2] == (True, False)


def test_an_old_gpu_trains_in_fp32_and_a_new_one_in_bf16(tiny, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    auto = load_config([*tiny, "train.device=auto"], {}).train
    for capability, bf16 in (((7, 5), False), ((8, 6), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda capability=capability: capability)
        assert choose_device(auto)[:2] == (False, bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(StageError, match="a card has no bf16"):
        choose_device(load_config([*tiny, "train.device=auto", "train.precision=bf16"], {}).train)


def test_bf16_learns_on_a_cpu_too(fit) -> None:
    run = fit("train.precision=bf16", "train.max_steps=20", "train.eval_steps=20")
    losses = [line["loss"] for line in log(run) if "loss" in line]
    assert losses[-1] < losses[0] - 0.5
    assert next(iter(weights(run).values())).dtype == torch.float32


def test_a_plan_smaller_than_a_micro_batch_trains_all_the_same(fit, capsys) -> None:
    nothing = [
        f"train.{name}=null" for name in ("effective_batch", "max_steps", "warmup_steps", "eval_steps")
    ]
    run = fit(*nothing, "train.micro_batch=64", "train.epochs=5")
    said = capsys.readouterr().out
    assert "plan: 10 steps of 16 examples (5 epochs), 0 of them warm-up, a validation every 1 steps" in said
    assert {line["step"] for line in log(run) if "eval_loss" in line} == set(range(1, 11))
    assert read_json(run.path / "plan.json")["effective_batch"] == 16
