"""Which examples go into which micro-batch, and tensors out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

PLAIN = 256  # examples from this many examples on, a step holds enough of similar length by itself
WINDOW = 512  # examples that smaller steps are cut from
ALIKE = 3  # micro-batches of similar sources, sorted among themselves by target


class StepSampler(Sampler[int]):
    """Example indices of one epoch, step after step, such that neighbours have similar lengths.

    Each epoch is shuffled, cut into windows, sorted by length inside each window and cut into steps of
    `effective_batch`, which are shuffled again. A large step is a window of its own: then its examples are
    exactly those of a plain shuffle. Which examples a step holds does not depend on the micro-batch, so a run
    with a halved micro-batch continues with the same steps. The longest example comes in the first step, so
    that a run that does not fit in memory fails at once.
    """

    def __init__(
        self, lengths: np.ndarray, effective_batch: int, micro_batch: int, seed: int, grouped: bool
    ) -> None:
        self.lengths, self.effective_batch, self.seed, self.grouped = lengths, effective_batch, seed, grouped
        steps = 1 if effective_batch >= PLAIN else math.ceil(WINDOW / effective_batch)
        self.window = effective_batch * steps
        self.alike = ALIKE * micro_batch
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        if not self.grouped:
            return iter(order.tolist())
        longest = int(np.argmax(self.lengths[order, 0]))
        if longest >= len(order) - len(order) % self.effective_batch:  # not in the short step at the end
            order[[0, longest]] = order[[longest, 0]]
        steps = []
        for start in range(0, len(order), self.window):
            window = self.sort(order[start : start + self.window])
            steps += [
                window[i : i + self.effective_batch] for i in range(0, len(window), self.effective_batch)
            ]
        last = [steps.pop()] if len(steps[-1]) < self.effective_batch else []
        random.shuffle(steps)  # type: ignore[arg-type]
        if steps:
            heaviest = max(range(len(steps)), key=lambda i: self.lengths[steps[i], 0].max())
            steps[0], steps[heaviest] = steps[heaviest], steps[0]
        return iter(np.concatenate([self.arrange(step) for step in steps + last]).tolist())

    def arrange(self, step: np.ndarray) -> np.ndarray:
        """The same examples, such that micro-batches cut from them waste little: targets are padded too."""
        step = step[np.argsort(-self.lengths[step, 0], kind="stable")]
        parts = [step[i : i + self.alike] for i in range(0, len(step), self.alike)]
        return np.concatenate([part[np.argsort(-self.lengths[part, 1], kind="stable")] for part in parts])

    def sort(self, indices: np.ndarray) -> np.ndarray:
        """Longest first; among sources of nearly the same length, by target, which is padded on its own."""
        source, target = self.lengths[indices].T
        return indices[np.lexsort((-target, -(source // 16)))]


class Collate:
    """Examples → tensors padded to their longest, rounded up to `multiple`; (batch, tokens), int64."""

    def __init__(self, pad: int, start: int, multiple: int) -> None:
        self.pad, self.start, self.multiple = pad, start, multiple

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        source = self.stack([each["input_ids"] for each in features], self.pad)
        labels = self.stack([each["labels"] for each in features], -100)
        lengths = torch.tensor([len(each["input_ids"]) for each in features])
        decoder = labels.roll(1, dims=1).masked_fill(labels.roll(1, dims=1) == -100, self.pad)
        decoder[:, 0] = self.start
        return {
            "input_ids": source,
            "attention_mask": (torch.arange(source.shape[1]) < lengths[:, None]).long(),
            "labels": labels,
            "decoder_input_ids": decoder,
            "row": torch.tensor([each["row"] for each in features]),
        }

    def stack(self, arrays: Sequence[np.ndarray], fill: int) -> torch.Tensor:
        width = max(map(len, arrays))
        table = np.full((len(arrays), -(-width // self.multiple) * self.multiple), fill, np.int64)
        for line, array in zip(table, arrays, strict=True):
            line[: len(array)] = array
        return torch.from_numpy(table)
