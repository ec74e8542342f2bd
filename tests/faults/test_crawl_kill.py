"""A crawl that is killed, runs out of disk or meets a broken site loses nothing and fetches nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# CRAWL_KILLS=20 ./tests/run.sh tests/faults for the long version.
KILLS = int(os.environ.get("CRAWL_KILLS", "4"))
ARTICLES = 600


@pytest.fixture
def site() -> Iterator[Callable[..., str]]:
    running: list[subprocess.Popen] = []

    def start(*arguments: str) -> str:
        running.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "demo" / "site.py"), "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1].stdout.readline().split()[2].rstrip("/")

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=10)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scrapy", "crawl", "gazeta", *arguments]


def environment(url: str, folder: Path) -> dict[str, str]:
    return {**os.environ, "SITE_URL": url, "CRAWL_DELAY": "0", "ARTIFACTS_DIR": str(folder)}


def run(url: str, folder: Path, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(),
        cwd=ROOT / "dataset_parser",
        env=environment(url, folder),
        capture_output=True,
        text=True,
        timeout=400,
        **more,
    )


def kept(folder: Path) -> list[tuple[str, ...]]:
    """Everything the dataset is made of, in the store's own order."""
    with contextlib.closing(sqlite3.connect(folder / "crawl" / "crawl.sqlite3")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute(
            "SELECT url, title, summary, text, date, rubric FROM article ORDER BY date, url"
        ).fetchall()


def told(url: str, name: str) -> list | dict:
    with urllib.request.urlopen(f"{url}/_stand-in/{name}", timeout=20) as answer:
        return json.load(answer)


def expected(url: str) -> set[tuple[str, str, str]]:
    return {(url + story["path"], story["title"], story["text"]) for story in told(url, "articles.json")}


def test_kill_9_at_random_moments_loses_nothing_and_doubles_nothing(site: Callable, tmp_path: Path) -> None:
    url = site("--articles", str(ARTICLES), "--no-awkward")
    chance = random.Random(20240203)
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(),
            cwd=ROOT / "dataset_parser",
            env=environment(url, tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # From "still importing" to "in the middle": the moment is counted in pages, so that it is the same on
        # a slow machine.
        until = sum(told(url, "stats.json")["paths"].values()) + chance.randrange(0, 300)
        while process.poll() is None and sum(told(url, "stats.json")["paths"].values()) < until:
            time.sleep(0.02)
        process.kill()
        process.wait()
    last = run(url, tmp_path)
    assert last.returncode == 0, last.stderr
    rows = kept(tmp_path)
    assert {(row[0], row[1], row[3]) for row in rows} == expected(url)
    assert len(rows) == len({row[0] for row in rows}) == ARTICLES
    # A page whose answer was on its way at the kill is asked for again; nothing else is.
    again = [
        count
        for path, count in told(url, "stats.json")["paths"].items()
        if path.endswith(".shtml") and count > 1
    ]
    assert sum(count - 1 for count in again) <= KILLS * 8


def test_a_killed_crawl_gives_the_same_articles_as_an_undisturbed_one(site: Callable, tmp_path: Path) -> None:
    url = site("--articles", "120")
    process = subprocess.Popen(
        command(),
        cwd=ROOT / "dataset_parser",
        env=environment(url, tmp_path / "killed"),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and sum(told(url, "stats.json")["paths"].values()) < 230:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert run(url, tmp_path / "killed").returncode == 0
    assert run(url, tmp_path / "whole").returncode == 0
    assert kept(tmp_path / "killed") == kept(tmp_path / "whole")


def test_a_site_that_answers_500_for_a_while_is_waited_for(site: Callable, tmp_path: Path) -> None:
    url = site("--articles", "60", "--no-awkward", "--errors-for", "4", "--errors-after", "60")
    done = run(url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {(row[0], row[1], row[3]) for row in kept(tmp_path)} == expected(url)
    assert told(url, "stats.json")["statuses"]["500"] < 60  # it is not hammered meanwhile


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_full_disk_ends_in_one_line_and_the_next_run_goes_on(site: Callable, tmp_path: Path) -> None:
    import resource

    url = site("--articles", "200", "--no-awkward")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    full = run(url, tmp_path, preexec_fn=small_disk)
    errors = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert full.returncode == 1 and len(errors) == 1, full.stderr
    assert "crawl.sqlite3" in errors[0] and "free some space" in errors[0] and "Traceback" not in full.stderr
    done = run(url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {(row[0], row[1], row[3]) for row in kept(tmp_path)} == expected(url)
