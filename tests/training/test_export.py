"""What is served writes what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from t5sum import StageError
from t5sum.generate import export
from t5sum.generate.model import build_model
from t5sum.generate.tokens import train_tokenizer
from t5sum.load import load_config
from t5sum.run.directory import read_json

TEXTS = ["summarize: В Суздале открыли музей кружева.", "summarize: В Плёсе провели лыжную гонку. " * 3]


@pytest.fixture(params=["t5", "mt5"])
def checkpoint(request, rows, tiny, tmp_path: Path) -> Path:
    """A model of random weights: it writes nonsense, and the same nonsense in both forms."""
    config = load_config(tiny, {})
    tokenizer = train_tokenizer([row["text"] for row in rows(40)], 300, tmp_path / "tokenizer")
    if request.param == "t5":
        model = build_model(None, config.model.scratch, tokenizer, seed=1)
    else:
        from transformers import MT5Config, MT5ForConditionalGeneration

        torch.manual_seed(1)
        model = MT5ForConditionalGeneration(
            MT5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                      decoder_start_token_id=0, tie_word_embeddings=False)
        )  # fmt: skip
    if request.param == "t5":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)  # far from flat, so that rounding cannot turn an output round
    folder = tmp_path / "checkpoint"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_export_writes_what_transformers_writes(checkpoint: Path, tiny, tmp_path: Path, capsys) -> None:
    found = export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)
    assert (found["compared"], found["equal"]) == (2, 2)
    files = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*")}
    assert {"ct2/model.bin", "ct2/config.json", "ct2/shared_vocabulary.json"} <= files
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= files
    assert not (tmp_path / "model.part").exists()


def test_the_serving_settings_go_into_generation_config(checkpoint: Path, tiny, tmp_path: Path) -> None:
    words = [
        *tiny,
        "generate.generation.beam_size=3",
        "generate.generation.no_repeat_ngram_size=2",
        "generate.generation.length_penalty=0.8",
    ]
    export.export(checkpoint, tmp_path / "model", load_config(words, {}).tasks["summarize"], [])
    saved = read_json(tmp_path / "model" / "generation_config.json")
    assert (saved["num_beams"], saved["no_repeat_ngram_size"], saved["length_penalty"]) == (3, 2, 0.8)
    assert saved["early_stopping"] is True
    assert saved["max_new_tokens"] == 16
    assert "max_length" not in saved
    assert read_json(checkpoint / "generation_config.json") != saved, "the checkpoint is not written into"


def test_an_export_of_other_weights_is_refused(checkpoint, tiny, tmp_path, monkeypatch) -> None:
    convert = export.convert

    def spoiled(model_dir: Path, target: Path, quantization: str) -> None:
        other = tmp_path / "other"
        if not other.exists():
            import shutil

            shutil.copytree(model_dir, other)
            values = load_file(other / "model.safetensors")
            values["shared.weight"] = values["shared.weight"].flip(0).contiguous()
            (other / "model.safetensors").unlink()
            save_file(values, other / "model.safetensors", {"format": "pt"})
        convert(other, target, quantization)

    monkeypatch.setattr(export, "convert", spoiled)
    with pytest.raises(StageError, match="computes other probabilities than the trained model"):
        export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)
    assert not (tmp_path / "model").exists()


def test_an_export_that_searches_in_another_way_is_refused(checkpoint, tiny, tmp_path, monkeypatch) -> None:
    expected = export.Expected.of

    def other(model_dir: Path, config, *others):
        made = expected(model_dir, config, *others)
        return replace(made, options=made.options | {"beam_size": 1, "no_repeat_ngram_size": 1})

    monkeypatch.setattr(export.Expected, "of", other)
    with pytest.raises(StageError, match="writes other texts than the trained model"):
        export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)
    assert not (tmp_path / "model").exists()


def test_int8_may_be_off_by_so_much_and_no_more(checkpoint, tiny, tmp_path, monkeypatch) -> None:
    found = export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)
    assert 0 < found["off"] < export.MOST_OFF["int8"]
    monkeypatch.setitem(export.MOST_OFF, "int8", 0.0)
    with pytest.raises(StageError, match="the int8 export computes other probabilities"):
        export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_weights_that_are_no_numbers_are_refused(checkpoint: Path, tiny, tmp_path: Path) -> None:
    values = load_file(checkpoint / "model.safetensors")
    values["shared.weight"].fill_(float("nan"))
    save_file(values, checkpoint / "model.safetensors", {"format": "pt"})
    with pytest.raises(StageError, match="no numbers"):
        export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], TEXTS)


def test_no_text_is_enough_to_export(checkpoint: Path, tiny, tmp_path: Path) -> None:
    found = export.export(checkpoint, tmp_path / "model", load_config(tiny, {}).tasks["summarize"], [])
    assert (found["compared"], found["equal"], found["eos"]) == (0, 0, "</s>")
