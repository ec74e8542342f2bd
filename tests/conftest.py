"""Fixtures that every folder of tests shares: the repository, real news when present, a stand-in Hub."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for sibling in ("dataset_parser", "t5_training", "topic_sum_api"):
    sys.path.insert(0, str(ROOT / sibling))


def settings_by_name() -> set[str]:
    """Every setting that a user can export: what .env.example names and what the stages' settings.py read."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"^#?([A-Z][A-Z_]*)=", example, re.MULTILINE))
    for file in ("dataset_parser/gazeta/settings.py", "topic_sum_api/topic_sum/settings.py"):
        source = (ROOT / file).read_text(encoding="utf-8")
        names |= set(re.findall(r'\benv_\w+\(\s*"([A-Z][A-Z_]*)"', source))
    return names


# Tests must never reach the real Hub or pick up the developer's own token, nor depend on settings of theirs.
for name in settings_by_name() | {"HUGGING_FACE_HUB_TOKEN", "MLOPS_RUN"}:
    os.environ.pop(name, None)
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run side by side, a file's tests stay together; those of the run scripts share ports and a Wine."""
    for item in items:
        folder, file = item.path.parent.name, str(item.path)
        item.add_marker(pytest.mark.xdist_group(folder if folder == "run_scripts" else file))


@dataclass(frozen=True)
class RunningHub:
    """A stand-in Hub on loopback. `token` may write, `read_token` may only read."""

    url: str
    root: Path
    token: str = "write-token-of-the-tests"
    read_token: str = "read-token-of-the-tests"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that point a subprocess's Hub client here, with its caches under `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@pytest.fixture(scope="session")
def save_topics() -> Callable[..., list[str]]:
    """(texts, topics, path) → the topics' order in the classifier of words that is saved there."""

    def save(texts: list[str], topics: list[str], path: Path) -> list[str]:
        import numpy as np
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.linear_model import SGDClassifier
        from t5sum.served.classifier import Features, Linear, TextModel

        count = HashingVectorizer(n_features=2**12, norm=None, alternate_sign=False)
        weigh = TfidfTransformer(sublinear_tf=True)
        x = weigh.fit_transform(count.transform(texts))
        model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0).fit(x, topics)
        head = Linear(model.coef_.T.astype(np.float16), model.intercept_.astype(np.float32))
        TextModel((Features("words", 1, 1, 12),), weigh.idf_.astype(np.float32), head).save(path)
        return [str(topic) for topic in model.classes_]

    return save


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real news beside the checkout; a test that needs it is skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"real news is not here: {folder.name}/ beside the checkout is absent")
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def pick() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return pick


@pytest.fixture(scope="session", name="wait_for")
def wait_for_fixture() -> Callable[..., None]:
    return wait_for


def wait_for(url: str, process: subprocess.Popen, seconds: float = 30) -> None:
    """Return once `url` answers 200; fail with the process's exit code if it ends first."""
    deadline = time.monotonic() + seconds
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode} before {url} answered")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                process.kill()
                raise
            time.sleep(0.05)


@pytest.fixture
def hub(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[RunningHub]:
    """A fresh, empty stand-in Hub, stopped after the test."""
    running = RunningHub(url=f"http://127.0.0.1:{(port := free_port())}", root=tmp_path / "hub")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "demo" / "hub.py"), "--root", str(running.root), "--port", str(port),
         "--token", f"{running.token}=demo", "--token", f"{running.read_token}=demo:read"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(f"{running.url}/", process)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=10)
