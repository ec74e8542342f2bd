"""How many examples a second training does, next to transformers' Seq2SeqTrainer at its defaults.

    .venv/bin/python benchmarks/train.py [--articles 96] [--effective 32] [--micro 4] [--shape small] [--bf16]
                                     [--json FILE]

All train the same random weights for one epoch over the same real articles (../shared/data), with the same
effective batch, lengths, precision and optimizer. The peer comes twice: at its defaults, which are
micro-batches of 8, drawn at random and padded to their longest; and with our micro-batch. Timed by the clock,
and by the processor time it took, so that other work on a shared machine does not count. Read the ratios:
seconds hold for one machine and one moment. On a GPU the clock decides; there the peak memory is printed too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    if not NEWS.exists():
        print(f"skipped: {NEWS.name} is not in ../shared/data", file=sys.stderr)
        return 0

    import torch
    from t5sum.config import load_config
    from t5sum.train import quiet_libraries

    precision = "bf16" if arguments.bf16 else "fp32"
    quiet_libraries()
    torch.set_num_threads(arguments.threads)
    config = load_config(
        [
            "model.base=scratch", *(f"model.scratch.{word}" for word in SHAPES[arguments.shape]),
            "model.scratch.dropout=0.1", f"train.effective_batch={arguments.effective}",
            f"train.micro_batch={arguments.micro}", "train.epochs=1", "train.patience=0",
            "train.eval_steps=1000000", "train.select_by=loss", f"train.precision={precision}",
            f"summarize.source_max_tokens={arguments.source}",
            f"summarize.target_max_tokens={arguments.target}",
            "train.warmup_steps=0", "train.save_minutes=0",
        ],
        {},
    )  # fmt: skip
    with gzip.open(NEWS, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row.get("summary") and row["text"]]
    results = compare(rows[: arguments.articles], rows, config)
    ours = results["ours"]
    print(
        f"\n{arguments.articles} articles, {arguments.shape}, effective batch {arguments.effective} in "
        f"micro-batches of {arguments.micro}, {precision}, {arguments.threads} threads"
    )
    print(f"{'':26}{'examples/s':>12}{'tokens/s':>10}{'padding':>9}{'CPU s':>8}{'clock s':>9}")
    for name, result in results.items():
        print(
            f"{name:26}{result['examples'] / result['clock']:12.2f}{result['tokens'] / result['clock']:10.0f}"
            f"{1 - result['tokens'] / result['padded']:9.0%}{result['cpu']:8.1f}{result['clock']:9.1f}"
        )
    for name in PEERS:
        peer = results[name]
        print(
            f"ours against {name}: {peer['cpu'] / ours['cpu']:.2f} times the examples in the same processor "
            f"time, {peer['clock'] / ours['clock']:.2f} by the clock (asked of the defaults: {BAR})"
        )
    if torch.cuda.is_available():
        for name, result in results.items():
            print(f"{name}: peak GPU memory {result['peak'] / 1e9:.2f} GB")
    if arguments.json:
        asked = {name: str(value) for name, value in vars(arguments).items() if name != "json"}
        arguments.json.write_text(json.dumps({"asked": asked, "systems": results}, indent=1))
    return int(results["Trainer, defaults"]["cpu"] / ours["cpu"] < BAR)


def compare(
    rows: list[dict[str, Any]], all_rows: list[dict[str, Any]], config: Any
) -> dict[str, dict[str, float]]:
    """One epoch of each over the same rows: system → seconds, examples, tokens without and with padding."""
    import torch
    from t5sum.runs import Run
    from t5sum.tasks import examples, normalise
    from t5sum.tokens import train_tokenizer
    from t5sum.train import Attempt, choose_device
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

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

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        texts = [normalise(row["text"]) for row in all_rows]
        tokenizer = train_tokenizer(texts, config.model.scratch.vocab_size, Path(folder) / "tokenizer")
        data = examples(rows, tokenizer, config.summarize)
        cpu, bf16, device = choose_device(config.train)
        print(f"device: {device}")
        for name in ("ours", *PEERS):
            clock, widths = Clock(), []

            def watched(collate: Any, widths: list[tuple[int, int, int]] = widths) -> Any:
                def work(features: list[dict[str, Any]]) -> Any:
                    batch = collate(features)
                    real = sum(len(each["input_ids"]) + len(each["labels"]) for each in features)
                    padded = batch["input_ids"].numel() + batch["labels"].numel()
                    widths.append((len(features), real, padded))
                    return batch

                return work

            parts = {"train": data, "validation": data}
            attempt = Attempt(Run(Path(folder) / name), config, tokenizer, parts, [], None, cpu, bf16)
            (Path(folder) / name).mkdir()
            ours, _ = attempt.trainer(config.train.micro_batch)
            if name == "ours":
                trainer = ours
                trainer.args.save_strategy = trainer.args.eval_strategy = "no"
                trainer.data_collator = watched(trainer.data_collator)
            else:
                settings = config.train
                micro_batch = PEERS[name] or settings.micro_batch
                trainer = Seq2SeqTrainer(
                    model=ours.model,
                    args=Seq2SeqTrainingArguments(
                        output_dir=str(Path(folder) / name), per_device_train_batch_size=micro_batch,
                        gradient_accumulation_steps=settings.effective_batch // micro_batch,
                        learning_rate=settings.lr, num_train_epochs=1, use_cpu=cpu, bf16=bf16, report_to=[],
                        save_strategy="no", disable_tqdm=True, logging_strategy="no",
                    ),
                    train_dataset=[
                        {"input_ids": data[i]["input_ids"].tolist(), "labels": data[i]["labels"].tolist()}
                        for i in range(len(data))
                    ],
                    data_collator=watched(DataCollatorForSeq2Seq(tokenizer, model=ours.model)),
                )  # fmt: skip
            trainer.add_callback(clock)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            trainer.train()
            results[name] = {
                "cpu": clock.end[0] - clock.start[0],
                "clock": clock.end[1] - clock.start[1],
                "examples": sum(count for count, _, _ in widths),
                "tokens": sum(real for _, real, _ in widths),
                "padded": sum(padded for _, _, padded in widths),
                "peak": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
            }
            print(f"{name}: {results[name]['clock']:.1f} s", flush=True)
            del trainer, ours, attempt
    return results


if __name__ == "__main__":
    sys.exit(main())
