"""File sources: what is read of JSON Lines, CSV and parquet, what is counted, and what ends the run."""

from __future__ import annotations

import csv
import gzip
import http.server
import json
import re
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gazeta.dataset.files import BadFile, FileReport, Unreachable, file_name, read_file
from gazeta.dataset.schema import Column, Row, Schema
from gazeta.recipe import GAZETA, FileSource

REVIEWS = Schema((Column("text", "text", True), Column("rating", "number", True), Column("site", "label")))
ROWS = [
    {"text": "Отличный сериал.\nСмотрели всей семьёй", "rating": 9, "site": "Кино"},
    {"text": 'Скучно; "затянуто", и конец слабый', "rating": 3.5, "site": None},
]
READ = [
    {"text": ROWS[0]["text"], "rating": "9", "site": "Кино"},
    {"text": ROWS[1]["text"], "rating": "3.5", "site": ""},
]


def read(path: Path | str, schema: Schema = REVIEWS, **source) -> tuple[list[Row], FileReport]:
    report = FileReport(file_name(str(path)))
    rows = list(read_file(FileSource(str(path), **source), schema, report))
    return rows, report


def columns(rows: list[Row], schema: Schema = REVIEWS) -> list[Row]:
    return [{name: row[name] for name in schema.names} for row in rows]


def write(path: Path, rows: list[dict], delimiter: str = ",") -> Path:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), plain)
    elif plain.suffix == ".csv":
        with plain.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    else:
        plain.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return path


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, zipped: str) -> None:
    rows, report = read(write(tmp_path / (name + zipped), ROWS))
    assert columns(rows) == [{**row, "rating": row["rating"]} for row in READ] or columns(rows) == [
        {**READ[0], "rating": "9.0"},
        READ[1],
    ]
    assert (report.rows, report.bad_lines()) == (2, "")
    fetched = datetime.strptime(rows[0]["fetched_at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - fetched).total_seconds()) < 60


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_part_its_cells_as_it_likes(tmp_path: Path, delimiter: str) -> None:
    assert columns(read(write(tmp_path / "a.csv", ROWS, delimiter))[0])[1] == READ[1]


def test_the_first_column_of_a_mapping_that_is_not_empty_counts(tmp_path: Path) -> None:
    rows = [{"body": "", "review": "Хорошо", "stars": "7"}, {"body": "Плохо", "review": "?", "stars": ""}]
    mapping = {"text": ("body", "review"), "rating": ("stars",)}
    found, _ = read(write(tmp_path / "a.jsonl", rows), columns=mapping, defaults={"rating": "5"})
    assert [(row["text"], row["rating"]) for row in found] == [("Хорошо", "7"), ("Плохо", "5")]


def test_a_name_that_says_nothing_takes_a_format(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS).rename(tmp_path / "dump")
    with pytest.raises(BadFile, match="the format of dump is unknown; add `format:` jsonl, csv or parquet"):
        read(path)
    assert len(read(path, format="jsonl")[0]) == 2


def test_bad_lines_are_counted_with_reason_and_number(tmp_path: Path, capsys) -> None:
    lines = [
        b'{"text": "A", "rating": 1}', b"", b"{broken", b"[1]", b'{"text": ["B"], "rating": 1}',
        '{"text": "Й"}'.encode("cp1251"), b'{"text": "\xd0\x91", "rating": 2}', b"[" * 5000, b"{broken",
        b'{"text": "\\ud800", "rating": 1}',
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows, report = read(tmp_path / "a.jsonl")
    assert [row["text"] for row in rows] == ["A", "Б"]
    assert report.bad == {
        "not JSON": 3,
        "no JSON object": 1,
        "with a text that is no text": 2,
        "not UTF-8": 1,
    }
    assert report.first_bad["not JSON"] == 3 and report.first_bad["not UTF-8"] == 6
    assert "a.jsonl: 2 rows; lines left out: 3 not JSON (the first is line 3)" in capsys.readouterr().err


def test_bad_lines_of_csv_are_counted_too(tmp_path: Path) -> None:
    content = b'text,rating\nA,1\nB\n"C\nC",2\n' + "Й,3\n".encode("cp1251") + b"D,4,5\n\nE,6\n"
    (tmp_path / "a.csv").write_bytes(content)
    rows, report = read(tmp_path / "a.csv")
    assert [row["text"] for row in rows] == ["A", "C\nC", "E"]
    assert sum(report.bad.values()) == 3 and report.first_bad["not UTF-8"] == 6


UNUSABLE = {
    "empty.jsonl": (b"", "empty.jsonl is empty; give a file with rows"),
    "header.csv": (b"text,rating\n", "header.csv is empty"),
    "nothing.csv": (b"", "nothing.csv is empty"),
    "array.jsonl": (b'[{"text": "A"}]', "no line of array.jsonl can be read: 1 no JSON object"),
    "cp1251.jsonl": (
        '{"text": "Й", "rating": 1}'.encode("cp1251"),
        "not UTF-8 (the first is line 1); save it as",
    ),
    "cp1251.csv": ("текст;rating\nЙ;1".encode("cp1251"), "cp1251.csv is not UTF-8; save it as UTF-8"),
    "utf16.csv": ("text,rating\nA,1".encode("utf-16"), "utf16.csv is not UTF-8; save it as UTF-8"),
    "wrong.csv": (
        b"txet,rating\nA,1",
        "wrong.csv has no column text; did you mean txet? There are txet, rating",
    ),
    "twice.csv": (b"text,text,rating\nA,B,1", "twice.csv has two columns 'text'; rename one"),
    "no.parquet": (b"PAR1 and nothing else", "no.parquet is no parquet file"),
    "cut.jsonl.gz": (
        gzip.compress(b'{"text": "A", "rating": 1}\n' * 9999)[:-20],
        "cut.jsonl.gz is no whole gzip file",
    ),
    "no.csv.gz": (b"\x1f\x8b\x08 no gzip", "no.csv.gz is no whole gzip file"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, name: str) -> None:
    content, line = UNUSABLE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile) as told:
        read(tmp_path / name)
    assert line in str(told.value) and "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_a_file_that_is_not_there_and_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"there is no file .*a\.csv; check the path"):
        read(tmp_path / "a.csv")
    with pytest.raises(BadFile, match="cannot read"):
        read(tmp_path)


def test_a_column_of_the_mapping_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    with pytest.raises(BadFile, match=r"has no column ratng; did you mean rating\?"):
        read(path, columns={"rating": ("ratng",)})


NEWS = {"title": "Мост открыт", "summary": "Мост открыли", "text": "Мост открыли утром", "rubric": "Общество"}


def test_a_row_without_url_and_date_gets_stable_ones_from_its_content(tmp_path: Path) -> None:
    others = [{**NEWS, "title": f"Мост {number}"} for number in range(3)]
    first, report = read(write(tmp_path / "a.jsonl", [NEWS, *others]), GAZETA.schema)
    again, _ = read(write(tmp_path / "b.csv", [*others[::-1], NEWS]), GAZETA.schema)
    assert (report.invented_urls, report.invented_dates) == (4, 4)
    assert {(row["url"], row["date"]) for row in first} == {(row["url"], row["date"]) for row in again}
    assert len({row["url"] for row in first}) == 4
    assert all(row["url"].startswith("urn:uuid:") and row["date"].startswith("2019-") for row in first)
    assert first[0]["rubric"] == "Общество", "labels are taken as they are"


def test_a_text_that_begins_with_its_summary_loses_that_paragraph(tmp_path: Path) -> None:
    lead = NEWS["summary"]
    texts = [f"{lead}\nОстальное.", f"{lead} \n\n Остальное.", lead, f"{lead}. Иначе.\nОстальное."]
    rows, _ = read(write(tmp_path / "a.jsonl", [{**NEWS, "text": text} for text in texts]), GAZETA.schema)
    assert [row["text"].strip() for row in rows] == ["Остальное.", "Остальное.", *texts[2:]]
    assert [row["summary_origin"] for row in rows] == ["first_paragraph"] * 2 + [""] * 2


@pytest.mark.parametrize(
    ("given", "date"),
    [
        ("2024-05-17", "2024-05-17 00:00:00"),
        ("2024-05-17T09:30:00", "2024-05-17 09:30:00"),
        ("2024-05-17T09:30:00Z", "2024-05-17 12:30:00"),
        ("2024/05/17", "2024-05-17 00:00:00"),
        ("17.05.2024, 09:30", "2024-05-17 09:30:00"),
        ("a day in May", "a day in May"),
    ],
)
def test_dates_are_read_in_the_forms_that_people_write(tmp_path: Path, given: str, date: str) -> None:
    rows, _ = read(write(tmp_path / "a.jsonl", [{**NEWS, "date": given}]), GAZETA.schema)
    assert rows[0]["date"] == date


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_is_read_like_a_path(tmp_path: Path, served: str, free_port) -> None:
    write(tmp_path / "a.csv.gz", ROWS)
    rows, report = read(f"{served}/a.csv.gz?token=secret")
    assert columns(rows) == READ and report.name == "http://127.0.0.1/a.csv.gz"
    with pytest.raises(BadFile, match=r"/b\.csv is answered with 404; check the address"):
        read(f"{served}/b.csv")
    with pytest.raises(Unreachable, match=r"cannot fetch http://127\.0\.0\.1/a\.csv") as told:
        read(f"http://127.0.0.1:{free_port()}/a.csv")
    assert told.value.exit_code == 5
    with pytest.raises(BadFile, match="is no http or https address"):
        read("ftp://example.org/a.csv")


def test_a_download_has_a_limit(tmp_path: Path, served: str, monkeypatch) -> None:
    monkeypatch.setattr("gazeta.dataset.files.MOST_BYTES_OF_DOWNLOAD", 100)
    write(tmp_path / "a.jsonl", ROWS * 10)
    with pytest.raises(BadFile, match="is larger than 100 bytes"):
        read(f"{served}/a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv", "a.parquet"])
def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"{number} " + "слово " * 400, "rating": number % 10} for number in range(4000)]
    path = write(tmp_path / name, rows)  # 20 MB of text
    del rows
    tracemalloc.start()
    report = FileReport(name)
    assert sum(1 for _ in read_file(FileSource(str(path)), REVIEWS, report)) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv", "a.parquet"])
def test_progress_has_an_estimate(tmp_path: Path, monkeypatch, capsys, name: str) -> None:
    monkeypatch.setattr("gazeta.progress.EVERY_SECONDS_IN_A_LOG", 0)
    read(write(tmp_path / name, [{"text": f"{number} " * 400, "rating": 1} for number in range(3000)]))
    lines = capsys.readouterr().err.splitlines()
    assert any(re.fullmatch(rf"rows of {name}: [\d,]+.* \(\d+%\), \d+:\d\d left", line) for line in lines), (
        lines
    )


def test_a_line_without_end_is_skipped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gazeta.dataset.files.MOST_BYTES_OF_LINE", 1000)
    lines = ['{"text": "A", "rating": 1}', "x" * 5000, '{"text": "B", "rating": 2}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    rows, report = read(tmp_path / "a.jsonl")
    assert [row["text"] for row in rows] == ["A", "B"]
    assert report.bad == {"too long": 1} and report.first_bad == {"too long": 2}
