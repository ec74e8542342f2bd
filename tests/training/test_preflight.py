"""What is said about memory and disk before training."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from t5sum import StageError
from t5sum.generate import preflight
from t5sum.generate.preflight import Shape, memory_needed
from t5sum.load import load_config

BASE = Shape(
    222_900_000, 768, 3072, False, 12, 12, 12, 32128, 4, 600, 200
)  # ruT5-base at the default lengths


def test_the_default_settings_fit_8_gb_with_checkpointing() -> None:
    assert memory_needed(BASE, True, "adamw", True) < 8e9 * preflight.USABLE
    assert memory_needed(BASE, True, "adamw", True) > 16 * BASE.parameters


def test_the_estimate_follows_what_torch_keeps(monkeypatch) -> None:
    """The layers' part, against tensors really saved for the backward pass on this CPU."""
    from t5sum.generate.model import build_model

    class Tokens(list):
        pad_token_id, eos_token_id = 0, 1

        def __len__(self) -> int:
            return 400

    settings = load_config(["model.base=scratch", "model.scratch.dropout=0.1"], {}).model.scratch

    def kept(batch: int, layers: int) -> int:
        settings.num_layers = layers
        model = build_model(None, settings, Tokens(), 0).train()
        weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            square = tensor.dim() >= 3 and tensor.shape[-1] in (160, 40) and tensor.shape[-2] in (160, 40)
            if storage.data_ptr() not in weights and not square:  # a GPU's attention keeps no such squares
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        source, target = torch.full((batch, 160), 5), torch.full((batch, 40), 5)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(input_ids=source, decoder_input_ids=target, use_cache=False)
        return sum(sizes.values())

    def estimated(layers: int) -> int:
        shape = Shape(0, settings.d_model, settings.d_ff, False, 0, layers, layers, 0, 4, 160, 40)
        return memory_needed(shape, False, "adamw", False)

    # Two more layers: what is the same in every model (embeddings, head) drops out of the difference.
    assert estimated(3) - estimated(1) == pytest.approx(kept(4, 3) - kept(4, 1), rel=0.25)


@pytest.mark.parametrize(
    ("free", "wanted", "on"),
    [(80e9, "auto", False), (6.5e9, "auto", True), (80e9, "always", True), (6.5e9, "never", False)],
)
def test_checkpointing_comes_on_when_memory_is_short(monkeypatch, capsys, free, wanted, on) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free), int(free)))
    settings = load_config([f"train.activation_checkpointing={wanted}"], {}).train
    assert preflight.choose_checkpointing(BASE, settings, True, cpu=False) is on
    said = capsys.readouterr().out
    assert f"activation checkpointing {'on' if on else 'off'}" in said
    assert ("may not fit" in said) == (free < 8e9 and not on)


def test_a_disk_too_small_for_the_checkpoints_is_refused_at_once(tmp_path: Path) -> None:
    settings = load_config([], {}).train
    preflight.check_disk(tmp_path, 1000, settings)
    with pytest.raises(StageError, match=r"checkpoints need about 48000000\.0 GB"):
        preflight.check_disk(tmp_path, 10**15, settings)


SMI = """#!/bin/sh
case "$1" in
  --query-gpu=*) printf '%s\\n' "{name}, {capability}" ;;
  *) echo "| NVIDIA-SMI 581.08    Driver Version: 581.08    CUDA Version: {cuda}     |" ;;
esac
"""


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
@pytest.mark.parametrize(
    ("name", "capability", "cuda", "said"),
    [
        ("NVIDIA GeForce RTX 4060", "8.9", "13.0", "pip install torch=={}+cu130 --index-url {}/cu130"),
        ("NVIDIA GeForce RTX 4060", "8.9", "12.8", "pip install torch=={}+cu126 --index-url {}/cu126"),
        ("NVIDIA GeForce GTX 1080", "6.1", "13.0", "pip install torch=={}+cu126 --index-url {}/cu126"),
        ("NVIDIA GeForce RTX 5090", "12.0", "12.8", "Its driver knows CUDA 12.8, and 13.0 is needed"),
        ("NVIDIA GeForce RTX 4060", "8.9", "11.8", "Its driver knows CUDA 11.8, and 12.6 is needed"),
        ("GeForce GTX 680", "3.0", "11.4", "No build of this torch has kernels for a card so old"),
    ],
)
def test_a_card_that_this_torch_cannot_use_gets_the_exact_command(
    monkeypatch, tmp_path: Path, name: str, capability: str, cuda: str, said: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI.format(name=name, capability=capability, cuda=cuda))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    advice = preflight.gpu_without_its_torch()
    assert advice.startswith(f"{name} is here, but this torch (2.13.0+cpu) cannot use it")
    assert said.format("2.13.0", preflight.WHEELS) in advice
    if "pip install" in said:
        assert f"To use it: {sys.executable} -m pip install" in advice


def test_no_card_and_a_card_in_use_are_not_mentioned(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert preflight.gpu_without_its_torch() is None
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(preflight.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert preflight.gpu_without_its_torch() is None


def test_an_nvidia_smi_without_a_driver_is_said(monkeypatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(preflight.shutil, "which", lambda name: "/bin/false")
    assert "sees no NVIDIA GPU" in preflight.gpu_without_its_torch()
