"""Rows become examples: normalised, cut, ended, tokenized once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from t5sum.config import GenerateTask, parsed
from t5sum.generate.examples import encode, examples
from t5sum.generate.tokens import train_tokenizer
from t5sum.served.text import normalise
from t5sum.sources import prompt

SETTINGS = GenerateTask(
    source="summarize: {text}", target="summary", source_max_tokens=32, target_max_tokens=12
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    texts = [f"В городе {place} открыли новый музей." for place in ("Суздаль", "Плёс", "Тотьма")] * 5
    return train_tokenizer(texts, 200, tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  два\u00a0слова\n\tи\r\nстрока ", "два слова и строка"),
        ("ма\u00adма\u200b мы\u2060ла\ufeff", "мама мыла"),
        ("\u202eперевёрнуто\u202c \x07звонок\x9f", "перевёрнуто звонок"),
        ("и\u0306", "й"),
        ("№5 — «кавычки»…", "№5 — «кавычки»…"),
        ("", ""),
    ],
)
def test_text_is_normalised(raw: str, clean: str) -> None:
    assert normalise(raw) == clean
    assert normalise(clean) == clean


def test_the_title_is_read_only_when_asked_for() -> None:
    row = {"text": " текст ", "title": " Заголовок "}
    assert prompt(row, SETTINGS.template) == "summarize: текст"
    with_title = parsed("s: [{title}. ]{text}")
    assert prompt(row, with_title) == "s: Заголовок. текст"
    assert prompt({**row, "title": None}, with_title) == prompt({"text": "текст"}, with_title) == "s: текст"


def test_a_long_text_is_cut_and_still_ends(tokenizer) -> None:
    flat, lengths = encode(["музей " * 100, "музей"], tokenizer, 10)
    assert lengths.tolist()[0] == 10
    assert flat[9] == flat[-1] == tokenizer.eos_token_id


def test_examples_are_those_of_the_rows(tokenizer, rows) -> None:
    made = rows(30)
    found = examples(made, tokenizer, SETTINGS)
    assert len(found) == 30
    for index in (0, 7, 29):
        one = examples(made[index : index + 1], tokenizer, SETTINGS)[0]
        assert found[index]["input_ids"].tolist() == one["input_ids"].tolist()
        assert found[index]["labels"].tolist() == one["labels"].tolist()
        assert found[index]["row"] == index
    assert found.lengths[7].tolist() == [len(found[7]["input_ids"]), len(found[7]["labels"])]
    assert found.lengths.max(axis=0).tolist() <= [32, 12]


def test_tokens_are_kept_by_content(tokenizer, rows, tmp_path: Path) -> None:
    made = rows(20)
    first = examples(made, tokenizer, SETTINGS, tmp_path)
    [kept] = tmp_path.iterdir()

    class NoTokenizer:
        backend_tokenizer = tokenizer.backend_tokenizer

    again = examples(made, NoTokenizer(), SETTINGS, tmp_path)
    assert np.array_equal(first.source, again.source)
    assert np.array_equal(first.target_ends, again.target_ends)
    made[3]["text"] += " Ещё."
    examples(made, tokenizer, SETTINGS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert kept.exists()


def test_a_long_title_does_not_displace_the_text(tokenizer) -> None:
    """Sources have 32 tokens. An optional column that leaves the text fewer than 16 of them is left out."""
    task = replace(SETTINGS, source="[{title}. ]{text}")
    text, short = "В городе Плёс открыли новый музей. " * 9, "Плёс"
    made = [
        {"text": text, "title": "Тотьма " * 40, "summary": "музей"},
        {"text": text, "title": short, "summary": "музей"},
        {"text": "Плёс", "title": short, "summary": "музей"},
    ]
    found = examples(made, tokenizer, task)
    read = [
        tokenizer.decode(found[index]["input_ids"], skip_special_tokens=True).strip() for index in range(3)
    ]
    assert read[0].startswith("В городе Плёс") and "Тотьма" not in read[0]
    assert read[1].startswith("Плёс. В городе Плёс")
    assert read[2] == "Плёс. Плёс"
    required = replace(SETTINGS, source="{title}. {text}")
    kept = examples(made[:1], tokenizer, required)
    assert "Тотьма" in tokenizer.decode(kept[0]["input_ids"]), "a required column is never left out"
