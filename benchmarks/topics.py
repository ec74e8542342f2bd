"""How good, honest, fast and small is the topic classifier, next to what a tutorial would build?

    python3.11 benchmarks/topics.py [--parts quality,speed,large,tried] [--rounds 3] [--rows 60000]
                                    [--json FILE]

quality   two real sets (../shared/data: Telegram posts with 12 topics, headlines of 2024 with 16), each cut
          by time 80/10/10: macro-F1, expected calibration error and threshold of the exported model, and the
          same rows through TfidfVectorizer() and LogisticRegression() as they come, in an environment of
          their own below artifacts/peers/, in turns, each round with another seed
speed     one text at a time through the API's class and through those two, in turns, real articles; the words
          that explain an answer; texts of 10,000 characters. Processor time
large     60,000 articles made of the halves of real ones, in a process of its own: time and peak memory of
          train_topics with every candidate. Quality means nothing here: the labels are drawn
tried     (only when asked for) what pays for Russian: words, pairs, letters, stems, lemmas (needs pymorphy3),
          sublinear counts, class weights, a linear SVM, a vocabulary instead of hashes, the title's weight

Machines differ and may be busy: read the ratios, and processor time before time on the clock.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers import Spread, ask, at_home, in_turns, load, python_of, save

if __name__ == "__main__":
    at_home("training", "api")
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
sys.path[:0] = [str(ROOT / "t5_training"), str(ROOT / "topic_sum_api")]

from t5sum.classify import train as classify  # noqa: E402
from t5sum.classify.labels import Labels  # noqa: E402
from t5sum.config import ClassifyTask  # noqa: E402
from t5sum.load import load_config  # noqa: E402
from t5sum.sources import masked  # noqa: E402

TOPIC = load_config([], {}).tasks["topic"]
LABELS = Labels(TOPIC)

BARS = {
    "macro-F1 over the tutorial": 2.0, "ECE": 0.03, "median ms": 5.0, "MB": 30.0, "seconds": 180,
    "peak MB": 3000,
}  # fmt: skip
Row = dict[str, str]
Split = dict[str, list[str]]  # split → a text or label for each row


def load_telegram() -> list[Row]:
    with gzip.open(SHARED / "telegram_posts_ru_topics.jsonl.gz", "rt", encoding="utf-8") as lines:
        posts = sorted((json.loads(line) for line in lines), key=lambda post: post["date"])
    return [{"text": post["text"], "title": "", "rubric": post["topic"]} for post in posts]


def load_headlines() -> list[Row]:
    with gzip.open(SHARED / "lenta_titles_topics_2024.csv.gz", "rt", encoding="utf-8", newline="") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: line["dates"])
    return [{"text": line["titles"], "title": "", "rubric": line["topics"]} for line in lines]


def load_articles() -> list[Row]:
    with gzip.open(SHARED / "tg2019_ru_fulltext.jsonl.gz", "rt", encoding="utf-8") as lines:
        articles = [json.loads(line) for line in lines]
    return [{"text": each["text"], "title": each["title"] or ""} for each in articles if each["text"]]


def train_topics(splits: dict[str, list[Row]], task: ClassifyTask, folder: Path) -> dict[str, Any]:
    """splits: oldest rows first; the stage has them the other way round."""
    newest_first = {split: part[::-1] for split, part in splits.items()}
    return classify.train("topic", newest_first, task, folder, lambda text: None)


def topic_source(row: Row, task: ClassifyTask, mask: list[str]) -> str:
    return masked(row, task.template, task.max_chars, mask)


def split_by_time(rows: list[Row]) -> dict[str, list[Row]]:
    first, second = len(rows) * 8 // 10, len(rows) * 9 // 10
    return {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}


# The first pipeline of any tutorial: its macro-F1 on test rows, or its milliseconds per text.
TUTORIAL = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
told = json.load(sys.stdin)
pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(*told["train"])
found = {}
if "test" in told:
    texts, labels = told["test"]
    found["macro_f1"] = 100 * f1_score(labels, pipeline.predict(texts), average="macro", zero_division=0)
times = []
for text in told.get("ask", []):
    began = time.thread_time()
    pipeline.predict_proba([text])
    times.append(1000 * (time.thread_time() - began))
if times:
    found["ms"] = statistics.median(times)
print(json.dumps(found))
"""


def tutorial(**told: Any) -> dict[str, float]:
    return ask(python_of("tutorial", ["scikit-learn"]), TUTORIAL, told)


def tutorial_macro_f1(splits: dict[str, list[Row]], topics: list[str]) -> float:
    """On the rows and topics that the exported model was judged on."""
    parts = {}
    for split in ("train", "test"):
        pairs = [(row["text"], LABELS.label(row)) for row in splits[split]]
        parts[split] = [(text, topic) for text, topic in pairs if topic in topics]
    return tutorial(**{split: list(zip(*pairs, strict=True)) for split, pairs in parts.items()})["macro_f1"]


def quality(folder: Path, settings: ClassifyTask, rounds: int) -> dict[str, Any]:
    return {
        "telegram posts": judged(load_telegram(), folder / "telegram", settings, rounds),
        "headlines": judged(load_headlines(), folder / "headlines", settings, rounds),
    }


def judged(rows: list[Row], folder: Path, settings: ClassifyTask, rounds: int) -> dict[str, Any]:
    splits, seeds = split_by_time(rows), itertools.count(settings.seed)
    reports: list[dict[str, Any]] = []

    def ours() -> float:
        how = replace(settings, seed=next(seeds))
        reports.append(train_topics(splits, how, folder)["report"])
        return exported(reports[-1])["test"]["macro_f1"]

    def exported(report: dict[str, Any]) -> dict[str, Any]:
        return next(each for each in report["candidates"] if each["name"] == report["chosen"])

    def peer() -> float:
        return tutorial_macro_f1(splits, [each["label"] for each in reports[-1]["labels"]])

    found = in_turns(rounds, {"ours": ours, "tutorial": peer})
    first = reports[0]
    return {
        "topics": len(first["labels"]), "rows": first["rows"], "exported": first["chosen"],
        "settings": exported(first)["settings"], "candidates": {
            each["name"]: {**each["test"], "latency_ms": each["latency_ms"], "size_mb": each["size_mb"]}
            for each in first["candidates"]
        },
        "macro_f1": Spread.of(found["ours"]), "tutorial": Spread.of(found["tutorial"]),
        "over_tutorial": Spread.of(a - b for a, b in zip(found["ours"], found["tutorial"], strict=True)),
        "under_best": Spread.of(
            max(each["test"]["macro_f1"] for each in report["candidates"]) - reached
            for report, reached in zip(reports, found["ours"], strict=True)
        ),
        "ece": Spread.of(report["calibration"]["ece"] for report in reports),
        "size_mb": Spread.of(exported(report)["size_mb"] for report in reports),
        "threshold": first["threshold"], "ablation": first["ablation"],
    }  # fmt: skip


def drawn(articles: list[Row], rows: int, topics: list[str], seed: int) -> list[Row]:
    """Rows made of the first half of one article and the second half of another; topics are drawn."""
    chance = random.Random(seed)
    made = []
    for _ in range(rows):
        one, other = chance.choice(articles), chance.choice(articles)["text"].split(". ")
        first = one["text"].split(". ")
        text = ". ".join([*first[: len(first) // 2], *other[len(other) // 2 :]])
        made.append({"text": text, "title": one["title"], "rubric": chance.choice(topics)})
    return made


def large(rows: int, settings: ClassifyTask) -> dict[str, Any]:
    """train_topics on `rows` articles in this process; call it in a fresh one for its memory."""
    articles, topics = load_articles(), list(TOPIC.labels)
    splits = {
        "train": drawn(articles, rows * 9 // 10, topics, 1),
        "validation": drawn(articles, rows // 20, topics, 2),
        "test": drawn(articles, rows // 20, topics, 3),
    }
    with tempfile.TemporaryDirectory() as folder:
        clock, processor = time.monotonic(), time.process_time()
        report = train_topics(splits, settings, Path(folder))["report"]
    return {
        "rows": sum(report["rows"].values()), "topics": len(report["labels"]),
        "seconds": round(time.monotonic() - clock, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "candidates": {each["name"]: each["train_seconds"] for each in report["candidates"]},
    }  # fmt: skip


def milliseconds(what: Any, arguments: list[Any]) -> dict[str, float]:
    """Processor milliseconds of what(argument): median and 95th percentile."""
    times = []
    for argument in arguments:
        began = time.thread_time()
        what(argument)
        times.append(1000 * (time.thread_time() - began))
    return {"median": round(float(np.median(times)), 2), "p95": round(float(np.percentile(times, 95)), 2)}


def speed(folder: Path, settings: ClassifyTask, rounds: int) -> dict[str, Any]:
    from topic_sum.inference.kinds.classify import Classify
    from topic_sum.inference.served.text import normalise

    articles, topics = load_articles(), list(TOPIC.labels)
    rows = drawn(articles, 2_400, topics, 4)
    found = train_topics(
        {"train": rows[:2000], "validation": rows[2000:2200], "test": rows[2200:]},
        replace(settings, forest_rows=0), folder,
    )  # fmt: skip
    began = time.process_time()
    section = {
        "kind": "classify", "source": settings.source, "path": "model.safetensors",
        "labels": found["labels"], "threshold": found["threshold"], "max_chars": settings.max_chars,
        "min_chars": settings.min_chars, "mask": settings.mask,
    }  # fmt: skip
    served = Classify.load("topic", section, folder)

    def values(row: Row) -> dict[str, str]:
        return {name: normalise(row.get(name, "")) for name in ("title", "text")}

    def detect(row: Row) -> object:
        return served.classify(values(row))

    def explain(row: Row) -> object:
        return served.classify(values(row), explain=True)

    load_ms = round(1000 * (time.process_time() - began))
    learned = [row["text"] for row in rows[:2000]], [row["rubric"] for row in rows[:2000]]
    chosen = articles[:300]
    asked = [row["text"] for row in chosen]
    turns = in_turns(rounds, {
        "ours": lambda: milliseconds(detect, chosen)["median"],
        "tutorial": lambda: tutorial(train=learned, ask=asked)["ms"],
    })  # fmt: skip
    long = [{"text": " ".join(each["text"] for each in articles[i : i + 20])[:10_000]} for i in range(20)]
    return {
        "load_ms": load_ms,
        "detect_ms": Spread.of(turns["ours"]), "tutorial_ms": Spread.of(turns["tutorial"]),
        "of_tutorial": Spread.of_ratios(turns["ours"], turns["tutorial"]),
        "source_ms": milliseconds(lambda row: served.source(values(row)), chosen),
        "detect_10000_characters_ms": milliseconds(detect, long),
        "explain_ms": milliseconds(explain, chosen[:40]),
        "explain_10000_characters_ms": milliseconds(explain, long),
        "median_characters": int(np.median([len(each["text"]) for each in chosen])),
        "source_characters": int(
            np.median([len(topic_source(each, settings, [])) for each in chosen])
        ),
    }  # fmt: skip


def load_titled(rows: int = 12_000) -> list[Row]:
    """The newest headlines with their leads, by the category of the service that collected them."""
    with gzip.open(SHARED / "newsapi_ru_headlines_leads.jsonl.gz", "rt", encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    items = sorted((each for each in items if each["topic"]), key=lambda each: each["published_at"])[-rows:]
    return [{"text": each["description"], "title": each["title"], "rubric": each["topic"]} for each in items]


def stemmed(texts: list[str]) -> list[str]:
    from nltk.stem.snowball import SnowballStemmer

    return by_word(texts, SnowballStemmer("russian").stem)


def lemmas(texts: list[str]) -> list[str] | None:
    try:
        import pymorphy3
    except ImportError:
        return None
    analyse = pymorphy3.MorphAnalyzer().parse
    return by_word(texts, lambda word: analyse(word)[0].normal_form)


def by_word(texts: list[str], change: Any) -> list[str]:
    known: dict[str, str] = {}
    result = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        result.append(" ".join(known.setdefault(word, known.get(word) or change(word)) for word in words))
    return result


def tried(settings: ClassifyTask) -> dict[str, Any]:
    """Macro-F1 on validation and test of the exported classifier's recipe with one thing changed at a time.

    Uncalibrated, so a few tenths below the figures of `quality`.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import f1_score

    def hashed(**how: Any) -> Any:
        return HashingVectorizer(n_features=2**settings.hash_bits, norm=None, alternate_sign=False, **how)

    words, single = hashed(ngram_range=(1, 2)), hashed()
    letters = hashed(analyzer="char_wb", ngram_range=(4, 5))

    def reached(
        texts: Split, labels: Split, blocks: list[Any], extra: Split | None = None, sublinear: bool = True,
        **how: Any,
    ) -> list[float]:  # fmt: skip
        def counts(split: str, fit: bool) -> Any:
            parts = []
            for number, block in enumerate(blocks):
                source = extra[split] if extra and number == 0 else texts[split]
                parts.append(block.fit_transform(source) if fit else block.transform(source))
            return hstack(parts, format="csr")

        weigh = TfidfTransformer(sublinear_tf=sublinear)
        x = weigh.fit_transform(counts("train", True))
        how = {"loss": "log_loss", "class_weight": "balanced", "alpha": 1 / (8 * x.shape[0]), **how}
        model = SGDClassifier(
            average=True, max_iter=max(5, 50_000 // x.shape[0]), tol=None, random_state=settings.seed,
            n_jobs=2, **how,
        ).fit(x, labels["train"])  # fmt: skip
        return [
            round(100 * float(f1_score(labels[split], model.predict(weigh.transform(counts(split, False))),
                                       average="macro", zero_division=0)), 2)
            for split in ("validation", "test")
        ]  # fmt: skip

    def sources(splits: dict[str, list[Row]], repeat: int) -> dict[str, list[str]]:
        title = "{title}\n" * repeat
        how = replace(settings, source=f"[{title}]{{text}}" if repeat else "{text}")
        return {split: [topic_source(row, how, how.mask) for row in rows] for split, rows in splits.items()}

    def labelled(rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, list[str]]]:
        splits = split_by_time(rows)
        counts = Counter(LABELS.label(row) for row in splits["train"])
        enough = {topic for topic, count in counts.items() if topic and count >= settings.min_rows}
        splits = {
            split: [row for row in part if LABELS.label(row) in enough] for split, part in splits.items()
        }
        return splits, {split: [LABELS.label(row) for row in part] for split, part in splits.items()}

    results: dict[str, Any] = {}
    for name, rows in (("telegram posts", load_telegram()), ("headlines", load_headlines())):
        splits, labels = labelled(rows)
        texts = sources(splits, 0)
        stems = {split: stemmed(part) for split, part in texts.items()}
        normal = {split: lemmas(part) for split, part in texts.items()}
        both = [words, letters]
        found = {
            "words": reached(texts, labels, [single]),
            "words, pairs": reached(texts, labels, [words]),
            "letters": reached(texts, labels, [letters]),
            "words, pairs, letters (exported)": reached(texts, labels, both),
            "stems, pairs": reached(stems, labels, [words]),
            "stems, pairs, letters": reached(texts, labels, both, extra=stems),
        }
        if normal["train"] is not None:
            found["lemmas, pairs"] = reached(normal, labels, [words])
            found["lemmas, pairs, letters"] = reached(texts, labels, both, extra=normal)
        found |= {
            "exported, counts not sublinear": reached(texts, labels, both, sublinear=False),
            "exported, no class weights": reached(texts, labels, both, class_weight=None),
            "exported, linear SVM": reached(texts, labels, both, loss="hinge"),
            "exported, vocabulary of 100,000": reached(
                texts, labels,
                [TfidfVectorizer(use_idf=False, norm=None, ngram_range=(1, 2), max_features=50_000),
                 TfidfVectorizer(use_idf=False, norm=None, analyzer="char_wb", ngram_range=(4, 5),
                                 max_features=50_000)],
            ),
        }  # fmt: skip
        results[name] = found
    splits, labels = labelled(load_titled())
    results["headlines with leads"] = {
        f"title {repeat} times": reached(sources(splits, repeat), labels, [words, letters])
        for repeat in range(4)
    }
    return results


def show(results: dict[str, Any]) -> list[str]:
    """The table, and the bars that were missed."""
    missed = []

    def line(what: str, value: float | Spread, bar: str, good: bool) -> None:
        print(f"  {what:44s} {told(value):>26s}   {'ok' if good else 'MISSED'} ({bar})")
        if not good:
            missed.append(what)

    def told(value: float | Spread) -> str:
        return str(value) if isinstance(value, Spread) else f"{value:.4g}"

    for name, each in results.get("quality", {}).items():
        print(f"\n{name}: {each['topics']} topics, rows {each['rows']}, exported {each['exported']}")
        print(f"  {'macro-F1 exported':44s} {told(each['macro_f1']):>26s}")
        print(f"  {'macro-F1 tutorial pipeline':44s} {told(each['tutorial']):>26s}")
        for candidate, figures in each["candidates"].items():
            print(f"  {'  candidate ' + candidate:44s} {told(figures['macro_f1']):>26s}")
        wanted = BARS["macro-F1 over the tutorial"]
        line("points over the tutorial", each["over_tutorial"], f"at least {wanted}",
             each["over_tutorial"].median >= wanted)  # fmt: skip
        line("points under the best candidate", each["under_best"], "at most 0.5",
             each["under_best"].median <= 0.5)  # fmt: skip
        ece, size = each["ece"], each["size_mb"]
        line("expected calibration error", ece, f"under {BARS['ECE']}", ece.median < BARS["ECE"])
        line("MB exported", size, f"under {BARS['MB']:g}", size.median < BARS["MB"])
        at = each["threshold"]
        print(
            f"  threshold {at['value']}: precision {at['test_precision']}, "
            f"answers {at['test_coverage']} of the test rows"
        )
        ablation = each["ablation"]
        print(
            f"  outlets masked in {ablation['test_rows_with_masked_words']} test rows; trained on "
            f"{ablation['rows']} masked rows {ablation['trained_masked_macro_f1']}, on the same as they are "
            f"{ablation['trained_unmasked_macro_f1']}"
        )
    if "speed" in results:
        each = results["speed"]
        print(f"\none article ({each['median_characters']} characters, {each['source_characters']} read)")
        detection = each["detect_ms"]
        line("ms of detection, median", detection, f"under {BARS['median ms']:g}",
             detection.median < BARS["median ms"])  # fmt: skip
        print(f"  {'ms of the tutorial pipeline':44s} {told(each['tutorial_ms']):>26s}")
        print(f"  {'ours / the tutorial':44s} {told(each['of_tutorial']):>26s}")
        for what in ("source_ms", "detect_10000_characters_ms", "explain_ms", "explain_10000_characters_ms"):
            print(f"  {what.replace('_', ' '):44s} {each[what]['median']:26.1f}   p95 {each[what]['p95']}")
        print(f"  {'ms to load':44s} {each['load_ms']:26d}")
    for name, found in results.get("tried", {}).items():
        print(f"\n{name + ': macro-F1':46s} {'validation':>10s} {'test':>8s}")
        for what, (validation, test) in found.items():
            print(f"  {what:44s} {validation:10.2f} {test:8.2f}")
    if "large" in results:
        each = results["large"]
        print(f"\n{each['rows']} articles, {each['topics']} topics, every candidate: {each['candidates']}")
        line("seconds on the clock", each["seconds"], f"under {BARS['seconds']}",
             each["seconds"] < BARS["seconds"])  # fmt: skip
        print(f"  {'seconds of processor':44s} {each['processor_seconds']:8.1f}")
        line("peak MB", each["peak_mb"], f"under {BARS['peak MB']}", each["peak_mb"] < BARS["peak MB"])
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", default="quality,speed,large", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3, help="of the parts `quality` and `speed`")
    parser.add_argument("--rows", type=int, default=60_000, help="articles in the part `large`")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--only-large", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    settings = TOPIC
    if not SHARED.is_dir():
        print(f"error: {SHARED} is absent; the benchmark needs its real texts", file=sys.stderr)
        return 5
    if args.only_large:
        print(json.dumps(large(args.rows, settings)))
        return 0
    parts = args.parts.split(",")
    if unknown := set(parts) - {"quality", "speed", "large", "tried"}:
        print(f"error: no such part: {', '.join(sorted(unknown))}; see --help", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"load_before": load()}
    with tempfile.TemporaryDirectory() as folder:
        if "quality" in parts:
            results["quality"] = quality(Path(folder), settings, args.rounds)
        if "speed" in parts:
            results["speed"] = speed(Path(folder) / "speed", settings, args.rounds)
    if "tried" in parts:
        results["tried"] = tried(settings)
    if "large" in parts:
        # A process of its own: its peak memory is the training's alone.
        done = subprocess.run(
            [sys.executable, __file__, "--only-large", "--rows", str(args.rows)],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        results["large"] = json.loads(done.stdout)
    missed = show(results)
    save(args.json, results)
    print(f"\n{'missed: ' + ', '.join(missed) if missed else 'every bar is reached'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
