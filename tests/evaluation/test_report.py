"""The HTML report: complete, honest about what is missing, and safe with hostile text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from t5sum.config import EvaluateConfig
from t5sum.generate.evaluate import evaluate
from t5sum.generate.predict import Export
from t5sum.judge.charts import histogram, line_chart, ticks
from t5sum.judge.report import dataset_figures, marked, render_report, text_table, write_report

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt; \u202eсправа налево\u202c "
    "{{ 7 * 7 }} </style>"
)
VOID = {"meta", "br", "img", "link", "input"}
TOPICS = {
    "chosen": "svm",
    "candidates": [
        {"name": "svm", "validation": {"macro_f1": 80.0, "accuracy": 81.0},
         "test": {"macro_f1": None, "accuracy": 79.0}, "latency_ms": 1.25, "size_mb": 3.5,
         "train_seconds": 4.0}
    ],
    "settings": {"latency_ms": 5.0, "size_mb": 30.0}, "rows": {"train": 90, "validation": 10, "test": 10},
    "left_out": [{"name": HOSTILE, "rows": 2, "wanted": 30}], "excluded": {HOSTILE: 3},
    "unlisted": [HOSTILE],
    "threshold": {"value": 0.61, "wanted_precision": 0.9, "validation_precision": 0.91,
                  "validation_coverage": 0.7, "test_precision": None, "test_coverage": None},
    "ablation": {"rows": 90, "test_rows_with_masked_words": 4, "trained_masked_macro_f1": 66.6,
                 "trained_unmasked_macro_f1": 66.9},
    "calibration": {"ece": 0.0213, "bins": [{"score": 0.45, "right": 0.5, "rows": 4},
                                            {"score": 0.85, "right": 0.8, "rows": 6}]},
    "labels": [{"label": "politics", "name": "Политика"}, {"label": "sport", "name": HOSTILE}],
    "per_label": [{"name": "Политика", "precision": 80.0, "recall": 70.0, "f1": 74.7, "rows": 10}],
    "confusion": [[7, 3], [0, 0]],
}  # fmt: skip
CRAWL = {
    "site": "http://127.0.0.1:8802",
    "store": {"articles": 9, "dropped": {"no summary": {"count": 4, "examples": []}}},
    "duplicates": {"same text": 2},
    "removed": [{"url": HOSTILE, "why": HOSTILE}],
    "tests": [{"test": "no overlap", "passed": True, "says": HOSTILE}],
    "crawl": {
        "outcome": "finished",
        "requests": 20,
        "statuses": {"200": 19, "404": 1},
        "reasons": {HOSTILE: 1},
    },
}
LOSSES = [{"step": 10, "loss": 5.0}, {"step": 20, "loss": float("nan")}, {"step": 20, "eval_loss": 4.0}]


class Page(HTMLParser):
    """Collects tags and text, and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        self.words += words


@pytest.fixture(scope="module")
def found(make_model, rows):
    hostile = [{**row, "title": HOSTILE, "url": f"javascript:alert({n})"} for n, row in enumerate(rows)]
    hostile[0] = {**hostile[0], "text": HOSTILE + rows[0]["text"], "summary": HOSTILE}
    settings = EvaluateConfig(device="cpu", full_precision_rows=2, samples=100, examples=30)
    return evaluate(Export.of(make_model(0)), hostile, settings, Export.of(make_model(1)))


RATING = {
    "rows": 50, "confidence": 0.95, "samples": 100, "alpha": 1.0, "alphas": {"1": 0.4}, "latency_ms": 1.0,
    "size_mb": 2.0,
    "scores": {HOSTILE: {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in ("mae", "rmse", "r2")}},
}  # fmt: skip
DECISION = {"promoted": False, "reason": f"cannot tell, {HOSTILE}"}


@pytest.fixture(scope="module")
def html(found, rows):
    return render_report(
        f"Cycle {HOSTILE}",
        {
            "summarize": ("generate", found.as_json()),
            "topic": ("classify", TOPICS),
            "rating": ("regress", RATING),
        },
        decisions={"summarize": DECISION, "topic": {"promoted": True, "reason": "better"}},
        losses={"summarize": LOSSES},
        crawl=CRAWL,
        dataset=dataset_figures({"train": rows, "test": []}, ["text", "summary"], ["rubric"]),
        lineage={"dataset": {"repo": HOSTILE, "revision": "abc"}, "libraries": ["a", HOSTILE]},
        durations={"train": 100.0, "evaluate": 3.0},
    )


def test_the_page_is_whole_and_nothing_in_it_can_run_or_load(html):
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "action") for name in attributes)
        assert not attributes.get("href", "http://").startswith("javascript:")
    policy = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and "default-src 'none'" in policy[0]
    assert "url(" not in html and "@import" not in html


def test_hostile_text_is_shown_as_text(html):
    words = Page(html).words
    assert words.count("<script>alert(1)</script>") > 10
    assert "{{ 7 * 7 }}" in words and "49" not in words.split("{{ 7 * 7 }}")[0][-5:]


def test_topics_are_compared_and_their_scores_drawn(html):
    page = Page(html)
    for words in ("macro-F1, test", "s to train", "0.021", "66.6", "66.9", "Below a score of 0.61", "91.0%"):
        assert words in page.words, words
    assert "how true the scores are" in {attributes.get("aria-label") for _, attributes in page.tags}


def test_every_section_with_input_is_there(html):
    page = Page(html)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert ids == {
        "gate",
        "summarize",
        *(f"summarize-{part}" for part in ("scores", "traits", "examples", "behaviour", "loss")),
        "topic",
        "rating",
        "dataset",
        "crawl",
        "lineage",
        "durations",
    }
    assert "Left out" not in page.words
    assert sum(tag == "svg" for tag, _ in page.tags) == 3
    for word in ("oracle", "TextRank", "cannot tell", "no summary", "finished", "2 min", "Политика"):
        assert word in page.words


def test_figures_in_the_page_are_those_of_the_evaluation(html, found):
    words = Page(html).words
    for system in found.systems.values():
        for interval in system.intervals.values():
            assert f"{interval.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}]" in words


def test_unsupported_parts_are_marked(html, found):
    marks = sum(tag == "mark" for tag, _ in Page(html).tags)
    shown = found.examples["best"] + found.examples["worst"]
    assert marks == sum(len(each["unsupported"]) for each in shown)
    assert marks > 0


def test_sections_without_input_are_left_out_and_named():
    page = Page(render_report("Empty", losses={}))
    assert not {attributes.get("id") for _, attributes in page.tags} - {None}
    for name in ("gate", "scores", "dataset", "crawl", "lineage", "durations"):
        assert name in page.words


def test_a_report_is_written_whole(tmp_path):
    write_report(tmp_path / "report.html", "Отчёт \ud800", durations={"all": 1.0})
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_marks_do_not_lose_or_repeat_text():
    text = "Мэр Иван Орлов."
    assert marked(text, [[4, 8], [9, 14]]) == [
        ("Мэр ", False), ("Иван", True), (" ", False), ("Орлов", True), (".", False)
    ]  # fmt: skip
    for spans in ([], [[0, 15]], [[0, 3], [2, 5]], [[3, 3]]):
        assert "".join(piece for piece, _ in marked(text, spans)) == text


def test_the_table_for_the_terminal_has_the_row_beside_the_published_one(found):
    table = text_table(found.as_json())
    lines = {line.split("  ")[0].strip() or line: line for line in table.splitlines()}
    assert "published: rut5_base_sum_gazeta, Gazeta v1" in table
    assert "32.2" in table and "25.7" in table
    assert any(line.startswith("  model ") for line in table.splitlines())
    assert "worse:" in table
    assert len(lines) > 10


def test_dataset_figures_count_splits_and_rubrics(rows):
    figures = dataset_figures({"train": rows, "test": []}, ["text"], ["rubric"])
    assert [split["rows"] for split in figures["splits"]] == [60, 0]
    assert figures["splits"][0]["newest"] == max(row["date"] for row in rows)
    assert figures["labels"] == {"rubric": {"social": 60}}
    assert figures["splits"][0]["words"]["text"] > 10 and figures["splits"][1]["words"] == {"text": 0.0}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3.2, 3.2), (-5, 12000), (0, 0), (1e-7, 2e-7)])
def test_ticks_enclose_the_values(low, high):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert 2 <= len(found) <= 12


def test_charts_take_one_point_and_equal_values():
    assert "<svg" in line_chart({"a": [(1, 2.0)]}, "x", "y", "one point")
    assert "<svg" in histogram({"a": [5.0, 5.0], "b": [5.0, float("nan")]}, "x", "equal")
    assert "&lt;b&gt;" in line_chart({"<b>": [(1, 2.0), (2, 3.0)]}, "x", "y", "names")
