"""A store and a revision from before recipes existed go on: the files in before/ were made by that code.

before/crawl.sqlite3.gz is a store, before/first the revision on the Hub, before/second what the old code made
of the two, and facts.json what it said.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest
from gazeta.crawl.store import Store
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.shards import Revision
from gazeta.recipe import GAZETA
from gazeta.release import rows_of

BEFORE = Path(__file__).parent / "before"
FACTS = json.loads((BEFORE / "facts.json").read_text(encoding="utf-8"))


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.parquet")}


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    store = tmp_path / "crawl.sqlite3"
    store.write_bytes(gzip.decompress((BEFORE / "crawl.sqlite3.gz").read_bytes()))
    with Store(store) as opened:
        before = Revision.in_folder("first", BEFORE / "first", GAZETA.schema)
        return assemble(tmp_path / "made", rows_of(opened, GAZETA, []), before)


def test_every_file_is_what_the_old_code_made(made: Dataset) -> None:
    expected = files(BEFORE / "second")
    assert files(made.folder).keys() == expected.keys()
    for path, old in expected.items():
        new = made.folder / path
        assert pq.read_table(new).equals(pq.read_table(old)), path
        if pyarrow.__version__ == FACTS["pyarrow"]:  # another version writes other bytes
            assert new.read_bytes() == old.read_bytes(), path


def test_reasons_copies_and_changed_files_are_what_the_old_code_said(made: Dataset) -> None:
    assert made.tag == FACTS["tag"]
    assert made.changed == FACTS["changed"]
    assert made.from_sources.reasons == FACTS["dropped"]
    assert made.duplicate_kinds == FACTS["duplicates"]
