"""The API loses its only worker, or the disk under it is full: it says so, and is back by itself."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest

# The fixtures of tests/api, without a package: test folders do not import each other.
_spec = importlib.util.spec_from_file_location(
    "api_fixtures", Path(__file__).resolve().parents[1] / "api" / "conftest.py"
)
api = importlib.util.module_from_spec(_spec)
sys.modules["api_fixtures"] = api  # its dataclasses look for their module
_spec.loader.exec_module(api)
model_folder, model_hub, published, serve = api.model_folder, api.model_hub, api.published, api.serve


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker in /proc")
def test_a_killed_only_worker_is_replaced_and_who_asks_meanwhile_waits(
    serve: Callable[..., api.Server],
) -> None:
    server = serve(CACHE_SIZE="0")
    asked = {"text": api.text_about("sport")}
    expected = server.post("/api/v1/summarize", asked).json["summary"]
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    [worker] = map(int, children.read_text().split())
    stop, seen, began = threading.Event(), [], time.monotonic()

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = server.post("/api/v1/summarize", asked)
                seen.append((answer.status, time.monotonic() - began))
            except (OSError, HTTPException):
                seen.append((0, time.monotonic() - began))
            time.sleep(0.05)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for one in clients:
        one.start()
    time.sleep(0.5)
    os.kill(worker, signal.SIGKILL)
    killed = time.monotonic() - began
    api.wait_until(lambda: server.log.count("API ready at") == 2, "a new worker is ready")
    api.wait_until(lambda: seen[-1][0] == 200, "it answers")
    stop.set()
    for one in clients:
        one.join()
    # 0: what the dead worker had in hand; 503: the new one has no model yet. Both come for seconds only.
    counted = Counter(status for status, _ in seen)
    assert set(counted) <= {0, 200, 503}, counted
    assert counted[0] <= 2, "who asked while nobody was there was let wait, not refused"
    back = min(when for status, when in seen if status == 200 and when > killed + 0.2) - killed
    print(f"answers again {back:.1f} s after the kill; {dict(counted)}")
    assert back < 30
    assert server.post("/api/v1/summarize", asked).json["summary"] == expected


def test_a_full_disk_is_named_and_the_model_comes_once_there_is_room(
    small_disk: Callable, model_hub: api.ModelHub, published: str, free_port: Callable, tmp_path: Path
) -> None:
    disk = small_disk(16_000_000)
    port = free_port()
    server = api.Server(f"http://127.0.0.1:{port}", None, tmp_path / "api.log")

    def start() -> None:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "MODEL_REPO": api.REPO,
            "HF_ENDPOINT": model_hub.url, "HF_TOKEN": model_hub.token, "PORT": str(port),
            "ARTIFACTS_DIR": str(disk.folder / "artifacts"), "HF_HOME": str(disk.folder / "hf"),
            "MODEL_CHECK_SECONDS": "1",
        }  # fmt: skip
        words = disk.command([sys.executable, "-m", "topic_sum"], api.ROOT / "topic_sum_api")
        with server.log_path.open("wb") as log:
            server.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)

    try:
        for free in (0, 50_000):  # bytes: no folder can be made, a part of the model fits
            disk.leave(free)
            start()
            api.wait_until(lambda: "error:" in server.log, "the log says why")
            [line] = [line for line in server.log.splitlines() if "error:" in line]
            assert "No space left on device: free some disk or set ARTIFACTS_DIR" in line
            assert "Traceback" not in server.log
            assert server.get("/health/live").status == 200
            waits = server.get("/health/ready")
            assert waits.status == 503
            assert "No space left on device" in waits.json["detail"]
            assert str(disk.folder) not in waits.json["detail"], "where things lie is for the log"
            assert str(disk.folder) in line
            began = time.monotonic()
            disk.make_room()
            server.wait_ready()
            print(f"ready {time.monotonic() - began:.1f} s after there was room")
            assert server.get("/api/v1/model").json["revision"] == published
            assert server.stop() == 0
            if free == 0:
                subprocess.run(disk.command(["rm", "-r", "artifacts"], disk.folder), check=True)

        disk.leave(0)  # what is here already serves from a full disk
        start()
        server.wait_ready()
        assert server.post("/api/v1/summarize", {"text": api.text_about("sport")}).json["summary"]
        api.wait_until(lambda: "error:" in server.log, "the log says what is in the way")
        assert "works here: No space left on device: free some disk" in server.log
        assert server.log.count("error:") == 1 and "Traceback" not in server.log
        trouble = server.get("/api/v1/model").json["trouble"]
        assert "No space left" in trouble
        assert str(disk.folder) not in trouble
        disk.make_room()
        api.wait_until(lambda: server.get("/api/v1/model").json["trouble"] is None, "the note is made")
    finally:
        server.stop()
