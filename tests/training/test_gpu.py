"""What a machine with a GPU does; there is none here, so its libraries are played."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import pytest
import torch
from t5sum import StageError
from t5sum.generate import train as training
from t5sum.generate import trainer as trainers
from t5sum.generate.model import choose_device
from t5sum.generate.predict import load_translator
from t5sum.generate.trainer import OVERFLOWS, NotFinite, SummaryTrainer
from t5sum.load import load_config
from t5sum.run.directory import TaskRun


class Translator:
    """CTranslate2's, on a machine where its first call on the GPU does what `broken` says."""

    broken: Exception | None = None

    def __init__(self, folder: str, device: str, **_: Any) -> None:
        self.device = device

    def translate_batch(self, sources: list[list[str]], **_: Any) -> None:
        if self.device == "cuda" and self.broken:
            raise self.broken


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2" / "model.bin").touch()
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "Translator", Translator)
    return tmp_path


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_works_runs_the_export(device: str, exported: Path) -> None:
    assert load_translator(exported / "ct2", "int8", device, 1).device == "cuda"


def test_a_gpu_whose_first_call_fails_gives_way_to_the_cpu(exported, monkeypatch, capsys) -> None:
    error = RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")
    monkeypatch.setattr(Translator, "broken", error)
    assert load_translator(exported / "ct2", "int8", "auto", 1).device == "cpu"
    line = (
        "CTranslate2 cannot use the GPU (Library libcublas.so.12 is not found or cannot be loaded); the CPU"
    )
    assert line in capsys.readouterr().out
    with pytest.raises(
        StageError, match=r"evaluate\.device=cuda, but the GPU cannot run the export"
    ) as caught:
        load_translator(exported / "ct2", "int8", "cuda", 1)
    assert caught.value.code == 5


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    """Pretend that a card of this compute capability is there."""

    def put_in(*capability: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)

    return put_in


def settings(tiny: Any, precision: str) -> Any:
    return load_config([*tiny, "train.device=auto", f"train.precision={precision}"], {}).train


def test_fp16_is_taken_when_it_is_asked_for_and_said(tiny, gpu) -> None:
    gpu(7, 5)
    assert choose_device(settings(tiny, "fp16")) == (False, False, "a card, fp16 with a scaled loss")
    cpu, bf16, line = choose_device(settings(tiny, "auto"))
    assert (cpu, bf16) == (False, False)
    assert "fp32 (it has no bf16; train.precision=fp16 is faster" in line
    gpu(8, 6)
    assert choose_device(settings(tiny, "auto")) == (False, True, "a card, bf16")
    assert "bf16, which this GPU has, is safer" in choose_device(settings(tiny, "fp16"))[2]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_fp16_needs_a_gpu(device: str, tiny, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cpu")
    with pytest.raises(StageError, match=r"train\.precision=fp16 needs an NVIDIA GPU") as caught:
        choose_device(load_config([*tiny, f"train.device={device}", "train.precision=fp16"], {}).train)
    assert caught.value.code == 2


@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_the_trainer_gets_fp16_if_it_is_asked_for(
    precision: str, tiny, rows, tmp_path, gpu, monkeypatch
) -> None:
    class Given(Exception):
        pass

    def arguments(**given: Any) -> None:
        raise Given(given["fp16"], given["bf16"])

    config = load_config([*tiny, "train.device=auto", f"train.precision={precision}"], {})
    run = TaskRun(tmp_path / "run" / "summarize")
    run.path.mkdir(parents=True)
    gpu(7, 5)
    monkeypatch.setattr(training, "Seq2SeqTrainingArguments", arguments)
    monkeypatch.setattr(training, "gpus", lambda: [])
    monkeypatch.setattr(training.preflight, "choose_checkpointing", lambda *given: False)
    with pytest.raises(Given) as caught:
        training.train(
            run, {"train": rows(8), "validation": rows(2)}, None, config, config.tasks["summarize"]
        )
    assert caught.value.args == (precision == "fp16", False)


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch):
    """Clip gradients of these norms, one step after another, in fp16 or not."""

    def work(norms: list[float], fp16: bool, loss: float = 1.0) -> int:
        trainer = SummaryTrainer.__new__(SummaryTrainer)
        trainer.args, trainer.overflows = SimpleNamespace(fp16=fp16), 0
        left = iter(norms)
        monkeypatch.setattr(trainers.Seq2SeqTrainer, "_clip_grad_norm", lambda self, model: next(left))
        monkeypatch.setattr(trainers, "gather_object", lambda found: found)
        for _ in norms:
            trainer.seen = [(torch.tensor([3, 4]), torch.tensor(loss))]
            trainer._clip_grad_norm(None)
        return trainer.overflows

    return work


def test_overflows_while_fp16_looks_for_its_scale_are_no_fault(clip) -> None:
    assert clip([math.inf] * OVERFLOWS + [1.0], fp16=True) == 0
    assert clip([math.inf, 1.0] * OVERFLOWS, fp16=True) == 0
    with pytest.raises(NotFinite, match="gradients became infinite") as caught:
        clip([math.inf] * (OVERFLOWS + 1), fp16=True)
    assert caught.value.rows == [3, 4]


def test_a_loss_that_is_no_number_stops_fp16_at_once(clip) -> None:
    with pytest.raises(NotFinite, match="the loss became nan"):
        clip([math.nan], fp16=True, loss=math.nan)
    with pytest.raises(NotFinite, match="gradients became infinite"):
        clip([math.inf], fp16=False)


def test_the_nan_of_fp16_is_explained_by_fp16(tiny, tmp_path: Path) -> None:
    for precision, advice in (
        ("fp16", r"set train\.precision=fp32 or lower train\.lr"),
        ("fp32", r"stops again, lower train\.lr"),
    ):
        config = load_config([*tiny, f"train.precision={precision}"], {})
        attempt = training.Attempt(
            TaskRun(tmp_path), config, config.tasks["summarize"], None, {}, [], None, False, False
        )
        with pytest.raises(StageError, match=advice):
            attempt.explain(NotFinite("the loss became nan", [0]), 4, ["https://news.invalid/0"])
