"""The card tells what is there, and the same dataset gives the same card and plots."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
import yaml
from gazeta import settings
from gazeta.dataset import card, plots
from gazeta.dataset.checks import check
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.shards import Revision

REPORT = {
    "crawl": 7,
    "arguments": {"since": "2024-01-01", "limit": ""},
    "fetched": 90,
    "kept": 60,
    "dropped": 30,
    "reasons": {"gone": 20, "gallery": 10},
}


@pytest.fixture
def dataset(tmp_path, invented) -> Dataset:
    rows = invented(80)
    bad = [
        {**rows[70], "summary": "", "title": "Заголовок с | чертой"},
        {**rows[71], "title": "Гороскоп на май"},
    ]
    copy = {**rows[0], "url": rows[0]["url"] + "?2", "date": "2025-12-30 00:00:00"}
    return assemble(tmp_path / "made", [*rows[:70], *bad, copy])


def render(dataset: Dataset, **options) -> str:
    return card.render(dataset, check(dataset), REPORT, **options)


def test_the_card_gives_rows_drops_origins_and_the_crawl(dataset, monkeypatch):
    monkeypatch.setattr(settings, "DATASET_REPO", "somebody/news")
    text = render(dataset)
    assert "70 Russian news articles" in text
    assert 'load_dataset("somebody/news")' in text and f'revision="{dataset.tag}"' in text
    assert "Of 73 articles in the store that made this revision, 2 broke a cleaning rule" in text
    assert "| no summary | 1 | the summary is empty | Заголовок с / чертой |" in text
    assert "| horoscope | 1 |" in text
    assert "1 exact and 0 near copies" in text
    assert "| the lead that the editors wrote | 70 | 100.0% |" in text
    assert "number 7 (since=2024-01-01): 90 pages read, 60 kept, 30 dropped (gone 20, gallery 10)" in text
    for rubric in set(dataset.facts.labels["rubric"]):
        assert f"| {rubric} | {dataset.facts.labels['rubric'].count(rubric)} |" in text
    assert f"| test | 3 | {dataset.dates[-3][:10]} | {dataset.dates[-1][:10]} |" in text


def test_the_metadata_counts_what_is_in_the_files(dataset):
    head = yaml.safe_load(render(dataset).split("---\n")[1])
    info = head["dataset_info"]
    assert [split["num_examples"] for split in info["splits"]] == [63, 4, 3]
    assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
    size = sum(path.stat().st_size for path in (dataset.folder / "data").iterdir())
    assert info["download_size"] == size
    assert [part["split"] for part in head["configs"][0]["data_files"]] == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [(3, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (60_000, "10K<n<100K"), (10**8, "n>10M")],
)
def test_the_size_category_is_one_the_hub_knows(rows, told):
    assert card.size_category(rows) == told


@pytest.mark.parametrize(
    ("site", "says", "not_says"),
    [
        ("https://www.gazeta.ru", "you may not republish the articles", "invented"),
        ("http://127.0.0.1:8802", "serves invented news", "you may not republish the articles"),
        ("http://localhost:9", "serves invented news", "you may not republish the articles"),
    ],
)
def test_rights_depend_on_where_the_news_are_from(dataset, monkeypatch, site, says, not_says):
    monkeypatch.setattr(settings, "SITE_URL", site)
    text = render(dataset)
    assert says in text and not_says not in text
    assert site in text


def test_the_second_revision_tells_what_changed(tmp_path, invented):
    rows = invented(60)
    assemble(tmp_path / "first", rows[:50])
    made = assemble(
        tmp_path / "second", rows[1:], before=Revision.in_folder("news at abc", tmp_path / "first")
    )
    made.changes.removed.append((rows[0]["url"], "horoscope"))
    text = render(made)
    assert "Compared with news at abc: 10 rows added, 0 edited" in text
    assert f"- removed: {rows[0]['url']} (horoscope)" in text


def test_card_and_plots_do_not_depend_on_the_order_of_the_crawl(tmp_path, invented):
    rows = invented(60)
    shuffled = random.Random(4).sample(rows, len(rows))
    one, other = assemble(tmp_path / "one", rows), assemble(tmp_path / "other", shuffled)
    assert render(one) == render(other)
    for made in (one, other):
        plots.draw(made)
    for path in plots.plots_of(one).values():
        picture = (one.folder / path).read_bytes()
        assert picture == (other.folder / path).read_bytes()
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", picture[16:24])
        assert width > 600 and height > 300
    assert "![Rows by year](plots/rows_by_year.png)" in render(one)


def test_lengths_in_tokens_are_measured_when_a_tokenizer_is_at_hand(dataset, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    text = render(dataset, tokenizer=path)
    row = next(line for line in text.split("In tokens of")[1].splitlines() if line.startswith("| text |"))
    mean = float(row.split("|")[2].replace(",", ""))
    assert (
        0.8 < mean / (dataset.facts.lengths["text"].mean() / 7) < 1.25
    )  # a Russian word and its space: 7 characters
    assert "not measured" in render(dataset)


@pytest.mark.parametrize("content", ["{}", "no json"])
def test_a_file_that_is_no_tokenizer_is_told(dataset, tmp_path, content):
    path: Path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"wrong\.json is no tokenizer\.json"):
        render(dataset, tokenizer=path)
