"""demo/show.py: the API is asked about one article, when it would answer."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest

ANSWER = {
    "topic": "army", "name": "Армия", "scores": [{"topic": "army", "name": "Армия", "score": 0.9}],
    "summary": "Спущен на воду катер.", "model": {"revision": "a" * 40, "dataset_revision": "b" * 40},
}  # fmt: skip


class Api(ThreadingHTTPServer):
    """Ready; answers those who show `key`, and others with `refusal`."""

    key, refusal = "", (401, "no_key")
    shown = ""


class Handler(BaseHTTPRequestHandler):
    server: Api

    def say(self, status: int, body: dict) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        self.say(200, {"status": "ready"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.shown = self.headers.get("Authorization", "")
        if self.server.shown == (f"Bearer {self.server.key}" if self.server.key else ""):
            self.say(200, ANSWER)
        else:
            status, code = self.server.refusal
            self.say(status, {"error": {"code": code, "message": "no", "field": None}})

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def show(api: Api, repo_root: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    def run(keys: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PORT": str(api.server_port), "API_KEYS": keys, "PYTHONUTF8": "1"}
        return subprocess.run(
            [sys.executable, "demo/show.py", "--running"],
            cwd=repo_root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize(("key", "keys"), [("", ""), ("plain", "plain"), ("plain", "sha256:00, plain")])
def test_the_answer_is_shown_with_the_first_key_that_is_one(api, show, key: str, keys: str) -> None:
    api.key = key
    done = show(keys)
    assert done.returncode == 0, done.stderr
    assert "Спущен на воду катер." in done.stdout and "90%" in done.stdout


@pytest.mark.parametrize("refusal", [(401, "no_key"), (401, "wrong_key"), (400, "bad_host")])
def test_an_api_that_is_ready_and_does_not_answer_us_is_no_failure(api, show, refusal) -> None:
    api.key, api.refusal = "unknown", refusal
    done = show("sha256:00")
    assert done.returncode == 0, done.stderr
    assert api.shown == ""
    assert "its API_KEYS or ALLOWED_HOSTS keep this script out" in done.stdout


def test_any_other_error_is_one(api, show) -> None:
    api.key, api.refusal = "unknown", (500, "server_error")
    done = show("")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "server_error" in done.stderr


@pytest.fixture
def module(repo_root: Path):
    spec = importlib.util.spec_from_file_location("show_under_test", repo_root / "demo" / "show.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_newest_article_is_one_of_the_test_split(module, monkeypatch, tmp_path: Path) -> None:
    folder = tmp_path / "crawl" / "dataset" / "data"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ARTIFACTS_DIR", str(tmp_path))
    assert module.newest_article() is None
    rows = [
        {"text": f"Текст {day}.", "title": "т", "summary": summary, "date": f"2025-01-{day:02} 00:00:00"}
        for day, summary in ((1, "Итог."), (3, "Итог."), (5, "Текст 5."))
    ]
    for name, part in (("test-2025", rows), ("train-2025", [{**rows[0], "date": "2026-01-01 00:00:00"}])):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), folder / f"{name}.parquet")
    # The text of the 5th holds its own summary: there would be nothing to see.
    assert module.newest_article()["text"] == "Текст 3."


def test_the_answer_is_written_at_once_as_the_apis_log_goes_to_the_same_place(monkeypatch, module) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=written.append, flush=lambda: None))
    module.print_answer({"title": "Катер", "text": "Слово " * 60}, ANSWER)
    (words,) = written
    assert words.startswith("\nPOST /api/v1/analyze\n  title    Катер\n  text     Слово")
    assert words.endswith(f"  model    {'a' * 12}, dataset {'b' * 12}\n")
