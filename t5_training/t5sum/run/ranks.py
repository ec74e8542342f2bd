"""Several processes (torchrun, accelerate launch): the first decides and writes, the others train with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from t5sum import StageError

Value = TypeVar("Value")
# The others wait while the first downloads, tokenizes, trains a tokenizer.
PATIENCE = timedelta(hours=12)


def rank() -> int:
    """This process's number, as the launcher says; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> None:
    """Meet the other processes; does nothing for a single one. device: train.device."""
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)


def together(work: Callable[[], Value]) -> Value:
    """Have the first process do `work`, and give its result (or its StageError) to all of them."""
    if world_size() == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    outcome: list = [None, None]
    if rank() == 0:
        try:
            outcome = ["gave", work()]
        except StageError as error:
            outcome = ["failed", (str(error), error.code)]
        except BaseException:
            broadcast_object_list(["failed", ("the first process failed", 1)])
            raise
    kind, value = broadcast_object_list(outcome)
    if kind == "failed":
        raise StageError(*value)
    return value


def first_then_all(work: Callable[[], Value]) -> Value:
    """Have every process do `work`, the first before the others, who find what it left on the disk."""
    kept: list[Value] = []
    together(lambda: kept.append(work()))
    return kept[0] if kept else work()


def part() -> None:
    """Leave the other processes, after the work that needs them."""
    if world_size() > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
