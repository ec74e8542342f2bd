"""Revisions of both formats: one made by the old code, and one with a single task of each kind."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

ARCHIVE = Path(__file__).parent / "format_1" / "revision.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """A format 1 revision and `answers.json`, made by the last version that wrote that format.

    With its tests/test_handoffs.py: the fixture model_folder with hash_bits=8 and with_title=True, and what
    that version's load_model answered.
    """
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def in_order(calls):
    return [call() for call in calls]


def test_a_revision_of_the_old_code_answers_as_it_did(old):
    from topic_sum.inference.model import load_model
    from topic_sum.inference.served.text import normalise

    expected = json.loads((old / "answers.json").read_text(encoding="utf-8"))
    model = load_model(old, "demo/model", "b" * 40, 1)
    assert (model.recipe, model.dataset_revision, model.metrics) == (None, "a" * 40, expected["metrics"])
    values = {name: normalise(value) for name, value in expected["question"].items()}
    engine, text = model.task("summarize").engine, {"text": values["text"]}
    assert engine.generate(text, 2, in_order, 16).texts == expected["summaries"]
    assert engine.generate(text, 2, in_order, 16).source.tokens == expected["tokens"]
    assert engine.generate(values, 2, in_order, 16).texts == expected["with_title"]
    beginning = values | {"text": values["text"][:150]}
    assert engine.generate(beginning, 1, in_order, 16).texts == expected["of_its_beginning"]
    topic = model.task("topic")
    found = topic.classify(values)
    assert [[score.label, score.name, score.score] for score in found.scores] == expected["scores"]
    assert (found.label, found.name, found.reason) == (
        expected["topic"],
        expected["name"],
        expected["reason"],
    )
    read = topic.read(found, text)
    assert (read.read, read.words) == (expected["read"], expected["words"])


def test_format_1_becomes_two_tasks():
    from topic_sum.inference.tasks import from_format_1

    old = {
        "format": 1, "dataset": {"repo": "a/b", "revision": "c"},
        "summarize": {"prefix": "[{!}] ", "with_title": True, "eos": "</s>"},
        "topic": {"title_repeat": 2, "labels": [{"topic": "a", "name": "А", "rubrics": []}], "path": "x"},
        "metrics": {"rougeL": 1.0, "topic_macro_f1": 2.0},
    }  # fmt: skip
    new = from_format_1(old)
    summarize, topic = new["tasks"]["summarize"], new["tasks"]["topic"]
    assert summarize == {
        "kind": "generate", "source": "[[{{!}}]] [{title}. ]{text}", "target": "summary", "model": "ct2",
        "eos": "</s>", "metrics": {"rougeL": 1.0},
    }  # fmt: skip
    assert topic == {
        "kind": "classify", "source": "[{title}\n{title}\n]{text}", "target": "rubric", "path": "x",
        "labels": [{"label": "a", "name": "А"}], "metrics": {"macro_f1": 2.0},
    }  # fmt: skip
    plain = from_format_1(old | {"topic": old["topic"] | {"title_repeat": 0}, "metrics": None})
    assert plain["tasks"]["topic"]["source"] == "{text}"
    assert plain["dataset"] == old["dataset"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topic": 5}, "no section 'topic'"),
        ({"summarize": {"prefix": 5}}, "summarize.prefix is 5"),
        ({"topic": {"title_repeat": 10**9}}, "topic.title_repeat is 1000000000"),
        ({"topic": {"labels": [{"topic": "a"}]}}, "topic.labels holds {'topic': 'a'}"),
        ({"topic": {"path": "topics/topics.skops"}}, "topics/topics.skops is never opened"),
        ({"dataset": 5}, "no section 'dataset'"),
    ],
)
def test_a_bad_revision_of_format_1_is_refused(old, tmp_path, changes, words):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.tasks import read_tasks

    tasks = json.loads((old / "tasks.json").read_text(encoding="utf-8"))
    for name, change in changes.items():
        tasks[name] = tasks[name] | change if isinstance(change, dict) else change
    (tmp_path / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    with pytest.raises(ModelRefused) as refused:
        read_tasks(tmp_path)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        (None, "ModelRefused", "tasks.json is missing"),
        ("{", "ModelRefused", "tasks.json is damaged"),
        ("[" * 100_000, "ModelRefused", "tasks.json is damaged"),
        ("[]", "ModelRefused", "has format 'list'"),
        ('{"format": 2, "dataset": {"repo": "a", "revision": "b"}, "tasks": {}}', "ModelRefused", "no task"),
        (Path(), "NotNow", "tasks.json cannot be read"),  # a folder
    ],
)
def test_a_tasks_file_that_is_none_is_named(tmp_path, tasks, error, words):
    from topic_sum.inference import errors
    from topic_sum.inference.tasks import read_tasks

    if isinstance(tasks, Path):
        (tmp_path / "tasks.json").mkdir()
    elif tasks is not None:
        (tmp_path / "tasks.json").write_text(tasks)
    with pytest.raises(getattr(errors, error), match=words):
        read_tasks(tmp_path)


def revision_of(folder: Path, source: Path, **tasks: dict) -> Path:
    """A revision of format 2 with these tasks and the files of `source`."""
    shutil.copytree(source, folder)
    written = {"format": 2, "recipe": "series", "dataset": {"repo": "demo/series", "revision": "c" * 40}}
    (folder / "tasks.json").write_text(json.dumps(written | {"tasks": tasks}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def sections(model_folder) -> dict[str, dict]:
    return json.loads((model_folder / "tasks.json").read_text(encoding="utf-8"))["tasks"]


@pytest.fixture(scope="module")
def series(tmp_path_factory, model_folder) -> Path:
    """A revision with one task, a rating, which is 5 and a half for a text without known words."""
    from topic_sum.inference.served.classifier import Features, Regression, TextModel

    folder = tmp_path_factory.mktemp("series") / "revision"
    section = {
        "kind": "regress", "source": "{review}[ {title}]", "target": "rating", "metrics": {"mae": 0.5},
        "path": "rating/model.safetensors", "minimum": 1, "maximum": 10, "max_chars": 100, "min_chars": 3,
        "mask": ["спойлер"],
    }  # fmt: skip
    revision_of(folder, model_folder, rating=section)
    features = (Features("words", 1, 1, 8),)
    coefficients = np.zeros(256, np.float32)
    for word, weight in (("хороший", 3), ("скучно", -30), ("спойлер", 1000)):
        coefficients[features[0].column(word)] = weight
    head = Regression(coefficients, np.array([5.5], np.float32))
    TextModel(features, np.ones(256, np.float32), head).save(folder / "rating" / "model.safetensors")
    return folder


@pytest.fixture
def served(in_process, monkeypatch):
    """served(folder): Django's test client with that revision as the current model."""
    from topic_sum.inference.model import load_model
    from topic_sum.serving import service

    def serve(folder):
        monkeypatch.setattr(service().current, "_model", load_model(folder, "a/b", "c" * 40, 1))
        service()._caches.clear()  # as for every new revision
        return lambda path, body=None: (
            in_process.get(f"/api/v1/{path}")
            if body is None
            else in_process.post(f"/api/v1/{path}", body, content_type="application/json")
        )

    return serve


def test_a_regression_answers_numbers_in_its_range(served, series):
    ask = served(series)
    answer = ask("tasks/rating", {"review": "Хороший сериал"}).json()
    assert answer["value"] == pytest.approx(5.5 + 3 / 2**0.5, abs=1e-3)  # one word of two
    assert (answer["reason"], answer["cached"], answer["model"]["revision"]) == (None, False, "c" * 40)
    assert ask("tasks/rating", {"review": "хороший\u200b  сериал"}).json()["cached"] is False
    assert ask("tasks/rating", {"review": "Хороший\u200b  сериал"}).json()["cached"] is True
    several = ask(
        "tasks/rating",
        {"items": [{"review": "скучно"}, {"review": "спойлер"}, {"review": "ок"}, {"title": "Имя"}, 5]},
    ).json()["results"]
    assert [result.get("value") for result in several] == [1.0, 5.5, None, None, None]
    assert several[2]["reason"] == "too_short"
    errors = [result["error"] for result in several[3:]]
    assert [(error["code"], error["field"]) for error in errors] == [
        ("required", "items[3].review"),
        ("wrong_type", "items[4]"),
    ]


def test_what_a_model_can_do_is_listed(served, series, model_folder):
    body = served(series)("tasks").json()
    assert body["tasks"] == [
        {
            "name": "rating",
            "kind": "regress",
            "columns": [{"name": "review", "required": True}, {"name": "title", "required": False}],
            "options": {},
            "metrics": {"mae": 0.5},
            "minimum": 1,
            "maximum": 10,
        }
    ]
    both = {task["name"]: task for task in served(model_folder)("tasks").json()["tasks"]}
    assert both["summarize"]["options"]["max_chars"] == {"type": "integer", "minimum": 30, "maximum": 5000}
    assert both["topic"]["labels"][0].keys() == {"label", "name"}
    assert both["topic"]["options"].keys() == {"top_k", "explain"}


def test_old_addresses_of_a_model_without_their_task_name_those_it_has(served, series):
    ask = served(series)
    for path, lacks in (
        ("topic", "topic"),
        ("summarize", "summarize"),
        ("analyze", "topic"),
        ("tasks/a", "a"),
    ):
        answer = ask(path, {"text": "Слово"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (404, "task_not_served", None)
        assert error["message"] == f"This model has no task {lacks}. It has: rating."
    model = ask("model").json()
    assert (model["tasks"], model["topics"], model["metrics"]) == (["rating"], [], {"rating_mae": 0.5})
    assert model["recipe"] == "series"


@pytest.mark.parametrize("source", ["{review}", "{title}", "{text}{sign}"])
def test_old_addresses_ask_no_task_of_their_name_that_reads_something_else(
    served, sections, model_folder, tmp_path, source
):
    topic = sections["topic"] | {"source": source}
    ask = served(revision_of(tmp_path / "one", model_folder, topic=topic, summarize=topic))
    for path in ("topic", "summarize", "analyze"):
        answer = ask(path, {"text": "Слово"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "task_not_served")
    assert " of news texts. It has: topic, summarize." in answer.json()["error"]["message"]
    columns = dict.fromkeys(("review", "title", "text", "sign"), "Слово")
    used = {name: value for name, value in columns.items() if f"{{{name}}}" in source}
    assert ask("tasks/topic", used).status_code == 200


@pytest.mark.parametrize("name", ["summarize", "topic"])
def test_a_model_with_one_of_the_two_tasks_serves_that_one(
    served, sections, model_folder, tmp_path, text, name
):
    ask = served(revision_of(tmp_path / "one", model_folder, **{name: sections[name]}))
    other = {"summarize": "topic", "topic": "summarize"}[name]
    assert ask(name, {"text": text("sport")}).status_code == 200
    assert ask(other, {"text": text("sport")}).status_code == ask("analyze", {"text": "а"}).status_code == 404


def test_a_task_answers_what_its_old_address_answers(in_process, text):
    def ask(path, body):
        return in_process.post(f"/api/v1/{path}", body, content_type="application/json").json()

    asked = {"text": text("economy", seed=4), "title": "Банк", "top_k": 2, "explain": True}
    old, new = ask("topic", asked), ask("tasks/topic", asked)
    assert (new["label"], new["name"], new["reason"]) == (old["topic"], old["name"], old["reason"])
    assert [score | {"topic": score.pop("label")} for score in new["scores"]] == old["scores"]
    assert new["explain"] == old["explain"]
    assert new["source"]["chars"] == old["topic_source"]["chars"] + len("Банк")
    assert (old["cached"], new["cached"]) == (False, True)
    asked = {"text": asked["text"], "variants": 2, "max_chars": 100}
    old, new = ask("summarize", asked), ask("tasks/summarize", asked)
    assert new["text"] == old["summary"]
    assert [{"summary": one.pop("text")} | one for one in new["variants"]] == old["variants"]
    assert (new["source"], new["unsupported"]) == (old["source"], old["unsupported"])


WRONG = [
    ({}, "required", 400, "text"),
    ({"title": "а"}, "required", 400, "text"),
    ({"text": None}, "wrong_type", 400, "text"),
    ({"text": 5}, "wrong_type", 400, "text"),
    ({"text": " "}, "empty", 400, "text"),
    ({"text": "12"}, "no_words", 422, "text"),
    ({"text": "а", "title": 5}, "wrong_type", 400, "title"),
    ({"text": "а", "texts": ["б"]}, "unknown_field", 400, "texts"),
    ({"text": "а", "items": [{"text": "а"}]}, "fields_or_items", 400, "text"),
    ({"text": "а", "top_k": 0}, "out_of_range", 400, "top_k"),
    ({"text": "а", "variants": 2}, "unknown_field", 400, "variants"),
    ({"text": "а" * 100_001}, "too_long", 413, "text"),
    ({"text": "а" * 100_000, "title": "а" * 100_000, "top_k": 1}, None, 200, None),
    ({"items": []}, "empty", 400, "items"),
    ({"items": "а"}, "wrong_type", 400, "items"),
    ({"items": [{"text": "а"}] * 17}, "too_many", 413, "items"),
    ({"items": [{"text": "а" * 70_000}] * 3}, "too_long", 413, "items"),
    ([], "not_an_object", 400, None),
]


@pytest.mark.parametrize(("body", "code", "status", "field"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_field_of_a_task_is_named(in_process, body, code, status, field):
    answer = in_process.post("/api/v1/tasks/topic", json.dumps(body), content_type="application/json")
    assert answer.status_code == status, answer.content
    if code:
        error = answer.json()["error"]
        assert (error["code"], error["field"]) == (code, field)


def test_one_item_that_is_wrong_fails_no_other(in_process):
    items = [{"text": "Слово"}, {"text": "Слово", "kind": 1}, {"text": ["а"]}, {}]
    answer = in_process.post("/api/v1/tasks/topic", {"items": items}, content_type="application/json")
    first, *others = answer.json()["results"]
    assert first["reason"] == "too_short"
    assert [(other["error"]["code"], other["error"]["field"]) for other in others] == [
        ("unknown_field", "items[1].kind"),
        ("wrong_type", "items[2].text"),
        ("required", "items[3].text"),
    ]


def test_a_template_of_several_columns_keeps_the_short_ones_in_every_window(model_folder, sections, text):
    from topic_sum.inference.engine import Engine
    from topic_sum.inference.served.text import normalise

    section = sections["summarize"] | {"source": "{sign}, {date}: {text}[ ({mood})]"}
    engine = Engine(model_folder, section, 1)
    long = normalise(text("sport", sentences=60))
    values = {"sign": "Овен", "date": "Май", "text": long, "mood": "Грусть"}
    windows, cut = engine._windows(values, "text", 100)
    read = ["".join(window).replace("▁", " ").strip() for window in windows]
    assert len(read) > 3 and not cut
    assert all(part.startswith("Овен, Май: ") and part.endswith(" (Грусть)") for part in read)
    said = " ".join(part.removeprefix("Овен, Май: ").removesuffix(" (Грусть)") for part in read)
    assert said.split() == long.split()
    # An optional column that leaves no tokens for the text is left out, a required one is shortened.
    windows, cut = engine._windows(values | {"mood": "б" * 3000}, "text", 100)
    assert not cut and all("(" not in "".join(window) for window in windows)
    windows, cut = engine._windows(values | {"sign": "б" * 3000}, "text", 100)
    assert cut and all(len(window) < 250 for window in windows)


@pytest.mark.parametrize("words", [20, 400])
def test_many_long_columns_are_answered(model_folder, sections, words):
    """Each window has room for a part of one column beside the beginnings of all others."""
    from topic_sum.inference.engine import Engine

    names = [f"part_{number}" for number in range(12)]
    section = sections["summarize"] | {"source": " ".join(f"{{{name}}}" for name in names)}
    engine = Engine(model_folder, section, 1)
    values = {name: f"{name} " + "матч гол тренер " * words for name in names}
    found = engine.generate(values, 1, in_order, 4)
    assert found.texts and found.source.cut


@pytest.mark.parametrize("kind", ["generate", "classify", "regress"])
def test_only_the_files_that_tasks_json_names_are_downloaded(
    model_hub, model_folder, sections, series, tmp_path, kind
):
    from topic_sum.inference.model import load_model
    from topic_sum.inference.revision import Source, fetch

    folder = tmp_path / "revision"
    if kind == "regress":
        shutil.copytree(series, folder)
    else:
        name = {"generate": "summarize", "classify": "topic"}[kind]
        revision_of(folder, model_folder, **{name: sections[name]})
    for name in ("model.safetensors", "pytorch_model.bin", "ct2/more.pkl", "topic/other.safetensors"):
        (folder / name).write_bytes(b"never to be fetched")
    commit = model_hub.publish(folder, f"demo/only-{kind}")
    source = Source(f"demo/only-{kind}", commit, tmp_path / "copies", model_hub.url, model_hub.token)
    fetched = fetch(source, commit)
    names = {path.relative_to(fetched).as_posix() for path in fetched.rglob("*") if path.is_file()}
    assert (
        names
        == {"tasks.json"}
        | {
            "generate": {"tokenizer.json", "ct2/model.bin", "ct2/config.json", "ct2/shared_vocabulary.json"},
            "classify": {"topic/model.safetensors"},
            "regress": {"rating/model.safetensors"},
        }[kind]
    )
    load_model(fetched, "a/b", commit, 1)
