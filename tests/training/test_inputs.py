"""Rows that hold nothing to learn, and datasets that lack a column: settled before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
from t5sum import StageError
from t5sum.config import GenerateTask
from t5sum.data import without
from t5sum.load import load_config
from t5sum.sources import is_empty, usable

EMPTY = [None, "", "  \n", "\u200b", "\u200b" * 300 + "\ufeff \u00ad"]


@pytest.mark.parametrize("value", EMPTY)
def test_what_nobody_can_see_is_empty(value: Any) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", ["а", 0, "\u200b" * 300 + "а", "…"])
def test_what_can_be_read_is_not(value: Any) -> None:
    assert not is_empty(value)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("value", EMPTY)
def test_an_empty_target_or_source_is_left_out_of_every_split(rows, split: str, value: Any) -> None:
    task = GenerateTask(source="[{title}. ]{text}", target="summary")
    made = rows(12)
    parts = {"train": made[:4], "validation": made[4:8], "test": made[8:]}
    whole = parts[split]
    parts[split] = [{**whole[0], "summary": value}, {**whole[1], "text": value}, {**whole[2], "title": value},
                    whole[3]]  # fmt: skip
    kept, left_out = usable(parts, "summarize", task)
    assert kept[split] == parts[split][2:], "an optional title may be empty"
    assert left_out == {each: 2 if each == split else 0 for each in parts}


def test_a_source_of_optional_parts_needs_one_of_them(rows) -> None:
    task = GenerateTask(source="[{title}. ][{text}]", target="summary")
    made = [*rows(3), {**rows(1)[0], "title": ""}, {**rows(1)[0], "title": "", "text": "\u200b"}]
    kept, left_out = usable({"train": made, "validation": made, "test": made}, "summarize", task)
    assert kept["train"] == made[:4] and left_out["train"] == 1


def test_a_task_can_be_dropped() -> None:
    assert list(load_config(["tasks.topic=null"], {}).tasks) == ["summarize"]
    for words, said in (
        (["tasks.topik=null"], "tasks.topik"),
        (["tasks.topic=null", "tasks.summarize=null"], "no task of the recipe gazeta is left"),
    ):
        with pytest.raises(StageError, match=said) as caught:
            load_config(words, {})
        assert caught.value.code == 2


def test_the_hint_names_the_tasks_that_can_be_trained_all_the_same() -> None:
    readers = {"text": ["summarize", "topic"], "summary": ["summarize"], "rubric": ["topic"]}
    assert without(["rubric"], readers) == (
        "has no column rubric, which the task topic reads. To train summarize alone, add tasks.topic=null"
    )
    assert without(["text"], readers) == "has no column text, which the task summarize and topic reads"


def test_a_dataset_without_rubrics_trains_summaries_alone(stage, tiny, rows, publish) -> None:
    made = [{key: value for key, value in row.items() if key != "rubric"} for row in rows(60)]
    made[41]["summary"] = "\u200b"
    publish({"train": made[:40], "validation": made[40:48], "test": made[48:]})
    done = stage(*tiny)
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert line.endswith(
        "split train has no column rubric, which the task topic reads. "
        "To train summarize alone, add tasks.topic=null"
    )
    assert "examples:" not in done.stdout, "nothing was trained"
    done = stage("train", *tiny, "tasks.topic=null", "train.select_by=rougeL", "train.rouge_rows=4")
    assert done.returncode == 0, done.stderr
    assert "summarize: 1 rows left out, with an empty target or source (1 validation)" in done.stdout
    assert "examples: 40 train, 7 validation" in done.stdout
