"""A night's cycle under a running API in which something is killed with -9 again and again.

What is killed: the stage that runs, the Hub, a worker of the API, the whole API. It ends in the dataset and
the served model of a night that nobody disturbed.
The long version: CYCLE_KILLS=10 ./tests/run.sh -s tests/faults/test_cycle_kill.py
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CYCLE_KILLS", "3"))
SEED = int(os.environ.get("CYCLE_SEED", "4"))
TOKEN = "write-token-of-the-tests"
DATASET, MODEL = "demo/news", "demo/t5"
STAGES = {
    "dataset_parser": ["-m", "gazeta"],
    # Two models that have hardly learned: the newer one is to be served unless it is clearly worse.
    "t5_training": [
        "main.py", f"config={ROOT / 'tests/small.yaml'}", "train.save_minutes=0", "train.max_steps=24",
        "gate.tie=candidate",
    ],
}  # fmt: skip
# Three kills are one each of the first three; ten are four of a stage and two each of the others.
VICTIMS = ("stage", "Hub", "API worker", "stage", "whole API")
# When: so many requests to the site, or such a line of the stage.
MOMENTS = {
    "dataset_parser": [10, 40, 70, 100, 130, "committing "],
    "t5_training": [
        "rows: ", "examples: ", "validation at step 6", "validation at step 12", "validation at step 18",
        "topic: logistic: ", "export: ", "report: ",
    ],
}  # fmt: skip

# Files of a model revision that tell times, or the dataset's commit (whose lineage tells times).
WITH_TIMES = ("README.md", "loss.png", "metrics.json", "provenance.json", "report.html", "tasks.json")


class House:
    """Site, Hub, API and the stages; any of them but the site may die at any time."""

    def __init__(self, folder: Path, ports: list[int], wait_for: Callable[..., None]) -> None:
        self.folder, self.ports, self.wait_for = folder, ports, wait_for
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        port = str(self.ports[("site", "hub", "api").index(name)])
        folder, command = {
            "site": ("demo", ["site.py", "--port", port, "--articles", "320"]),
            "hub": ("demo", ["hub.py", "--port", port, "--root", str(self.folder / "hub"),
                             "--token", f"{TOKEN}=demo"]),
            "api": ("topic_sum_api", ["-m", "topic_sum"]),
        }[name]  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT / folder, env=self.environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if name != "api":
            url = f"http://127.0.0.1:{port}/" + ("robots.txt" if name == "site" else "")
            self.wait_for(url, self.running[name])

    def stop(self, name: str) -> None:
        self.running[name].terminate()
        assert self.running.pop(name).wait(timeout=60) == 0

    def environment(self) -> dict[str, str]:
        return {
            **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{self.ports[1]}", "HF_TOKEN": TOKEN,
            "HF_HOME": str(self.folder / "hf"), "ARTIFACTS_DIR": str(self.folder / "artifacts"),
            "PYTHONUTF8": "1", "DATASET_REPO": DATASET, "MODEL_REPO": MODEL, "CRAWL_DELAY": "0",
            "SITE_URL": f"http://127.0.0.1:{self.ports[0]}", "CRAWL_CONTACT": "tests@localhost.invalid",
            "PORT": str(self.ports[2]), "MODEL_CHECK_SECONDS": "1",
        }  # fmt: skip

    def stage(self, sibling: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "stages.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *STAGES[sibling], *words], cwd=ROOT / sibling, env=self.environment(),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def night(self, *words: str) -> float:
        """A cycle that nobody disturbs; the seconds that it took. words: for the crawl."""
        began = time.monotonic()
        for sibling in STAGES:
            running = self.stage(sibling, *(words if sibling == "dataset_parser" else ()))
            assert running.wait(timeout=400) == 0, self.log()[-3000:]
        return time.monotonic() - began

    def disturbed_night(self, victims: list[str], chance: random.Random) -> list[str]:
        """A cycle that is started again after each kill until it is through; what was killed at which moment.

        A third of the kills are for the first stage. Moments are counted in work done, not in seconds, so
        that they fall into the work and not into the start of a program, however slow the machine is.
        """
        killed: list[str] = []
        self.asked_before, self.log_before = self.asked(), len(self.log())
        crawl = len(victims) // 3
        moments_of = {
            sibling: [
                MOMENTS[sibling][i] for i in sorted(chance.choices(range(len(MOMENTS[sibling])), k=share))
            ]
            for sibling, share in (("dataset_parser", crawl), ("t5_training", len(victims) - crawl))
        }
        for sibling, moments in moments_of.items():
            while True:
                running = self.stage(sibling)
                if moments and self.passed(moments[0]):  # two moments close together: killed while starting
                    self.pause(running, chance.uniform(0, 2))
                while moments and running.poll() is None:  # a stage may survive a Hub that comes back
                    if not self.passed(moments[0]):
                        time.sleep(0.005)
                        continue
                    self.pause(running, chance.uniform(0, 0.2))
                    victim = victims[len(killed)]
                    killed.append(f"{victim} at {moments.pop(0)!r}")
                    self.kill(victim, running, chance)
                code = running.wait(timeout=400)
                if code == 0:
                    break
                # Killed, or the Hub was gone under it: a true exit code and one line, never a bug.
                assert code in (-signal.SIGKILL, 5), f"{sibling} ended with {code}\n{self.log()[-3000:]}"
        return killed

    @staticmethod
    def pause(running: subprocess.Popen[bytes], seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(seconds)

    def passed(self, moment: int | str) -> bool:
        """Whether this night has come so far: pages asked of the site, or a line of a stage."""
        if isinstance(moment, int):
            return self.asked() - self.asked_before >= moment
        return moment in self.log()[self.log_before :]

    def asked(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}/_stand-in/stats.json") as answer:
            return sum(json.load(answer)["paths"].values())

    def kill(self, victim: str, stage: subprocess.Popen[bytes], chance: random.Random) -> None:
        if victim == "stage":
            os.killpg(stage.pid, signal.SIGKILL)
        elif victim == "API worker":
            os.kill(chance.choice(self.workers()), signal.SIGKILL)  # its master starts another
        else:
            name = {"Hub": "hub", "whole API": "api"}[victim]
            os.killpg(self.running[name].pid, signal.SIGKILL)
            self.running[name].wait()
            time.sleep(chance.uniform(0, 1))
            self.start(name)

    def workers(self) -> list[int]:
        api = self.running["api"].pid
        for _ in range(600):  # an API killed a moment ago has none yet
            told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True).stdout
            found = [int(pid) for pid, parent in map(str.split, told.splitlines()) if int(parent) == api]
            if found:
                return found
            time.sleep(0.05)
        raise TimeoutError("the API has no worker")

    def log(self) -> str:
        return (self.folder / "stages.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Visitor:
    """Asks the API again and again, and keeps what it was told and the pauses of more than a second."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.pauses, self.over = url, [], [], threading.Event()
        self.thread = threading.Thread(target=self.ask_on, daemon=True)
        self.thread.start()

    def ask_on(self) -> None:
        last = time.monotonic()
        for number in itertools.count():
            if self.over.wait(0.1):
                return
            try:
                answer = ask(self.url, f"{number} человек пришли на открытие детского парка.")
            except (OSError, HTTPException):  # nobody is there, or 503: no model yet
                continue
            pause, last = time.monotonic() - last, time.monotonic()
            if pause > 1:
                self.pauses.append(pause)
            self.answers.append(answer)

    def close(self) -> None:
        self.over.set()
        self.thread.join()


@pytest.fixture
def ports(free_port: Callable[[], int]) -> list[int]:
    return [free_port() for _ in range(3)]


@pytest.fixture
def houses(tmp_path: Path, ports: list[int], wait_for) -> Iterator[list[House]]:
    made = [House(tmp_path / name, ports, wait_for) for name in ("calm", "stormy")]
    made[0].folder.mkdir()
    yield made
    for house in made:
        house.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to kill")
@pytest.mark.timeout(3000)
def test_a_night_killed_again_and_again_ends_like_an_undisturbed_one(houses: list[House]) -> None:
    calm, stormy = houses
    chance = random.Random(SEED)
    calm.start("site")
    calm.start("hub")
    calm.night("limit=200")  # the first model
    first = production(calm)
    calm.stop("hub")
    shutil.copytree(calm.folder, stormy.folder)  # the same Hub, store and runs for two second nights
    calm.start("hub")
    took = calm.night()
    second = production(calm)
    assert second != first, calm.log()[-3000:]
    expected = {kind: files(calm, kind) for kind in ("dataset", "model")}
    calm.stop("hub")

    victims = list(itertools.islice(itertools.cycle(VICTIMS), KILLS))
    chance.shuffle(victims)
    stormy.start("hub")
    assert production(stormy) == first
    stormy.start("api")
    url = f"http://127.0.0.1:{stormy.ports[2]}"
    stormy.wait_for(f"{url}/health/ready", stormy.running["api"], 120)
    visitor = Visitor(url)
    began = time.monotonic()
    killed = stormy.disturbed_night(victims, chance)
    storm = time.monotonic() - began
    assert len(killed) == KILLS

    found = {kind: files(stormy, kind) for kind in ("dataset", "model")}
    shards = {path for path in expected["dataset"] if path.startswith("data/")}  # the lineage holds times
    assert len(shards) > 3
    assert {path: found["dataset"].get(path) for path in shards} == {
        path: expected["dataset"][path] for path in shards
    }
    # The same weights, to the last bit: a run that is resumed takes the steps that the other took.
    assert expected["model"].keys() == found["model"].keys()
    differ = {path for path in found["model"] if found["model"][path] != expected["model"][path]}
    assert differ <= set(WITH_TIMES)

    # The API takes up the new model by itself; every answer came from one of the two, the old one first.
    last = production(stormy)
    deadline = time.monotonic() + 60
    while not visitor.answers or visitor.answers[-1]["model"]["revision"] != last:
        assert time.monotonic() < deadline, (stormy.folder / "api.log").read_text()[-3000:]
        time.sleep(0.1)
    visitor.close()
    revisions = [answer["model"]["revision"] for answer in visitor.answers]
    assert revisions == sorted(revisions, key=[first, last].index) and set(revisions) == {first, last}
    assert all(answer["summary"] for answer in visitor.answers)
    stormy.stop("api")
    counted = Counter(each.split(" at ")[0] for each in killed)
    print(f"the night took {took:.0f} s undisturbed, {storm:.0f} s with {KILLS} kills: {dict(counted)}")
    resumed = re.findall(r"going on from (step \d+)", stormy.log())
    if {"stage at 'validation at step 12'", "stage at 'validation at step 18'"} & set(killed):
        assert resumed, "the checkpoint of the validation before was there"
    print("; ".join(killed), "| training went on from", resumed)
    print(f"{len(revisions)} answers of the API, pauses of {[round(pause, 1) for pause in visitor.pauses]} s")


def client(house: House) -> HfApi:
    return HfApi(endpoint=f"http://127.0.0.1:{house.ports[1]}", token=TOKEN)


def production(house: House) -> str:
    return client(house).model_info(MODEL, revision="production").sha


def files(house: House, kind: str) -> dict[str, str]:
    """Path → id of the content of each file of what is published (for a model: of what is served)."""
    repo, revision = (MODEL, "production") if kind == "model" else (DATASET, None)
    tree = client(house).list_repo_tree(repo, recursive=True, repo_type=kind, revision=revision)
    return {
        each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in tree if hasattr(each, "blob_id")
    }


def ask(url: str, text: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/api/v1/analyze", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)
