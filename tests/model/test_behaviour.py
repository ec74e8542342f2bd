"""Behaviour of a trained model: run on the demo's, or on any candidate by MODEL_DIR."""

from __future__ import annotations

import pytest
from t5sum.generate import behaviour


def verdict(check: behaviour.Check) -> None:
    if check.passed is None:
        pytest.skip(f"{check.name}: {check.says}")
    assert check.passed, check.says


def test_names_changed_in_the_text_change_in_the_summary(model_dir, news):
    verdict(behaviour.names_follow_the_text(model_dir, news, "cpu"))


def test_added_boilerplate_does_not_change_the_topic(model_dir, news):
    verdict(behaviour.boilerplate_leaves_the_topic(model_dir, news))


def test_nearly_empty_latin_and_very_long_texts_give_sane_summaries(model_dir, news):
    verdict(behaviour.odd_texts_give_sane_summaries(model_dir, news, "cpu"))


def test_a_repeated_text_is_not_repeated_by_the_summary(model_dir, news):
    verdict(behaviour.repeated_text_is_not_repeated(model_dir, news, "cpu"))


def test_a_very_long_text_is_read_from_its_beginning(model_dir, news):
    verdict(behaviour.long_text_is_read_from_the_beginning(model_dir, news, "cpu"))
