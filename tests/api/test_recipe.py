"""What the API writes for stage.py, and what it says of a recipe that made another model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest


@pytest.fixture
def model(loaded):
    return loaded


def test_the_result_names_what_serves_and_changes_with_it(serve, model_hub, model_folder, until, tmp_path):
    first = model_hub.publish(model_folder, "demo/result")
    server = serve(MODEL_REPO="demo/result", MODEL_CHECK_SECONDS="1")
    path = tmp_path / "results" / "api.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result.pop("began") and result.pop("seconds") >= 0
    assert result == {
        "format": 1, "stage": "api", "recipe": "gazeta", "outcome": "serving", "exit_code": 0,
        "revisions": {
            "dataset": {"repo": "demo/news", "revision": "d" * 40},
            "model": {"repo": "demo/result", "revision": first},
        },
        "counts": {"tasks": 2},
    }  # fmt: skip
    (model_folder / "more").write_text("more")
    try:
        second = model_hub.publish(model_folder, "demo/result")
    finally:
        (model_folder / "more").unlink()
    until(lambda: json.loads(path.read_text())["revisions"]["model"]["revision"] == second, "it is written")
    assert [path.name for path in path.parent.iterdir()] == ["api.json"]
    assert server.get("/api/v1/model").json["revision"] == second


def test_a_result_that_cannot_be_written_stops_nothing(model, tmp_path, caplog):
    from topic_sum.result import write_result

    (tmp_path / "results").write_text("a file")
    write_result(tmp_path / "results", "gazeta", model)
    assert "cannot write" in caplog.text


@pytest.mark.parametrize(
    ("recipe", "note"),
    [
        (None, None),
        ("name: gazeta\ntasks:\n  topic: {kind: classify}\n", None),
        (
            "name: gazeta\ntasks:\n  topic: {kind: regress}\n  a: {kind: generate}\n",
            "the model lacks topic, a",
        ),
        ("name: series\n", "the model was made by the recipe gazeta, this server has series"),
        ("name: [", None),
        ("- a", None),
    ],
)
def test_a_model_of_another_recipe_is_noted(model, tmp_path, recipe, note, caplog):
    from topic_sum.recipe import read_recipe

    if recipe is not None:
        (tmp_path / "mine.yaml").write_text(recipe)
    for found in (read_recipe("mine", tmp_path), read_recipe(str(tmp_path / "mine.yaml"), tmp_path / "none")):
        said = found.difference(model)
        assert said == note or note in said
    assert ("cannot be read" in caplog.text) == (recipe in ("name: [", "- a"))
    old = SimpleNamespace(recipe=None, tasks=model.tasks)  # of format 1, which names no recipe
    assert read_recipe("gazeta", tmp_path).difference(old) is None


def test_the_default_recipe_is_the_one_of_this_repository(repo_root, model):
    from topic_sum.recipe import read_recipe

    recipe = read_recipe("gazeta", repo_root / "recipes")
    assert recipe.tasks == {"summarize": "generate", "topic": "classify"}
    assert recipe.difference(model) is None
