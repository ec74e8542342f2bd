"""The files of a dataset: same rows, same bytes; the spool gives the disk back; foreign files are told."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gazeta.dataset.local import assemble
from gazeta.dataset.shards import NotOurDataset, Revision
from gazeta.dataset.spool import Spool
from gazeta.recipe import GAZETA

COLUMNS = GAZETA.schema.names


def test_shards_are_ordered_by_date_and_url_in_six_text_columns(tmp_path, invented):
    rows = invented(150)
    random.Random(1).shuffle(rows)
    made = assemble(tmp_path / "made", rows)
    read: list[tuple[str, str]] = []
    for path in sorted((tmp_path / "made" / "data").iterdir(), key=lambda path: path.stem.split("-")[::-1]):
        table = pq.read_table(path)
        assert table.schema.equals(GAZETA.schema.arrow) and tuple(table.column_names) == COLUMNS
        dates = table.column("date").to_pylist()
        assert {date[:4] for date in dates} == {path.stem[-4:]}
        here = list(zip(dates, table.column("url").to_pylist(), strict=True))
        assert here == sorted(here)
        read += here
    assert len(read) == 150 == made.rows
    for row in rows:
        assert (row["date"], row["url"]) in read


def test_the_work_folder_is_gone_also_after_an_error(tmp_path, invented):
    def broken():
        yield from invented(5)
        raise RuntimeError("the store broke")

    with pytest.raises(RuntimeError):
        assemble(tmp_path / "made", broken())
    assemble(tmp_path / "made", invented(5))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_only_the_years_with_new_rows_are_written_again(tmp_path, invented):
    rows = sorted(invented(200), key=lambda row: row["date"])
    assemble(tmp_path / "first", rows[:-15])
    before = Revision.in_folder("first", tmp_path / "first")
    made = assemble(tmp_path / "second", rows, before=before)
    # From the first row that left validation on; the shards before it are as they were.
    moved = rows[before_held_out := 185 - 18]["date"][:4]
    assert before.split_of[rows[before_held_out]["url"]] == "validation"
    assert made.changed
    assert all(path.removesuffix(".parquet")[-4:] >= moved for path in made.changed)
    for path in made.folder.rglob("*.parquet"):
        name = path.relative_to(made.folder).as_posix()
        if name not in made.changed:
            assert path.read_bytes() == before.files[name].read_bytes()


def test_a_dropped_copy_is_in_the_lineage_with_the_row_that_stands_for_it(tmp_path, invented):
    rows = invented(5)
    copy = {**rows[2], "url": rows[2]["url"] + "?again", "date": "2025-12-31 10:00:00"}
    assemble(tmp_path / "made", [*rows, copy])
    found = pq.read_table(tmp_path / "made" / "lineage" / "duplicates-2025.parquet").to_pylist()
    assert [(row["url"], row["of"], row["kind"]) for row in found] == [
        (copy["url"], rows[2]["url"], "exact copy")
    ]
    lineage = [
        row
        for path in sorted((tmp_path / "made" / "lineage").glob("rows-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["url"]: row["fetched_at"] for row in lineage} == {
        row["url"]: row["fetched_at"] for row in rows
    }
    assert {row["summary_origin"] for row in lineage} == {"lead"}


def test_a_revision_gives_back_the_rows_that_were_written(tmp_path, invented):
    rows = invented(30)
    assemble(tmp_path / "made", rows)
    revision = Revision.in_folder("made", tmp_path / "made")
    assert sorted(revision.rows(), key=lambda row: row["url"]) == sorted(rows, key=lambda row: row["url"])
    assert revision.count() == 30


def test_a_dataset_of_ours_without_lineage_is_read_too(tmp_path, invented):
    rows = invented(4)
    (tmp_path / "data").mkdir()
    table = pa.table({column: [row[column] for row in rows] for column in COLUMNS})
    pq.write_table(table, tmp_path / "data" / "train.parquet")
    read = list(Revision.in_folder("old", tmp_path).rows())
    assert [row["text"] for row in read] == [row["text"] for row in rows]
    assert {row["fetched_at"] for row in read} == {""}


@pytest.mark.parametrize("kind", ["columns", "bytes"])
def test_parquet_that_is_not_ours_is_told(tmp_path, kind):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-2024.parquet"
    if kind == "columns":
        pq.write_table(pa.table({"text": ["а"], "label": [1]}), path)
    else:
        path.write_bytes(b"not parquet at all")
    with pytest.raises(NotOurDataset, match=r"data/train-2024\.parquet"):
        list(Revision.in_folder("theirs", tmp_path).rows())


def test_texts_with_every_kind_of_character_survive_the_spool(tmp_path, good):
    spool = Spool(tmp_path / "spool")
    row = {**good, "text": good["text"] + " 😀 \u4e2d «»\n"}
    content = GAZETA.schema.content(row)
    spool.add(row, row["url"], content)
    assert spool.seen(row, row["url"], content)
    spool.finish()
    (batch,) = spool.batches("2024-05")
    assert batch.column("text").to_pylist() == [row["text"]]
    assert set(spool.sketches_of([0])) == {0}
    spool.close()
    assert not Path(tmp_path / "spool").exists()
