"""How long an evaluation takes, and whether its numbers are the packages'.

    .venv/bin/python benchmarks/evaluate.py                 all of it, a few minutes
    .venv/bin/python benchmarks/evaluate.py metrics generation --articles 6000

metrics      seconds to score N articles, with one system and with all the baselines
agreement    our scores beside rouge-score, sacrebleu, nltk (and `rouge` 0.3.2, where it is installed)
generation   articles a second through the int8 export and through transformers, same beams, same CPU, for a
             model of ruT5-base's shape with random weights

Real news beside the checkout (../shared) is used where it is there, else the invented news of the demo.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "t5_training"), str(ROOT / "demo")]
REAL = ROOT.parent / "shared" / "data" / "tg2019_ru_fulltext.jsonl.gz"


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


def metrics(count: int) -> dict:
    from t5sum.scoring import Article, compare_all, score_systems
    from t5sum.support import known_names

    rows, source = news(count)
    figures: dict = {"articles": count, "cores": os.cpu_count()}
    for with_baselines in (False, True):
        articles = [
            Article(row["text"], row["summary"], {"model": " ".join(row["text"].split()[8:48])})
            for row in rows
        ]
        started, cpu = time.monotonic(), _cpu()
        names = known_names(row["text"] for row in rows[:2000])
        systems = score_systems(articles, with_baselines, names)
        scored = time.monotonic() - started
        compare_all(systems, "model", 1000, 0.95, 42)
        whole = time.monotonic() - started
        what = "model, lead-1, lead-3, TextRank, oracle" if with_baselines else "model, lead-1"
        figures[what] = {"seconds": round(whole, 1), "processor_seconds": round(_cpu() - cpu, 1)}
        print(
            f"metrics: {count} {source}, {what}: {whole:.1f} s on {os.cpu_count()} cores "
            f"({_cpu() - cpu:.1f} s of CPU; intervals {whole - scored:.1f} s)",
            flush=True,
        )
    return figures


def _cpu() -> float:
    """Seconds of CPU of this process and of those it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def agreement(count: int = 200) -> dict:
    import razdel
    from nltk.translate.bleu_score import corpus_bleu
    from nltk.translate.chrf_score import corpus_chrf
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF
    from t5sum.metrics import score, tokens, words
    from t5sum.published import published_scores

    rows, source = news(count)
    predictions = [" ".join(s.text for s in list(razdel.sentenize(row["text"]))[:2]) for row in rows]
    references = [row["summary"] for row in rows]
    print(f"agreement on {count} pairs of {source}: two first sentences against the summary")

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(tokens(text))

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Words())
    pairs = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
    theirs = {name: 100 * sum(pair[name].fmeasure for pair in pairs) / count for name in pairs[0]}
    theirs["bleu"] = BLEU(tokenize="intl").corpus_score(predictions, [references]).score
    theirs["chrf"] = CHRF().corpus_score(predictions, [references]).score
    figures = {
        "rouge-score, sacrebleu": _compare("rouge-score, sacrebleu", score(predictions, references), theirs)
    }

    joined = [
        [" ".join(t.text for t in razdel.tokenize(text)).lower() for text in side]
        for side in (predictions, references)
    ]
    split = [[text.split(" ") for text in side] for side in joined]
    theirs = {
        "bleu": 100 * corpus_bleu([[one] for one in split[1]], split[0]),
        "chrf": 100 * corpus_chrf(joined[1], joined[0], beta=1.0),
    }
    packages = "nltk"
    try:
        from rouge import Rouge
    except ImportError:
        print("  (rouge is not installed: pip install rouge==0.3.2 six, in an environment of its own)")
    else:
        found = Rouge().get_scores(*joined, avg=True)
        theirs |= {
            ours: 100 * found[name]["f"]
            for ours, name in (("rouge1", "rouge-1"), ("rouge2", "rouge-2"), ("rougeL", "rouge-l"))
        }
        packages = "rouge, nltk"
    label = f"published column: {packages}"
    return {**figures, label: _compare(label, published_scores(predictions, references), theirs)}


def _compare(label: str, ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Print both; the largest difference."""
    worst = max(abs(ours[name] - value) for name, value in theirs.items())
    told = ", ".join(f"{name} {ours[name]:.4f} / {value:.4f}" for name, value in theirs.items())
    print(f"  {label}: ours / theirs: {told}; largest difference {worst:.1e}", flush=True)
    return worst


def generation(count: int, beams: int, tokens: int) -> dict:
    import torch
    from ctranslate2.converters import TransformersConverter
    from t5sum.generate import generate, generate_full_precision
    from t5sum.tokens import train_tokenizer
    from transformers import T5Config, T5ForConditionalGeneration

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
        tasks = {"format": 1, "summarize": {
            "prefix": "summarize: ", "with_title": False, "eos": "</s>", "compute_type": "int8",
            "tokenizer": "tokenizer.json", "source_max_tokens": 600,
            "generation": {"beam_size": beams, "no_repeat_ngram_size": 4, "max_decoding_length": tokens,
                           "length_penalty": 1.0, "repetition_penalty": 1.0}}}  # fmt: skip
        (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        chosen = rows[:count]
        ours = generate(folder, chosen, device="cpu")
        print(
            f"  int8 export:  {ours.per_second:.3f} articles/s ({count} in {ours.seconds:.1f} s)", flush=True
        )
        peers = []
        # torch counts physical cores; where two of ours are one of those, its own choice may not be its best.
        for threads in sorted({torch.get_num_threads(), os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            peer = generate_full_precision(folder, chosen)
            peers.append(peer.per_second)
            print(
                f"  transformers, {threads} threads: {peer.per_second:.3f} articles/s "
                f"({count} in {peer.seconds:.1f} s)",
                flush=True,
            )
        print(
            f"  ratio to its best {ours.per_second / max(peers):.1f} at {beams} beams, at most {tokens} "
            f"tokens out, {source}, {os.cpu_count()} cores"
        )
    return {"ours_per_second": ours.per_second, "peer_per_second": max(peers), "articles": count,
            "ratio": ours.per_second / max(peers), "beams": beams, "tokens": tokens}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("metrics", "agreement", "generation")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all when none is named"
    )
    parser.add_argument("--articles", type=int, default=6000, help="articles for metrics")
    parser.add_argument("--generated", type=int, default=12, help="articles for generation")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=60, help="most tokens of a generated summary")
    parser.add_argument("--json", type=Path, help="write every figure there")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen = asked.parts or parts
    figures = {}
    if "agreement" in chosen:
        figures["agreement"] = agreement()
    if "metrics" in chosen:
        figures["metrics"] = metrics(asked.articles)
    if "generation" in chosen:
        figures["generation"] = generation(asked.generated, asked.beams, asked.tokens)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
