"""No model is trained on tokens that its own sentencepiece would not give."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import sentencepiece
from t5sum import StageError
from t5sum.generate.tokens import agrees, load_tokenizer, train_tokenizer
from transformers import AutoTokenizer, T5Tokenizer


def texts(rows) -> list[str]:
    return [row["text"] for row in rows(60)]


def base_folder(folder: Path, model_type: str, lines: list[str]) -> Path:
    """A base model's folder as old checkpoints have it: spiece.model and no tokenizer.json."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type=model_type, vocab_size=220, pad_id=0,
        eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    return folder


def test_a_unigram_tokenizer_is_taken_as_it_is(rows, tmp_path: Path) -> None:
    folder = base_folder(tmp_path, "unigram", texts(rows))
    assert isinstance(load_tokenizer(folder, texts(rows)), T5Tokenizer)


def test_a_bpe_tokenizer_is_rebuilt_and_stays_right_when_saved(rows, tmp_path: Path, capsys) -> None:
    lines = texts(rows)
    folder = base_folder(tmp_path, "bpe", lines)
    spiece = folder / "spiece.model"
    assert not agrees(T5Tokenizer.from_pretrained(folder), spiece, lines), "the trap is gone: drop the repair"
    repaired = load_tokenizer(folder, lines)
    assert "rebuilt from spiece.model as BPE" in capsys.readouterr().out
    repaired.save_pretrained(tmp_path / "saved")
    for tokenizer in (repaired, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        odd = [*lines, "Ёж, № 5: 100 % «ура»", "слово", "two words", "а" * 50, "日本", ""]
        assert agrees(tokenizer, spiece, odd)
        assert tokenizer("слово")["input_ids"][-1] == 1
        assert (
            tokenizer.decode(tokenizer("открыли музей")["input_ids"], skip_special_tokens=True)
            == "открыли музей"
        )


def test_the_sentinels_keep_their_ids_in_a_rebuilt_tokenizer(rows, tmp_path: Path) -> None:
    folder = base_folder(tmp_path, "bpe", texts(rows))
    repaired, misread = load_tokenizer(folder, texts(rows)), T5Tokenizer.from_pretrained(folder)
    assert len(repaired) == len(misread)
    for name in ("<extra_id_0>", "<extra_id_99>", "</s>", "<pad>"):
        assert repaired.convert_tokens_to_ids(name) == misread.convert_tokens_to_ids(name)


def test_a_tokenizer_that_cannot_be_repaired_is_refused(rows, tmp_path: Path) -> None:
    folder = base_folder(tmp_path, "unigram", texts(rows))
    other = tmp_path / "other"
    other.mkdir()
    base_folder(other, "unigram", ["совсем другие слова", "ничего похожего здесь нет"] * 20)
    T5Tokenizer.from_pretrained(folder).save_pretrained(other)
    with pytest.raises(StageError, match=r"other tokens than its own spiece\.model") as caught:
        load_tokenizer(other, texts(rows))
    assert caught.value.code == 2


def test_a_byte_level_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    with pytest.raises(StageError, match=r"ByT5Tokenizer\) has no tokenizer\.json"):
        load_tokenizer(tmp_path, ["текст"])


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(StageError, match="has no tokenizer"):
        load_tokenizer(tmp_path, ["текст"])


def test_our_own_tokenizer_has_t5s_ids(rows, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(texts(rows), 200, tmp_path)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert len(tokenizer) <= 200 + 100
    assert agrees(tokenizer, tmp_path / "spiece.model", [*texts(rows), "нечто новое: ёж № 5"])


def test_too_few_texts_for_a_tokenizer_are_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="a tokenizer could not be trained") as caught:
        train_tokenizer([], 200, tmp_path)
    assert caught.value.code == 3
