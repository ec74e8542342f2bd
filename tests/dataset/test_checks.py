"""The tests on the data can fail, each for its own reason."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gazeta.dataset.checks import acceptable, check, distance, variation
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.shards import Revision
from gazeta.recipe import GAZETA

COLUMNS, REQUIRED_COLUMNS, SCHEMA = GAZETA.schema.names, GAZETA.schema.required, GAZETA.schema.arrow


def failed(dataset: Dataset) -> set[str]:
    return {verdict.name for verdict in check(dataset) if not verdict.ok}


@pytest.fixture
def dataset(tmp_path, invented) -> Dataset:
    return assemble(tmp_path / "made", invented(120))


def some_shard(dataset: Dataset, split: str = "train") -> Path:
    return sorted((dataset.folder / "data").glob(f"{split}-*.parquet"))[0]


def bend(path: Path, **columns: object) -> None:
    table = pq.read_table(path)
    for name, value in columns.items():
        values = [value] * table.num_rows
        table = table.set_column(COLUMNS.index(name), SCHEMA.field(name), pa.array(values, pa.string()))
    pq.write_table(table, path)


def test_a_good_dataset_passes_everything(dataset):
    assert failed(dataset) == set()


def test_long_texts_pass_too(tmp_path, invented):
    """The reader of parquet keeps no smallest value of a column whose values are long."""
    rows = [{**row, "text": row["text"] * 12} for row in invented(40)]
    assert failed(assemble(tmp_path / "made", rows)) == set()


@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_an_empty_value_fails_the_schema(dataset, column, value):
    bend(some_shard(dataset), **{column: value})
    assert "schema" in failed(dataset)


def test_another_column_order_fails_the_schema(dataset):
    path = some_shard(dataset)
    pq.write_table(pq.read_table(path).select(COLUMNS[::-1]), path)
    assert "schema" in failed(dataset)


def test_a_column_that_is_no_text_fails_the_schema(dataset):
    path = some_shard(dataset)
    table = pq.read_table(path)
    pq.write_table(table.set_column(5, "rubric", pa.array([1] * table.num_rows)), path)
    assert "schema" in failed(dataset)


def test_an_address_that_stands_twice_fails_uniqueness(dataset):
    bend(some_shard(dataset), url="https://www.gazeta.ru/social/1.shtml")
    assert "uniqueness" in failed(dataset)


def test_a_text_that_stands_twice_fails_uniqueness(dataset):
    dataset.entries[1].story = dataset.entries[0].story
    assert "uniqueness" in failed(dataset)


def test_a_bad_date_and_splits_that_overlap_in_time_fail(dataset):
    path = some_shard(dataset)
    first = pq.read_table(path).column("date")[0].as_py()
    bend(path, date="в мае")
    assert "dates" in failed(dataset)
    bend(path, date=first)
    assert failed(dataset) == set()
    bend(path, date="2025-12-31 23:59:59")
    assert "dates" in failed(dataset)


def test_a_missing_split_fails_the_size(dataset):
    for path in (dataset.folder / "data").glob("test-*.parquet"):
        path.unlink()
    assert {"size", "uniqueness"} <= failed(dataset)


def test_texts_of_another_language_fail(dataset):
    bend(some_shard(dataset), text="Мост шлях вежа гора " * 20)
    assert "language" in failed(dataset)


def test_a_store_of_which_most_is_dropped_fails(tmp_path, invented):
    rows = [{**row, "summary": ""} if number % 5 else row for number, row in enumerate(invented(100))]
    made = assemble(tmp_path / "made", rows)
    told = {verdict.name: verdict.says for verdict in check(made) if not verdict.ok}
    assert set(told) == {"dropped"}
    assert "80.0% of 100 collected rows" in told["dropped"] and "no summary (80)" in told["dropped"]


def after(tmp_path: Path, first, second) -> Dataset:
    assemble(tmp_path / "first", first)
    return assemble(tmp_path / "second", second, before=Revision.in_folder("first", tmp_path / "first"))


def test_growth_of_the_same_kind_is_no_drift(tmp_path, invented):
    rows = invented(400)
    assert failed(after(tmp_path, rows[:200], rows)) == set()


def test_rows_that_go_fail_and_are_named(tmp_path, invented):
    """A rule that is new takes rows of the Hub away; that wants a person to say yes."""
    rows = invented(60)
    quiz = {**rows[0], "title": "Тест: что вы знаете о мостах"}
    without = dataclasses.replace(GAZETA.rules, drop=("gallery",))
    assemble(tmp_path / "first", [quiz, *rows[1:]], recipe=dataclasses.replace(GAZETA, rules=without))
    made = assemble(tmp_path / "second", [], before=Revision.in_folder("first", tmp_path / "first"))
    told = {verdict.name: verdict.says for verdict in check(made) if not verdict.ok}
    assert set(told) == {"rows"}
    assert told["rows"] == f"59 rows, at least the 60 of before; 1 are gone: {quiz['url']} (quiz)"


def test_texts_cut_short_are_drift_of_the_added_rows(tmp_path, invented):
    rows = invented(1000)
    cut = [{**row, "text": row["text"][: len(row["text"]) // 2 + 40]} for row in rows[900:]]
    assert failed(after(tmp_path, rows[:900], rows[:900] + cut)) == {"added text length"}


def test_summaries_that_change_their_kind_are_drift(tmp_path, invented):
    rows = invented(400)
    longer = [{**row, "summary": row["summary"] + " " + other["title"]} for row, other in
              zip(rows[100:], rows, strict=False)]  # fmt: skip
    assert failed(after(tmp_path, rows[:100], rows[:100] + longer)) == {"summary length"}


def test_a_rubric_that_swallows_the_others_is_drift(tmp_path, invented):
    rows = invented(900)
    one = [{**row, "rubric": "news"} for row in rows[200:]]
    dataset = after(tmp_path, rows[:200], rows[:200] + one)
    assert failed(dataset) == {"rubrics"}
    says = next(verdict.says for verdict in check(dataset) if verdict.name == "rubrics")
    assert "drift 0.78, at most 0.5" in says


def test_only_known_tests_can_be_accepted(tmp_path, invented):
    rows = invented(100)
    verdicts = check(after(tmp_path, rows[:50], rows))
    assert {verdict.name for verdict in verdicts if verdict.acceptable} == set(acceptable(GAZETA))


def test_distances_are_those_of_the_definitions():
    assert distance(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 4])) == 0
    assert distance(np.array([1, 1]), np.array([5, 5])) == 1
    assert distance(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])) == 0.5
    assert variation(Counter(a=1, b=1), Counter(a=50, b=50)) == 0
    assert variation(Counter(a=1), Counter(b=7)) == 1
    assert variation(Counter(a=3, b=1), Counter(a=1, b=1)) == 0.25
