"""The three stages one after another on the stand-ins, as the run script starts them, but smaller.

Nothing here knows the inside of a stage: commands, exit codes, the Hub and HTTP.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
SMALL = """
model:
  base: scratch
  scratch: {vocab_size: 1500, d_model: 64, d_kv: 16, d_ff: 128, num_layers: 1, num_heads: 4, dropout: 0.0}
summarize: {source_max_tokens: 128, target_max_tokens: 48}
generation: {beam_size: 2, max_decoding_length: 32}
train: {max_steps: 12, effective_batch: 16, micro_batch: 16, warmup_steps: 2, eval_steps: 6, select_by: loss}
topic: {min_rows: 5, forest_rows: 0}
evaluate: {full_precision_rows: 2, samples: 50}
gate: {lead_margin: 100}
"""


class Cycle:
    """Runs stages against one site and one Hub and keeps their words."""

    def __init__(self, folder: Path, site: str, hub_environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **os.environ, **hub_environment, "ARTIFACTS_DIR": str(folder / "artifacts"), "PYTHONUTF8": "1",
            "DATASET_REPO": "demo/news", "MODEL_REPO": "demo/model", "SITE_URL": site, "CRAWL_DELAY": "0",
            "CRAWL_CONTACT": "tests@localhost.invalid",
        }  # fmt: skip
        (folder / "small.yaml").write_text(SMALL)

    def parser(self) -> subprocess.CompletedProcess[str]:
        return self._run("dataset_parser", "-m", "gazeta")

    def training(self) -> subprocess.CompletedProcess[str]:
        return self._run("t5_training", "main.py", f"config={self.folder / 'small.yaml'}")

    def _run(self, sibling: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYTHON, *words], cwd=ROOT / sibling, env=self.environment, capture_output=True, text=True,
            timeout=500,
        )  # fmt: skip


@pytest.fixture
def cycle(tmp_path: Path, hub, free_port: Callable[[], int], wait_for) -> Iterator[Cycle]:
    port = free_port()
    command = [PYTHON, str(ROOT / "demo/site.py"), "--port", str(port), "--articles", "320"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as site:
        try:
            wait_for(f"http://127.0.0.1:{port}/robots.txt", site)
            yield Cycle(tmp_path, f"http://127.0.0.1:{port}", hub.environment(tmp_path / "hf"))
        finally:
            site.terminate()


@pytest.mark.timeout(900)
def test_site_to_answer_and_again_with_nothing_new(cycle: Cycle, free_port, wait_for) -> None:
    first = cycle.parser()
    assert first.returncode == 0, first.stderr
    first = cycle.training()
    assert first.returncode == 0, first.stdout + first.stderr

    port = free_port()
    environment = {**cycle.environment, "PORT": str(port)}
    api = subprocess.Popen(
        [PYTHON, "-m", "topic_sum"], cwd=ROOT / "topic_sum_api", env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready", api, 120)
        answer = ask(f"http://127.0.0.1:{port}/api/v1/analyze", ARTICLE)
        about = ask(f"http://127.0.0.1:{port}/api/v1/model")
    finally:
        api.send_signal(signal.SIGTERM)
        api.communicate(timeout=60)
    assert api.returncode == 0
    assert answer["summary"]
    assert len(answer["scores"]) >= 8
    assert sum(score["score"] for score in answer["scores"]) == pytest.approx(1, abs=0.01)
    # The answer leads back to the crawl: model revision → dataset revision → rows.
    revision = answer["model"]["revision"]
    dataset = answer["model"]["dataset_revision"]
    assert revision in json.dumps(about) and dataset in json.dumps(about)
    assert dataset[:8] in first.stdout and revision[:8] in first.stdout

    for stage in (cycle.parser, cycle.training):
        again = stage()
        assert again.returncode == 0, again.stderr
        assert "nothing to do" in again.stdout + again.stderr


def test_training_without_a_dataset_says_so_in_one_line(cycle: Cycle) -> None:
    ended = cycle.training()
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "demo/news" in lines[0]


ARTICLE = {
    "title": "В Вологде открыли детский технопарк",
    "text": "В бывшем цехе пахнет краской. Технопарк строили два года, рассказала директор Ольга Тропинина. "
    "В восьми мастерских будут заниматься 640 школьников, на станки потратили 95 миллионов рублей.",
}


def ask(url: str, body: dict[str, str] | None = None) -> dict:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode() if body else None, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)
