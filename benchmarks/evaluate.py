"""How long an evaluation takes, and whether its numbers are the packages'.

    python3.11 benchmarks/evaluate.py                 all of it, a few minutes
    python3.11 benchmarks/evaluate.py metrics generation --articles 6000

metrics      seconds to score N articles, with one system and with all the baselines, in turns
agreement    our scores beside those of rouge-score, sacrebleu, nltk and `rouge` 0.3.2, and the processor time
             of both
generation   articles a second through the int8 export and through transformers' `generate`, same beams, same
             CPU, in turns, for a model of ruT5-base's shape with random weights

The packages stand in environments of their own below artifacts/peers/, made when they are not there.
Ends with 1 where a score differs by more than 1e-9 points, the metrics of 6,000 articles take a minute, or
the export writes fewer than 3 times as many articles a second as transformers. Real news beside the checkout
(../shared) is used where it is there, else the invented news of the demo.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from peers import TRANSFORMERS, Spread, ask, at_home, in_turns, load, python_of, save, table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "t5_training"), str(ROOT / "demo")]
REAL = ROOT.parent / "shared" / "data" / "tg2019_ru_fulltext.jsonl.gz"

PEERS = ["rouge-score", "sacrebleu", "nltk", "rouge==0.3.2", "six"]
LEAST = 3.0  # times transformers' articles a second
FULL = 6 * 60  # tokens out, below which loading weighs more than writing
APART = 1e-9  # points
SECONDS = 60  # for the metrics of 6,000 articles
# Each package is given its words: how a text is cut into them is what one has to agree on first.
PACKAGES = """
import json, sys, time
from nltk.translate.bleu_score import corpus_bleu
from nltk.translate.chrf_score import corpus_chrf
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
pairs = json.load(sys.stdin)

class Words:
    def tokenize(self, text):
        return pairs["words"][text]

def timed(function):
    began = time.process_time()
    scores = function()
    return {"scores": scores, "seconds": time.process_time() - began}

def standard():
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Words())
    found = [scorer.score(r, p) for p, r in zip(pairs["predictions"], pairs["references"], strict=True)]
    means = {name: 100 * sum(pair[name].fmeasure for pair in found) / len(found) for name in found[0]}
    bleu = BLEU(tokenize="intl").corpus_score(pairs["predictions"], [pairs["references"]]).score
    chrf = CHRF().corpus_score(pairs["predictions"], [pairs["references"]]).score
    return means | {"bleu": bleu, "chrf": chrf}

def published():
    predictions, references = pairs["joined predictions"], pairs["joined references"]
    found = Rouge().get_scores(predictions, references, avg=True)
    names = {"rouge1": "rouge-1", "rouge2": "rouge-2", "rougeL": "rouge-l"}
    return {ours: 100 * found[name]["f"] for ours, name in names.items()} | {
        "bleu": 100 * corpus_bleu([[text.split(" ")] for text in references],
                                  [text.split(" ") for text in predictions]),
        "chrf": 100 * corpus_chrf(references, predictions, beta=1.0),
    }

print(json.dumps({"standard": timed(standard), "published": timed(published)}))
"""
# As one writes it for speed: longest first, eight at a time.
GENERATE = """
import json, sys, time
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging
logging.disable_progress_bar()
told = json.load(sys.stdin)
torch.set_num_threads(told["threads"])
tokenizer = AutoTokenizer.from_pretrained(told["folder"])
model = AutoModelForSeq2SeqLM.from_pretrained(told["folder"], dtype=torch.float32).eval()
texts = sorted(told["texts"], key=len, reverse=True)
began, tokens = time.monotonic(), 0
for start in range(0, len(texts), 8):
    inputs = tokenizer(texts[start : start + 8], return_tensors="pt", padding=True, truncation=True,
                       max_length=told["source"])
    with torch.inference_mode():
        output = model.generate(**inputs, **told["generation"])
    tokens += int((output[:, 1:] != model.config.pad_token_id).sum())
    tokenizer.batch_decode(output, skip_special_tokens=True)
print(json.dumps({"per_second": len(texts) / (time.monotonic() - began), "tokens": tokens}))
"""


def news(count: int) -> tuple[list[dict], str]:
    """`count` rows with text and summary, repeated where there are fewer, and where they came from."""
    if REAL.exists():
        with gzip.open(REAL, "rt", encoding="utf-8") as lines:
            found = [
                {"text": row["body"], "summary": row["summary"], "title": row["title"]}
                for row in map(json.loads, lines)
                if row.get("summary") and row.get("body")
            ]
        source = "real"
    else:
        from news import generate

        found = [
            {"text": " ".join(each["paragraphs"]), "summary": each["summary"], "title": each["title"]}
            for each in generate(min(count, 2000))
        ]
        source = "invented"
    rows = list(itertools.islice(itertools.cycle(found), count))
    return rows, f"{source} articles ({len(found)} different)"


def metrics(count: int, rounds: int) -> dict:
    from t5sum.judge.scoring import Article, compare_all, score_systems
    from t5sum.served.support import known_names

    rows, source = news(count)
    spent: dict[str, list[float]] = {}

    def scored(with_baselines: bool) -> float:
        """Seconds on the clock; those of the processor are added to `spent`."""
        articles = [
            Article(row["text"], row["summary"], {"model": " ".join(row["text"].split()[8:48])})
            for row in rows
        ]
        started, cpu = time.monotonic(), _cpu()
        names = known_names(row["text"] for row in rows[:2000])
        systems = score_systems(articles, with_baselines, names)
        compare_all(systems, "model", 1000, 0.95, 42)
        spent.setdefault(ways[with_baselines], []).append(_cpu() - cpu)
        return time.monotonic() - started

    ways = ("model, lead-1", "with lead-3, TextRank, oracle")
    found = in_turns(rounds, {ways[0]: partial(scored, False), ways[1]: partial(scored, True)})
    print(f"\nmetrics: {count} {source}, {os.cpu_count()} cores, {rounds} rounds")
    figures: dict = {"articles": count, "cores": os.cpu_count(), "rounds": rounds, "good": True}
    for name, seconds in found.items():
        figures[name] = {"seconds": Spread.of(seconds), "processor_seconds": Spread.of(spent[name])}
        figures["good"] &= figures[name]["seconds"].median < SECONDS or count > 6000
    table(
        ["", "seconds", "processor seconds", "asked"],
        [(name, *figures[name].values(), f"{SECONDS} for 6000") for name in ways],
    )
    return figures


def _cpu() -> float:
    """Seconds of CPU of this process and of those it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def agreement(count: int, rounds: int) -> dict:
    import razdel
    from t5sum.judge.metrics import score, tokens, words
    from t5sum.judge.published import published_scores

    rows, source = news(count)
    predictions = [" ".join(s.text for s in list(razdel.sentenize(row["text"]))[:2]) for row in rows]
    references = [row["summary"] for row in rows]

    def joined(texts: list[str]) -> list[str]:
        return [" ".join(t.text for t in razdel.tokenize(text)).lower() for text in texts]

    told = {
        "predictions": predictions, "references": references,
        "words": {text: words(tokens(text)) for text in predictions + references},
        "joined predictions": joined(predictions), "joined references": joined(references),
    }  # fmt: skip
    python = python_of("evaluate", PEERS)

    def theirs() -> dict:
        return ask(python, PACKAGES, told)

    def ours() -> dict:
        found = {}
        for name, function in (("standard", score), ("published", published_scores)):
            began = time.process_time()
            scores = function(predictions, references)
            found[name] = {"scores": scores, "seconds": time.process_time() - began}
        return found

    score(predictions[:1], references[:1])  # what is imported on the way is not counted
    published_scores(predictions[:1], references[:1])
    found = in_turns(rounds, {"ours": ours, "theirs": theirs})
    print(
        f"\nagreement on {count} pairs of {source}: two first sentences against the summary, {rounds} rounds"
    )
    figures: dict = {"articles": count, "rounds": rounds}
    for name, packages in (("standard", "rouge-score, sacrebleu"), ("published", "rouge 0.3.2, nltk")):
        mine, other = found["ours"][0][name]["scores"], found["theirs"][0][name]["scores"]
        assert set(other) >= {"rouge1", "rouge2", "rougeL", "bleu", "chrf"}
        apart = {metric: abs(mine[metric] - value) for metric, value in other.items()}
        seconds = {who: Spread.of(each[name]["seconds"] for each in found[who]) for who in found}
        ratio = Spread.of_ratios(
            (each[name]["seconds"] for each in found["theirs"]),
            (each[name]["seconds"] for each in found["ours"]),
        )
        figures[name] = {"apart": max(apart.values()), "seconds": seconds, "ratio": ratio}
        table(
            [f"{name}: {packages}", "ours", "theirs", "apart"],
            [
                *((metric, f"{mine[metric]:.4f}", f"{value:.4f}", f"{apart[metric]:.0e}")
                  for metric, value in other.items()),
                ("processor seconds, theirs / ours", seconds["ours"], seconds["theirs"], ratio),
            ],
        )  # fmt: skip
    figures["good"] = max(figures[name]["apart"] for name in ("standard", "published")) <= APART
    return figures


def generation(count: int, beams: int, tokens: int, rounds: int) -> dict:
    import torch
    from ctranslate2.converters import TransformersConverter
    from t5sum.generate.model import quiet_libraries
    from t5sum.generate.predict import Export, generate
    from t5sum.generate.tokens import train_tokenizer
    from transformers import T5Config, T5ForConditionalGeneration

    quiet_libraries()

    rows, source = news(2000)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tokenizer = train_tokenizer([row["text"] for row in rows[:1500]], 8000, folder / "pieces")
        torch.manual_seed(0)
        shape = T5Config(
            vocab_size=len(tokenizer), d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        model = T5ForConditionalGeneration(shape)
        print(f"generation: {model.num_parameters() / 1e6:.0f} M parameters, random weights", flush=True)
        model.save_pretrained(folder)
        del model
        tokenizer.save_pretrained(folder)
        TransformersConverter(str(folder)).convert(str(folder / "ct2"), quantization="int8")
        how = {"beam_size": beams, "no_repeat_ngram_size": 4, "max_decoding_length": tokens,
               "length_penalty": 1.0, "repetition_penalty": 1.0}  # fmt: skip
        export = Export(folder, "summarize", {
            "source": "summarize: {text}", "eos": "</s>", "compute_type": "int8", "model": "ct2",
            "tokenizer": "tokenizer.json", "source_max_tokens": 600, "generation": how,
        })  # fmt: skip
        chosen = rows[:count]
        python = python_of(*TRANSFORMERS)
        told = {
            "folder": str(folder), "texts": export.sources(chosen), "source": 600,
            "generation": {
                "num_beams": beams, "no_repeat_ngram_size": how["no_repeat_ngram_size"],
                "max_new_tokens": tokens, "length_penalty": how["length_penalty"], "do_sample": False,
                "early_stopping": beams > 1,  # CTranslate2 ends a beam search so
            },
        }  # fmt: skip

        def transformers(threads: int) -> float:
            return ask(python, GENERATE, told | {"threads": threads})["per_second"]

        ways = {"int8 export": lambda: generate(export, chosen, device="cpu").per_second}
        # torch counts physical cores; where two of ours are one of those, its own choice may not be its best.
        for threads in sorted({torch.get_num_threads(), os.cpu_count() or 1}):
            ways[f"transformers, {threads} threads"] = partial(transformers, threads)
        found = in_turns(rounds, ways)
    ours, *peers = ways
    best = max(peers, key=lambda name: Spread.of(found[name]).median)
    ratios = {name: Spread.of_ratios(found[ours], found[name]) for name in peers}
    print(
        f"\ngeneration: {count} {source}, {beams} beams, at most {tokens} tokens out, "
        f"{os.cpu_count()} cores, {rounds} rounds"
    )
    table(
        ["", "articles/s", "ours / this", "asked"],
        [
            (name, Spread.of(found[name]), ratios.get(name, ""), f"{LEAST:g}" if name == best else "")
            for name in ways
        ],
    )
    return {
        "articles": count, "beams": beams, "tokens": tokens, "rounds": rounds, "per_second": found,
        "ratios": ratios, "good": count * tokens < FULL or ratios[best].median >= LEAST,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("metrics", "agreement", "generation")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all when none is named"
    )
    parser.add_argument("--articles", type=int, default=6000, help="articles for metrics")
    parser.add_argument("--generated", type=int, default=12, help="articles for generation")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=60, help="most tokens of a generated summary")
    parser.add_argument("--rounds", type=int, default=3, help="of each part")
    parser.add_argument("--json", type=Path, help="write every figure there")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen = asked.parts or parts
    figures: dict = {"load_before": load()}
    if "agreement" in chosen:
        figures["agreement"] = agreement(200, asked.rounds)
    if "metrics" in chosen:
        figures["metrics"] = metrics(asked.articles, asked.rounds)
    if "generation" in chosen:
        figures["generation"] = generation(asked.generated, asked.beams, asked.tokens, asked.rounds)
    save(asked.json, figures)
    return int(not all(figures.get(part, {}).get("good", True) for part in parts))


if __name__ == "__main__":
    at_home("training", "api")
    sys.exit(main())
