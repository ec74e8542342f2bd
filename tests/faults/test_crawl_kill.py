"""A crawl that is killed, runs out of disk or meets a broken site loses nothing and fetches nothing twice.

What is published afterwards is, file by file, what an undisturbed crawl of the same site publishes.
The long version: CRAWL_KILLS=20 CRAWL_OUTAGE=60 ./tests/run.sh tests/faults/test_crawl_kill.py
"""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CRAWL_KILLS", "4"))
OUTAGE = os.environ.get("CRAWL_OUTAGE", "4")  # seconds in which the site answers 500
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
    # Coverage would write its own files to the full disk.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**outside, "SITE_URL": url, "CRAWL_DELAY": "0", "ARTIFACTS_DIR": str(folder)}


def run(url: str, folder: Path, disk: Any = None, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        disk.command(command(), ROOT / "dataset_parser") if disk else command(),
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


def publish(hub, folder: Path, repo: str, disk: Any = None) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "gazeta.publish"]
    return subprocess.run(
        disk.command(words, ROOT / "dataset_parser") if disk else words,
        cwd=ROOT / "dataset_parser",
        env=environment("", folder) | hub.environment(folder / "hf") | {"DATASET_REPO": repo},
        capture_output=True,
        text=True,
        timeout=400,
    )


def published(hub, folder: Path, repo: str, disk: Any = None) -> dict[str, str]:
    """Publish what a folder holds to a dataset of its own; path of each data file → SHA-256."""
    done = publish(hub, folder, repo, disk)
    assert done.returncode == 0, done.stderr
    tree = HfApi(endpoint=hub.url, token=hub.token).list_repo_tree(repo, "data", repo_type="dataset")
    found = {file.path: file.lfs.sha256 for file in tree}
    assert {path.split("-")[0] for path in found} == {"data/train", "data/validation", "data/test"}
    return found


def assert_same_dataset(hub, url: str, folder: Path) -> None:
    """What a disturbed crawl left in `folder` gives the files that a crawl without disturbance gives."""
    whole = folder.with_name("undisturbed")
    assert run(url, whole).returncode == 0
    assert kept(folder) == kept(whole)
    assert published(hub, folder, "demo/disturbed") == published(hub, whole, "demo/undisturbed")


def pages_asked(url: str) -> int:
    return sum(count for path, count in told(url, "stats.json")["paths"].items() if path.endswith(".shtml"))


def told(url: str, name: str) -> list | dict:
    with urllib.request.urlopen(f"{url}/_stand-in/{name}", timeout=20) as answer:
        return json.load(answer)


def expected(url: str) -> set[tuple[str, str, str]]:
    return {(url + story["path"], story["title"], story["text"]) for story in told(url, "articles.json")}


def test_kill_9_at_random_moments_loses_nothing_and_doubles_nothing(
    site: Callable, hub, tmp_path: Path
) -> None:
    url = site("--articles", str(ARTICLES), "--no-awkward")
    folder = tmp_path / "killed"
    chance = random.Random(20240203)
    # Moments are counted in articles asked for, so that they are the same on a slow machine.
    for moment in sorted(chance.randrange(0, ARTICLES * 9 // 10) for _ in range(KILLS)):
        passed = pages_asked(url) >= moment  # two moments close together: killed while still starting
        process = subprocess.Popen(
            command(),
            cwd=ROOT / "dataset_parser",
            env=environment(url, folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if passed:
            time.sleep(chance.random() * 1.5)
        while process.poll() is None and pages_asked(url) < moment:
            time.sleep(0.01)
        assert process.poll() is None, "the crawl ended before it could be killed"
        process.kill()
        process.wait()
    last = run(url, folder)
    assert last.returncode == 0, last.stderr
    rows = kept(folder)
    assert {(row[0], row[1], row[3]) for row in rows} == expected(url)
    assert len(rows) == len({row[0] for row in rows}) == ARTICLES
    # A page whose answer was on its way at the kill is asked for again; nothing else is.
    assert pages_asked(url) - ARTICLES <= KILLS * 8
    assert_same_dataset(hub, url, folder)


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


def test_a_site_that_answers_500_for_a_while_is_waited_for(site: Callable, hub, tmp_path: Path) -> None:
    url = site("--articles", "120", "--no-awkward", "--errors-for", OUTAGE, "--errors-after", "90")
    folder = tmp_path / "outage"
    done = run(url, folder)
    assert done.returncode == 0, done.stderr
    assert {(row[0], row[1], row[3]) for row in kept(folder)} == expected(url)
    # It is not hammered meanwhile: pages in a row that fail are followed by ever longer pauses.
    assert 0 < told(url, "stats.json")["statuses"]["500"] < 60
    assert_same_dataset(hub, url, folder)


def one_line_of_a_full_disk(full: subprocess.CompletedProcess) -> str:
    [line] = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    return line


def test_a_full_disk_ends_in_one_line_and_the_next_run_goes_on(
    site: Callable, hub, small_disk: Callable, tmp_path: Path
) -> None:
    url = site("--articles", "200", "--no-awkward")
    disk = small_disk(64_000_000)
    folder = disk.folder / "full"
    for free in (0, 60_000, 400_000):  # bytes: full before the start, at once, half-way
        disk.leave(free)
        line = one_line_of_a_full_disk(run(url, folder, disk))
        assert "crawl.sqlite3: database or disk is full" in line and "free some space" in line
        disk.make_room()
    done = run(url, folder, disk)
    assert done.returncode == 0, done.stderr

    for free in (0, 100_000):  # while the dataset is written
        disk.leave(free)
        line = one_line_of_a_full_disk(publish(hub, folder, "demo/disturbed", disk))
        assert "full; free some space and run again, nothing is lost" in line
        disk.make_room()
    files = published(hub, folder, "demo/disturbed", disk)

    copy, whole = disk.copy("full", tmp_path / "copy"), tmp_path / "undisturbed"
    assert {(row[0], row[1], row[3]) for row in kept(copy)} == expected(url)
    assert run(url, whole).returncode == 0
    assert kept(copy) == kept(whole)
    assert files == published(hub, whole, "demo/undisturbed")


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_store_that_may_not_grow_ends_in_one_line_and_the_next_run_goes_on(
    site: Callable, tmp_path: Path
) -> None:
    """The limit on a file's size, which every POSIX system has, stops a writer in the middle of a file."""
    import resource

    url = site("--articles", "120", "--no-awkward")
    folder = tmp_path / "limited"
    size = 250_000
    full = run(url, folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    line = one_line_of_a_full_disk(full)
    assert "crawl.sqlite3" in line and "free some space" in line
    done = run(url, folder)
    assert done.returncode == 0, done.stderr
    assert {(row[0], row[1], row[3]) for row in kept(folder)} == expected(url)


@pytest.mark.parametrize("moment", [b"PUT /", b"/commit/main HTTP"], ids=["upload", "commit"])
def test_a_hub_that_breaks_off_in_an_upload_costs_no_second_crawl(
    site: Callable, hub, cut_at: Callable, tmp_path: Path, moment: bytes
) -> None:
    url = site("--articles", "60", "--no-awkward")
    folder = tmp_path / "artifacts"
    assert run(url, folder).returncode == 0
    cut = cut_at(int(hub.url.rpartition(":")[2]), moment)
    broken = publish(replace(hub, url=cut.url), folder, "demo/cut")
    assert cut.broken, "the upload was meant to break"
    assert broken.returncode == 5, broken.stderr
    [line] = [line for line in broken.stderr.splitlines() if line.startswith("error: ")]
    assert "the next run publishes it" in line and "Traceback" not in broken.stderr
    (folder / "crawl" / "crawl.sqlite3").unlink()  # what waits is the dataset itself
    published(hub, folder, "demo/cut")
