"""Fine-tunes on the rows, resumes from its last checkpoint by itself, keeps the best one."""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Seq2SeqTrainingArguments

from t5sum import StageError
from t5sum.config import Config, GenerateTask
from t5sum.data import Row, Rows, name_of, newest
from t5sum.generate import preflight
from t5sum.generate.batches import Collate
from t5sum.generate.examples import Examples, Replaced, examples
from t5sum.generate.model import build_model, choose_device, quiet_libraries
from t5sum.generate.plan import PLANNED, keep_plan, steps_of
from t5sum.generate.tokens import load_tokenizer, train_tokenizer
from t5sum.generate.trainer import (
    COMPLETE,
    NotFinite,
    SummaryTrainer,
    Watch,
    drop_half_written,
    free_memory,
    last_checkpoint,
    out_of_memory,
    patience_is_over,
)
from t5sum.progress import Progress, say
from t5sum.run.directory import TaskRun, read_json, write_json
from t5sum.run.energy import Meter, Spent
from t5sum.run.ranks import first_then_all, rank, world_size
from t5sum.run.tracking import Tracked, tracked
from t5sum.served.text import normalise
from t5sum.sources import prompt, text_of, values_of

NOT_FINITE = "not_finite.json"  # in a task's folder: the examples whose loss or gradients were no numbers


@dataclass(frozen=True)
class Outcome:
    """What training gave, as JSON values: for provenance.json and the report."""

    steps: int
    best_step: int
    best_metric: float
    metric: str
    device: str
    micro_batch: int
    train_examples: int
    validation_examples: int
    seconds: float  # over all processes that worked on it, like joules: the run may have been stopped
    joules: float | None
    joules_of: str | None  # GPU or processor
    plan: dict[str, float]  # the settings that plan.py names

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


def train(run: TaskRun, rows: Rows, base: Path | None, config: Config, task: GenerateTask) -> dict[str, Any]:
    """Train on the rows and leave the best checkpoint, with its tokenizer, in `run.trained`.

    base: the folder of the base model; None for a model of our own shape. Goes on from the last whole
    checkpoint in `run.checkpoints`. Raises StageError with one line for all that a user can meet, and
    KeyboardInterrupt after Ctrl+C, with a checkpoint kept.
    """
    quiet_libraries()
    settings = config.train
    if settings.threads:
        torch.set_num_threads(settings.threads)
    cpu, bf16, device = choose_device(settings)
    say(f"device: {device}")
    if cpu and settings.device != "cpu" and (advice := preflight.gpu_without_its_torch()):
        say(advice)

    training = newest(rows["train"], config.data.train_rows)
    validation = newest(rows["validation"], config.data.validation_rows)
    tokenizer = first_then_all(lambda: make_tokenizer(run, training, base, config, task))
    cache = run.run.path.parent / "tokens"
    parts = {}
    for name, part in (("train", training), ("validation", validation)):
        progress = Progress(f"tokens of the {name} split", len(part))
        parts[name] = first_then_all(partial(examples, part, tokenizer, task, cache, progress.update))
        progress.end()
    lengths = parts["train"].lengths
    say(
        f"examples: {len(lengths)} train, {len(parts['validation'])} validation; median "
        f"{np.median(lengths[:, 0]):.0f} source and {np.median(lengths[:, 1]):.0f} target tokens"
    )

    if (stopped := run.path / NOT_FINITE).exists():
        rows_at_fault = read_json(stopped)["rows"]
        parts["train"] = Replaced.of(parts["train"], rows_at_fault)
        say(f"examples: {len(rows_at_fault)} that stopped training before are left out")
    planned = replace(config, train=keep_plan(run.path / "plan.json", len(parts["train"]), settings))
    notes = run.path / "memory.json"  # what a shortage of memory taught an earlier attempt
    micro_batch = read_json(notes)["micro_batch"] if notes.exists() else settings.micro_batch
    if settings.effective_batch is None:  # a small planned batch may be smaller than a micro-batch
        micro_batch = math.gcd(micro_batch, max(1, planned.train.effective_batch // world_size()))
    spent = Spent(run.path / "spent.json", Meter([] if cpu else gpus()))
    prefix = f"{run.path.name}_" if len(config.of_kind("generate")) > 1 else ""
    with tracked(run.run, config, run.log, prefix) as tracker:
        while True:
            references = [normalise(text_of(row[task.target])) for row in validation]
            attempt = Attempt(run, planned, task, tokenizer, parts, references, base, cpu, bf16)
            attempt.notes = (spent, tracker)
            outcome = attempt.fit(micro_batch, [name_of(row) for row in training])
            if outcome is not None:
                break
            del attempt
            free_memory()
            micro_batch //= 2
            write_json(notes, {"micro_batch": micro_batch})
            say(
                f"out of memory: going on with micro-batches of {micro_batch}, accumulated to the same "
                f"{planned.train.effective_batch} examples per step"
            )
    if rank():
        return {}
    cost = spent.note()
    best = finish(run, tokenizer)
    state = read_json(best / "trainer_state.json")
    result = Outcome(
        outcome, state["global_step"], state["best_metric"], f"validation {settings.select_by}", device,
        micro_batch, len(parts["train"]), len(parts["validation"]), **cost,
        plan={name: getattr(planned.train, name) for name in PLANNED},
    )  # fmt: skip
    say(f"best checkpoint: step {result.best_step}, {result.metric} {result.best_metric:.4f}")
    return result.as_json()


def gpus() -> list[str]:
    """UUIDs of the GPUs that train on this machine."""
    used = range(torch.cuda.device_count()) if world_size() > 1 else [torch.cuda.current_device()]
    return [f"GPU-{torch.cuda.get_device_properties(each).uuid}" for each in used]


def make_tokenizer(
    run: TaskRun, rows: list[Row], base: Path | None, config: Config, task: GenerateTask
) -> Any:
    folder = run.path / "tokenizer"
    texts = (prompt(row, task.template) for row in rows)
    if base is not None:
        sample = [text for text, _ in zip(texts, range(200), strict=False)]
        return load_tokenizer(base, sample)
    if not folder.exists():
        say(f"tokenizer: training {config.model.scratch.vocab_size} pieces on {len(rows)} articles")
        fresh = folder.with_suffix(".part")
        train_tokenizer(
            (text for row in rows for text in texts_of(row, task)),
            config.model.scratch.vocab_size, fresh / "training", config.train.seed,
        ).save_pretrained(fresh)  # fmt: skip
        fresh.replace(folder)
    return load_tokenizer(folder, [])


def texts_of(row: Row, task: GenerateTask) -> list[str]:
    """The texts that a tokenizer of our own learns from: every column of the template, and the target."""
    return [*filter(None, values_of(row, task.template).values()), normalise(text_of(row[task.target]))]


class Attempt:
    """One try at training with one micro-batch."""

    def __init__(self, run: TaskRun, config: Config, task: GenerateTask, tokenizer: Any,
                 parts: dict[str, Examples], references: list[str], base: Path | None, cpu: bool,
                 bf16: bool) -> None:  # fmt: skip
        self.run, self.config, self.task, self.tokenizer, self.parts = run, config, task, tokenizer, parts
        self.references, self.base, self.cpu, self.bf16 = references, base, cpu, bf16
        self.notes: tuple[Spent | None, Tracked | None] = (None, None)  # what is recorded besides the log

    def fit(self, micro_batch: int, urls: list[str]) -> int | None:
        """Train to the end and return the steps; None when memory ran out and less at once may help."""
        folder = self.run.checkpoints
        folder.mkdir(parents=True, exist_ok=True)
        last = last_checkpoint(folder)
        if last is not None:
            state = read_json(last / "trainer_state.json")
            if self.over(state):
                return state["global_step"]
            say(f"going on from step {state['global_step']}")
        trainer, watch = self.trainer(micro_batch)
        if trainer.args.should_save:
            drop_half_written(folder)
        handlers = {}
        if trainer.args.world_size == 1 and in_main_thread():
            handlers = {
                number: signal.signal(number, watch.interrupt) for number in (signal.SIGINT, signal.SIGTERM)
            }
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except NotFinite as error:
            self.explain(error, trainer.state.global_step, urls)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if micro_batch == 1 or trainer.args.world_size > 1:
                raise StageError(
                    f"out of memory at step {trainer.state.global_step} with micro-batches of {micro_batch}: "
                    "set train.activation_checkpointing=always, or a smaller "
                    f"tasks.{self.run.path.name}.source_max_tokens or train.micro_batch",
                    met_alone=True,
                ) from None
            self.keep(trainer, last)
            return None
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if watch.interrupted:
            raise KeyboardInterrupt
        return trainer.state.global_step

    def over(self, state: dict[str, Any]) -> bool:
        """Whether an earlier process had trained to the end and stopped only after that."""
        settings = self.config.train
        return state["global_step"] >= self.steps() or patience_is_over(
            state["log_history"], state["best_global_step"], settings.patience
        )

    def steps(self) -> int:
        settings = self.config.train
        examples = len(self.parts["train"])
        return settings.max_steps or steps_of(examples, settings.effective_batch, settings.epochs)

    def keep(self, trainer: SummaryTrainer, last: Path | None) -> None:
        """Save the last finished step before a new attempt, unless its weights may be half updated."""
        for parameter in trainer.model.parameters():
            parameter.grad = None
        free_memory()
        done = int(last.name.split("-")[1]) if last else 0
        if trainer.state.global_step > done and not trainer.updating:
            trainer._save_checkpoint(trainer.model, None)

    def explain(self, error: NotFinite, step: int, urls: list[str]) -> None:
        """Have the next attempt leave out the examples at fault, and say so. Raises StageError."""
        last, stopped = last_checkpoint(self.run.checkpoints), self.run.path / NOT_FINITE
        if rank() == 0:
            before = read_json(stopped)["rows"] if stopped.exists() else []
            write_json(stopped, {"rows": sorted({*before, *error.rows})})
        start = f"step {last.name.split('-')[1]}, which is intact," if last else "the beginning"
        at_fault = ", ".join(urls[row] for row in error.rows[:8]) + (" …" if len(error.rows) > 8 else "")
        fp16 = "set train.precision=fp32 or " if self.config.train.precision == "fp16" else ""
        raise StageError(
            f"{error.what} at step {step + 1}, articles {at_fault}. The same command goes on from {start} "
            f"without them. If it stops again, {fp16}lower train.lr (now {self.config.train.lr:g}): that "
            "begins another run"
        ) from None

    def trainer(self, micro_batch: int) -> tuple[SummaryTrainer, Watch]:
        settings = self.config.train
        world = world_size()
        if settings.effective_batch % (micro_batch * world):
            raise StageError(
                f"train.effective_batch={settings.effective_batch} must be a multiple of {world} processes "
                f"times train.micro_batch={micro_batch}",
                2,
            )
        model = build_model(self.base, self.config.model.scratch, self.tokenizer, settings.seed)
        longest = np.concatenate([part.lengths for part in self.parts.values()]).max(axis=0)
        shape = preflight.Shape.of(model, micro_batch, *longest.tolist())
        if last_checkpoint(self.run.checkpoints) is None:
            preflight.check_disk(self.run.path, shape.parameters, settings)
        schedule = {"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule)
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(self.run.checkpoints), seed=settings.seed, use_cpu=self.cpu, bf16=self.bf16,
            fp16=settings.precision == "fp16",
            per_device_train_batch_size=micro_batch, per_device_eval_batch_size=settings.eval_batch,
            gradient_accumulation_steps=settings.effective_batch // (micro_batch * world),
            learning_rate=settings.lr, lr_scheduler_type=schedule, warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay, max_grad_norm=settings.max_grad_norm or math.inf,
            optim={"adamw": "adamw_torch_fused"}.get(settings.optimizer, settings.optimizer),
            num_train_epochs=settings.epochs, max_steps=settings.max_steps or -1,
            eval_strategy="steps", eval_steps=settings.eval_steps, save_strategy="steps",
            save_steps=settings.eval_steps, save_total_limit=settings.keep_checkpoints,
            logging_steps=settings.log_steps, logging_first_step=True, logging_nan_inf_filter=False,
            metric_for_best_model="eval_loss" if settings.select_by == "loss" else "eval_rougeL",
            greater_is_better=settings.select_by != "loss", prediction_loss_only=True,
            remove_unused_columns=False, report_to=[], disable_tqdm=True,
            activation_checkpointing=preflight.choose_checkpointing(
                shape, settings, self.bf16 or settings.precision == "fp16", self.cpu),
            dataloader_num_workers=0, ddp_find_unused_parameters=False,
        )  # fmt: skip
        arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are torchrun's work, never DataParallel's
        watch = Watch(self.run.log, settings, *self.notes)
        watch.trainer = SummaryTrainer(
            settings=settings, tokenizer=self.tokenizer,
            target_tokens=self.task.target_max_tokens,
            references=self.references[: settings.rouge_rows],
            lengths=self.parts["train"].lengths, model=model, args=arguments,
            data_collator=Collate(
                self.tokenizer.pad_token_id, model.config.decoder_start_token_id, 1 if self.cpu else 8),
            train_dataset=self.parts["train"], eval_dataset=self.parts["validation"], callbacks=[watch],
        )  # fmt: skip
        return watch.trainer, watch


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def finish(run: TaskRun, tokenizer: Any) -> Path:
    """Copy the best checkpoint's model and the tokenizer to `run.trained`, whole or not at all."""
    last = last_checkpoint(run.checkpoints)
    assert last is not None
    best = read_json(last / "trainer_state.json")["best_global_step"]
    chosen = run.checkpoints / f"checkpoint-{best}" if best else last
    if not (chosen / COMPLETE).exists():
        chosen = last
    fresh = run.path / "trained.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path in chosen.iterdir():
        if path.name in ("config.json", "generation_config.json") or path.suffix == ".safetensors":
            shutil.copy2(path, fresh / path.name)
    tokenizer.save_pretrained(fresh)
    shutil.rmtree(run.trained, ignore_errors=True)
    fresh.replace(run.trained)
    draw_loss(run.log, run.path / "loss.png")
    return chosen


def draw_loss(log: Path, picture: Path) -> None:
    """The loss over the steps, from log.jsonl."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(line["step"], line[name]) for line in lines if name in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if name == "eval_loss" else None)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss, nats per token")
    axes.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
