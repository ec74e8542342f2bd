"""A stand-in site or a hand-made one, and crawls of it as a user runs them: the real command in a process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gazeta import sites

ROOT = Path(__file__).resolve().parents[2]
SECOND = Path(__file__).parent / "second"  # the site file of an invented outlet


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has the sites of this process found in second/ as well."""
    monkeypatch.setattr(sites, "__path__", [*sites.__path__, str(SECOND)])
    return SECOND


class RunningSite:
    """A stand-in site's process on loopback."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "demo" / "site.py"), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert "http://" in ready, "the stand-in site did not start"
        self.url = ready.split()[2].rstrip("/")

    def facts(self, name: str) -> list | dict:
        with urllib.request.urlopen(f"{self.url}/_stand-in/{name}", timeout=20) as answer:
            return json.load(answer)

    def asked(self) -> dict[str, int]:
        """How often each path was asked for since the last reset."""
        return self.facts("stats.json")["paths"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture
def start() -> Iterator[Callable[..., RunningSite]]:
    """Starts stand-in sites; they end with the test."""
    running: list[RunningSite] = []

    def launch(*arguments: str) -> RunningSite:
        running.append(RunningSite(*arguments))
        return running[-1]

    yield launch
    for site in running:
        site.stop()


def peak_of(process: subprocess.Popen) -> float | None:
    """MB that `process` had at most by the time it ended; None where the system does not tell.

    Not ru_maxrss: that begins with what the parent had when it forked.
    """
    peak = None
    while process.poll() is None:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) / 1024 if found else peak
        time.sleep(0.05)
    return peak


@dataclass
class Crawl:
    """What one `scrapy crawl gazeta` came to."""

    code: int
    out: str
    err: str
    folder: Path
    peak_mb: float | None = None  # where the system tells it

    @property
    def report(self) -> dict:
        return json.loads((self.folder / "crawl" / "report.json").read_text(encoding="utf-8"))

    def rows(self) -> dict[str, dict[str, str]]:
        """The kept articles by path."""
        with contextlib.closing(sqlite3.connect(self.folder / "crawl" / "crawl.sqlite3")) as db:
            db.row_factory = sqlite3.Row
            found = [dict(row) for row in db.execute("SELECT * FROM article WHERE held = 0")]
        return {"/" + row["url"].split("/", 3)[3]: row for row in found}

    def ends(self) -> dict[str, tuple[str, str]]:
        """(state, reason) of every page by path."""
        with contextlib.closing(sqlite3.connect(self.folder / "crawl" / "crawl.sqlite3")) as db:
            return {
                "/" + url.split("/", 3)[3]: (state, reason)
                for url, state, reason in db.execute("SELECT url, state, reason FROM page")
            }


@pytest.fixture
def crawl(tmp_path: Path) -> Callable[..., Crawl]:
    """Runs the crawl of a site into this test's own folder: crawl(url, "limit=5", ACCEPT_AI_OPT_OUT="1").

    stage: the folder of the code, where a test changes a copy of it.
    """

    def run(url: str, *arguments: str, stage: Path = ROOT / "dataset_parser", **environment: str) -> Crawl:
        given = {
            "SITE_URL": url,
            "CRAWL_DELAY": "0",
            "ARTIFACTS_DIR": str(tmp_path / "artifacts"),
            **environment,
        }
        options = [part for argument in arguments for part in ("-a", argument)]
        words = tmp_path / "out.txt", tmp_path / "err.txt"
        with words[0].open("wb") as out, words[1].open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "scrapy", "crawl", "gazeta", *options],
                cwd=stage, env={**os.environ, **given}, stdout=out, stderr=err,
            )  # fmt: skip
            deadline = threading.Timer(300, process.kill)
            deadline.start()
            peak = peak_of(process)
            code = process.wait()
            deadline.cancel()
        printed = [path.read_text(encoding="utf-8") for path in words]
        return Crawl(code, *printed, Path(given["ARTIFACTS_DIR"]), peak)

    return run


@dataclass
class HandMade:
    """A site of a few given pages: path → (status, headers, body)."""

    pages: dict[str, tuple[int, dict[str, str], bytes]]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)  # when, by the monotonic clock


@pytest.fixture
def serve() -> Iterator[Callable[[dict], HandMade]]:
    servers: list[ThreadingHTTPServer] = []

    def start(pages: dict) -> HandMade:
        site = HandMade(pages)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                site.asked.append(path)
                site.moments.append(time.monotonic())
                status, headers, body = site.pages.get(path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        return site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
