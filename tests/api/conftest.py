"""A tiny model with random weights, a Hub that has it, and the real server in front of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
REPO = "demo/tiny"
os.environ["MODEL_REPO"] = REPO
os.environ["DJANGO_SETTINGS_MODULE"] = "topic_sum.settings"

PEOPLE = ["Олег Рябинин", "Анна Лукошина", "Семён Горелов", "Вера Пташкина", "Игорь Веденеев"]
PLACES = ["Приозёрск", "Светлогорье", "Новые Ключи", "Заречный", "Берёзовка"]
TOPICS = {
    "sport": ("Спорт", ["матч", "гол", "тренер команды", "чемпионат", "сборная", "стадион"]),
    "economy": ("Экономика", ["рубль", "банк", "завод", "прибыль", "налог", "рынок"]),
    "culture": ("Культура", ["театр", "выставка", "режиссёр", "музей", "спектакль", "картина"]),
}


def sentence(topic: str, chance: random.Random) -> str:
    words = TOPICS[topic][1]
    return (
        f"{chance.choice(PEOPLE)} рассказал, что {chance.choice(words)} и {chance.choice(words)} в городе "
        f"{chance.choice(PLACES)} увидели {chance.randint(2, 900)} человек."
    )


def text_about(topic: str, sentences: int = 4, seed: int = 0) -> str:
    chance = random.Random(f"{topic}{seed}")
    return " ".join(sentence(topic, chance) for _ in range(sentences))


@pytest.fixture(scope="session")
def text() -> Callable[..., str]:
    """Makes an invented text: text("sport", sentences=4, seed=0)."""
    return text_about


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, save_topics: Callable[..., list[str]]) -> Path:
    """The files of a model revision as training publishes them: T5 of two layers, three topics."""
    import ctranslate2
    import sentencepiece
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    work = tmp_path_factory.mktemp("tiny")
    texts = [(text_about(topic, 3, seed), topic) for topic in TOPICS for seed in range(40)]
    (work / "texts.txt").write_text("\n".join(text for text, _ in texts), encoding="utf-8")
    checkpoint = work / "checkpoint"
    checkpoint.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=str(work / "texts.txt"), model_prefix=str(checkpoint / "spiece"), vocab_size=300,
        hard_vocab_limit=False, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    tokenizer = T5Tokenizer.from_pretrained(checkpoint)
    torch.manual_seed(7)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():  # wider weights than T5's own, so that different texts get different summaries
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.35)
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)

    folder = work / "revision"
    (folder / "topic").mkdir(parents=True)
    converter = ctranslate2.converters.TransformersConverter(str(checkpoint))
    converter.convert(str(folder / "ct2"), quantization="int8")
    shutil.copy(checkpoint / "tokenizer.json", folder)
    topics = save_topics(*zip(*texts, strict=True), folder / "topic" / "model.safetensors")
    tasks = {
        "format": 2,
        "recipe": "gazeta",
        "dataset": {"repo": "demo/news", "revision": "d" * 40},
        "tasks": {
            "summarize": {
                "kind": "generate", "source": "summarize: {text}", "target": "summary",
                "metrics": {"rougeL": 12.5}, "engine": "ct2", "model": "ct2", "tokenizer": "tokenizer.json",
                "eos": "</s>", "compute_type": "int8", "source_max_tokens": 250,
                "generation": {
                    "beam_size": 3, "no_repeat_ngram_size": 3, "max_decoding_length": 24,
                    "length_penalty": 1.0, "repetition_penalty": 1.0,
                },
            },
            "topic": {
                "kind": "classify", "source": "[{title}\n{title}\n]{text}", "target": "rubric",
                "metrics": {"macro_f1": 0.99}, "path": "topic/model.safetensors",
                "labels": [{"label": topic, "name": TOPICS[topic][0]} for topic in topics],
                "threshold": 0.4, "max_chars": 4000, "min_chars": 40, "mask": ["ТАСС"],
            },
        },
    }  # fmt: skip
    (folder / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    (folder / "metrics.json").write_text("{}")
    return folder


@dataclass
class ModelHub:
    """A stand-in Hub of the whole session. `publish` commits a model revision and tags it."""

    url: str
    process: subprocess.Popen
    command: list[str]
    token: str = "the-tests-token"

    def publish(self, folder: Path, repo: str, tag: str | None = "production") -> str:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.url, token=self.token)
        api.create_repo(repo, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=repo).oid
        if tag:
            api.delete_tag(repo, tag=tag) if self.tags(api, repo, tag) else None
            api.create_tag(repo, tag=tag, revision=commit)
        return commit

    @staticmethod
    def tags(api: object, repo: str, tag: str) -> bool:
        return any(ref.name == tag for ref in api.list_repo_refs(repo).tags)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        wait_until(lambda: fetch(f"{self.url}/").status == 200, "the stand-in Hub answers")


@dataclass
class Answer:
    status: int
    headers: dict
    raw: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.raw)


def fetch(url: str, body: object = None, headers: dict | None = None, method: str | None = None) -> Answer:
    """One request. A body that is no bytes is sent as JSON. Errors of the server are answers too."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode()
        headers.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


def wait_until(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


@dataclass
class Server:
    """The API as users run it: python -m topic_sum."""

    url: str
    process: subprocess.Popen
    log_path: Path
    headers: dict = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return fetch(self.url + path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return fetch(self.url + path, body, headers=named)

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        return fetch(self.url + path, headers=headers, method=method)

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def wait_ready(self, seconds: float = 120) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            return fetch(f"{self.url}/health/ready").status == 200

        try:
            wait_until(ready, "the API is ready", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log: {self.log}") from None

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def start_server(folder: Path, port: int, hub_url: str, wait: bool = True, **settings: str) -> Server:
    environment = {
        name: value for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "TMPDIR") or name.startswith("COVERAGE_")
    } | {
        "MODEL_REPO": REPO, "HF_ENDPOINT": hub_url, "HF_TOKEN": ModelHub.token, "PORT": str(port),
        "ARTIFACTS_DIR": str(folder), "HF_HOME": str(folder / "hf"), "TRANSLATORS": "1",
        "RECEIVE_SECONDS": "8",
        "PYTHONDONTWRITEBYTECODE": "1",
    } | settings  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / f"server-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "topic_sum"], cwd=ROOT / "topic_sum_api", env=environment,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", process, log_path)
    if wait:
        try:
            server.wait_ready()
        except AssertionError:
            process.kill()
            raise
    return server


@pytest.fixture(scope="session")
def start() -> Callable[..., Server]:
    """start(folder, port, hub_url, wait=True, **settings): a server the caller stops."""
    return start_server


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """until(callable, what, seconds=30): waits until the callable is true."""
    return wait_until


@pytest.fixture(scope="session")
def model_hub(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[ModelHub]:
    port = free_port()
    command = [
        sys.executable, str(ROOT / "demo" / "hub.py"), "--root", str(tmp_path_factory.mktemp("hub")),
        "--port", str(port), "--token", f"{ModelHub.token}=demo",
    ]  # fmt: skip
    running = ModelHub(f"http://127.0.0.1:{port}", None, command)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def published(model_hub: ModelHub, model_folder: Path) -> str:
    """The commit of the tiny model on the session's Hub, tagged production."""
    return model_hub.publish(model_folder, REPO)


@pytest.fixture(scope="session")
def api(
    model_hub: ModelHub,
    published: str,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[Server]:
    """One running server for all tests that change nothing about it."""
    server = start_server(tmp_path_factory.mktemp("api"), free_port(), model_hub.url)
    yield server
    assert server.stop() == 0, server.log


@pytest.fixture
def serve(
    model_hub: ModelHub, published: str, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., Server]]:
    """Starts further servers with settings of their own; all are stopped after the test."""
    running: list[Server] = []

    def begin(wait: bool = True, hub_url: str | None = None, **settings: str) -> Server:
        server = start_server(tmp_path, free_port(), hub_url or model_hub.url, wait=False, **settings)
        running.append(server)  # before the wait: what never gets ready is stopped too
        if wait:
            server.wait_ready()
        return server

    yield begin
    for server in running:
        server.stop()


@pytest.fixture
def nginx(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Server]]:
    """nginx(port, **changes): the nginx of docs/scale in front of that port of this computer."""
    if shutil.which("nginx") is None:
        pytest.skip("no nginx here")
    running = []

    def begin(upstream: int, **changes: str) -> Server:
        port = free_port()
        conf = (ROOT / "docs" / "scale" / "nginx.conf").read_text(encoding="utf-8")
        changes = {
            "listen 8080;": f"listen 127.0.0.1:{port};",
            "set $api api:8000;": f"set $api 127.0.0.1:{upstream};",
            "/tmp/": f"{tmp_path}/", "worker_processes auto;": "worker_processes 1;",
        } | changes  # fmt: skip
        for old, new in changes.items():
            assert old in conf
            conf = conf.replace(old, new)
        (tmp_path / "nginx.conf").write_text(conf, encoding="utf-8")
        command = ["nginx", "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
        if os.geteuid() == 0:
            command[-1] += " user root;"  # nobody may not write in pytest's folder
        with (tmp_path / "nginx.log").open("wb") as log:
            running.append(subprocess.Popen(command, stderr=log))
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "nginx listens")
        return Server(f"http://127.0.0.1:{port}", running[-1], tmp_path / "nginx.log")

    yield begin
    for process in running:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="session", autouse=True)
def _django() -> None:
    import django

    django.setup()


@pytest.fixture(scope="session")
def loaded(model_folder: Path) -> object:
    """The tiny model, loaded in this process."""
    from topic_sum.inference.model import load_model

    return load_model(model_folder, REPO, "e" * 40, 1)


@pytest.fixture(scope="session")
def in_process(loaded: object) -> object:
    """Django's test client on the tiny model, without a server between."""
    from django.test import Client
    from topic_sum.serving import service

    service().current._model = loaded
    return Client(raise_request_exception=True, SERVER_NAME="localhost")
