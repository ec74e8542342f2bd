"""A store that is broken, foreign or from an earlier version: one line, or a migration."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gazeta.crawl.page import Ending, Link, Reason, State
from gazeta.crawl.store import Store

URL = "https://www.gazeta.ru/social/2024/02/03/18000001.shtml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a page and enough articles for several pages of SQLite."""
    from gazeta.sites.base import Article

    store = tmp_path / "artifacts" / "crawl" / "crawl.sqlite3"
    with Store(store) as opened:
        crawl = opened.start_crawl("gazeta", {})
        for number in range(60):
            url = URL.replace("18000001", str(18000001 + number))
            kept = Article(url, f"Каток {number}", "Лид.", "Лёд. " * 200, "2024-02-03 10:00:00", "social")
            opened.keep(url, kept, crawl)
        opened.finish_crawl(crawl, "done", {})
    return store


def no_database(path: Path) -> None:
    path.write_bytes(b"garbage" * 500)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : -4096] = b"\x55" * (len(data) - 4096 - len(data) // 4)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE page (number INTEGER)")


def lacks_a_column(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE article DROP COLUMN title")


@pytest.mark.parametrize("harm", [no_database, cut, torn, foreign, lacks_a_column])
@pytest.mark.parametrize("command", ["crawl", "publish", "reparse"])
def test_a_broken_store_ends_in_one_line(
    harm: Callable, command: str, path: Path, tmp_path: Path, repo_root: Path, hub, free_port: Callable
) -> None:
    harm(path)
    before = path.read_bytes()
    words = ["scrapy", "crawl", "gazeta"] if command == "crawl" else [f"gazeta.{command}"]
    environment = {
        **os.environ, **hub.environment(tmp_path / "hf"), "DATASET_REPO": "demo/news",
        "SITE_URL": f"http://127.0.0.1:{free_port()}", "ARTIFACTS_DIR": str(tmp_path / "artifacts"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=repo_root / "dataset_parser", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    if harm is torn and command != "publish" and "cannot use" not in done.stderr:
        return  # only the pages that these commands do not read are torn
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: ") and "crawl.sqlite3" in lines[0], done.stderr
    if harm in (no_database, cut):
        assert path.read_bytes() == before


def test_a_store_of_format_2_gives_dropped_pages_another_night(path: Path) -> None:
    gone, gallery = f"{URL}?gone", f"{URL}?gallery"
    with Store(path) as store:
        for url, reason in ((gone, Reason.GONE), (gallery, "gallery")):
            store.end(url, "gazeta", Ending(State.DROPPED, reason), 1)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE page SET nights = 0, doubted_at = ''")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    with Store(path) as store:
        assert store.count() == 60
        queue = store.queue("gazeta")
        queue.take_up()
        assert (queue.state(gone), queue.state(gallery)) == ("queued", "dropped")
        assert store.db.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_column_with_a_default_is_added_whatever_format_the_file_claims(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE article DROP COLUMN held")
    with Store(path) as store:
        assert store.count() == 60 and store.queue("gazeta").add([Link(f"{URL}?new")]) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("command", [["scrapy", "crawl", "gazeta"], ["gazeta"]])
def test_ctrl_c_while_it_starts_ends_with_130_and_a_word(
    command: list[str], tmp_path: Path, repo_root: Path, hub
) -> None:
    environment = {
        **os.environ, **hub.environment(tmp_path / "hf"), "DATASET_REPO": "demo/news",
        "SITE_URL": "http://10.255.255.1", "ARTIFACTS_DIR": str(tmp_path / "artifacts"),
    }  # fmt: skip
    # As soon as our code is there.
    program = "import runpy, sys, gazeta, os, signal; os.kill(os.getpid(), signal.SIGINT)"
    started = subprocess.run(
        [sys.executable, "-c", program], cwd=repo_root / "dataset_parser", capture_output=True, text=True
    )
    assert started.returncode == 130 and started.stderr == (
        "error: stopped; nothing is lost, run again to go on\n"
    )
    # And when the store is open.
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=repo_root / "dataset_parser", env=environment,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    store = tmp_path / "artifacts" / "crawl" / "crawl.sqlite3"
    deadline = time.monotonic() + 60
    while not store.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "stopped" in err
