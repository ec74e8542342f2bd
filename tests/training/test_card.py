"""The model card names where the weights come from, and the licences that hold for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import metadata_load
from huggingface_hub.errors import LocalEntryNotFoundError
from t5sum import repository
from t5sum.card import render_card
from t5sum.generate.base import choose_base, find_origin
from t5sum.load import load_config
from t5sum.run.directory import read_json

RUT5 = {"model": "ai-forever/ruT5-base", "revision": "a" * 40, "license": "mit"}
WARM = {"model": "demo/t5", "revision": "b" * 40}


@pytest.fixture
def card(cycle, tiny, tmp_path: Path):
    """The card of a finished cycle, had it started from this base: its text and its metadata."""

    def render(base: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        [run] = (cycle.folder / "artifacts" / "runs").glob("*/run.json")
        record, tasks, metrics = (
            read_json(run.parent / "model" / f"{name}.json") for name in ("provenance", "tasks", "metrics")
        )
        record["tasks"]["summarize"]["base"] = base
        text = render_card("demo/t5", record, tasks, metrics["tasks"], load_config(tiny, {}))
        path = tmp_path / "README.md"
        path.write_text(text, encoding="utf-8")
        return text, metadata_load(path)

    return render


@pytest.mark.parametrize("base", [RUT5, {**WARM, "origin": RUT5}], ids=["cold", "warm"])
def test_the_card_names_the_original_base_and_its_licence(card, base: dict[str, Any]) -> None:
    text, found = card(base)
    assert found["base_model"] == "ai-forever/ruT5-base"
    assert (found["license"], found["license_name"]) == ("other", "research-only")
    assert found["license_link"].endswith("/demo/t5#rights") and "## Rights\n" in text
    assert "whose licence is mit." in text
    assert "8 steps of 8 examples" in text


@pytest.mark.parametrize(
    "base", [WARM, {**WARM, "origin": {"model": "scratch", "revision": None}}], ids=["unknown", "scratch"]
)
def test_a_model_is_never_its_own_base(card, base: dict[str, Any]) -> None:
    text, found = card(base)
    assert "base_model" not in found and "licence" not in text


def test_the_origin_is_found_through_any_number_of_warm_starts(monkeypatch) -> None:
    records = {
        "3": {"tasks": {"summarize": {"base": {"model": "demo/t5", "revision": "2"}}}},
        "2": {"tasks": {"summarize": {"base": {"model": "demo/t5", "revision": "1"}}}},
        "1": {"base": RUT5},
        "loop": {"base": {"model": "demo/t5", "revision": "loop"}},
        "4": {"tasks": {"summarize": {"base": {**WARM, "origin": RUT5}}}},
    }
    monkeypatch.setattr(repository, "load_record", lambda repo, commit: records.get(commit, {}))
    for commit, origin in (("3", RUT5), ("1", RUT5), ("4", RUT5), ("loop", None), ("absent", None)):
        assert find_origin("demo/t5", commit, "summarize") == origin


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: own\n---\n", "own"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\nlanguage: ru\n---\n", None),
        ("no header\n", None),
        (None, None),
    ],
)
def test_the_licence_of_a_base_is_what_its_card_names(tmp_path, monkeypatch, header, licence) -> None:
    def download(repo: str, name: str, revision: str) -> str:
        if header is None:
            raise LocalEntryNotFoundError("no card, or no Hub")
        (tmp_path / name).write_text(header, encoding="utf-8")
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(repository, "resolve", lambda *arguments, **others: "a" * 40)
    chosen = choose_base(load_config(["model.base=demo/base"], {}), "", "summarize")
    assert chosen == {"name": "demo/base", "commit": "a" * 40, "license": licence}
