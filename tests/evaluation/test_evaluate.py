"""Evaluation end to end, on a small export with random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from t5sum import StageError
from t5sum.config import EvaluateConfig
from t5sum.generate.evaluate import evaluate, newest_rows
from t5sum.generate.predict import Export, batches, generate, generate_full_precision
from t5sum.judge.metrics import BY_ARTICLE, METRICS, score
from t5sum.run.directory import write_json

SETTINGS = EvaluateConfig(device="cpu", full_precision_rows=6, samples=200, examples=3)


@pytest.fixture(scope="module")
def evaluation(make_model, rows):
    return evaluate(Export.of(make_model(0)), rows, SETTINGS, production=Export.of(make_model(1)))


def test_every_system_is_scored_on_the_same_rows(evaluation, rows):
    assert list(evaluation.systems) == ["model", "production", "lead-1", "lead-3", "TextRank", "oracle"]
    for system in evaluation.systems.values():
        assert len(system.predictions) == len(rows)
        assert all(len(values) == len(rows) for values in system.per_article.values())
    references = [row["summary"] for row in evaluation.rows]
    for name in ("lead-1", "oracle"):
        system = evaluation.systems[name]
        assert system.corpus() == pytest.approx(score(system.predictions, references))


def test_rows_are_newest_first(evaluation):
    dates = [row["date"] for row in evaluation.rows]
    assert dates == sorted(dates, reverse=True)


def test_intervals_hold_their_means_and_differences_name_a_verdict(evaluation):
    for system in evaluation.systems.values():
        assert set(system.intervals) == set(METRICS)
        for metric, interval in system.intervals.items():
            assert interval.low - 1e-9 <= interval.mean <= interval.high + 1e-9, metric
        for metric in BY_ARTICLE:
            interval = system.intervals[metric]
            assert interval.high - interval.low > 1e-9 or system.per_article[metric].std() < 1e-9
    assert evaluation.differences["lead-1"]["rougeL"].verdict == "worse"
    assert "model" not in evaluation.differences


def test_results_survive_json_and_hold_no_nan(evaluation, tmp_path):
    write_json(tmp_path / "evaluation.json", evaluation.as_json())
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    found = json.loads(text)
    assert found["metrics"] == evaluation.metrics
    assert found["precision"]["rows"] == 6
    json.dumps(evaluation.by_article(), allow_nan=False)


def test_examples_point_at_the_unsupported_parts(evaluation):
    assert len(evaluation.examples["best"]) == len(evaluation.examples["worst"]) == 3
    assert evaluation.examples["best"][0]["rougeL"] >= evaluation.examples["worst"][0]["rougeL"]
    for example in (*evaluation.examples["best"], *evaluation.examples["worst"]):
        for start, end in example["unsupported"]:
            assert example["prediction"][start:end].strip()


def test_without_baselines_lead_is_still_there_for_the_gate(make_model, rows):
    settings = dataclasses.replace(SETTINGS, baselines=False, full_precision_rows=0, limit=20)
    found = evaluate(Export.of(make_model(0)), rows, settings)
    assert list(found.systems) == ["model", "lead-1"]
    assert len(found.rows) == 20
    assert found.precision is None


def test_an_interrupted_evaluation_goes_on_from_what_it_made(make_model, rows, tmp_path):
    export, memory = Export.of(make_model(0)), tmp_path / "summaries.jsonl"
    whole = generate(export, rows, device="cpu")
    first = generate(export, rows[:25], device="cpu", remembered=memory)
    assert first.fresh == 25
    with memory.open("a", encoding="utf-8") as file:
        file.write('{"source": "half a li')
    second = generate(export, rows, device="cpu", remembered=memory)
    assert second.fresh == len(rows) - 25
    assert second.predictions == whole.predictions
    assert generate(export, rows, device="cpu", remembered=memory).fresh == 0


def test_another_model_does_not_reuse_remembered_summaries(make_model, rows, tmp_path):
    memory = tmp_path / "summaries.jsonl"
    generate(Export.of(make_model(0)), rows[:5], device="cpu", remembered=memory)
    assert generate(Export.of(make_model(1)), rows[:5], device="cpu", remembered=memory).fresh == 5


def test_sources_are_cut_to_the_served_length_and_end_in_eos(make_model):
    export = Export.of(make_model(0))
    tokenizer = export.load_tokenizer()
    rows = [{"text": "В Твери открыли мост. " * 50}, {"text": "Мост."}]
    long, short = export.encode(export.sources(rows), tokenizer)
    assert len(long) == export.section["source_max_tokens"]
    assert tokenizer.id_to_token(long[-1]) == tokenizer.id_to_token(short[-1]) == "</s>"
    assert tokenizer.decode(short[:-1]).endswith("Мост.")


def test_the_export_writes_what_the_full_precision_model_writes(make_model, rows, tmp_path):
    from ctranslate2.converters import TransformersConverter

    folder = tmp_path / "model"
    shutil.copytree(make_model(0), folder)
    TransformersConverter(str(folder)).convert(str(folder / "ct2"), quantization="float32", force=True)
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    tasks["tasks"]["summarize"]["compute_type"] = "float32"
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    exported = generate(Export.of(folder), rows, device="cpu").predictions
    full = generate_full_precision(Export.of(folder), rows).predictions
    assert len(set(full)) > 10  # the model writes by what it reads
    assert sum(a == b for a, b in zip(exported, full, strict=True)) >= 0.9 * len(rows)


def test_batches_take_every_row_once_and_stay_under_the_limit():
    lengths = [3, 90, 41, 41, 7, 100, 1, 250]
    made = list(batches(lengths, 120))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 120 for batch in made)
    assert made[0] == [7]


def test_a_folder_without_an_export_is_named(make_model, tmp_path, rows):
    with pytest.raises(StageError, match=r"tasks\.json is missing") as caught:
        Export.of(tmp_path)
    assert caught.value.code == 3
    (tmp_path / "tasks.json").write_bytes((make_model(0) / "tasks.json").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes((make_model(0) / "tokenizer.json").read_bytes())
    with pytest.raises(StageError, match=r"no model\.bin"):
        evaluate(Export.of(tmp_path), rows, SETTINGS)


def test_a_damaged_export_is_one_line(make_model, tmp_path, rows):
    source = make_model(0)
    for name in ("tasks.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2" / "model.bin").write_bytes(b"not a model")
    with pytest.raises(StageError, match="cannot be loaded") as caught:
        generate(Export.of(tmp_path), rows, device="cpu")
    assert "\n" not in str(caught.value)


def test_rows_that_cannot_be_scored_are_named():
    with pytest.raises(StageError, match="no rows"):
        newest_rows([], None, ("text",))
    with pytest.raises(StageError, match=r"https://news\.invalid/7 has an empty summary"):
        newest_rows(
            [{"text": "т", "summary": " ", "url": "https://news.invalid/7"}], None, ("text", "summary")
        )


def test_several_processes_score_as_one_does(rows):
    from t5sum.judge.scoring import FEWEST_FOR_PROCESSES, Article, score_systems

    articles = [Article(row["text"], row["summary"], {"model": row["title"]}) for row in rows]
    articles = (articles * FEWEST_FOR_PROCESSES)[:FEWEST_FOR_PROCESSES]
    seen = []
    several = score_systems(
        articles, False, processes=2, progress=lambda done, total: seen.append((done, total))
    )
    one = score_systems(articles, False, processes=1)
    assert list(several) == list(one)
    for name in ("model", "lead-1"):
        assert several[name].predictions == one[name].predictions
        assert several[name].corpus() == one[name].corpus()
    assert seen[-1] == (len(articles), len(articles))
