"""The tests that the table of faults names are there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_every_row_names_tests_that_are_there() -> None:
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| fault ")]
    assert len(rows) > 50
    for row in rows:
        named = re.findall(r"`([\w./]+\.py)`(?: -k `([^`]+)`)?", row.rsplit("| ", 1)[1])
        assert named, row
        for path, words in named:
            source = (HERE / path).read_text(encoding="utf-8")
            tests = re.findall(r"^def (test_\w+)", source, re.MULTILINE)
            for word in words.split(" or ") if words else ["test_"]:
                assert [test for test in tests if word.lower() in test.lower()], f"{word} in {path}"
