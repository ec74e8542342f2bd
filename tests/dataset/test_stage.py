"""`python -m gazeta`: which steps run, and what results/parser.json says at every ending."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from gazeta import __main__ as stage
from gazeta import release, settings
from gazeta.crawl.store import Store
from gazeta.repository import HubProblem
from gazeta.sites.gazeta import Gazeta


def result(artifacts: Path) -> dict:
    found = json.loads((artifacts / "results" / "parser.json").read_text(encoding="utf-8"))
    assert (found["format"], found["stage"]) == (1, "parser")
    assert datetime.fromisoformat(found["began"]).tzinfo and found["seconds"] >= 0
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe of two sites, of which the second one does not exist outside this test."""
    path = tmp_path / "two.yaml"
    path.write_text("sources: [{site: gazeta}, {site: other}]")
    return str(path)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch, recipe: str):
    """What the stage does, without doing it. `ends` has the exit code of a crawl, `report` what it leaves."""

    class Steps(list):
        ends: dict[str, int] = {}  # noqa: RUF012
        report: dict = {}  # noqa: RUF012
        hub: HubProblem | None = None

    done = Steps()

    class Hub:
        def check_token(self):
            done.append("check")
            if done.hub:
                raise done.hub

    def run_crawl(site, arguments):
        done.append(" ".join(["crawl", site, *arguments]))
        if done.report:
            path = tmp_path / "crawl" / "report.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({**done.report, "crawl": len(done)}))
        return done.ends.get(site, 0)

    def publish_recipe(recipe, outcome):
        done.append("publish")

    monkeypatch.setattr(stage, "run_crawl", run_crawl)
    monkeypatch.setattr(stage, "publish_recipe", publish_recipe)
    monkeypatch.setattr(stage, "from_settings", Hub)
    monkeypatch.setattr(stage, "load_sites", lambda: {"gazeta": Gazeta(), "other": Gazeta()})
    monkeypatch.setattr(settings, "RECIPE", recipe)
    monkeypatch.setattr(settings, "ARTIFACTS_DIR", tmp_path)
    monkeypatch.setattr(settings, "CRAWL_DIR", tmp_path / "crawl")
    return done


def test_every_site_is_crawled_before_the_dataset_is_published(steps, tmp_path: Path, monkeypatch) -> None:
    assert stage.main([]) == 0
    assert steps == ["check", "crawl gazeta", "crawl other", "publish"]
    assert result(tmp_path)["outcome"] == "done" and result(tmp_path)["recipe"] == "two"
    steps.clear()
    monkeypatch.setattr(settings, "SITE_URL", "http://stand-in.invalid:8802")
    assert stage.main(["limit=5"]) == 0
    assert steps == ["check", "crawl gazeta limit=5", "publish"], "the other site is no stand-in"


def test_a_crawl_that_fails_ends_the_stage_with_its_code_reason_and_counts(steps, tmp_path: Path) -> None:
    steps.ends["gazeta"] = 3
    steps.report = {
        "fetched": 40,
        "kept": 2,
        "alarm": ["lead: found on 5% of pages", "text: gone"],
        "error": "",
    }
    assert stage.main([]) == 3
    assert steps == ["check", "crawl gazeta"]
    found = result(tmp_path)
    assert (found["outcome"], found["exit_code"]) == ("failed", 3)
    assert found["reason"] == {"code": "site_changed", "message": "lead: found on 5% of pages; text: gone"}
    assert found["counts"] == {"fetched": 40, "kept": 2}
    steps.ends["gazeta"] = 5
    steps.report = {"error": "the site asks for a pause", "error_code": "site_busy"}
    assert stage.main([]) == 5
    assert result(tmp_path)["reason"] == {"code": "site_busy", "message": "the site asks for a pause"}


def test_the_report_of_an_earlier_crawl_is_not_taken_for_this_one(steps, tmp_path: Path) -> None:
    steps.report = {"fetched": 40, "kept": 2, "error": "old"}
    stage.main([])
    steps.report, steps.ends = {}, {"gazeta": 6}
    assert stage.main([]) == 6
    found = result(tmp_path)
    assert found["reason"] == {"code": "another_run", "message": "the crawl of gazeta ended with 6"}
    assert "counts" not in found


@pytest.mark.parametrize(("code", "goes_on"), [(5, True), (2, False)])
def test_a_hub_that_is_down_costs_a_warning_and_a_wrong_token_the_run(
    steps, tmp_path: Path, capsys, code: int, goes_on: bool
) -> None:
    steps.hub = HubProblem("the Hub says no", code)
    assert stage.main([]) == (0 if goes_on else code)
    assert ("publish" in steps) == goes_on
    said = capsys.readouterr().err
    line = "warning: the Hub says no; crawling all the same" if goes_on else "error: the Hub says no\n"
    assert said.startswith(line) and said.count("\n") == 1
    assert result(tmp_path)["reason"] == (
        None if goes_on else {"code": "wrong_setting", "message": "the Hub says no"}
    )


def test_a_site_that_nobody_wrote_is_a_wrong_recipe(steps, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(stage, "load_sites", lambda: {"gazeta": Gazeta(), "others": Gazeta()})
    assert stage.main([]) == 2
    assert "no site other; did you mean others?" in capsys.readouterr().err
    assert result(tmp_path)["reason"]["code"] == "wrong_recipe" and steps == []


NEWS = """
sources: [{file: news.jsonl}]
rules: {max_copied_share: null}
"""


@pytest.fixture
def files_only(tmp_path: Path, invented) -> Path:
    """A recipe of one file with invented news."""
    lines = [json.dumps({**row, "url": ""}, ensure_ascii=False) for row in invented(60)]
    (tmp_path / "news.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "news.yaml").write_text(NEWS)
    return tmp_path / "news.yaml"


def test_a_recipe_of_files_reads_cleans_and_publishes_without_a_crawl(
    hub, tmp_path: Path, files_only: Path, run_program
) -> None:
    artifacts = tmp_path / "artifacts"
    away = {"RECIPE": str(files_only), "SITE_URL": "http://127.0.0.1:9"}
    done = run_program(hub, artifacts, module="gazeta", **away)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("published 60 rows to demo/news")
    found = result(artifacts)
    assert (found["outcome"], found["recipe"], found["reason"]) == ("done", "news", None)
    assert found["counts"]["rows"] == found["counts"]["added"] == found["counts"]["collected"] == 60
    assert found["revisions"]["dataset"]["repo"] == "demo/news"
    assert found["revisions"]["dataset"]["revision"][:10] in done.stdout

    again = run_program(hub, artifacts, "limit=5", module="gazeta", **away)
    assert again.returncode == 0 and again.stdout.startswith("nothing to do: demo/news at ")
    assert again.stderr == "recipe news crawls no site: limit=5 is ignored\n"
    assert result(artifacts)["outcome"] == "nothing to do"
    assert result(artifacts)["revisions"] == found["revisions"]


def test_a_source_file_takes_the_place_of_the_site(
    hub, tmp_path: Path, files_only: Path, run_program
) -> None:
    news = tmp_path / "news.jsonl"
    rows = [json.loads(line) for line in news.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        del row["date"]
        row["rubric"] = "Свой раздел"
    news.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    done = run_program(hub, tmp_path / "artifacts", module="gazeta", SOURCE_FILE=str(news))
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "artifacts" / "crawl" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "| Свой раздел | 60 | 100.0% |" in card and "60 rows had no date and got one" in card
    assert result(tmp_path / "artifacts")["recipe"] == "gazeta"


def test_sites_and_files_are_mixed_and_other_sites_of_the_store_are_left_out(
    hub, tmp_path: Path, files_only: Path, invented, fill, run_publish
) -> None:
    files_only.write_text("sources: [{site: gazeta}, {file: news.jsonl}]")
    artifacts = tmp_path / "artifacts"
    fill(artifacts, invented(90)[60:])
    with Store(artifacts / "crawl" / "crawl.sqlite3") as store:
        store.db.execute("UPDATE article SET site = 'other' WHERE url = (SELECT min(url) FROM article)")
    done = run_publish(hub, artifacts, RECIPE=str(files_only))
    assert done.stdout.startswith("published 89 rows"), done.stderr


@pytest.mark.parametrize(
    ("change", "code", "reason", "says"),
    [
        ({"CRAWL_DELAY": "soon"}, 2, "wrong_setting", "CRAWL_DELAY='soon' is not a number"),
        ({"RECIPE": "nothing"}, 2, "wrong_recipe", "RECIPE=nothing: there is no"),
        ({"SOURCE_FILE": "/no/such.csv"}, 2, "bad_file", "there is no file /no/such.csv"),
        ({"HF_TOKEN": ""}, 2, "wrong_setting", "HF_TOKEN is not set"),
        (
            {"HF_ENDPOINT": "http://127.0.0.1:9"},
            5,
            "hub_unreachable",
            "the Hub at http://127.0.0.1:9 does",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_every_failure_is_recorded(
    hub, tmp_path: Path, files_only: Path, run_program, change: dict, code: int, reason: str, says: str
) -> None:
    done = run_program(hub, tmp_path / "a", module="gazeta", **{"RECIPE": str(files_only), **change})
    assert done.returncode == code
    assert done.stderr.startswith(f"error: {says}") and done.stderr.count("\n") == 1
    found = result(tmp_path / "a")
    assert (found["outcome"], found["exit_code"], found["reason"]["code"]) == ("failed", code, reason)
    assert done.stderr == f"error: {found['reason']['message']}\n"


def test_a_busy_store_an_empty_one_and_a_bug_are_recorded(
    hub, tmp_path: Path, fill, invented, run_publish, monkeypatch
) -> None:
    artifacts = tmp_path / "artifacts"
    assert run_publish(hub, artifacts).returncode == 3
    assert result(artifacts)["reason"]["code"] == "no_rows"
    fill(artifacts, invented(5))
    with Store(artifacts / "crawl" / "crawl.sqlite3"):
        assert run_publish(hub, artifacts).returncode == 6
    assert result(artifacts)["reason"]["code"] == "another_run"

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(release, "assemble", broken)
    with pytest.raises(RuntimeError):
        run_publish(hub, artifacts)
    assert result(artifacts)["reason"] == {"code": "unexpected", "message": "RuntimeError: a bug"}
    assert result(artifacts)["exit_code"] == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_publication_is_recorded(
    hub, tmp_path: Path, files_only: Path, number: int, code: int
) -> None:
    os.mkfifo(tmp_path / "slow.jsonl")
    files_only.write_text("sources: [{file: slow.jsonl, format: jsonl}]")
    environment = {
        **os.environ, **hub.environment(tmp_path / "hf"), "DATASET_REPO": "demo/news",
        "RECIPE": str(files_only), "ARTIFACTS_DIR": str(tmp_path / "a"),
    }  # fmt: skip
    program = subprocess.Popen(
        [sys.executable, "-m", "gazeta"], cwd=Path(stage.__file__).parents[1], env=environment,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "a" / "crawl" / "crawl.sqlite3").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # it opens the file, which no one writes
    program.send_signal(number)
    _, err = program.communicate(timeout=60)
    assert program.returncode == code, err
    assert "Traceback" not in err and err.count("\n") == 1
    found = result(tmp_path / "a")
    assert (found["outcome"], found["exit_code"], found["reason"]["code"]) == ("stopped", code, "stopped")


def test_a_store_that_is_no_database_is_one_line(hub, tmp_path: Path, run_publish) -> None:
    store = tmp_path / "artifacts" / "crawl" / "crawl.sqlite3"
    store.parent.mkdir(parents=True)
    store.write_bytes(b"no database at all" * 1000)
    done = run_publish(hub, tmp_path / "artifacts")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot use {store}: ") and done.stderr.count("\n") == 1
    assert result(tmp_path / "artifacts")["reason"]["code"] == "bad_store"
