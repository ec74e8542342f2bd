"""A running stand-in site, and small ways to ask it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "demo" / "site.py"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """Decoded as the header says, strictly: bytes that disagree with it fail the test."""
        return self.body.decode(self.headers.get_content_charset() or "utf-8")


class RunningSite:
    """A stand-in site's process on loopback."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SITE), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # The one line it prints when it is ready names the port that it found free.
        self.ready = self.process.stdout.readline()
        if "http://" not in self.ready:
            raise RuntimeError(f"the site did not start: {self.process.communicate(timeout=10)[1]}")
        self.url = self.ready.split()[2].rstrip("/")
        self.host = self.url.removeprefix("http://")

    def get(self, path: str, **headers: str) -> Answer:
        """One request on a connection of its own; redirects are not followed."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        try:
            connection.request("GET", path.removeprefix(self.url), headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def facts(self, name: str) -> list | dict:
        return json.loads(self.get(f"/_stand-in/{name}.json").body)

    def stop(self) -> str:
        """Ends the process; returns what it wrote to stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=10)[1]


@pytest.fixture(scope="session")
def site() -> Iterator[RunningSite]:
    """The site as the demo starts it, with fewer articles."""
    running = RunningSite("--articles", "300")
    yield running
    assert running.stop() == ""


@pytest.fixture(scope="session")
def awkward(site: RunningSite) -> dict[str, dict]:
    return {page["name"]: page for page in site.facts("awkward")}


@pytest.fixture(scope="session")
def hostile() -> Iterator[RunningSite]:
    running = RunningSite("--articles", "10", "--hostile", "--no-awkward")
    yield running
    assert running.stop() == ""


@pytest.fixture
def start() -> Iterator[Callable[..., RunningSite]]:
    """Starts sites with other arguments; they end with the test."""
    running: list[RunningSite] = []

    def launch(*arguments: str) -> RunningSite:
        running.append(RunningSite(*arguments))
        return running[-1]

    yield launch
    for one in running:
        one.stop()
