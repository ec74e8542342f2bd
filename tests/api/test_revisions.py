"""Revisions that must not serve: each is refused by name, whatever it does to the process that tries it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess

import pytest


@pytest.fixture
def bad(model_folder, tmp_path):
    """bad(tasks=…, tokenizer=…): the tiny model, after these functions changed its JSON files."""

    def make(name="bad", **changes):
        folder = tmp_path / name
        shutil.copytree(model_folder, folder)
        for file, change in changes.items():
            path = folder / f"{file}.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            changed = change(content)
            path.write_text(changed if isinstance(changed, str) else json.dumps(content), encoding="utf-8")
        return folder

    return make


def in_topic(name, value):
    return lambda tasks: tasks["tasks"]["topic"].__setitem__(name, value)


def nested(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_topic("mask", [5]), "topic.mask holds 5"),
        (in_topic("mask", [None]), "topic.mask holds None"),
        (in_topic("mask", ["а"] * 101), "topic.mask has more than 100"),
        (in_topic("mask", ["а" * 1001]), "topic.mask holds 'ааа"),
        (in_topic("threshold", 10**400), "topic.threshold is 1000"),
        (in_topic("metrics", {"f1": 10**400}), "topic.metrics.f1 is 1000"),
        (in_topic("metrics", {"f1": float("nan")}), "topic.metrics.f1 is nan"),
        (in_topic("metrics", {"f1": {"a": [float("inf")]}}), "topic.metrics.f1.a[0] is inf"),
        (in_topic("metrics", nested(400)), "nested more than 12 deep"),
        (in_topic("metrics", {"a": nested(900)}), "nested more than 12 deep"),
        (in_topic("labels", [{"label": "\ud800", "name": "А"}]), "topic.labels[0].label is '\\ud800'"),
        (in_topic("labels", [{"label": "a", "name": "А\x1b[2J"}]), "topic.labels[0].name is 'А\\x1b[2J'"),
        (in_topic("metrics", {"\udc00": 1}), "a name is '\\udc00'"),
        (lambda tasks: tasks["dataset"].__setitem__("repo", "a" * 20_000), "dataset.repo is 'aaa"),
        (lambda tasks: tasks.__setitem__("more", [0] * 60_000), "more than 50000 values"),
        (lambda tasks: json.dumps(tasks) + " " * 5_000_000, "more than 4000000 bytes"),
        (lambda tasks: json.dumps(tasks).replace("0.4", "9" * 5000), "tasks.json is damaged"),
    ],
)
def test_everything_in_tasks_json_has_bounds(bad, change, words):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.tasks import read_tasks

    with pytest.raises(ModelRefused) as refused:
        read_tasks(bad(tasks=change))
    assert words in str(refused.value)
    assert len(str(refused.value)) < 600
    str(refused.value).encode()  # it can be logged and sent


CATASTROPHIC = [
    r"(a+)+$", r"(\w+\s?)*$", r"(а|а)*б", r"(a|aa)+$", r"(.*?,){11}P", r"(.*)*x", r"^(\w+)+:", r"(x+x+)+y",
    r"\w*\w*\w*\w*x", r"ТАСС: (\w+ ?)+;", r"(?:\w+\d+)+!", r"(?=(\w+)+!)", r"«([^»]*[^«]*)*X",
    r"(([a-z])+.)+[A-Z]([a-z])+$", r"(ab|a|b)*c",
]  # fmt: skip
HARMLESS = [r"(?i)https?://\S+|www\.\S+", r"\bТАСС\b", r"(?i)©[^\n]{0,60}", r"[А-Я]{2,} — "]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_mask_that_could_run_without_end_is_named(pattern):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.masks import try_masks

    with pytest.raises(ModelRefused, match=r"topic\.mask holds .* takes too long"):
        try_masks("topic.mask", [*HARMLESS, pattern], 1500)


def test_the_masks_of_training_are_harmless(repo_root):
    import yaml
    from topic_sum.inference.masks import try_masks

    recipe = yaml.safe_load((repo_root / "recipes" / "gazeta.yaml").read_text(encoding="utf-8"))
    try_masks("topic.mask", recipe["tasks"]["topic"]["mask"] + HARMLESS, 4000)


def broken_map(tokenizer):
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA/////w=="}


def no_unknown(tokenizer):
    tokenizer["model"]["unk_id"] = None


FATAL = [
    ({"tokenizer": broken_map}, ""),
    ({"tokenizer": no_unknown}, "unk_id"),
    ({"tokenizer": lambda _: "[" * 10_000}, "tokenizer.json is not a tokenizer"),
    ({"tasks": in_topic("mask", [r"(\w+\s?)*$"])}, "takes too long on some texts"),
]


@pytest.mark.parametrize(("changes", "words"), FATAL)
def test_a_revision_that_breaks_its_process_is_refused_by_name(bad, changes, words):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.rehearsal import rehearse

    with pytest.raises(ModelRefused) as refused:
        rehearse(bad(**changes))
    assert words in str(refused.value)
    assert "Traceback" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_good_revision_is_rehearsed(model_folder):
    from topic_sum.inference.rehearsal import rehearse

    rehearse(model_folder)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ModelRefused", "loading ended its"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "NotNow", "too little memory"),
        ("import sys; sys.exit('std::bad_alloc')", "NotNow", "too little memory"),
        ("print('{\"step\": \"topic\"}', flush=True); import time; time.sleep(60)", "ModelRefused",
         "topic did not end in 1 s"),
    ],
)  # fmt: skip
def test_how_a_rehearsal_ends_says_who_is_to_blame(monkeypatch, tmp_path, script, error, words):
    import sys

    from topic_sum.inference import errors, rehearsal

    popen = subprocess.Popen
    monkeypatch.setattr(rehearsal, "SECONDS", 1)
    monkeypatch.setattr(
        rehearsal.subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", script], **options)
    )
    with pytest.raises(getattr(errors, error), match=words):
        rehearsal.rehearse(tmp_path)
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


@pytest.mark.parametrize(("changes", "words"), [FATAL[0], FATAL[3]], ids=["panic", "hang"])
def test_a_start_with_a_bad_revision_serves_the_good_local_copy(
    serve, bad, model_hub, model_folder, text, until, changes, words
):
    repo = f"demo/fallback-{len(words)}"
    good = model_hub.publish(model_folder, repo)
    first = serve(MODEL_REPO=repo, MODEL_CHECK_SECONDS="1")
    broken = model_hub.publish(bad(**changes), repo)
    until(lambda: f"{broken[:8]} is refused" in first.log, "the refusal is logged")
    assert first.get("/api/v1/model").json["revision"] == good
    assert first.stop() == 0
    second = serve(MODEL_REPO=repo, MODEL_CHECK_SECONDS="1")
    model = second.get("/api/v1/model").json
    assert (model["revision"], model["from_local_copy"]) == (good, True)
    assert f"{broken[:8]} is refused" in model["trouble"] and words in model["trouble"]
    assert second.post("/api/v1/analyze", {"text": text("sport")}).status == 200
    fixed = model_hub.publish(model_folder, repo)
    until(lambda: second.get("/api/v1/model").json["revision"] == fixed, "a good revision serves again")
    assert "Traceback" not in first.log + second.log
