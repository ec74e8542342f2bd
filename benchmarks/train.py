"""How many examples a second training does, next to transformers' Seq2SeqTrainer at its defaults.

    python3.11 benchmarks/train.py [--articles 96] [--effective 32] [--micro 4] [--shape small] [--bf16]
                                   [--rounds 3] [--json FILE]

All train the same random weights for one epoch over the same real articles (../shared/data), with the same
effective batch, lengths, precision and optimizer, in turns. The peer comes twice: at its defaults, which are
micro-batches of 8, drawn at random and padded to their longest; and with our micro-batch. It has an
environment of its own below artifacts/peers/, made when it is not there. Timed by the clock, and by the
processor time it took, so that other work on a shared machine does not count. Read the ratios: seconds hold
for one machine and one moment. On a GPU the clock decides; there the peak memory is printed too. Ends with 1
where ours does less than 1.5 times as much as the defaults.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from peers import TRANSFORMERS, Spread, ask, at_home, in_turns, load, python_of, save, table

ROOT = Path(__file__).resolve().parent.parent
NEWS = ROOT.parent / "shared" / "data" / "tg2019_ru_fulltext.jsonl.gz"
sys.path.insert(0, str(ROOT / "t5_training"))

PEERS = {"Trainer, defaults": 8, "Trainer, our micro-batch": 0}  # name → micro-batch; 0: ours
BAR = 1.5
SHAPES = {
    "tiny": ["d_model=128", "d_kv=32", "d_ff=512", "num_layers=4", "num_heads=4", "vocab_size=8000"],
    "small": ["d_model=512", "d_kv=64", "d_ff=2048", "num_layers=6", "num_heads=8", "vocab_size=16000"],
    "base": ["d_model=768", "d_kv=64", "d_ff=3072", "num_layers=12", "num_heads=12", "vocab_size=30000"],
}


# An epoch as the documentation writes it, over examples that are tokens already.
TRAINER = """
import json, sys, time
import torch
from transformers import (
    AutoModelForSeq2SeqLM, AutoTokenizer, DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.utils import logging
logging.disable_progress_bar()
given = json.load(sys.stdin)
torch.set_num_threads(given["threads"])
model = AutoModelForSeq2SeqLM.from_pretrained(given["model"])
collate, widths = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(given["model"]), model=model), []

def now():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time(), time.perf_counter()

class Clock(TrainerCallback):
    def on_epoch_begin(self, *_, **__):
        self.start = now()

    def on_step_end(self, *_, **__):
        self.end = now()

def watched(features):
    batch = collate(features)
    real = sum(len(each["input_ids"]) + len(each["labels"]) for each in features)
    widths.append((len(features), real, batch["input_ids"].numel() + batch["labels"].numel()))
    return batch

clock = Clock()
trainer = Seq2SeqTrainer(
    model=model, args=Seq2SeqTrainingArguments(**given["arguments"]), train_dataset=given["examples"],
    data_collator=watched, callbacks=[clock])
if torch.cuda.is_available():
    torch.cuda.reset_peak_memory_stats()
trainer.train()
print(json.dumps({
    "cpu": clock.end[0] - clock.start[0], "clock": clock.end[1] - clock.start[1],
    "examples": sum(count for count, _, _ in widths), "tokens": sum(real for _, real, _ in widths),
    "padded": sum(padded for _, _, padded in widths),
    "peak": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--articles", type=int, default=96)
    parser.add_argument("--effective", type=int, default=32)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--source", type=int, default=600)
    parser.add_argument("--target", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    if not NEWS.exists():
        print(f"error: {NEWS} is absent; the benchmark needs its real texts", file=sys.stderr)
        return 5

    import torch
    from t5sum.generate.model import quiet_libraries
    from t5sum.load import load_config

    before = load()
    precision = "bf16" if arguments.bf16 else "fp32"
    quiet_libraries()
    torch.set_num_threads(arguments.threads)
    config = load_config(
        [
            "model.base=scratch", *(f"model.scratch.{word}" for word in SHAPES[arguments.shape]),
            "model.scratch.dropout=0.1", f"train.effective_batch={arguments.effective}",
            f"train.micro_batch={arguments.micro}", "train.epochs=1", "train.patience=0",
            "train.eval_steps=1000000", "train.select_by=loss", f"train.precision={precision}",
            f"generate.source_max_tokens={arguments.source}",
            f"generate.target_max_tokens={arguments.target}",
            "train.warmup_steps=0", "train.save_minutes=0",
        ],
        {},
    )  # fmt: skip
    with gzip.open(NEWS, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row.get("summary") and row["text"]]
    runs = compare(rows[: arguments.articles], rows, config, arguments.rounds)
    print(
        f"\n{arguments.articles} articles, {arguments.shape}, effective batch {arguments.effective} in "
        f"micro-batches of {arguments.micro}, {precision}, {arguments.threads} threads, "
        f"{arguments.rounds} rounds"
    )

    def spread(name: str, above: str, below: str) -> Spread:
        return Spread.of(run[above] / run[below] for run in runs[name])

    lines = [
        (
            name, spread(name, "examples", "clock"), spread(name, "tokens", "clock"),
            f"{1 - runs[name][0]['tokens'] / runs[name][0]['padded']:.0%}", spread(name, "cpu", "examples"),
            *([f"{runs[name][0]['peak'] / 1e9:.2f}"] if torch.cuda.is_available() else []),
        )
        for name in runs
    ]  # fmt: skip
    head = ["", "examples/s", "tokens/s", "padding", "processor s per example"]
    table([*head, "peak GB"] if torch.cuda.is_available() else head, lines)
    ratios = {
        name: {
            what: Spread.of_ratios((run[what] for run in runs[name]), (run[what] for run in runs["ours"]))
            for what in ("cpu", "clock")
        }
        for name in PEERS
    }
    table(
        ["times the examples of", "in the same processor time", "by the clock", "asked"],
        [
            (name, ratios[name]["cpu"], ratios[name]["clock"], BAR if name == "Trainer, defaults" else "")
            for name in PEERS
        ],
    )
    asked = {name: str(value) for name, value in vars(arguments).items() if name != "json"}
    save(arguments.json, {"load_before": before, "asked": asked, "systems": runs, "ratios": ratios})
    decides = "clock" if torch.cuda.is_available() else "cpu"
    return int(ratios["Trainer, defaults"][decides].median < BAR)


def compare(
    rows: list[dict[str, Any]], all_rows: list[dict[str, Any]], config: Any, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """One epoch of each per round, over the same rows: system → seconds, examples, tokens, padded tokens."""
    import torch
    from t5sum.generate.examples import examples
    from t5sum.generate.model import choose_device
    from t5sum.generate.tokens import train_tokenizer
    from t5sum.generate.train import Attempt
    from t5sum.run.directory import TaskRun
    from t5sum.served.text import normalise
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Times the epoch's steps, without building the trainer."""

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.start = now()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.end = now()

    def now() -> tuple[float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.process_time(), time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        texts = [normalise(row["text"]) for row in all_rows]
        tokenizer = train_tokenizer(texts, config.model.scratch.vocab_size, Path(folder) / "tokenizer")
        task = config.tasks["summarize"]
        data = examples(rows, tokenizer, task)
        cpu, bf16, device = choose_device(config.train)
        print(f"device: {device}")

        python = python_of(*TRANSFORMERS)
        start = Path(folder) / "start"

        def ours() -> dict[str, float]:
            clock, widths = Clock(), []
            parts = {"train": data, "validation": data}
            run = TaskRun(Path(folder) / "ours")
            attempt = Attempt(run, config, task, tokenizer, parts, [], None, cpu, bf16)
            (Path(folder) / "ours").mkdir(exist_ok=True)
            trainer, _ = attempt.trainer(config.train.micro_batch)
            if not start.exists():
                trainer.model.save_pretrained(start)
                tokenizer.save_pretrained(start)
            trainer.args.save_strategy = trainer.args.eval_strategy = "no"
            collate = trainer.data_collator

            def watched(features: list[dict[str, Any]]) -> Any:
                batch = collate(features)
                real = sum(len(each["input_ids"]) + len(each["labels"]) for each in features)
                widths.append((len(features), real, batch["input_ids"].numel() + batch["labels"].numel()))
                return batch

            trainer.data_collator = watched
            trainer.add_callback(clock)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            trainer.train()
            return {
                "cpu": clock.end[0] - clock.start[0],
                "clock": clock.end[1] - clock.start[1],
                "examples": sum(count for count, _, _ in widths),
                "tokens": sum(real for _, real, _ in widths),
                "padded": sum(padded for _, _, padded in widths),
                "peak": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
            }

        def peer(micro_batch: int) -> dict[str, float]:
            settings = config.train
            return ask(python, TRAINER, {
                "model": str(start), "threads": torch.get_num_threads(),
                "examples": [
                    {"input_ids": data[i]["input_ids"].tolist(), "labels": data[i]["labels"].tolist()}
                    for i in range(len(data))
                ],
                "arguments": {
                    "output_dir": str(Path(folder) / "peer"), "per_device_train_batch_size": micro_batch,
                    "gradient_accumulation_steps": settings.effective_batch // micro_batch,
                    "learning_rate": settings.lr, "num_train_epochs": 1, "use_cpu": cpu, "bf16": bf16,
                    "report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no",
                },
            })  # fmt: skip

        def epoch(name: str) -> dict[str, float]:
            result = ours() if name == "ours" else peer(PEERS[name] or config.train.micro_batch)
            print(f"{name}: {result['clock']:.1f} s", flush=True)
            return result

        return in_turns(rounds, {name: partial(epoch, name) for name in ("ours", *PEERS)})


if __name__ == "__main__":
    at_home("training")
    sys.exit(main())
