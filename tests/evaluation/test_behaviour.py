"""The checks of behaviour tell a good model from a bad one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from t5sum import StageError
from t5sum.generate import behaviour
from t5sum.generate.predict import Export, Generation

# Every name has another one of its declension in some other row.
PEOPLE = [("Орлов", "Котов"), ("Кедрин", "Волков"), ("Березинский", "Лапин"), ("Белов", "Студеницкий")]
ROWS = [
    {
        "text": f"Сегодня мэр Иван {who} открыл новый {what}. Им руководил Петр {boss}. Все прошло тихо.",
        "title": "",
    }
    for who, boss in PEOPLE
    for what in ("мост", "парк", "музей")
]


# A model that is never run: `pretend` stands for it.
EXPORT = Export(Path(), "summarize", {"source": "summarize: {text}"})


def pretend(monkeypatch, summarize):
    """Let `summarize(text) -> summary` stand for the model."""

    def generate(export, rows, device="auto"):
        return Generation([summarize(row["text"]) for row in rows], "cpu", len(rows), 1.0)

    monkeypatch.setattr(behaviour, "generate", generate)


def test_a_model_that_copies_names_passes(monkeypatch, tmp_path):
    pretend(monkeypatch, lambda text: text.split(". ")[0] + ".")
    check = behaviour.names_follow_the_text(EXPORT, ROWS)
    assert check.passed and check.rate == 1.0
    assert check.tried == len(ROWS)


def test_a_model_that_learned_names_by_heart_fails(monkeypatch, tmp_path):
    pretend(monkeypatch, lambda text: "Мост открыл Иван Орлов.")
    check = behaviour.names_follow_the_text(EXPORT, ROWS)
    assert check.passed is False and check.rate == 0.0


def test_a_model_that_names_nobody_was_not_tried(monkeypatch, tmp_path):
    pretend(monkeypatch, lambda text: "Что-то открыли.")
    assert behaviour.names_follow_the_text(EXPORT, ROWS).passed is None


def test_names_change_in_every_case_they_stand_in():
    row = {
        "text": "Вчера Иван Орлов приехал. С Орловым говорил врач, об Орлове писали.",
        "title": "Ответ Орлова",
    }
    changed, old, new = behaviour._swap(row, "text", "Мэр Орлов приехал.", ["Зайцев", "Орлов", "Котов"])
    assert (old, new) == ("Орлов", "Котов")
    assert changed["text"] == "Вчера Иван Котов приехал. С Котовым говорил врач, об Котове писали."
    assert changed["title"] == "Ответ Котова"


def test_a_looping_model_fails(monkeypatch, tmp_path):
    pretend(monkeypatch, lambda text: " ".join(text.split()[:40] * 2))
    assert behaviour.repeated_text_is_not_repeated(EXPORT, ROWS).passed is False
    pretend(monkeypatch, lambda text: text.split(".")[0] + ".")
    assert behaviour.repeated_text_is_not_repeated(EXPORT, ROWS).passed


def test_leftovers_of_the_machinery_fail(monkeypatch, make_model):
    pretend(monkeypatch, lambda text: "Мост <extra_id_0> открыли")
    check = behaviour.odd_texts_give_sane_summaries(Export.of(make_model(0)), ROWS)
    assert check.passed is False
    assert "<extra_id_0>" in check.says
    pretend(monkeypatch, lambda text: "Мост")
    assert behaviour.odd_texts_give_sane_summaries(Export.of(make_model(0)), ROWS).passed


def test_a_summary_of_the_end_fails(monkeypatch, make_model):
    pretend(monkeypatch, lambda text: text[-20:])
    assert behaviour.long_text_is_read_from_the_beginning(Export.of(make_model(0)), ROWS).passed is False


def test_every_check_runs_on_a_real_export(make_model):
    checks = {check.name: check for check in behaviour.check_all(make_model(0), ROWS, "cpu")}
    assert checks["a very long text is read from its beginning"].passed
    assert checks["added boilerplate does not change the topic"].passed is None
    json.dumps([check.as_json() for check in checks.values()])


@pytest.fixture
def with_topics(make_model, save_topics, tmp_path):
    """A model folder whose topic classifier looks for the given words."""

    def make(*words_of_topic: str):
        folder = tmp_path / "model"
        shutil.copytree(make_model(0), folder)
        texts = [row["text"] for row in ROWS] + [
            f"{row['text']} {word}" for row in ROWS for word in words_of_topic
        ]
        topics = [0] * len(ROWS) + [1] * (len(texts) - len(ROWS))
        save_topics(texts, topics, folder / "topic" / "model.safetensors")
        tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
        tasks["tasks"]["topic"] = {
            "kind": "classify",
            "source": "[{title}\n]{text}",
            "path": "topic/model.safetensors",
            "mask": [],
            "max_chars": 1000,
        }
        (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        return folder

    return make


def test_a_classifier_that_reads_boilerplate_fails(with_topics):
    check = behaviour.boilerplate_leaves_the_topic(with_topics("реклама", "читайте", "комментарий"), ROWS)
    assert check.passed is False
    assert check.tried == len(ROWS)


def test_a_classifier_that_reads_the_news_passes(with_topics):
    assert behaviour.boilerplate_leaves_the_topic(with_topics("футбол"), ROWS).passed


def test_a_damaged_classifier_is_one_line(with_topics):
    folder = with_topics("футбол")
    file = folder / "topic" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StageError, match=r"model\.safetensors is damaged: no safetensors file"):
        behaviour.boilerplate_leaves_the_topic(folder, ROWS)


def test_a_model_that_makes_names_up_fails(monkeypatch, tmp_path):
    made_up = iter(range(1000))
    pretend(
        monkeypatch,
        lambda text: f"{text.split('.')[0]}." if next(made_up) < len(ROWS) else "Мост открыл Никто.",
    )
    check = behaviour.names_follow_the_text(EXPORT, ROWS)
    assert check.passed is False and check.rate == 0.0
