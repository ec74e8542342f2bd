"""No model is trained on tokens that its own sentencepiece would not give."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from t5sum import StageError
from t5sum.generate.tokens import agrees, as_likely, load_tokenizer, train_tokenizer
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import AutoTokenizer, T5Tokenizer


def texts(rows) -> list[str]:
    return [row["text"] for row in rows(60)]


def base_folder(folder: Path, model_type: str, lines: list[str], **settings: Any) -> Path:
    """A base model's folder as old checkpoints have it: spiece.model and no tokenizer.json."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type=model_type, minloglevel=2,
        **{"vocab_size": 220, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1,
           "hard_vocab_limit": model_type == "bpe", **settings},
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


ODD = ["Ёж, № 5: 100 % «ура»", "слово", "two words", "日本 ☃ ёё", "а" * 50, "— 🙂 —", "x²"]


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "settings",
    [
        {"bos_id": 1, "eos_id": 2, "unk_id": 3},
        {"byte_fallback": True},
        {"bos_id": 1, "eos_id": 2, "unk_id": 3, "byte_fallback": True},
        {"add_dummy_prefix": False},
        {"normalization_rule_name": "identity"},
        {"character_coverage": 0.98},
    ],
    ids=lambda settings: " ".join(map(str, settings)),
)
def test_every_kind_of_spiece_is_read_as_sentencepiece_reads_it(
    model_type: str, settings: dict[str, Any], rows, tmp_path: Path
) -> None:
    lines = texts(rows)
    folder = base_folder(tmp_path, model_type, lines, **{"vocab_size": 450, **settings})
    tokenizer = load_tokenizer(folder, [*lines, *ODD])
    tokenizer.save_pretrained(tmp_path / "saved")
    served = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    for text in [*lines, *ODD]:
        ids = reference.encode(text)
        assert served.encode(text, add_special_tokens=False).ids == ids
        assert AutoTokenizer.from_pretrained(tmp_path / "saved")(text)["input_ids"] == [
            *ids,
            reference.eos_id(),
        ]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, settings.get("eos_id", 1))
    assert tokenizer.unk_token_id == settings.get("unk_id", 2)
    for text in ("два слова, раз", "日本"):
        made = reference.encode(text)
        assert served.decode(made).strip() == reference.decode(made).replace("⁇", "").strip()


def gpt2_ids(folder: Path, text: str) -> list[int]:
    """GPT-2's own encoder, written again: bytes as letters, then the lowest merge first."""
    import regex
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = bytes_to_unicode()
    vocab = json.loads((folder / "vocab.json").read_text())
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    rank = {merge: number for number, merge in enumerate(merges)}
    ids = []
    for word in regex.findall(
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", text
    ):
        parts = [letters[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = [(rank.get(pair, len(rank)), i) for i, pair in enumerate(pairwise(parts))]
            best, place = min(pairs)
            if best == len(rank):
                break
            parts[place : place + 2] = ["".join(parts[place : place + 2])]
        ids += [vocab[part] for part in parts]
    return ids


@pytest.mark.parametrize("named", [True, False])
def test_gpt2s_files_are_read_as_gpt2_reads_them(named: bool, rows, tmp_path: Path) -> None:
    lines = texts(rows)
    backend = ByteLevelBPETokenizer()
    special = ["<pad>", "<s>", "</s>", "<|endoftext|>"]
    backend.train_from_iterator(lines, vocab_size=400, special_tokens=special, show_progress=False)
    backend.save_model(str(tmp_path))
    config = {"model_type": "t5", "eos_token_id": 2, "pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    names = {"eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>"} if named else {}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **names}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<LM>": 400, "<SC1>": 401}))
    tokenizer = load_tokenizer(tmp_path, [*lines, *ODD])
    tokenizer.save_pretrained(tmp_path / "saved")
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert (each.pad_token_id, each.eos_token_id, len(each)) == (0, 2, 402)
        for text in [*lines, *ODD]:
            ids = each(text)["input_ids"]
            assert ids == [*gpt2_ids(tmp_path, text), 2]
            assert each.decode(ids, skip_special_tokens=True) == text
        assert each.convert_tokens_to_ids("<LM>") == 400
        assert set(each("слово")) == {"input_ids", "attention_mask"}


def test_a_tokenizer_json_is_taken_as_it_is(rows, tmp_path: Path, capsys) -> None:
    """transformers' T5Tokenizer puts <unk> at 2 whatever the file says."""
    lines = texts(rows)
    folder = base_folder(tmp_path, "unigram", lines, bos_id=1, eos_id=2, unk_id=3, vocab_size=500)
    load_tokenizer(folder, lines).save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text((folder / "config.json").read_text())
    (tmp_path / "other" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    capsys.readouterr()
    tokenizer = load_tokenizer(tmp_path / "other", [*lines, *ODD])
    assert agrees(tokenizer, folder / "spiece.model", [*lines, *ODD])
    assert (tokenizer.eos_token_id, tokenizer.unk_token_id) == (2, 3)
    assert "taken from tokenizer.json as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content"), [("spiece.model", "no model"), ("tokenizer.json", "{}"), ("config.json", "[")]
)
def test_a_broken_file_is_one_line(file: str, content: str, rows, tmp_path: Path) -> None:
    folder = base_folder(tmp_path, "unigram", texts(rows))
    (folder / file).write_text(content)
    with pytest.raises(StageError) as caught:
        load_tokenizer(folder, texts(rows))
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("cuts", "score", "likely"),
    [
        (("ав", "с"), -3.00003, True),  # the sums differ by rounding only
        (("ав", "с"), -3.1, False),  # another cut that is less likely
        (("ав", "в"), -3.0, False),  # another text
    ],
)
def test_two_cuts_of_a_word_that_are_as_likely_are_both_right(
    cuts: tuple[str, str], score: float, likely: bool, tmp_path: Path
) -> None:
    folder = base_folder(tmp_path, "unigram", ["авс вс ав а в с"] * 20, vocab_size=12)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "spiece.model").read_bytes())
    del proto.pieces[3:]
    for piece, value in (("▁", -1.0), ("а", -4.0), ("в", -5.0), ("с", -5.0), ("ав", score), ("вс", -4.0)):
        proto.pieces.add(piece=piece, score=value)
    reference = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    ours, theirs = ([reference.piece_to_id(piece) for piece in cut] for cut in (cuts, ("а", "вс")))
    assert as_likely(reference, ours, theirs) is likely
