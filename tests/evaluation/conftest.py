"""A small exported model for the tests of evaluation: random weights, real files of a model revision."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

PLACES = ["Москве", "Казани", "Самаре", "Томске", "Перми", "Твери", "Омске", "Туле"]
THINGS = ["мост", "музей", "завод", "парк", "стадион", "вокзал", "театр", "порт"]
DEEDS = ["открыли", "закрыли", "отремонтировали", "продали", "осмотрели", "украсили"]


def invented_rows(count: int, seed: int = 0) -> list[dict]:
    """Rows in the dataset's columns; the summary says in other words what the text says."""
    pick = random.Random(seed)
    rows = []
    for number in range(count):
        place, thing, deed = pick.choice(PLACES), pick.choice(THINGS), pick.choice(DEEDS)
        cost = pick.randint(2, 900)
        rest = " ".join(
            f"В {pick.choice(PLACES)} {pick.choice(DEEDS)} {pick.choice(THINGS)}."
            for _ in range(pick.randint(2, 12))
        )
        rows.append(
            {
                "text": f"В {place} {deed} {thing} за {cost} миллионов рублей. {rest}",
                "summary": f"Городской {thing} {deed} в {place}, это стоило {cost} миллионов рублей.",
                "title": f"{thing.capitalize()} {deed}",
                "date": f"2024-{1 + number % 12:02d}-{1 + number % 28:02d} 12:{number % 60:02d}:00",
                "url": f"https://news.invalid/{number}",
                "rubric": "social",
            }
        )
    return rows


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    return invented_rows(60)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """make_model(seed) -> folder of a model revision: ct2/, tokenizer.json, tasks.json, full weights."""
    made: dict[int, Path] = {}

    def make(seed: int = 0) -> Path:
        if seed in made:
            return made[seed]
        import torch
        from ctranslate2.converters import TransformersConverter
        from t5sum.generate.tokens import train_tokenizer
        from transformers import T5Config, T5ForConditionalGeneration

        folder = tmp_path_factory.mktemp(f"model{seed}")
        texts = [text for row in invented_rows(200, seed=9) for text in (row["text"], row["summary"])]
        tokenizer = train_tokenizer(texts, 200, folder / "pieces")
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config)
        with torch.no_grad():  # the usual small random weights write the same whatever they read
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.normal_(std=0.35)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        TransformersConverter(str(folder)).convert(str(folder / "ct2"), quantization="int8")
        tasks = {
            "format": 2,
            "recipe": "gazeta",
            "dataset": {"repo": "demo/news", "revision": "0" * 40},
            "tasks": {"summarize": {
                "kind": "generate", "source": "summarize: {text}", "target": "summary", "metrics": {},
                "eos": "</s>", "engine": "ct2", "model": "ct2", "compute_type": "int8",
                "tokenizer": "tokenizer.json", "source_max_tokens": 40,
                "generation": {
                    "beam_size": 2, "no_repeat_ngram_size": 3, "max_decoding_length": 12,
                    "length_penalty": 1.0, "repetition_penalty": 1.0,
                },
            }},
        }  # fmt: skip
        (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        made[seed] = folder
        return folder

    return make
