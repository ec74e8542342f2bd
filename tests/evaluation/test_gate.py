"""Resampling and the gate's decision."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from t5sum.config import GenerateGate, RegressGate
from t5sum.judge.bootstrap import compare, resampled_means, weights
from t5sum.judge.gate import Measure, all_promoted, decide, in_words
from t5sum.judge.values import ERRORS, error_columns, macro_f1_columns, macro_f1_of

TIES = ("higher", "production", "candidate")


def judge(candidate, production, baseline, settings, **more):
    """decide() for one score per article, as ROUGE-L is."""
    columns = [
        None if each is None else np.array(each, float)[:, None] for each in (candidate, baseline, production)
    ]
    return decide(Measure("ROUGE-L"), *columns, settings, "lead-1", **more)


def noisy(mean: float, articles: int = 300, seed: int = 0, spread: float = 8.0) -> np.ndarray:
    return mean + spread * np.random.default_rng(seed).standard_normal(articles)


SETTINGS = GenerateGate()
LEAD = noisy(20, seed=1)


def test_resamples_draw_every_article_with_replacement():
    rows = np.concatenate(list(weights(50, 2000, seed=3)))
    assert rows.shape == (2000, 50)
    assert rows.sum(1) == pytest.approx(np.ones(2000))
    assert rows.mean(0) == pytest.approx(np.full(50, 1 / 50), abs=2e-3)
    # The chance that an article is left out of a resample of 50 is (1 - 1/50) ** 50.
    assert (rows == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


def test_resampled_means_spread_like_the_standard_error():
    values = noisy(0, 400)
    means = resampled_means(values[:, None], 4000, seed=1)[:, 0]
    assert means.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)
    assert means.mean() == pytest.approx(values.mean(), abs=0.05)


def test_a_paired_comparison_sees_what_the_spread_between_articles_hides():
    hard_and_easy = noisy(30, spread=15)
    better = compare(hard_and_easy + 0.5, hard_and_easy)
    assert better.verdict == "better"
    assert better.mean == pytest.approx(0.5)
    assert compare(hard_and_easy, hard_and_easy + 0.5).verdict == "worse"


def test_noise_is_cannot_tell():
    assert compare(noisy(30, seed=1), noisy(30, seed=2)).verdict == "cannot tell"
    assert compare(noisy(30), noisy(30)).verdict == "cannot tell"


def test_few_articles_tell_nothing():
    assert compare(np.full(9, 5.0), np.zeros(9)).verdict == "cannot tell"
    assert compare(np.full(10, 5.0), np.zeros(10)).verdict == "better"


def test_the_interval_covers_as_often_as_it_says():
    """Of 300 experiments with a true difference of 1, the 90% interval holds 1 in about 270."""
    held = 0
    for seed in range(300):
        gaps = 1 + np.random.default_rng(seed).standard_normal(80)
        found = compare(gaps, np.zeros(80), samples=300, confidence=0.9, seed=seed)
        held += found.low <= 1 <= found.high
    assert 255 <= held <= 285


def test_scores_of_different_articles_are_refused():
    with pytest.raises(ValueError, match="same articles"):
        compare(np.zeros(3), np.zeros(4))


def test_the_first_model_needs_only_to_reach_lead_minus_the_margin_and_says_so():
    passed = judge(LEAD - 0.9, None, LEAD, SETTINGS)
    assert passed.promoted
    assert "first model" in passed.reason
    assert "the floor 1 below it" in passed.reason
    failed = judge(LEAD - 1.2, None, LEAD, SETTINGS)
    assert not failed.promoted
    assert "0.2 below the floor" in failed.reason


def test_a_worse_candidate_is_refused_by_how_much():
    production = noisy(30)
    decision = judge(production - 3, production, LEAD, SETTINGS)
    assert not decision.promoted
    assert "worse, -3.00 [-3.00, -3.00] against" in decision.reason
    assert "\n" not in decision.reason


def test_a_better_candidate_is_promoted():
    production = noisy(30)
    decision = judge(production + noisy(1, seed=5, spread=3), production, LEAD, SETTINGS)
    assert decision.promoted
    assert decision.against_production.verdict == "better"


@pytest.mark.parametrize("tie", TIES)
def test_what_can_be_told_is_no_tie_whatever_the_setting(tie):
    settings = dataclasses.replace(SETTINGS, tie=tie)
    production = noisy(30)
    for shift, verdict in ((1, "better"), (-1, "worse")):
        decision = judge(production + shift, production, LEAD, settings)
        assert decision.promoted is (verdict == "better")
        assert f"test rows: {verdict}, " in decision.reason and "tie" not in decision.reason


@pytest.mark.parametrize(
    ("tie", "of_lower", "of_higher"),
    [("higher", False, True), ("production", False, False), ("candidate", True, True)],
)
def test_a_tie_goes_by_the_setting(tie, of_lower, of_higher):
    settings = dataclasses.replace(SETTINGS, tie=tie)
    gap = noisy(0, seed=4)
    gap -= gap.mean()
    production = noisy(30)
    for shift, expected in ((-0.1, of_lower), (0.1, of_higher)):
        decision = judge(production + gap + shift, production, LEAD, settings)
        assert decision.against_production.verdict == "cannot tell"
        assert decision.promoted is expected
        assert "cannot tell" in decision.reason


def test_beating_production_does_not_excuse_falling_below_the_lead():
    production = LEAD - 9
    decision = judge(LEAD - 5, production, LEAD, SETTINGS)
    assert not decision.promoted
    assert "below the floor" in decision.reason


def test_only_the_newest_articles_count():
    production = np.full(200, 30.0)
    fell_behind = np.r_[np.full(100, 29.0), np.full(100, 40.0)]
    lead = np.full(200, 20.0)
    newest = dataclasses.replace(SETTINGS, newest=100)
    assert not judge(fell_behind, production, lead, newest).promoted
    assert judge(fell_behind, production, lead, SETTINGS).promoted


def test_a_thousand_count_unless_another_number_is_set():
    flat = np.full(1100, 20.0)
    decision = judge(flat, None, flat, SETTINGS)
    assert decision.rows == 1000
    assert "on the newest 1000 test rows" in decision.reason


def test_a_veto_refuses_whatever_the_score():
    decision = judge(LEAD + 5, None, LEAD, SETTINGS, veto="3.3% of the outputs are empty")
    assert not decision.promoted
    assert "3.3% of the outputs are empty" in decision.reason


def test_decisions_are_json():
    import json

    json.dumps(judge(LEAD, LEAD, LEAD, SETTINGS).as_json(), allow_nan=False)
    json.dumps(judge(LEAD, None, LEAD, SETTINGS).as_json(), allow_nan=False)


def test_no_article_is_no_decision():
    with pytest.raises(ValueError, match="no test row"):
        judge([], None, [], SETTINGS)


def test_on_the_line_is_good_enough():
    flat = np.full(100, 20.0)
    assert judge(np.full(100, 19.0), None, flat, SETTINGS).promoted  # the floor itself
    assert judge(flat, flat, flat, SETTINGS).promoted  # the same scores: the newer model has newer news


def test_far_below_the_floor_is_told_in_points():
    decision = judge(np.full(100, 5.0), None, np.full(100, 20.0), SETTINGS)
    assert "14.0 below the floor" in decision.reason


def test_of_an_error_less_is_better():
    true = noisy(5, spread=2)
    good, bad = true + noisy(0, seed=7, spread=0.5), true + noisy(0, seed=8, spread=1)
    columns = {name: error_columns(true, said) for name, said in
               (("good", good), ("bad", bad), ("mean", np.full(len(true), true.mean())))}  # fmt: skip
    measure = Measure("MAE", ERRORS["mae"][1], higher=False, form=".3g")
    settings = RegressGate()

    def decided(candidate: str, production: str | None):
        return decide(
            measure, columns[candidate], columns["mean"], columns.get(production or ""), settings, "the mean"
        )

    assert decided("good", None).promoted and "the limit 0 above it is" in decided("good", None).reason
    worse = decided("bad", "good")
    assert not worse.promoted and worse.against_production.verdict == "worse" and "worse, +0." in worse.reason
    assert decided("good", "bad").promoted and decided("good", "bad").against_production.verdict == "better"
    assert (
        "above the limit (the mean has"
        in decide(measure, columns["bad"] * 9, columns["mean"], None, settings, "the mean").reason
    )


def test_macro_f1_of_columns_is_scikit_learns_for_any_resample():
    from sklearn.metrics import f1_score

    chance = np.random.default_rng(3)
    names = ["a", "b", "c", "d"]
    true, said = (chance.choice(names, 60, p=[0.5, 0.3, 0.15, 0.05]) for _ in range(2))
    columns = macro_f1_columns(true.tolist(), said.tolist(), names)
    for _ in range(20):
        drawn = chance.integers(0, 60, 60)
        expected = 100 * f1_score(true[drawn], said[drawn], average="macro", zero_division=0)
        assert float(macro_f1_of(columns[drawn].mean(0))) == pytest.approx(expected)


def test_errors_of_columns_are_scikit_learns():
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    true, said = noisy(5), noisy(5, seed=1)
    means = error_columns(true, said).mean(0)
    found = {name: float(of(means)) for name, (_, of) in ERRORS.items()}
    assert found == pytest.approx({
        "mae": mean_absolute_error(true, said), "rmse": root_mean_squared_error(true, said),
        "r2": r2_score(true, said),
    })  # fmt: skip


def test_a_revision_is_promoted_when_every_task_passes_and_each_is_named():
    passed, refused = ({"promoted": each, "reason": f"R {each}"} for each in (True, False))
    assert all_promoted({"a": passed, "b": passed}) and not all_promoted({"a": passed, "b": refused})
    assert in_words({"a": passed, "b": refused}) == "a passed, R True; b refused, R False"
    assert in_words({"a": passed, "b": refused}, only_refused=True) == "b refused, R False"
