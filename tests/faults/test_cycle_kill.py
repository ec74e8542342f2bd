"""A whole cycle in which something is killed with -9 again and again: a stage, or the Hub under it.

It ends in the dataset and the served model of a cycle that nobody disturbed.
The long version: CYCLE_KILLS=10 ./tests/run.sh tests/faults/test_cycle_kill.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CYCLE_KILLS", "3"))
SEED = int(os.environ.get("CYCLE_SEED", "9"))
TOKEN = "write-token-of-the-tests"
STAGES = {
    "dataset_parser": ["-m", "gazeta"],
    "t5_training": ["main.py", f"config={ROOT / 'tests/small.yaml'}", "train.save_minutes=0"],
}


class House:
    """Site, Hub and the stages; any of them but the site may die at any time."""

    def __init__(self, folder: Path, ports: list[int], wait_for: Callable[..., None]) -> None:
        self.folder, self.ports, self.wait_for = folder, ports, wait_for
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.start("site")
        self.start("hub")

    def start(self, name: str) -> None:
        port = str(self.ports[("site", "hub").index(name)])
        words = {
            "site": ["site.py", "--port", port, "--articles", "320"],
            "hub": ["hub.py", "--port", port, "--root", str(self.folder / "hub"), "--token", f"{TOKEN}=demo"],
        }[name]
        command = [sys.executable, str(ROOT / "demo" / words[0]), *words[1:]]
        self.running[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}/" + ("robots.txt" if name == "site" else "")
        self.wait_for(url, self.running[name])

    def environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{self.ports[1]}", "HF_TOKEN": TOKEN,
            "HF_HOME": str(self.folder / "hf"), "ARTIFACTS_DIR": str(self.folder / name), "PYTHONUTF8": "1",
            "DATASET_REPO": f"demo/{name}", "MODEL_REPO": f"demo/{name}-model", "CRAWL_DELAY": "0",
            "SITE_URL": f"http://127.0.0.1:{self.ports[0]}", "CRAWL_CONTACT": "tests@localhost.invalid",
            "PORT": str(self.ports[2]),
        }  # fmt: skip

    def stage(self, sibling: str, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *STAGES[sibling]], cwd=ROOT / sibling, env=self.environment(name),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def undisturbed(self, name: str) -> dict[str, float]:
        """A whole cycle; the seconds that each stage took."""
        took = {}
        for sibling in STAGES:
            began = time.monotonic()
            assert self.stage(sibling, name).wait(timeout=400) == 0, self.log(name)
            took[sibling] = time.monotonic() - began
        return took

    def disturbed(self, name: str, kills: int, took: dict[str, float], chance: random.Random) -> list[str]:
        """A cycle that is started again after each kill until it is through; what was killed when.

        A third of the kills are for the first stage. All those of a stage come, one after another, within
        half of the time that it takes, so that it cannot be through before them.
        """
        killed: list[str] = []
        for sibling, share in (("dataset_parser", kills // 3), ("t5_training", kills - kills // 3)):
            left = share
            while True:
                running = self.stage(sibling, name)
                while left and running.poll() is None:  # a stage may well survive a Hub that comes back
                    try:
                        running.wait(chance.uniform(0.1, took[sibling] / 2) / share)
                    except subprocess.TimeoutExpired:
                        killed.append(self.kill(sibling, running, chance))
                        left -= 1
                code = running.wait(timeout=400)
                if code == 0:
                    break
                # Killed, or the Hub was gone under it: a true exit code and one line, never a bug.
                assert code in (-signal.SIGKILL, 5), f"{sibling} ended with {code}\n{self.log(name)}"
        return killed

    def kill(self, sibling: str, running: subprocess.Popen[bytes], chance: random.Random) -> str:
        if chance.random() < 0.3:
            self.running["hub"].kill()
            self.running["hub"].wait()
            time.sleep(chance.uniform(0, 1))
            self.start("hub")
            return f"hub during {sibling}"
        os.killpg(running.pid, signal.SIGKILL)
        return sibling

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def house(tmp_path: Path, free_port: Callable[[], int], wait_for) -> Iterator[House]:
    made = House(tmp_path, [free_port() for _ in range(3)], wait_for)
    yield made
    made.close()


@pytest.mark.timeout(3000)
def test_a_cycle_killed_again_and_again_ends_like_an_undisturbed_one(house: House, wait_for) -> None:
    chance = random.Random(SEED)
    took = house.undisturbed("calm")
    killed = house.disturbed("stormy", KILLS, took, chance)
    print(f"an undisturbed cycle took {sum(took.values()):.0f} s; killed: {killed}")
    assert len(killed) == KILLS

    calm, stormy = files(house, "dataset", "demo/calm"), files(house, "dataset", "demo/stormy")
    shards = {path for path in calm if path.startswith("data/")}  # the lineage holds times
    assert len(shards) > 3
    assert {path: stormy.get(path) for path in shards} == {path: calm[path] for path in shards}

    # The same weights, to the last bit: a run that is resumed takes the steps that the other took.
    calm, stormy = files(house, "model", "demo/calm-model"), files(house, "model", "demo/stormy-model")
    weights = ("model.safetensors", "ct2/model.bin", "tokenizer.json", "topics/topics.skops")
    assert calm.keys() == stormy.keys()
    assert [path for path in weights[:3] if stormy[path] != calm[path]] == []

    # It is served, and a worker killed under the API is replaced.
    with (house.folder / "api.log").open("ab") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", "topic_sum"], cwd=ROOT / "topic_sum_api", stdout=log, stderr=log,
            env=house.environment("stormy"), start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{house.ports[2]}"
        wait_for(f"{url}/health/ready", api, 120)
        first = ask(url)
        workers = Path(f"/proc/{api.pid}/task/{api.pid}/children")
        for worker in workers.read_text().split() if workers.exists() else []:
            os.kill(int(worker), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while True:
            try:
                assert ask(url)["summary"] == first["summary"]
                break
            except OSError:
                assert time.monotonic() < deadline, "the worker does not come back"
                time.sleep(0.2)
    finally:
        os.killpg(api.pid, signal.SIGTERM)
        api.wait(timeout=60)


def files(house: House, kind: str, repo: str) -> dict[str, str]:
    """Path → id of the content of each file of what is published (for a model: of what is served)."""
    api = HfApi(endpoint=f"http://127.0.0.1:{house.ports[1]}", token=TOKEN)
    revision = "production" if kind == "model" else None
    tree = api.list_repo_tree(repo, recursive=True, repo_type=kind, revision=revision)
    return {
        each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in tree if hasattr(each, "blob_id")
    }


def ask(url: str) -> dict[str, Any]:
    text = "В Вологде открыли детский технопарк. На станки потратили 95 миллионов рублей."
    request = urllib.request.Request(
        f"{url}/api/v1/analyze", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)
