"""Recipes with other tasks than the default one: a new task is one YAML entry."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, snapshot_download
from t5sum.judge.metrics import METRICS
from t5sum.tasks import read_tasks

MODEL = "demo/t5"
FORMAT_1 = Path(__file__).resolve().parents[1] / "api/format_1/revision.tar.xz"
FOUR = """
tasks:
  summarize: {kind: generate, source: "summarize: {text}", target: summary}
  headline: {kind: generate, source: "headline: {text}", target: title, metrics: [rougeL, chrf]}
  topic: {kind: classify, source: "{text}", target: rubric}
  guests: {kind: regress, source: "{text}", target: guests, gate: {margin: 100}}
"""
NO_T5 = """
name: reviews
tasks:
  guests: {kind: regress, source: "[{title}. ]{text}", target: guests, metrics: [mae], gate: {margin: 100}}
  mood: {kind: classify, source: "{text}", target: rubric}
"""


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a recipe; the variable that chooses it."""

    def write(text: str) -> dict[str, str]:
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return {"RECIPE": str(path)}

    return write


@pytest.fixture
def counted(rows, publish) -> list[dict[str, Any]]:
    """Sixty articles with a number each, on the stand-in Hub; some have no target."""
    made = rows(60)
    for place, row in enumerate(made):
        row["guests"] = float(row["text"].split("Пришли ")[1].split()[0]) if place % 9 else None
        row["rubric"] = row["rubric"] if place % 10 else ""
    publish({"train": made[:40], "validation": made[40:48], "test": made[48:]})
    return made


def files_of(hub: Any, tmp_path: Path) -> Path:
    return Path(
        snapshot_download(MODEL, revision="production", endpoint=hub.url, cache_dir=tmp_path / "cache")
    )


def result_of(stage: Any) -> dict[str, Any]:
    return json.loads((stage.artifacts / "results" / "training.json").read_text(encoding="utf-8"))


def test_each_entry_of_a_recipe_goes_from_rows_to_tasks_json(
    stage, hub, tiny, counted, recipe, tmp_path: Path
) -> None:
    own = recipe(FOUR)
    done = stage(*tiny, **own)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = files_of(hub, tmp_path)
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    assert (tasks["format"], tasks["recipe"]) == (2, "own")
    assert list(tasks["tasks"]) == ["summarize", "headline", "topic", "guests"]
    summarize, headline, topic, guests = tasks["tasks"].values()
    assert (summarize["model"], summarize["tokenizer"]) == ("ct2", "tokenizer.json")
    assert (headline["model"], headline["tokenizer"]) == ("headline/ct2", "headline/tokenizer.json")
    assert (topic["path"], guests["path"]) == ("topic/model.safetensors", "guests/model.safetensors")
    for name in (
        "model.safetensors",
        "ct2/model.bin",
        "headline/model.safetensors",
        "headline/ct2/model.bin",
        "headline/tokenizer.json",
        topic["path"],
        guests["path"],
        "loss.png",
        "headline/loss.png",
    ):
        assert (folder / name).is_file(), name
    assert set(summarize["metrics"]) == set(METRICS)
    assert set(headline["metrics"]) == {"rougeL", "chrf"}, "the recipe asks for these"
    assert set(topic["metrics"]) == {"macro_f1", "accuracy"}
    assert set(guests["metrics"]) == {"mae", "rmse", "r2"}
    assert 10 <= guests["minimum"] < guests["maximum"] <= 99
    assert headline["source"] == "headline: {text}" and headline["target"] == "title"

    for name in ("summarize", "headline", "topic", "guests"):
        assert f"gate: {name} passed, " in done.stdout
    assert "guests: 7 rows left out, with an empty target or source" in done.stdout
    result = result_of(stage)
    assert (result["outcome"], result["exit_code"], result["recipe"]) == ("done", 0, "own")
    assert set(result["decisions"]) == set(tasks["tasks"])
    assert result["counts"]["train_rows"] == 40 and result["counts"]["guests_left_out"] == 7
    assert result["revisions"]["model"]["revision"] == HfApi(endpoint=hub.url).model_info(MODEL).sha
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name in tasks["tasks"]:
        assert f"## Scores of {name}" in card
    assert 'subfolder="headline"' in card

    again = stage(*tiny, **own)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert result_of(stage)["outcome"] == "nothing to do"
    # A task that production has is compared with it; a new one is a first model.
    added = 'tasks.short={kind: regress, source: "{title}", target: guests, gate: {margin: 100}}'
    more = stage(*tiny, added, **own)
    assert more.returncode == 0, more.stderr
    gate = {line.split()[1]: line for line in more.stdout.splitlines() if line.startswith("gate: ")}
    assert "production has no such task, it only has to reach" in gate["short"]
    assert all("in production" in gate[name] for name in tasks["tasks"])


def test_a_recipe_without_a_generate_task_trains_no_t5_and_loads_no_torch(
    stage, hub, tiny, rows, publish, recipe, tmp_path: Path
) -> None:
    made = rows(60)
    for row in made:
        row["guests"] = float(row["text"].split("Пришли ")[1].split()[0])
        del row["summary"], row["date"], row["url"]
    publish({"train": made[:40], "validation": made[40:48], "test": made[48:]})
    words = stage.command(*tiny)[1:]
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers', 'ctranslate2'} & set(sys.modules)"
    )
    home = Path(words[0]).parent
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=home, capture_output=True, text=True,
        env={**stage.environment, "PYTHONPATH": str(home), **recipe(NO_T5)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = files_of(hub, tmp_path)
    tasks = read_tasks(folder)["tasks"]
    assert list(tasks) == ["guests", "mood"] and set(tasks["guests"]["metrics"]) == {"mae"}
    assert not (folder / "model.safetensors").exists() and not (folder / "ct2").exists()
    assert "pipeline_tag: text-classification" in (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "report.html").exists()
    evaluated = stage("evaluate", *tiny, **recipe(NO_T5))
    assert evaluated.returncode == 0, evaluated.stderr
    assert "guests: MAE" in evaluated.stdout and "mood: macro-F1" in evaluated.stdout


def test_one_task_that_is_refused_keeps_the_whole_revision_from_being_served(
    stage, hub, tiny, counted, recipe
) -> None:
    done = stage(*tiny, "tasks.guests.gate.margin=-100", **recipe(NO_T5))
    assert done.returncode == 4, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "guests refused, MAE" in line and "mood" not in line
    assert "gate: mood passed, macro-F1" in done.stdout
    result = result_of(stage)
    assert (result["outcome"], result["exit_code"]) == ("not promoted", 4)
    assert result["reason"]["code"] == "not_promoted" and "guests refused" in result["reason"]["message"]
    assert [each["promoted"] for each in result["decisions"].values()] == [False, True]
    assert HfApi(endpoint=hub.url).list_repo_refs(MODEL).tags == []


def test_rows_without_any_target_are_one_line_and_code_3(stage, tiny, rows, publish, recipe) -> None:
    made = rows(30)
    for row in made:
        row["guests"] = None if row is made[0] else "many"
    publish({"train": made[:20], "validation": made[20:25], "test": made[25:]})
    done = stage(*tiny, **recipe(NO_T5))
    assert done.returncode == 3
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "task guests: no train nor validation nor test row has text and guests" in line
    result = result_of(stage)
    assert (result["outcome"], result["reason"]["code"]) == ("failed", "bad_data")


@pytest.mark.parametrize(
    ("words", "code", "outcome", "reason"),
    [
        (["train.lrr=1"], 2, "failed", "wrong_setting"),
        (["train"], 0, "done", None),
        (["hub.dataset_repo=demo/absent"], 2, "failed", "wrong_setting"),
    ],
)
def test_every_end_leaves_a_result(stage, dataset, tiny, recipe, words, code, outcome, reason) -> None:
    done = stage(*tiny, *words, **recipe(NO_T5.replace("guests", "topic").replace("regress", "classify", 1)
                                         .replace("metrics: [mae], gate: {margin: 100}", "metrics: []")
                                         .replace("target: topic", "target: rubric")))  # fmt: skip
    assert done.returncode == code, done.stderr
    result = result_of(stage)
    assert (result["format"], result["stage"], result["exit_code"]) == (1, "training", code)
    assert result["outcome"] == outcome and result["seconds"] >= 0 and result["began"]
    assert (result["reason"] and result["reason"]["code"]) == reason
    if reason:
        assert result["reason"]["message"] in done.stderr.replace("error: ", "")


def test_a_revision_of_the_first_edition_is_compared_with_and_replaced(
    stage, hub, dataset, tiny, tmp_path: Path
) -> None:
    """Files that the first edition made, in production: each task is judged beside them."""
    old = tmp_path / "old"
    with tarfile.open(FORMAT_1) as archive:
        archive.extractall(old, filter="data")
    [folder] = [path.parent for path in old.rglob("tasks.json")]
    assert json.loads((folder / "tasks.json").read_text(encoding="utf-8"))["format"] == 1
    tasks = read_tasks(folder)["tasks"]
    assert tasks["summarize"]["source"] == "summarize: [{title}. ]{text}"
    assert tasks["topic"]["source"] == "[{title}\n{title}\n]{text}"
    assert tasks["topic"]["labels"][0].keys() == {"label", "name"}
    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo(MODEL)
    first = api.upload_folder(repo_id=MODEL, folder_path=folder).oid
    api.create_tag(MODEL, tag="production", revision=first)

    evaluated = stage("evaluate", *tiny)
    assert evaluated.returncode == 0, evaluated.stderr
    done = stage(*tiny, "gate.tie=candidate")
    assert done.returncode in (0, 4), done.stderr
    gate = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("gate: ")}
    assert "in production" in gate["summarize"] and "in production" in gate["topic"]
    found = api.list_repo_files(MODEL)
    assert "topic/model.safetensors" in found and not [each for each in found if each.startswith("topics/")]
