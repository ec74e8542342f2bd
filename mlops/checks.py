"""The checks of doctor.py that look at this machine and its settings."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import difflib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mlops.settings import ROOT, WrongSetting, read_settings

SCRIPT = "run_mlops.bat" if os.name == "nt" else "./run_mlops.sh"
SECONDS = 3  # how long each question to a program or service may take
# Other programs read variables with these beginnings.
PASSED_ON = (
    "HF_HUB_", "HF_DATASETS_", "CUDA_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "PYTORCH_", "NCCL_", "PIP_",
    "PYTHON", "COMPOSE_", "DOCKER_", "MLFLOW_", "GUNICORN_", "TRACKIO_",
)  # fmt: skip
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclasses.dataclass(frozen=True)
class Check:
    """One finding. `state` is ok, warning or failed; `code` is the exit code a failure asks for."""

    name: str
    state: str
    words: str
    fix: str = ""
    code: int = 0


def ok(name: str, words: str) -> Check:
    return Check(name, "ok", words)


def warning(name: str, words: str, fix: str) -> Check:
    return Check(name, "warning", words, fix)


def failed(name: str, words: str, fix: str, code: int) -> Check:
    return Check(name, "failed", words, fix, code)


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036  this file must start on an old Python to say so
        return failed("Python", f"{version} is too old", "install Python 3.11 or newer", 2)
    if sys.maxsize < 2**32:
        return failed(
            "Python", f"{version} is a 32-bit build", "install the 64-bit Python; torch has no other", 2
        )
    return ok("Python", version)


def check_disk(artifacts: Path, needed: int) -> Check:
    folder = artifacts
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return failed("disk", f"{artifacts}: {folder} is no folder that can be written",
                      "set ARTIFACTS_DIR to a folder of yours", 2)  # fmt: skip
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed / 5:
        return failed("disk", f"{free:.1f} GB free, {needed} GB wanted",
                      "free some space, or set ARTIFACTS_DIR to a larger disk", 2)  # fmt: skip
    if free < needed:
        return warning("disk", f"{free:.0f} GB free, {needed} GB wanted",
                       "free some space, or set ARTIFACTS_DIR to a larger disk")  # fmt: skip
    return ok("disk", f"{free:.0f} GB free")


def memory_gb() -> float | None:
    """Physical memory in GB, or None where the system does not say."""
    if os.name == "nt":

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")
            ]

        status = Status(length=ctypes.sizeof(Status))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
            return None
        return status.total / 1e9
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return None


def check_memory(needed: int) -> Check:
    have = memory_gb()
    if have is None:
        return warning("memory", "this system does not say how much it has", f"{needed} GB are wanted")
    if have < needed:
        return warning(
            "memory",
            f"{have:.0f} GB, {needed} GB wanted",
            "close other programs, or use a smaller base model",
        )
    return ok("memory", f"{have:.0f} GB")


def check_setting(name: str, why: str) -> Check:
    value = os.environ.get(name, "").strip()
    if not value:
        where = (
            "write it into .env"
            if (ROOT / ".env").exists()
            else "copy .env.example to .env and write it there"
        )
        return failed(name, "is not set", f"{where} ({why}); or try {SCRIPT} --demo, which needs none", 2)
    if name.endswith("_REPO") and not REPO.fullmatch(value):
        # A token that was pasted into the wrong line must not get into a log.
        shown = "what is set" if value.startswith("hf_") else repr(value)
        return failed(name, f"{shown} is not user/name", f"correct it in .env ({why})", 2)
    return ok(name, "is set" if name.endswith("TOKEN") else value)


def known_settings() -> set[str]:
    """The names that .env.example and the compose files tell of, and the few that only READMEs do."""
    known = {"HF_TOKEN_PATH", "HF_HOME", "HOST", "SERVER", "LOG_FORMAT", "SECRET_KEY", "PYTHON"}
    for file in (".env.example", "docker-compose.parser.yml", "docker-compose.api.yml"):
        with contextlib.suppress(OSError):
            text = (ROOT / file).read_text(encoding="utf-8")
            known.update(re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.M), re.findall(r"\$\{([A-Z_]+)", text))
    return known


def check_names() -> Iterator[Check]:
    """A name in .env that looks like a slip: whoever wrote it believes that it is set.

    Other names are no error: what pip, Hugging Face, OpenMP or a proxy reads goes through .env as well.
    """
    names: list[str] = []
    with contextlib.suppress(WrongSetting, OSError):  # said where the settings are read
        names = sorted(read_settings(ROOT / ".env"))
    known = known_settings()
    for name in names:
        passed_on = name.startswith(PASSED_ON) or name.upper() in PROXIES
        close = difflib.get_close_matches(name.upper(), sorted(known), 1, cutoff=0.8)
        if close and name not in known and not passed_on:
            yield warning(".env", f"{name} is not a setting", f"did you mean {close[0]}?")


def check_gpu() -> Check:
    """What stage 2 will train on. An NVIDIA card with a CPU build of torch is usual on Windows."""
    card = ""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            card = (
                subprocess.run(query, capture_output=True, text=True, timeout=SECONDS)
                .stdout.strip()
                .split("\n")[0]
            )
    if not card:
        return warning("GPU", "no NVIDIA card found", "training will use the processor: days for ruT5-base, "
                       "minutes for the small one of --demo")  # fmt: skip
    build = torch_build()
    # The package index offers Windows a CPU build without a mark, Linux a CUDA build without a mark.
    if build and ("+cpu" in build or (os.name == "nt" and "+cu" not in build)):
        return warning("GPU", f"{card}, but torch {build} cannot use it",
                       "install the CUDA build into .venv: see t5_training/README.md, GPU")  # fmt: skip
    return ok("GPU", card)


def torch_build() -> str | None:
    """Version of the torch in .venv, read from its folder's name: importing it would take seconds."""
    pattern = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
    for folder in (ROOT / ".venv").glob(pattern):
        for found in importlib.metadata.distributions(name="torch", path=[str(folder)]):
            return found.version
    return None
