"""What is planned from the number of examples, and that a number given by hand wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from t5sum.generate.plan import keep_plan, plan, steps_of
from t5sum.identity import fingerprint, training_settings
from t5sum.load import load_config

ROOT = Path(__file__).resolve().parents[2]

# Articles of a dataset, of which 90% are trained on → steps, effective batch, epochs, warm-up, validations.
TABLE = {
    500: (696, 16, 24, 35, 8),
    1_000: (1026, 16, 18, 51, 8),
    5_000: (1128, 32, 8, 56, 8),
    20_000: (1128, 128, 8, 56, 8),
    60_000: (1688, 256, 8, 84, 8),
    200_000: (5632, 256, 8, 282, 22),
}


@pytest.mark.parametrize(("articles", "wanted"), TABLE.items())
def test_every_dataset_gets_enough_steps_and_validations(articles: int, wanted: tuple[int, ...]) -> None:
    examples = articles * 9 // 10
    planned = plan(examples, load_config([], {}).train)
    steps = steps_of(examples, planned.effective_batch, planned.epochs)
    validations = steps // planned.eval_steps
    assert (steps, planned.effective_batch, planned.epochs, planned.warmup_steps, validations) == wanted
    assert planned.warmup_steps <= 0.06 * steps
    assert steps - validations * planned.eval_steps < planned.eval_steps, "the last steps are validated, too"


@pytest.mark.parametrize("articles", [1, 2, 7, 40, 100, 333])
def test_even_the_smallest_dataset_has_a_plan(articles: int) -> None:
    planned = plan(articles, load_config([], {}).train)
    steps = steps_of(articles, planned.effective_batch, planned.epochs)
    assert steps >= 24 and steps // planned.eval_steps >= 8 and planned.warmup_steps < steps


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["train.warmup_steps=0"], {"warmup_steps": 0, "eval_steps": 87, "effective_batch": 16}),
        (["train.eval_steps=7"], {"warmup_steps": 35, "eval_steps": 7}),
        (["train.effective_batch=64"], {"effective_batch": 64, "epochs": 24, "warmup_steps": 10}),
        (["train.epochs=3"], {"effective_batch": 16, "epochs": 3, "warmup_steps": 4, "eval_steps": 10}),
        (["train.max_steps=80"], {"effective_batch": 256, "warmup_steps": 4, "eval_steps": 10}),
    ],
)
def test_a_number_given_by_hand_wins_and_the_others_follow_it(words: list[str], given: dict) -> None:
    planned = plan(450, load_config(words, {}).train)
    assert {name: getattr(planned, name) for name in given} == given


@pytest.mark.parametrize("files", [["train"], ["train", "train_real_news"]])
def test_the_demo_keeps_its_own_numbers(files: list[str]) -> None:
    settings = load_config([], {}, [ROOT / "demo" / f"{name}.yaml" for name in files]).train
    planned = plan(3600, settings)
    assert planned == settings, "nothing is left to plan"
    between = 300 if len(files) == 1 else 100
    assert (planned.effective_batch, planned.epochs, planned.warmup_steps) == (16, 4, 60)
    assert planned.eval_steps == between


def test_a_resumed_run_keeps_its_plan_and_says_it_in_one_line(tmp_path: Path, capsys, monkeypatch) -> None:
    settings = load_config([], {}).train
    first = keep_plan(tmp_path / "plan.json", 450, settings)
    monkeypatch.setattr("t5sum.generate.plan.WARMUP", 0.5)
    assert keep_plan(tmp_path / "plan.json", 450, settings) == first
    assert plan(450, settings) != first
    line = "plan: 696 steps of 16 examples (24 epochs), 35 of them warm-up, a validation every 87 steps\n"
    assert capsys.readouterr().out == 2 * line


def test_only_the_inputs_of_a_plan_make_a_run_another_one() -> None:
    config = load_config([], {})
    settings = training_settings(config)["tasks"]["summarize"]["train"]
    assert {settings[name] for name in ("effective_batch", "epochs", "warmup_steps", "eval_steps")} == {None}
    by_hand = load_config(["train.warmup_steps=35"], {})
    assert fingerprint(training_settings(by_hand)) != fingerprint(training_settings(config))
