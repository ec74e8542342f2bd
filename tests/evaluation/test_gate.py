"""Resampling and the gate's decision."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from t5sum.judge.bootstrap import compare, resampled_means, weights
from t5sum.judge.gate import TIES, GateConfig, decide


def system(scores, empty: int = 0):
    texts = [""] * empty + ["текст"] * (len(scores) - empty)
    return SimpleNamespace(per_article={"rougeL": np.array(scores, float)}, predictions=texts)


def noisy(mean: float, articles: int = 300, seed: int = 0, spread: float = 8.0) -> np.ndarray:
    return mean + spread * np.random.default_rng(seed).standard_normal(articles)


SETTINGS = GateConfig()
LEAD = system(noisy(20, seed=1))


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
    passed = decide(system(LEAD.per_article["rougeL"] - 0.9), None, LEAD, SETTINGS)
    assert passed.promoted
    assert "first model" in passed.reason
    assert "the floor 1 below it" in passed.reason
    failed = decide(system(LEAD.per_article["rougeL"] - 1.2), None, LEAD, SETTINGS)
    assert not failed.promoted
    assert "0.2 below the floor" in failed.reason


def test_a_worse_candidate_is_refused_by_how_much():
    production = system(noisy(30))
    decision = decide(system(production.per_article["rougeL"] - 3), production, LEAD, SETTINGS)
    assert not decision.promoted
    assert "worse, -3.00 [-3.00, -3.00] against" in decision.reason
    assert "\n" not in decision.reason


def test_a_better_candidate_is_promoted():
    production = system(noisy(30))
    decision = decide(
        system(production.per_article["rougeL"] + noisy(1, seed=5, spread=3)), production, LEAD, SETTINGS
    )
    assert decision.promoted
    assert decision.against_production.verdict == "better"


@pytest.mark.parametrize("tie", TIES)
def test_what_can_be_told_is_no_tie_whatever_the_setting(tie):
    settings = dataclasses.replace(SETTINGS, tie=tie)
    production = system(noisy(30))
    for shift, verdict in ((1, "better"), (-1, "worse")):
        decision = decide(system(production.per_article["rougeL"] + shift), production, LEAD, settings)
        assert decision.promoted is (verdict == "better")
        assert f"test articles: {verdict}, " in decision.reason and "tie" not in decision.reason


@pytest.mark.parametrize(
    ("tie", "of_lower", "of_higher"),
    [("higher", False, True), ("production", False, False), ("candidate", True, True)],
)
def test_a_tie_goes_by_the_setting(tie, of_lower, of_higher):
    settings = dataclasses.replace(SETTINGS, tie=tie)
    gap = noisy(0, seed=4)
    gap -= gap.mean()
    production = system(noisy(30))
    for shift, expected in ((-0.1, of_lower), (0.1, of_higher)):
        decision = decide(system(production.per_article["rougeL"] + gap + shift), production, LEAD, settings)
        assert decision.against_production.verdict == "cannot tell"
        assert decision.promoted is expected
        assert "cannot tell" in decision.reason


def test_beating_production_does_not_excuse_falling_below_the_lead():
    production = system(LEAD.per_article["rougeL"] - 9)
    decision = decide(system(LEAD.per_article["rougeL"] - 5), production, LEAD, SETTINGS)
    assert not decision.promoted
    assert "below the floor" in decision.reason


def test_only_the_newest_articles_count():
    production = system(np.full(200, 30.0))
    fell_behind = system(np.r_[np.full(100, 29.0), np.full(100, 40.0)])
    lead = system(np.full(200, 20.0))
    newest = dataclasses.replace(SETTINGS, newest=100)
    assert not decide(fell_behind, production, lead, newest).promoted
    assert decide(fell_behind, production, lead, SETTINGS).promoted


def test_a_thousand_count_unless_another_number_is_set():
    flat = system(np.full(1100, 20.0))
    decision = decide(flat, None, flat, SETTINGS)
    assert decision.articles == 1000
    assert "on the newest 1000 test articles" in decision.reason


def test_empty_summaries_are_refused_whatever_the_score():
    decision = decide(system(LEAD.per_article["rougeL"] + 5, empty=10), None, LEAD, SETTINGS)
    assert not decision.promoted
    assert "3.3% of the summaries are empty" in decision.reason


def test_decisions_are_json():
    import json

    json.dumps(decide(LEAD, LEAD, LEAD, SETTINGS).as_json(), allow_nan=False)
    json.dumps(decide(LEAD, None, LEAD, SETTINGS).as_json(), allow_nan=False)


def test_no_article_is_no_decision():
    with pytest.raises(ValueError, match="no test article"):
        decide(system([]), None, system([]), SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"metric": "bleu"}, r"gate\.metric='bleu' is not one of rouge1"), ({"tie": "x"}, r"gate\.tie='x'"),
     ({"newest": 0}, "at least 1"), ({"samples": 0}, "at least 1"), ({"samples": -1}, "at least 1"),
     *(({"confidence": value}, "between 0 and 1") for value in (-0.5, 0, 1, 1.5))],
)  # fmt: skip
def test_wrong_settings_name_what_is_allowed(wrong, message):
    with pytest.raises(ValueError, match=message):
        GateConfig(**wrong)


def test_the_least_settings_are_allowed():
    assert GateConfig(newest=1, samples=1, confidence=0.01).newest == 1


def test_on_the_line_is_good_enough():
    flat = system(np.full(100, 20.0))
    assert decide(system(np.full(100, 19.0)), None, flat, SETTINGS).promoted  # the floor itself
    assert decide(system(np.full(100, 20.0), empty=1), None, flat, SETTINGS).promoted  # 1% empty, 1% allowed
    assert decide(flat, flat, flat, SETTINGS).promoted  # the same scores: the newer model has newer news


def test_far_below_the_floor_is_told_in_points():
    decision = decide(system(np.full(100, 5.0)), None, system(np.full(100, 20.0)), SETTINGS)
    assert "14.0 below the floor" in decision.reason
