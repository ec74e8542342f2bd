"""An answer from the cache computes nothing, and what takes long is computed in its turn only."""

from __future__ import annotations

import pytest


@pytest.fixture
def ask(in_process):
    from topic_sum.serving import service

    service()._caches.clear()
    return lambda path, **body: in_process.post(
        f"/api/v1/{path}", body, content_type="application/json"
    ).json()


@pytest.mark.parametrize("path", ["summarize", "analyze", "tasks/summarize"])
def test_a_cached_answer_looks_for_no_names_again(ask, text, monkeypatch, path):
    from topic_sum.inference.kinds import generate

    asked = {"text": text("economy", sentences=100, seed=5), "variants": 3}
    first = ask(path, **asked)
    assert first["cached"] is False and first["variants"]

    def never(*_):
        raise AssertionError("the whole source is read again")

    monkeypatch.setattr(generate, "Text", never)
    monkeypatch.setattr(generate, "find_unsupported", never)
    again = ask(path, **asked)
    assert again["cached"] is True
    assert {name: again[name] for name in ("variants", "unsupported")} == {
        name: first[name] for name in ("variants", "unsupported")
    }
    for most in range(30, 60):
        assert ask(path, **asked, max_chars=most)["cached"] is True


def test_another_headline_is_other_evidence(ask, text, monkeypatch):
    from topic_sum.inference.engine import Engine, Generation, SourceRead

    made = Generation(["В банке Северин открыто 7 отделений, все в Кашире."], SourceRead(9, 1, False))
    monkeypatch.setattr(Engine, "generate", lambda *_: made)
    asked = {"text": text("economy"), "max_chars": 5000}
    assert [part["text"] for part in ask("summarize", **asked)["unsupported"]] == ["Северин", "7", "Кашире"]
    named = ask("summarize", **asked, title="Семь отделений в Кашире")
    assert [part["text"] for part in named["unsupported"]] == ["Северин"]
    short = ask("summarize", **asked | {"max_chars": 40})
    assert [part["text"] for part in short["unsupported"]] == ["Северин", "7"]
    assert all(short["summary"][part["start"] : part["end"]] == part["text"] for part in short["unsupported"])


def test_evidence_of_a_long_source_waits_for_a_translator(loaded, text):
    from topic_sum.inference.kinds.base import Context

    task, ran = loaded.task("summarize"), []

    def run(calls):
        ran.append([type(call).__name__ for call in calls])
        return [call() for call in calls]

    for sentences, last in ((4, "Translation"), (200, "function")):
        task.compute({"text": text("sport", sentences=sentences)}, {}, Context(run))
        assert ran[-1] == [last]


def test_a_task_that_reads_much_takes_a_slot(loaded):
    topic = loaded.task("topic")
    assert not topic.takes_slot({}) and topic.takes_slot({"explain": True})
    large = object.__new__(type(topic))
    large.max_chars = 50_000
    assert large.takes_slot({})
