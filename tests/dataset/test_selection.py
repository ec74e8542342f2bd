"""Versions, stories and splits: decided by the set of rows alone, whoever holds them and in whatever"
" order."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.schema import Row
from gazeta.dataset.selection import (
    SPLITS,
    Duplicate,
    Entry,
    current_versions,
    one_row_per_story,
    splits_by_time,
    story_digest,
)
from gazeta.dataset.shards import Revision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_in(folder: Path) -> dict[str, tuple[str, Row]]:
    revision = Revision.in_folder("written", folder)
    return {row["url"]: (revision.split_of[row["url"]], row) for row in revision.rows()}


def built(folder: Path, rows: list[Row], before: Path | None = None) -> Dataset:
    return assemble(folder, rows, before=Revision.in_folder("before", before) if before else None)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}


def copy_of(row: Row, number: int, date: str) -> Row:
    """The same story under another address, a little edited."""
    said = row["text"].split(" ")
    said[number % len(said)] = "слово"
    return {**row, "text": " ".join(said), "url": f"{row['url']}?{number}", "date": date}


@st.composite
def crawls(draw, pool: list[Row]) -> list[Row]:
    """Articles with copies under other addresses and dates, and other versions of a page."""
    rows = list(
        draw(st.lists(st.sampled_from(pool), min_size=3, max_size=14, unique_by=lambda row: row["url"]))
    )
    for number in range(draw(st.integers(0, 8))):
        row = draw(st.sampled_from(rows))
        date = f"20{draw(st.integers(13, 25))}-0{draw(st.integers(1, 9))}-11 10:00:00"
        rows.append(copy_of(row, number, date))
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.sampled_from(rows))
        fetched_at = f"2026-02-0{draw(st.integers(1, 9))} 00:00:00"
        rows.append({**row, "title": row["title"] + " снова", "fetched_at": fetched_at})
    return rows


@pytest.fixture(scope="module")
def pool(invented) -> list[Row]:
    return invented(40)


def test_the_earliest_telling_of_a_story_is_kept(tmp_path, good):
    later = copy_of(good, 3, "2024-05-18 08:00:00")
    latest = copy_of(later, 9, "2024-05-18 09:00:00")
    built(tmp_path / "made", [latest, good, later])
    assert list(rows_in(tmp_path / "made")) == [good["url"]]


def test_the_version_fetched_last_is_used_and_an_unchanged_page_keeps_its_time(tmp_path, invented):
    rows = invented(4)
    edited = {**rows[0], "title": "Исправленный заголовок", "fetched_at": "2026-03-01 00:00:00"}
    seen_again = {**rows[1], "fetched_at": "2026-03-01 00:00:00"}
    built(tmp_path / "made", [edited, *rows, seen_again])
    made = rows_in(tmp_path / "made")
    assert made[rows[0]["url"]][1]["title"] == "Исправленный заголовок"
    assert made[rows[1]["url"]][1]["fetched_at"] == rows[1]["fetched_at"]


def test_an_entry_with_its_text_is_preferred_to_the_same_one_without():
    text = Entry("u", "2024-01-01 00:00:00", "2024-02-02 00:00:00", b"1", b"s")
    known = replace_entry(text, fetched_at="2024-01-05 00:00:00")
    assert current_versions([known, text]) == {1: "2024-01-05 00:00:00"}


def test_of_versions_fetched_at_one_time_the_one_that_fills_more_columns_is_used():
    poor = Entry("u", "2024-01-01 00:00:00", "2024-02-02 00:00:00", b"9", b"s", filled=6)
    rich = Entry("u", "2024-01-01 00:00:00", "2024-02-02 00:00:00", b"1", b"s", filled=7)
    assert current_versions([poor, rich]) == {1: rich.fetched_at}
    assert current_versions([rich, poor]) == {0: rich.fetched_at}
    newer = Entry("u", "2024-01-01 00:00:00", "2024-02-03 00:00:00", b"0", b"s", filled=6)
    assert current_versions([rich, newer]) == {1: newer.fetched_at}


def test_exact_copies_are_one_story_without_being_looked_for():
    told = [("a", "2024-01-03", b"s"), ("b", "2024-01-01", b"s"), ("c", "2024-01-02", b"t")]
    entries = [Entry(url, f"{day} 00:00:00", "", url.encode(), story) for url, day, story in told]
    kept, duplicates = one_row_per_story(entries, [0, 1, 2], [])
    assert kept == [1, 2]
    assert duplicates == [Duplicate(0, "b", "exact copy")]


def test_a_duplicate_is_told_as_exact_or_near_whichever_digest_is_greater():
    told = "Музей открыли в коровнике, пишет «Вестник»."
    exact, near = story_digest(told.upper()), story_digest(f"{told} Вход свободный.")
    for stories in ([story_digest(told), exact, near], [near, bytes(bytearray(near)), story_digest(told)]):
        days = ("2024-01-01 00:00:00", "2024-01-02 00:00:00", "2024-01-03 00:00:00")
        entries = [
            Entry(url, day, "", url.encode(), story)
            for url, day, story in zip("abc", days, stories, strict=True)
        ]
        kept, duplicates = one_row_per_story(entries, [0, 1, 2], [(0, 2)])
        assert kept == [0]
        assert duplicates == [Duplicate(1, "a", "exact copy"), Duplicate(2, "a", "near copy")]


def test_a_story_whose_text_nobody_has_is_remembered_and_not_kept():
    entry = Entry("u", "2024-01-01 00:00:00", "", b"1", b"s")
    known = replace_entry(entry, fetched_at="2024-01-05 00:00:00")
    assert one_row_per_story([known], [0], []) == ([], [Duplicate(0, "", "near copy")])


def test_three_rows_are_enough_for_three_splits_and_two_are_not():
    assert splits_by_time(3) == ["train", "validation", "test"]
    assert splits_by_time(2) == ["train", "train"]
    assert splits_by_time(0) == []


def replace_entry(entry: Entry, fetched_at: str) -> Entry:
    from gazeta.dataset.duplicates import sketch

    return Entry(entry.key, entry.date, fetched_at, entry.content, entry.story, sketch("а б в"))


@given(data=st.data())
@FEW
def test_the_same_articles_in_any_order_give_the_same_bytes(pool, data):
    rows = data.draw(crawls(pool))
    with tempfile.TemporaryDirectory() as name:
        one, other = Path(name) / "one", Path(name) / "other"
        built(one, rows)
        built(other, data.draw(st.permutations(rows)))
        assert files(one) == files(other)


@given(data=st.data())
@FEW
def test_two_stores_merge_to_one_dataset_whoever_publishes_first(pool, data):
    """A publishes, then B on top; or B, then A; or one store holds everything: the rows are the same.

    A page edited between the crawls may take one more round, so pages have one version here.
    """
    rows = [row for row in data.draw(crawls(pool)) if not row["title"].endswith("снова")]
    mine = [row for row in rows if data.draw(st.booleans())]
    yours = [row for row in rows if row not in mine or data.draw(st.booleans())]
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        built(at / "a", mine)
        built(at / "ab", yours, before=at / "a")
        built(at / "b", yours)
        built(at / "ba", mine, before=at / "b")
        built(at / "all", rows)
        expected = {url: (split, row["text"]) for url, (split, row) in rows_in(at / "all").items()}
        for made in ("ab", "ba"):
            assert {url: (split, row["text"]) for url, (split, row) in rows_in(at / made).items()} == expected


@given(data=st.data())
@FEW
def test_publishing_the_same_store_again_changes_nothing(pool, data):
    rows = data.draw(crawls(pool))
    with tempfile.TemporaryDirectory() as name:
        first, again = Path(name) / "first", Path(name) / "again"
        built(first, rows)
        made = built(again, data.draw(st.permutations(rows)), before=first)
        assert not made.changed and not made.changes.any
        assert files(first) == files(again)


@given(data=st.data())
@FEW
def test_no_row_is_lost_without_a_reason(pool, data):
    rows = data.draw(crawls(pool))
    with tempfile.TemporaryDirectory() as name:
        made = built(Path(name) / "made", rows)
        kept = set(made.keys)
        left_out = {made_of.key for made_of in Revision.in_folder("made", Path(name) / "made").duplicates()}
        assert kept | left_out == {row["url"] for row in rows}
        assert not kept & left_out


def test_no_near_copy_stands_in_two_splits(tmp_path, invented):
    rng = random.Random(5)
    rows = invented(200)
    late = [copy_of(row, rng.randrange(50), f"2025-12-{rng.randrange(10, 28)} 12:00:00") for row in rows]
    built(tmp_path / "made", rows + late)
    made = rows_in(tmp_path / "made")
    assert len(made) == 200

    def runs(text: str) -> set[tuple[str, ...]]:
        told = text.lower().split()
        return {tuple(told[at : at + 5]) for at in range(len(told) - 4)}

    # By brute force and another measure than the product's.
    known = [(split, runs(row["text"])) for split, row in made.values()]
    for split, one in known:
        for other_split, other in known:
            if split != other_split:
                assert len(one & other) < 0.6 * len(one | other)


@given(st.integers(0, 5000))
def test_splits_are_whole_ordered_and_rolling(count):
    split = splits_by_time(count)
    assert len(split) == count
    assert split == sorted(split, key=SPLITS.index)
    if count < 3:
        assert set(split) <= {"train"}
        return
    assert split.count("test") == max(1, count // 20)
    assert abs(split.count("validation") - count / 20) <= 1
    assert split.count("train") >= 1
    # One more row, the newest: no row moves to a newer split.
    for now, then in zip(split, splits_by_time(count + 1), strict=False):
        assert SPLITS.index(then) <= SPLITS.index(now)
