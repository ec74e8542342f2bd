"""transformers' Seq2SeqTrainer with four changes.

Micro-batches hold texts of similar length, while each optimizer step sees the same examples whatever the
micro-batch is. The loss is the mean over the tokens of the whole step. A checkpoint counts only once all of
it is on disk. A loss or gradient that is no number stops training before it can spoil the weights.
"""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch.nn.functional import cross_entropy
from transformers import Seq2SeqTrainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from t5sum import StageError, first_line
from t5sum.config import TrainConfig
from t5sum.generate.batches import StepSampler
from t5sum.judge.metrics import score
from t5sum.progress import Progress, duration, say
from t5sum.run.energy import Spent
from t5sum.run.ranks import together
from t5sum.run.tracking import Tracked

COMPLETE = "complete"  # the last file written into a checkpoint
PROBE_STEPS = 20  # after which the hours ahead are announced
LONG_SECONDS = 600
OVERFLOWS = 24  # steps in a row that fp16's scaled loss may leave out while it looks for its scale


class NotFinite(Exception):
    """A loss or gradient that is no number; `rows` are the examples at fault, if they are known."""

    def __init__(self, what: str, rows: list[int]) -> None:
        super().__init__(what)
        self.what, self.rows = what, rows


class SummaryTrainer(Seq2SeqTrainer):
    """Seq2SeqTrainer with our batches, token-mean loss, whole checkpoints and choice of the best one."""

    def __init__(self, *, settings: TrainConfig, tokenizer: Any, target_tokens: int, references: list[str],
                 lengths: np.ndarray, **others: Any) -> None:  # fmt: skip
        self.settings, self.tokenizer, self.target_tokens = settings, tokenizer, target_tokens
        self.references = references
        self.sampler = StepSampler(
            lengths, settings.effective_batch, settings.micro_batch, settings.seed, settings.group_by_length
        )
        self.overflows = 0
        self.updating = False  # inside optimizer.step(): the weights are not to be trusted if it fails
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows and loss of this step's micro-batches
        super().__init__(**others)
        self.model_accepts_loss_kwargs = True  # have the Trainer count the tokens of the whole step
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return self.sampler

    def _run_epoch(self, **arguments: Any) -> None:
        self.sampler.epoch = arguments["epoch"]
        super()._run_epoch(**arguments)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        rows = inputs.pop("row")
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.seen.append((rows, loss.detach()))  # read once per step: reading from a GPU means waiting for it
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> Any:  # fmt: skip
        """Cross-entropy summed over the micro-batch, divided by the tokens of the whole step.

        The model's own loss is a mean over each micro-batch: with texts grouped by length it would weigh the
        tokens of short summaries more than those of long ones.
        """
        inputs = {name: value for name, value in inputs.items() if name != "row"}
        labels = inputs.pop("labels")
        outputs = model(**inputs, use_cache=False)
        loss = cross_entropy(
            outputs.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum",
            label_smoothing=self.settings.label_smoothing if model.training else 0.0,
        )  # fmt: skip
        if num_items_in_batch is None:
            loss = loss / (labels != -100).sum()
        else:  # gradients are averaged over processes
            loss = loss / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        seen, self.seen = self.seen, []
        if math.isfinite(norm):
            self.overflows = 0
            return norm
        # Every process comes here: the norm is that of all gradients. Which of them had the bad loss?
        broken = [(loss.item(), rows.tolist()) for rows, loss in seen if not torch.isfinite(loss)]
        for loss, rows in gather_object(broken):
            raise NotFinite(f"the loss became {loss}", rows)
        self.overflows += 1
        if self.args.fp16 and self.overflows <= OVERFLOWS:  # the scaler skips this step and halves its scale
            return norm
        rows = gather_object([row for rows, _ in seen for row in rows.tolist()])
        raise NotFinite("the gradients became infinite or not a number", rows)

    # -------------------------------------------------------------- validation

    def evaluate(self, *arguments: Any, **others: Any) -> dict[str, float]:
        """Validation loss; out of memory, the validation batch is halved."""
        while True:
            try:
                return super().evaluate(*arguments, **others)
            except RuntimeError as error:
                if not out_of_memory(error) or self.args.per_device_eval_batch_size == 1:
                    raise
            self.args.per_device_eval_batch_size //= 2
            free_memory()
            say(f"validation: out of memory, going on with batches of {self.args.per_device_eval_batch_size}")

    def _evaluate(self, *arguments: Any, **others: Any) -> dict[str, float]:
        metrics = super()._evaluate(*arguments, **others)
        if self.settings.select_by == "rougeL":
            metrics["eval_rougeL"] = self.rouge()
            self.log({"eval_rougeL": metrics["eval_rougeL"]})
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        found = super()._determine_best_metric(metrics, trial)
        if patience_is_over(self.state.log_history, self.state.best_global_step, self.settings.patience):
            self.control.should_training_stop = True
            self.control.should_save = True
        return found

    def rouge(self) -> float:
        """ROUGE-L of greedy summaries of the first validation rows."""
        data, model = self.eval_dataset, self.accelerator.unwrap_model(self.model)
        model.eval()
        count = min(len(self.references), len(data))
        order = sorted(range(count), key=lambda i: -len(data[i]["input_ids"]))
        predictions = [""] * count
        progress = Progress("validation summaries", count)
        start = 0
        while start < count:
            block = order[start : start + self.args.per_device_eval_batch_size]
            batch = self.data_collator([data[i] for i in block])
            try:
                with torch.no_grad(), self.accelerator.autocast():
                    written = model.generate(
                        input_ids=batch["input_ids"].to(self.args.device),
                        attention_mask=batch["attention_mask"].to(self.args.device),
                        max_new_tokens=self.target_tokens, num_beams=1, do_sample=False,
                    )  # fmt: skip
            except RuntimeError as error:
                if not out_of_memory(error) or len(block) == 1:
                    raise
                self.args.per_device_eval_batch_size = max(1, len(block) // 2)
                free_memory()
                continue
            texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
            for i, text in zip(block, texts, strict=True):
                predictions[i] = text
            start += len(block)
            progress.update(start)
        progress.end()
        return score(predictions, self.references[:count])["rougeL"]

    # -------------------------------------------------------------- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint counts once its last file, `complete`, is there; a half-written one never does."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            if self.args.should_save and folder.exists():
                (folder / COMPLETE).unlink(missing_ok=True)
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save and folder.exists():
                sync(folder)
                (folder / COMPLETE).touch()
        except (OSError, RuntimeError, ValueError) as error:
            if out_of_memory(error):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            free = shutil.disk_usage(self.args.output_dir).free / 1e9
            last = last_checkpoint(Path(self.args.output_dir))
            raise StageError(
                f"the checkpoint of step {self.state.global_step} could not be written to {folder.parent} "
                f"({first_line(error)}); {free:.1f} GB are free there. Make room, then the same command "
                f"goes on from {'step ' + last.name.split('-')[1] if last else 'the beginning'}"
            ) from None


def sync(folder: Path) -> None:
    """Have the disk hold what was written: a power cut must not leave a checkpoint that only looks whole."""
    if os.name != "posix":
        return
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def drop_half_written(folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path)


def patience_is_over(history: list[dict[str, Any]], best: int | None, patience: int) -> bool:
    """Whether `patience` validations went by without a better one. history: the Trainer's own log."""
    stale = {entry["step"] for entry in history if "eval_loss" in entry and entry["step"] > (best or 0)}
    return bool(patience) and len(stale) >= patience


class Watch(TrainerCallback):
    """Shows progress, writes log.jsonl, saves by the clock, and stops at a whole step on Ctrl+C."""

    def __init__(
        self, log: Path, settings: TrainConfig, spent: Spent | None = None, tracked: Tracked | None = None
    ) -> None:
        self.log, self.settings, self.spent, self.tracked = log, settings, spent, tracked
        self.interrupted = False
        self.saved = time.monotonic()
        self.note = ""
        self.progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        if self.log.exists():  # lines after the checkpoint belong to steps that are done again
            lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                line
                for line in lines
                if line.endswith("\n") and json.loads(line)["step"] <= state.global_step
            ]
            self.log.write_text("".join(kept), encoding="utf-8")
        self.progress = Progress("train", state.max_steps, state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        line = {"step": state.global_step, "time": datetime.now(UTC).isoformat(timespec="seconds"), **logs}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.spent:
            self.spent.meter.read()
        if self.tracked:
            self.tracked.log(line)
        if "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}, lr {logs['learning_rate']:.1e}"
        names = {"eval_loss": "loss {:.4f}", "eval_rougeL": "ROUGE-L {:.2f}"}
        for name, words in names.items():
            if name in logs:
                if self.progress:
                    self.progress.end()
                say(f"validation at step {state.global_step}: {words.format(logs[name])}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress and state.global_step == self.progress.first + PROBE_STEPS:
            left = self.progress.left(state.global_step)
            if left > LONG_SECONDS:
                self.progress.end()
                say(f"train: at the speed of the first {PROBE_STEPS} steps about {duration(left)} to go")
        if self.progress:
            self.progress.update(state.global_step, note=self.note)
        if self.interrupted:
            control.should_save = control.should_training_stop = True
        elif self.settings.save_minutes and self.time_to_save(args.world_size, state.global_step):
            control.should_save = True

    def time_to_save(self, processes: int, step: int) -> bool:
        """By the first process's clock; several processes ask for it only now and then."""

        def due() -> bool:
            return time.monotonic() - self.saved > 60 * self.settings.save_minutes

        return due() if processes == 1 else step % self.settings.log_steps == 0 and together(due)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.updating = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.updating = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
        if self.spent and state.is_world_process_zero:
            self.spent.note()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress.end()

    def interrupt(self, number: int, frame: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        say("stopping after this step; a checkpoint is kept (press again to stop at once)")


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
