"""The two images, built and run by a real Docker engine; the stand-in site and Hub as they see them.

Skipped, with the reason, where no engine answers, and where it runs in a machine of its own (Docker
Desktop), from which nothing that listens here can be reached. Nothing of a real run is touched: the compose
project, its volumes, its port and the checkout are the tests' own; only the images have their usual names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = f"mlops-test-{os.getpid()}"
TOKEN = "write-token-that-nobody-may-see"
STAGES = ("parser", "api")
# Large enough that every split and topic gets rows, small enough to be trained within a minute.
ARTICLES = 320
SMALL = """
model:
  base: scratch
  scratch: {vocab_size: 1500, d_model: 64, d_kv: 16, d_ff: 128, num_layers: 1, num_heads: 4, dropout: 0.0}
generate:
  source_max_tokens: 128
  target_max_tokens: 48
  generation: {beam_size: 2, max_decoding_length: 32}
  gate: {margin: 100}
train: {max_steps: 12, effective_batch: 16, micro_batch: 16, warmup_steps: 2, eval_steps: 6, select_by: loss}
classify: {min_rows: 5, forest_rows: 0}
evaluate: {full_precision_rows: 2, samples: 50}
"""


@dataclass
class Docker:
    """`docker` with an environment of its own: what a run would have read from .env."""

    gateway: str
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **extra: str) -> dict[str, str]:
        return {**os.environ, "COMPOSE_PROJECT_NAME": PROJECT, **self.settings, **extra}

    def run(self, *words: str, seconds: float = 120, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words], env=self.environment(**extra), cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip

    def compose(self, stage: str, *words: str, seconds: float = 300, **extra: str):
        return self.run("compose", "-f", f"docker-compose.{stage}.yml", *words, seconds=seconds, **extra)

    def said(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    why = "the containers are not tested here: "
    if not shutil.which("docker"):
        pytest.skip(f"{why}there is no docker command")
    query = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    for command in (["docker", "compose", "version"], ["docker", "info"], query):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{why}`{' '.join(command[:3])}` does not answer")
        if done.returncode != 0:
            pytest.skip(f"{why}`{' '.join(command[:3])}` fails: {done.stderr.strip().partition(chr(10))[0]}")
    gateway = done.stdout.strip()
    try:
        socket.create_server((gateway, 0)).close()
    except OSError:
        pytest.skip(f"{why}the engine's network ({gateway}) is not this computer's own")
    engine = Docker(gateway)
    yield engine
    for stage in STAGES:
        engine.compose(stage, "down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="session")
def images(docker: Docker) -> Docker:
    """Both images, built from the compose files as the run scripts do, with a token in the environment."""
    for stage in STAGES:
        done = docker.compose(stage, "build", seconds=900, HF_TOKEN=TOKEN, REVISION="0123abc")
        assert done.returncode == 0, done.stderr[-3000:]
    return docker


class Relay:
    """Lets containers reach a stand-in: it listens where they can call, the stand-in on loopback only."""

    def __init__(self, address: str, port: int) -> None:
        self.port = port
        self.server = socket.create_server((address, 0))
        self.url = f"http://{address}:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                visitor, _ = self.server.accept()
            except OSError:
                return  # closed
            try:
                inside = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                visitor.close()
                continue
            threading.Thread(target=self.join, args=(visitor, inside), daemon=True).start()

    def join(self, visitor: socket.socket, inside: socket.socket) -> None:
        with visitor, inside:
            back = threading.Thread(target=self.copy, args=(inside, visitor), daemon=True)
            back.start()
            self.copy(visitor, inside)
            back.join()

    @staticmethod
    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while block := source.recv(65536):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one side hung up: so does the other
            for each in (source, target):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


@dataclass
class StandIns:
    """A running stand-in Hub and site, by the addresses that containers and this computer can both call."""

    hub: str
    site: str
    processes: dict[str, subprocess.Popen]

    def settings(self) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.hub, "HF_TOKEN": TOKEN, "DATASET_REPO": "demo/news",
            "MODEL_REPO": "demo/model", "SITE_URL": self.site, "CRAWL_DELAY": "0",
            "CRAWL_CONTACT": "tests@localhost.invalid",
            # What listens on this computer is not called through a proxy that the developer may have.
            "HTTP_PROXY": "", "HTTPS_PROXY": "",
        }  # fmt: skip


@pytest.fixture(scope="module")
def stand_ins(docker: Docker, tmp_path_factory, free_port: Callable[[], int], wait_for) -> Iterator[StandIns]:
    root = tmp_path_factory.mktemp("hub")
    ports = {"hub": free_port(), "site": free_port()}
    options = {
        "hub": ["--root", str(root), "--token", f"{TOKEN}=demo"],
        "site": ["--articles", str(ARTICLES)],
    }
    running = {}
    try:
        for name, ready in (("hub", ""), ("site", "robots.txt")):
            command = [sys.executable, str(ROOT / "demo" / f"{name}.py"), "--port", str(ports[name])]
            running[name] = subprocess.Popen([*command, *options[name]], stdout=subprocess.DEVNULL)
            wait_for(f"http://127.0.0.1:{ports[name]}/{ready}", running[name])
        relays = {name: Relay(docker.gateway, port) for name, port in ports.items()}
        yield StandIns(relays["hub"].url, relays["site"].url, running)
        for relay in relays.values():
            relay.server.close()
    finally:
        for process in running.values():
            process.terminate()
            process.wait(timeout=10)


@pytest.fixture(scope="module")
def checkout(stand_ins: StandIns, tmp_path_factory, free_port: Callable[[], int]) -> Path:
    """A copy of the project as its user has it: .env filled in, config.yaml set to something small."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    left = shutil.ignore_patterns(
        ".git", ".venv", "artifacts", ".env", "__pycache__", ".*_cache", "node_modules"
    )
    shutil.copytree(ROOT, folder, ignore=left)
    (folder / ".venv").symlink_to(sys.prefix)
    settings = {**stand_ins.settings(), "PORT": str(free_port())}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    config = folder / "t5_training" / "config.yaml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(config), OmegaConf.create(SMALL)), config)
    return folder
