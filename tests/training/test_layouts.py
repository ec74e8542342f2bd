"""The layouts of the checkpoints that people really use, from a base model's folder to the API's answer.

Each is a tiny model with random weights in the files of its original: special ids, tokenizer, tied or untied
output, kind of feed-forward layers. It is trained for a moment, exported, and read by everyone who reads it.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from t5sum import StageError
from t5sum.config import GenerateTask
from t5sum.generate import export
from t5sum.generate.model import build_model
from t5sum.generate.predict import Export, generate, generate_full_precision
from t5sum.generate.tokens import load_tokenizer
from t5sum.generate.train import train
from t5sum.load import load_config
from t5sum.run.directory import TaskRun, read_json
from t5sum.served.text import normalise
from t5sum.sources import prompt
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
RUT5_IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
NO_SENTINELS = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": None}


@dataclass(frozen=True)
class Layout:
    """A checkpoint's config.json as its makers wrote it, and how its sentencepiece model was trained."""

    config: dict[str, Any] = field(default_factory=dict)
    pieces: dict[str, Any] | None = None  # None: GPT-2's vocab.json and merges.txt
    tokenizer_config: dict[str, Any] | None = None
    spare: int = 0  # rows of the embedding beyond the tokenizer
    family: type = T5ForConditionalGeneration
    start: int = 0
    end: int = 1

    @property
    def tied(self) -> bool:
        return "tie_word_embeddings" not in self.config


LAYOUTS = {
    "T5": Layout(pieces=T5_IDS, spare=28),
    "ruT5": Layout(
        {"eos_token_id": 2, "bos_token_id": 1}, {**RUT5_IDS, "model_type": "bpe"}, spare=28, end=2
    ),
    "rut5": Layout(GATED, T5_IDS, NO_SENTINELS),
    "rut5_base_sum_gazeta": Layout(
        {**GATED, "bos_token_id": 2, "decoder_start_token_id": 2, "num_beams": 5, "max_length": 200,
         "no_repeat_ngram_size": 4, "early_stopping": True, "length_penalty": 0.5},
        T5_IDS, NO_SENTINELS, start=2,
    ),
    "mT5": Layout(GATED, T5_IDS, NO_SENTINELS, 12, MT5ForConditionalGeneration),
    "FLAN": Layout(GATED, T5_IDS, spare=28),
    "FRED-T5": Layout(
        {**GATED, "eos_token_id": 2, "bos_token_id": 1}, None,
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
         "unk_token": "<|endoftext|>"}, spare=7, end=2,
    ),
    "Unigram, unk 3": Layout({"eos_token_id": 2}, RUT5_IDS, end=2),
    "tied, gated": Layout({"feed_forward_proj": "gated-gelu"}, T5_IDS),
    "untied, ungated": Layout({"tie_word_embeddings": False}, T5_IDS),
}  # fmt: skip


def write_base(folder: Path, layout: Layout, texts: list[str]) -> Path:
    """The base model's folder, with the keys that transformers 4 wrote and none that only 5 writes."""
    folder.mkdir(parents=True)
    if layout.pieces is None:
        from tokenizers import ByteLevelBPETokenizer

        backend = ByteLevelBPETokenizer()
        special = ["<pad>", "<s>", "</s>", "<|endoftext|>"]
        backend.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
        backend.save_model(str(folder))
        count = backend.get_vocab_size()
    else:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, vocab_size=500, hard_vocab_limit=False,
            minloglevel=2, **layout.pieces,
        )  # fmt: skip
        (folder / "spiece.model").write_bytes(model.getvalue())
        count = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
        count += 0 if layout.tokenizer_config else 100
    if layout.tokenizer_config:
        (folder / "tokenizer_config.json").write_text(json.dumps(layout.tokenizer_config))
    shape = {
        "vocab_size": count + layout.spare, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
        "num_heads": 4, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
        "dropout_rate": 0.0,
    } | layout.config  # fmt: skip
    kind = MT5Config if layout.family is MT5ForConditionalGeneration else T5Config
    torch.manual_seed(0)
    model = layout.family(kind(**{name: shape[name] for name in shape if name not in SEARCH}))
    values = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    if not layout.tied:
        values["lm_head.weight"] = torch.randn_like(values["shared.weight"]) * 0.1
    else:
        values["shared.weight"] *= 0.5
        values.pop("lm_head.weight")
    save_file({n: v for n, v in values.items() if "embed_tokens" not in n}, folder / "model.safetensors")
    written = {"model_type": kind.model_type, "architectures": [layout.family.__name__],
               "is_encoder_decoder": True, "transformers_version": "4.18.0"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(written | shape))
    return folder


SEARCH = ("num_beams", "max_length", "no_repeat_ngram_size", "early_stopping", "length_penalty")
WORDS = [
    "train.max_steps=60", "train.eval_steps=60", "train.micro_batch=8",
    "train.lr=0.02", "train.warmup_steps=4",
    "generate.generation.beam_size=4", "generate.generation.no_repeat_ngram_size=3",
    "generate.generation.max_decoding_length=36",
    "generate.source_max_tokens=512", "generate.target_max_tokens=20",
]  # fmt: skip


def publish(folder: Path, task: GenerateTask, compute_type: str) -> dict[str, Any]:
    """Put tasks.json into the folder; its section."""
    section = {
        "kind": "generate", "source": task.source, "target": task.target, "metrics": {}, "engine": "ct2",
        "model": "ct2", "tokenizer": "tokenizer.json", "eos": "</s>", "compute_type": compute_type,
        "source_max_tokens": task.source_max_tokens, "generation": vars(task.generation),
    }  # fmt: skip
    (folder / "tasks.json").write_text(json.dumps({"format": 2, "tasks": {"summarize": section}}))
    return section


def answer_of_the_api(folder: Path, settings: dict[str, Any], text: str) -> str:
    """What the API's own engine makes of a text."""
    from topic_sum.inference.engine import Engine

    found = Engine(folder, settings, 1).generate(
        {"text": normalise(text)}, 1, lambda calls: [call() for call in calls], 8
    )
    return found.texts[0] if found.texts else ""


@pytest.fixture(scope="module", params=LAYOUTS)
def cell(request: pytest.FixtureRequest, rows: Any, tiny: Any, tmp_path_factory: Any) -> SimpleNamespace:
    """A layout after training and export. exact: the same revision with float32 in the place of int8."""
    layout = LAYOUTS[request.param]
    work = tmp_path_factory.mktemp("layout")
    rows = rows(48)
    base = write_base(work / "base", layout, [row["text"] for row in rows])
    config = load_config([*tiny, *WORDS, f"model.base={base}"], {"ARTIFACTS_DIR": str(work)})
    task = config.tasks["summarize"]
    run = TaskRun(work / "runs" / "run" / "summarize")
    run.path.mkdir(parents=True)
    train(run, {"train": rows[:36], "validation": rows[36:40]}, base, config, task)
    texts = [prompt(row, task.template) for row in rows[36:40]]
    found = export.export(run.trained, run.export, task, texts)
    exact = work / "exact"
    shutil.copytree(run.export, exact, ignore=shutil.ignore_patterns("ct2"))
    export.convert(run.export, exact / "ct2", "float32")
    return SimpleNamespace(
        layout=layout, trained=run.trained, model=run.export, exact=exact, found=found, rows=rows[40:],
        settings={exact: publish(exact, task, "float32"), run.export: publish(run.export, task, "int8")},
        sources=[prompt(row, task.template) for row in rows[40:]],
    )  # fmt: skip


def test_every_reader_gets_the_ids_of_tokenizer_and_config(cell: SimpleNamespace) -> None:
    layout, tokenizer = cell.layout, AutoTokenizer.from_pretrained(cell.model)
    ids = {"pad_token_id": 0, "eos_token_id": layout.end, "decoder_start_token_id": layout.start}
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, layout.end)
    for folder in (cell.trained, cell.model):
        for name in ("config.json", "generation_config.json"):
            assert {key: read_json(folder / name)[key] for key in ids} == ids
    served = read_json(cell.model / "ct2" / "config.json")
    start = tokenizer.convert_ids_to_tokens(layout.start)
    assert (served["decoder_start_token"], served["eos_token"]) == (start, "</s>")
    assert cell.settings[cell.model]["eos"] == cell.found["eos"] == "</s>"
    assert tokenizer("музей")["input_ids"][-1] == layout.end
    assert set(tokenizer("музей")) == {"input_ids", "attention_mask"}, "what generate() takes"
    vocabulary = read_json(cell.model / "ct2" / "shared_vocabulary.json")
    assert len(set(vocabulary)) == len(vocabulary) == read_json(cell.model / "config.json")["vocab_size"]


def test_the_published_config_says_whether_the_output_is_tied(cell: SimpleNamespace) -> None:
    saved = read_json(cell.model / "config.json")
    assert saved["tie_word_embeddings"] is cell.layout.tied
    assert ("lm_head.weight" in load_file(cell.model / "model.safetensors")) is not cell.layout.tied
    if cell.layout.family is T5ForConditionalGeneration:
        assert saved["scale_decoder_outputs"] is cell.layout.tied


def test_log_probabilities_are_transformers_own(cell: SimpleNamespace) -> None:
    """Of summaries that people wrote, by the trained checkpoint and by the export in float32."""
    tokenizer = AutoTokenizer.from_pretrained(cell.trained)
    model = AutoModelForSeq2SeqLM.from_pretrained(cell.trained).eval()
    translator = ctranslate2.Translator(str(cell.exact / "ct2"), compute_type="float32", intra_threads=1)
    for text, row in zip(cell.sources, cell.rows, strict=True):
        source = tokenizer(text)["input_ids"]
        labels = tokenizer(row["summary"])["input_ids"]
        with torch.no_grad():
            written = torch.tensor([[cell.layout.start, *labels[:-1]]])
            logits = (
                model(input_ids=torch.tensor([source]), decoder_input_ids=written).logits[0].log_softmax(-1)
            )
        expected = logits.gather(1, torch.tensor([labels]).T)[:, 0]
        pieces = [tokenizer.convert_ids_to_tokens(ids) for ids in (source, labels[:-1])]
        [scored] = translator.score_batch([pieces[0]], [pieces[1]], max_input_length=0)
        assert torch.allclose(torch.tensor(scored.log_probs), expected, atol=1e-3)


def test_served_beams_plain_transformers_and_the_api_write_the_same(cell: SimpleNamespace) -> None:
    served = generate(Export.of(cell.exact), cell.rows, "cpu", workers=1).predictions
    assert served == generate_full_precision(Export.of(cell.exact), cell.rows).predictions
    assert all(served)
    # As the card shows it: nothing but the published folder.
    tokenizer, model = (each.from_pretrained(cell.model) for each in (AutoTokenizer, AutoModelForSeq2SeqLM))
    ends = []
    for text, summary in zip(cell.sources, served, strict=True):
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
        made = model.generate(**batch)[0].tolist()
        assert tokenizer.decode(made, skip_special_tokens=True).strip() == summary
        ends.append(made.index(cell.layout.end) + 1 if cell.layout.end in made else 37)
        assert len(made) == ends[-1], "it stops where the served one stops"
    assert min(ends) < 37
    int8 = generate(Export.of(cell.model), cell.rows, "cpu", batch_tokens=1, workers=1).predictions
    for folder, texts in ((cell.exact, served), (cell.model, int8)):
        made = [answer_of_the_api(folder, cell.settings[folder], row["text"]) for row in cell.rows]
        assert made == [" ".join(text.split()) for text in texts]


@pytest.fixture(scope="module")
def base(rows: Any, tmp_path_factory: Any) -> Any:
    """A layout's folder as its makers left it, with other keys in its config.json."""

    def make(name: str, **keys: Any) -> Path:
        folder = write_base(
            tmp_path_factory.mktemp("base") / "base", LAYOUTS[name], [row["text"] for row in rows(40)]
        )
        config = read_json(folder / "config.json") | keys
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize("name", ["rut5", "mT5", "FLAN", "untied, ungated"])
def test_ctranslate2s_own_loader_scales_the_output_and_is_refused(
    name: str, base: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should this fail, CTranslate2 reads scale_decoder_outputs itself: drop the loader of ours."""
    from ctranslate2.converters import transformers as converters

    def convert(model_dir: Path, target: Path, quantization: str) -> None:
        own = {"T5Config": converters.T5Loader(), "MT5Config": converters.MT5Loader()}
        monkeypatch.setattr(converters, "_MODEL_LOADERS", converters._MODEL_LOADERS | own)
        converters.TransformersConverter(str(model_dir)).convert(str(target), quantization=quantization)

    monkeypatch.setattr(export, "convert", convert)
    folder = base(name)
    tokenizer = load_tokenizer(folder, [])
    for part in (build_model(folder, None, tokenizer, 0), tokenizer):
        part.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(StageError, match="float32 export computes other probabilities than the trained"):
        export.export(
            tmp_path / "checkpoint",
            tmp_path / "model",
            load_config(tiny, {}).tasks["summarize"],
            ["В Плёсе."],
        )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"decoder_start_token_id": 5000}, "decoder starts with token 5000, which its tokenizer lacks"),
        ({"feed_forward_proj": "gated-tanh"}, "has gated-tanh layers, which cannot be served here"),
        ({"vocab_size": 80}, "tokens, its tokenizer"),
        ({"model_type": "umt5"}, "is a umt5 model; only t5 and mt5 can be served here"),
        ({"model_type": "t5gemma2"}, "is a t5gemma2 model; only t5 and mt5 can be served here"),
    ],
)
def test_what_cannot_be_served_is_refused_before_training(
    keys: dict[str, Any], reason: str, base: Any
) -> None:
    folder = base("T5", **keys)
    with pytest.raises(StageError, match=reason) as caught:
        build_model(folder, None, load_tokenizer(base("T5"), []), 0)
    assert caught.value.code == 2


def test_the_tokenizers_end_counts_more_than_the_configs(
    base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = base("Unigram, unk 3", eos_token_id=1)
    model = build_model(folder, None, load_tokenizer(folder, []), 0)
    assert (
        "its config ends texts with token 1, its tokenizer with 2; the tokenizer's is used"
        in capsys.readouterr().out
    )
    assert model.config.eos_token_id == model.generation_config.eos_token_id == 2


def test_a_search_that_an_earlier_fine_tuning_left_is_not_taken_over(base: Any) -> None:
    folder = base("rut5_base_sum_gazeta")
    model = build_model(folder, None, load_tokenizer(folder, []), 0)
    saved = model.generation_config.to_diff_dict()
    assert {key for key in saved if key != "transformers_version"} == {
        "pad_token_id", "eos_token_id", "decoder_start_token_id"
    }  # fmt: skip
    assert model.config.decoder_start_token_id == 2
