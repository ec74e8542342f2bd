"""What the tests of the stand-in Hub share: clients, plain HTTP, the `hf` command, Hubs to be killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi

HUB = Path(__file__).resolve().parents[2] / "demo" / "hub.py"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def send(
    url: str, method: str, path: str, body: Any = None, token: str = "", headers: dict[str, str] | None = None
) -> Answer:
    """One request, its path sent as it is given: no client library cleans it up on the way."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    given = dict(headers or {})
    if token:
        given["Authorization"] = f"Bearer {token}"
    if isinstance(body, dict):
        body = json.dumps(body)
    try:
        connection.request(method, path, body=body, headers=given)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@dataclass
class HubProcess:
    """A Hub that a test may stop, kill and start again on the same folder and port."""

    root: Path
    port: int
    token: str = "write-token-of-the-tests"
    read_token: str = "read-token-of-the-tests"
    prefix_for: Callable[[Path], list[str]] = lambda root: []  # a command that starts the Hub for us
    limits: Callable[[], None] | None = None
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        options = ["--root", str(self.root), "--port", str(self.port), "--token", f"{self.token}=demo"]
        reader = ["--token", f"{self.read_token}=demo:read"]
        return [*self.prefix_for(self.root), sys.executable, str(HUB), *options, *reader]

    def prepare(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else ignored, where the tests run in the background
        if self.limits:
            self.limits()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self.prepare if os.name == "posix" else None,
        )
        line = self.process.stdout.readline()
        assert line.startswith("stand-in Hub on "), f"the Hub said {line!r} and ended: {self.process.poll()}"

    def end(self, signal_number: int, seconds: float = 20) -> int:
        self.process.send_signal(signal_number)
        code = self.process.wait(timeout=seconds)
        self.process.stdout.close()
        return code

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        return send(self.url, method, path, body, token=self.token, **options)

    def api(self) -> HfApi:
        return HfApi(endpoint=self.url, token=self.token)


@pytest.fixture
def hub_process(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., HubProcess]]:
    """Starts Hubs of the test's own; ends what is left of them after it."""
    made: list[HubProcess] = []

    def make(**options: Any) -> HubProcess:
        made.append(HubProcess(tmp_path / f"hub-{len(made)}", free_port(), **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.wait(timeout=20)
            one.process.stdout.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[HubProcess]:
    """One Hub for all tests of a file: starting one for each would take most of the time. See `api`."""
    running = HubProcess(tmp_path_factory.mktemp("hub"), free_port())
    running.start()
    yield running
    assert running.end(signal.SIGTERM) == 0


@pytest.fixture
def api(hub: HubProcess) -> Iterator[HfApi]:
    """A client that may write. Whatever a test published is deleted after it."""
    client = hub.api()
    yield client
    for repo in list(client.list_user_repos()):
        client.delete_repo(repo.id, repo_type=repo.type)


@pytest.fixture
def request_hub(hub: HubProcess) -> Callable[..., Answer]:
    """`request_hub(method, path, body, token=…, headers=…)`: plain HTTP to the running Hub."""

    def request(method: str, path: str, body: Any = None, **options: Any) -> Answer:
        return send(hub.url, method, path, body, **options)

    return request


@pytest.fixture
def client_environment(hub: HubProcess, api: HfApi, tmp_path: Path) -> dict[str, str]:
    """For a subprocess: this machine's environment, the Hub's address and token, caches of the test's own."""
    client = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "home")}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "NO_COLOR": "1"}
    threads = {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return {**os.environ, **client, **quiet, **threads}


@pytest.fixture
def hf(client_environment) -> Callable[..., subprocess.CompletedProcess]:
    """`hf(*arguments, code=0, **environment)`: the real command, which must end with `code`."""

    def run(*arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess:
        command = [str(Path(sys.executable).with_name("hf")), *arguments]
        done = subprocess.run(
            command, env=client_environment | environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    return run


@pytest.fixture
def run_script(client_environment, tmp_path: Path) -> Callable[[str], Any]:
    """Runs Python text as a program of its own, for libraries that read HF_ENDPOINT when imported.

    The program's last line of output is JSON, which is returned.
    """

    def run(text: str) -> Any:
        script = tmp_path / "script.py"
        script.write_text(text)
        command = [sys.executable, str(script)]
        done = subprocess.run(
            command, env=client_environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    return run


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
