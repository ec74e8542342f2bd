"""demo/services.py starts the demo's Hub and site, stops them, and never stops anything else."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from pathlib import Path

import pytest

# start() leaves its children running on purpose; what stops them later is another process in real life.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, free_port):
    """The real stand-ins on ports of their own, so that a demo that runs meanwhile is left alone."""
    spec = importlib.util.spec_from_file_location("services_under_test", ROOT / "demo" / "services.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HUB_PORT", free_port())
    monkeypatch.setattr(module, "SITE_PORT", free_port())
    return module


def options(root: Path, **changed: object) -> Namespace:
    return Namespace(**{"root": root, "hub_only": False, "articles": 20} | changed)


def answers(port: int, path: str = "/") -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_both_answer_after_start_and_neither_after_stop(services, tmp_path: Path) -> None:
    assert services.start(options(tmp_path)) == 0
    try:
        assert answers(services.HUB_PORT) and answers(services.SITE_PORT, "/robots.txt")
        pids = [mark["pid"] for mark in json.loads((tmp_path / "services.json").read_text()).values()]
        # Ctrl+C on the terminal goes to a process group: the stand-ins are in none of ours.
        assert all(os.getpgid(pid) != os.getpgrp() for pid in pids)
    finally:
        assert services.stop(tmp_path) == 0
    assert not answers(services.HUB_PORT) and not answers(services.SITE_PORT, "/robots.txt")
    assert not (tmp_path / "services.json").exists()
    assert services.stop(tmp_path) == 0


def test_stand_ins_that_were_left_behind_are_replaced(services, tmp_path: Path) -> None:
    assert services.start(options(tmp_path, hub_only=True)) == 0
    first = json.loads((tmp_path / "services.json").read_text())["hub"]["pid"]
    try:
        assert services.start(options(tmp_path, hub_only=True)) == 0
        second = json.loads((tmp_path / "services.json").read_text())["hub"]["pid"]
        assert second != first and not services.is_stand_in(first, None)
        assert answers(services.HUB_PORT)
    finally:
        services.stop(tmp_path)


def test_stale_record_never_stops_another_program(services, tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "hub.py"])
    try:
        (tmp_path / "services.json").write_text(json.dumps({"hub": {"pid": stranger.pid, "born": None}}))
        assert services.stop(tmp_path) == 0
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"hub": 5}', '{"hub": {"pid": "x", "born": null}}'])
def test_damaged_record_is_said_and_forgotten(
    record: str, services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "services.json").write_text(record)
    assert services.stop(tmp_path) == 0
    assert capsys.readouterr().err.startswith("warning: ")
    assert not (tmp_path / "services.json").exists()


@pytest.mark.parametrize("which", ["HUB_PORT", "SITE_PORT"])
def test_taken_port_is_5_with_one_line_and_nothing_is_left_running(
    which: str, services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", getattr(services, which))):
        assert services.start(options(tmp_path)) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: port {getattr(services, which)} is taken")
    assert not answers(services.HUB_PORT)


def test_stand_in_that_fails_says_why_and_the_other_is_stopped(
    services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = services.start(options(tmp_path, articles=-1))
    assert code != 0 and not answers(services.HUB_PORT)
    assert "error: " in capsys.readouterr().err


def test_command_line(tmp_path: Path) -> None:
    base = [sys.executable, ROOT / "demo" / "services.py"]
    done = subprocess.run([*base, "stop", "--root", tmp_path], capture_output=True)
    assert done.returncode == 0
    assert subprocess.run([*base, "dance", "--root", tmp_path], capture_output=True).returncode == 2
