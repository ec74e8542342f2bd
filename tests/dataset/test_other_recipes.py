"""Two recipes with other columns than news: horoscopes have no titles, reviews no dates or urls."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from gazeta.dataset.rules import Cleaner
from gazeta.recipe import GAZETA, load
from gazeta.repository import Hub
from huggingface_hub import HfApi

HOROSCOPES = """
sources:
  - file: horoscopes.jsonl
    columns: {text: horoscope}
columns:
  sign: {type: label, required: true}
  date: {type: date, required: true}
  text: {type: text, required: true}
  source: {type: label, required: true}
  url: {type: url}
rules:
  drop: []
  max_hours_ahead: null
  min_characters: {text: 60}
  max_characters: {text: 500}
duplicates: {by: exact, columns: [sign, text]}
"""
REVIEWS = """
sources: [{file: reviews.csv}]
columns:
  text: {type: text, required: true}
  rating: {type: number, required: true}
rules: {language: null, min_characters: {text: 10}, between: {rating: [1, 10]}, drop: []}
duplicates: {by: exact}
splits: {by: hash, test: 0.1, validation: 0.1}
"""
SIGNS = ("овен", "телец", "близнецы", "рак", "лев", "дева")
_WORDS = "день принесёт удачу в делах если вы не станете спешить звёзды советуют отдых встречу и покой"
WORDS = _WORDS.split()


def horoscopes(count: int) -> list[dict]:
    rng = random.Random(4)
    return [
        {
            "sign": SIGNS[number % 6],
            "date": f"2027-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}",
            "horoscope": " ".join(rng.choices(WORDS, k=18)) + ".",
            "source": "звёзды",
            "url": f"https://stars.example/{number}" if number % 2 else "",
        }
        for number in range(count)
    ]


def reviews(count: int) -> list[tuple[str, str]]:
    rng = random.Random(5)
    return [(" ".join(rng.choices(WORDS, k=9)), f"{rng.randrange(2, 20) / 2:g}") for _ in range(count)]


def write_horoscopes(folder: Path, rows: list[dict]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "horoscopes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "horoscopes.yaml").write_text(HOROSCOPES, encoding="utf-8")


def write_reviews(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["text;rating", *(f"{text};{rating.replace('.', ',')}" for text, rating in rows)]
    (folder / "reviews.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "reviews.yaml").write_text(REVIEWS, encoding="utf-8")


@pytest.fixture
def published(hub, tmp_path: Path, run_publish):
    """Publish a recipe; what was said, the dataset's folder and its rows by split."""

    def run(name: str, *arguments: str):
        artifacts = tmp_path / "artifacts"
        done = run_publish(hub, artifacts, *arguments, RECIPE=str(tmp_path / f"{name}.yaml"))
        assert done.returncode == 0, done.stderr
        folder = artifacts / "crawl" / "dataset"
        splits: dict[str, list[dict]] = {}
        for path in sorted((folder / "data").glob("*.parquet")):
            splits.setdefault(path.name.split("-")[0], []).extend(pq.read_table(path).to_pylist())
        return done.stdout, folder, splits

    return run


def test_horoscopes_keep_their_columns_and_are_split_by_date(hub, tmp_path: Path, published) -> None:
    rows = horoscopes(120)
    again = {**rows[0], "date": "2027-12-28", "url": "https://stars.example/copy"}
    short = {**rows[1], "horoscope": "Удачный день."}
    write_horoscopes(tmp_path, [*rows, again, short])
    said, folder, splits = published("horoscopes")
    assert said.startswith("published 120 rows")
    assert {name: len(found) for name, found in splits.items()} == {"train": 108, "validation": 6, "test": 6}
    assert max(row["date"] for row in splits["train"]) <= min(row["date"] for row in splits["test"])
    assert list(splits["test"][0]) == ["sign", "date", "text", "source", "url"]
    assert Counter(row["url"] == "" for found in splits.values() for row in found) == {True: 60, False: 60}
    report = json.loads((folder / "crawl_report.json").read_text(encoding="utf-8"))
    assert report["store"]["dropped"]["short text"]["count"] == 1
    assert report["duplicates"] == {"exact copy": 1}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "120 rows from horoscopes.jsonl. From 2027-01-01 to 2027-05-08." in card
    assert "| `sign` | label | one of the values below |" in card and "| овен | 20 | 16.7% |" in card
    assert "`url` | url | an address; no two rows share one; may be empty |" in card
    assert "newspaper" not in card and "$" not in card and str(tmp_path) not in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["pretty_name"] == "news" and head["tags"] == ["horoscopes"]
    assert published("horoscopes")[0].startswith("nothing to do: demo/news")

    write_horoscopes(tmp_path, horoscopes(130))
    assert "10 added, 0 edited" in published("horoscopes")[0]


def test_reviews_get_numbers_hashed_splits_and_names_of_their_own(hub, tmp_path: Path, published) -> None:
    rows = reviews(300)
    write_reviews(tmp_path, [*rows, rows[0], ("Слишком хорошо для нас", "11"), ("Без оценки совсем", "")])
    said, folder, splits = published("reviews")
    assert said.startswith("published 300 rows")
    found = [row for part in splits.values() for row in part]
    assert {(row["text"], row["rating"]) for row in found} == {(text, float(rating)) for text, rating in rows}
    schema = pq.read_schema(next((folder / "data").glob("train-*.parquet")))
    assert schema.equals(pa.schema([("text", pa.string()), ("rating", pa.float64())]))
    assert 15 <= len(splits["test"]) <= 45 and 15 <= len(splits["validation"]) <= 45
    lineage = pq.read_table(sorted((folder / "lineage").glob("rows-*.parquet"))[0])
    assert lineage.column_names == ["id", "fetched_at", "summary_origin"]
    assert lineage.column("id")[0].as_py().startswith("urn:uuid:")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| rating out of range | 1 | the rating is not between 1 and 10 |" in card
    assert "| no rating | 1 |" in card and "By a hash of each row: 10% are `test`" in card
    assert {"name": "rating", "dtype": "float64"} in yaml.safe_load(card.split("---\n")[1])["dataset_info"][
        "features"
    ]
    assert not (folder / "plots" / "rows_by_year.png").exists()
    assert published("reviews")[0].startswith("nothing to do")

    # Whatever comes later, a row stays in its split, so what a model was trained on is never tested with.
    before = {row["text"]: name for name, part in splits.items() for row in part}
    write_reviews(tmp_path, [*rows, *reviews(500)[300:]])
    _, _, after = published("reviews")
    now = {row["text"]: name for name, part in after.items() for row in part}
    assert len(now) == 500 and all(now[text] == name for text, name in before.items())


def test_the_published_dataset_is_read_by_its_own_recipe_alone(hub, tmp_path: Path, published, run_publish):
    write_reviews(tmp_path, reviews(40))
    published("reviews")
    done = run_publish(hub, tmp_path / "other")
    assert done.returncode == 3
    assert "has no column date, rubric, summary, title, url" in done.stderr and done.stderr.count("\n") == 1
    api = HfApi(endpoint=hub.url, token=hub.token)
    revision = Hub("demo/news", hub.token, hub.url, tmp_path / "c").revision(
        api.dataset_info("demo/news").sha, load(str(tmp_path / "reviews.yaml"), tmp_path).schema
    )
    assert len(list(revision.rows())) == 40


def test_rules_about_news_apply_to_gazeta_and_not_to_the_others(tmp_path: Path) -> None:
    write_horoscopes(tmp_path, [])
    write_reviews(tmp_path, [])
    text = " ".join(WORDS * 2)
    row = {"title": "Гороскоп на май для всех", "text": text, "summary": "Что звёзды говорят о мае знакам",
           "date": "2024-05-01 00:00:00", "url": "https://a.example/1", "rubric": "family", "sign": "лев",
           "source": "a", "rating": "7"}  # fmt: skip
    assert Cleaner(GAZETA).clean({**row, "text": text * 3})[1] == "horoscope"
    for name in ("horoscopes", "reviews"):
        recipe = load(str(tmp_path / f"{name}.yaml"), tmp_path)
        clean, reason = Cleaner(recipe).clean(row)
        assert reason == ""
        assert Cleaner(recipe).clean(clean) == (clean, ""), "cleaning a clean row changes nothing"
    english = {**row, "text": "A very good series, I liked it a lot"}
    assert Cleaner(recipe).clean(english)[1] == "", "the reviews switch the language off"


@pytest.mark.parametrize(
    ("rating", "reason"),
    [("7,5", ""), ("7.50", ""), ("ten", "bad rating"), ("nan", "bad rating"), ("inf", "bad rating"),
     ("0", "rating out of range"), ("", "no rating")],
)  # fmt: skip
def test_numbers_are_numbers(tmp_path: Path, rating: str, reason: str) -> None:
    write_reviews(tmp_path, [])
    cleaner = Cleaner(load(str(tmp_path / "reviews.yaml"), tmp_path))
    row, broken = cleaner.clean({"text": " ".join(WORDS), "rating": rating})
    assert broken == reason
    assert reason or row["rating"] == "7.5"
