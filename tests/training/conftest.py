"""Invented rows, a dataset of them on the stand-in Hub, and the stage run as a user runs it."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2] / "t5_training"
REPO, MODEL = "demo/news", "demo/t5"
# A model that learns nothing in no time: what is tested is the way there.
TINY = [
    "model.base=scratch", "model.scratch.vocab_size=300", "model.scratch.d_model=32", "model.scratch.d_kv=8",
    "model.scratch.d_ff=64", "model.scratch.num_layers=1", "model.scratch.num_heads=4",
    "generate.source_max_tokens=64", "generate.target_max_tokens=16", "generate.generation.beam_size=2",
    "generate.generation.max_decoding_length=16", "train.effective_batch=8", "train.micro_batch=4",
    "train.max_steps=8", "train.eval_steps=4", "train.log_steps=1", "train.warmup_steps=2", "train.lr=0.01",
    "train.select_by=loss",
    "train.device=cpu", "train.threads=1", "evaluate.processes=1", "evaluate.samples=50",
    "evaluate.full_precision_rows=0",
    "evaluate.behaviour=false", "evaluate.examples=2", "classify.min_rows=3", "classify.forest_rows=0",
    "generate.gate.margin=100", "generate.gate.max_empty=1",
]  # fmt: skip

PLACES = ["Суздале", "Верхоянске", "Мышкине", "Плёсе", "Елабуге", "Тотьме", "Зарайске", "Кинешме"]
EVENTS = {
    "culture": ["открыли музей кружева", "показали новый спектакль", "отреставрировали старинный театр"],
    "sport": ["выиграли кубок по хоккею", "провели лыжную гонку", "построили крытый каток"],
    "politics": ["избрали новую думу", "приняли бюджет на год", "обсудили закон о парках"],
}


def make_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Short invented articles whose summary is in the text."""
    pick = random.Random(seed)
    rows = []
    for number in range(count):
        rubric = pick.choice(sorted(EVENTS))
        place, event = pick.choice(PLACES), pick.choice(EVENTS[rubric])
        year, people = 2015 + number % 8, pick.randint(10, 99)
        summary = f"В {place} {event}."
        text = (
            f"Как сообщили жители, {summary} Пришли {people} человек. "
            + "Погода была ясной. " * pick.randint(1, 9)
        )
        rows.append({
            "text": text.strip(), "summary": summary, "title": f"{event.capitalize()} в {place}",
            "date": f"{year}-0{1 + number % 9}-1{number % 10} 12:00:00", "url": f"https://news.invalid/{seed}/{number}",
            "rubric": rubric,
        })  # fmt: skip
    return rows


def publish_rows(hub: Any, splits: dict[str, list[dict[str, Any]]]) -> str:
    """Commit the splits as parquet, as the parser does, and return the commit."""
    import pyarrow
    import pyarrow.parquet
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo(REPO, repo_type="dataset", exist_ok=True)
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(
        f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits
    ) + "---\n"  # fmt: skip
    operations = [CommitOperationAdd("README.md", card.encode())]
    for split, rows in splits.items():
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        operations.append(CommitOperationAdd(f"data/{split}-2020.parquet", file.getvalue()))
    return api.create_commit(REPO, operations, commit_message="rows", repo_type="dataset").oid


@pytest.fixture
def dataset(hub: Any) -> str:
    """Sixty articles on the stand-in Hub; the commit."""
    rows = make_rows(60)
    return publish_rows(hub, {"train": rows[:40], "validation": rows[40:48], "test": rows[48:]})


class Stage:
    """`python main.py` in a process of its own, against the stand-in Hub."""

    def __init__(self, hub: Any, tmp_path: Path) -> None:
        self.hub, self.artifacts, self.python = hub, tmp_path / "artifacts", sys.executable
        self.environment = {
            **os.environ, **hub.environment(tmp_path / "hf"), "DATASET_REPO": REPO, "MODEL_REPO": MODEL,
            "ARTIFACTS_DIR": str(self.artifacts), "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [self.python, str(HOME / "main.py"), *words]

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), cwd=HOME, env={**self.environment, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=HOME,
            env={**self.environment, **environment},
            text=True,
            capture_output=True,
        )

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in (self.artifacts / "runs").glob("*/run.json"))


@pytest.fixture
def stage(hub: Any, tmp_path: Path) -> Stage:
    return Stage(hub, tmp_path)


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[dict[str, Any]]]:
    return make_rows


@pytest.fixture
def publish(hub: Any) -> Callable[[dict[str, list[dict[str, Any]]]], str]:
    return lambda splits: publish_rows(hub, splits)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return tuple(TINY)


class OwnHub:
    """A stand-in Hub that a test may stop and start again."""

    token, read_token = "write-token-of-the-tests", "read-token-of-the-tests"

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port, self.url = root, port, f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self, home: Path) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HOME": str(home)}

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HOME.parent / "demo" / "hub.py"), "--root", str(self.root), "--port",
             str(self.port), "--token", f"{self.token}=demo", "--token", f"{self.read_token}=demo:read"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(600):
            try:
                with urllib.request.urlopen(self.url, timeout=2):
                    return
            except OSError:
                assert self.process.poll() is None, "the stand-in Hub ended"
                time.sleep(0.05)
        raise TimeoutError(self.url)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None


@pytest.fixture
def own_hub(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[OwnHub]:
    hub = OwnHub(tmp_path / "hub", free_port())
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def cycle(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> SimpleNamespace:
    """One whole cycle on a Hub of its own, begun with a read token and `train`, then finished: done once.

    folder: the Hub's disk and the artifacts as the cycle left them. train, whole: how the commands ended.
    """
    folder = tmp_path_factory.mktemp("cycle")
    hub = OwnHub(folder / "hub", free_port())
    hub.start()
    try:
        rows = make_rows(60)
        commit = publish_rows(hub, {"train": rows[:40], "validation": rows[40:48], "test": rows[48:]})
        stage = Stage(hub, folder)
        train = stage("train", *TINY, HF_TOKEN=hub.read_token)
        whole = stage(*TINY)
    finally:
        hub.stop()
    assert train.returncode == 0, train.stderr
    assert whole.returncode == 0, whole.stderr
    return SimpleNamespace(folder=folder, dataset=commit, train=train, whole=whole)


@pytest.fixture
def served(cycle: SimpleNamespace, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """The stage right after that cycle, on copies of its own."""
    for name in ("hub", "artifacts"):
        shutil.copytree(cycle.folder / name, tmp_path / name)
    return Stage(request.getfixturevalue("hub"), tmp_path)
