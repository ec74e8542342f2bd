"""T5 itself as a topic classifier: it reads "topic: " and the text, and writes the topic's name.

Compared with the others when topic.t5_rows asks for it, and never exported: the API serves linear
classifiers and forests, and a T5 takes hundreds of milliseconds a text on a CPU where the first take two.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t5sum.classify.candidates import Candidate

PREFIX = "topic: "
SOURCE_TOKENS = 256
BATCH = 16
EPOCHS = 3
LEARNING_RATE = 1e-3  # T5's own for fine-tuning
AT_ONCE = 8  # texts scored together, each with every topic's name


class T5Topics:
    """A T5 that knows the probability of each topic's name; looks like a scikit-learn pipeline."""

    def __init__(self, model: Any, tokenizer: Any, names: Sequence[str]) -> None:
        import torch

        self.model, self.tokenizer = model, tokenizer
        self.classes_ = np.arange(len(names))
        self.temperature = 1.0
        ids = [[*tokenizer(name, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
               for name in names]  # fmt: skip
        width = max(map(len, ids))
        self.names = torch.tensor([each + [-100] * (width - len(each)) for each in ids])  # (topics, width)

    def read(self, texts: Sequence[str]) -> dict[str, Any]:
        """Sources as padded token ids on the model's device."""
        import torch

        ids = self.tokenizer(
            [PREFIX + text for text in texts], add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        ids = [torch.tensor([*each[: SOURCE_TOKENS - 1], self.tokenizer.eos_token_id]) for each in ids]
        padded = torch.nn.utils.rnn.pad_sequence(ids, True, self.tokenizer.pad_token_id)
        mask = torch.arange(padded.shape[1]) < torch.tensor([len(each) for each in ids])[:, None]
        device = self.model.device
        return {"input_ids": padded.to(device), "attention_mask": mask.long().to(device)}

    def loss(self, texts: Sequence[str], labels: np.ndarray) -> Any:
        """Mean cross-entropy of the right names' tokens."""
        return self.model(**self.read(texts), labels=self.names[labels].to(self.model.device)).loss

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, topics): how probable each topic's whole name is, as a logarithm; they need not add up."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        self.model.eval()
        count, blocks = len(self.names), []
        for start in range(0, len(texts), AT_ONCE):
            with torch.no_grad():
                batch = self.read(texts[start : start + AT_ONCE])
                states = self.model.get_encoder()(**batch).last_hidden_state  # read once for all the names
                labels = self.names.to(self.model.device).repeat(len(states), 1)
                logits = self.model(
                    encoder_outputs=BaseModelOutput(states.repeat_interleave(count, 0)),
                    attention_mask=batch["attention_mask"].repeat_interleave(count, 0), labels=labels,
                ).logits  # fmt: skip
                spoken = logits.float().log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
                blocks.append((spoken * (labels >= 0)).sum(1).reshape(-1, count).cpu().numpy())
        return np.concatenate(blocks) if blocks else np.zeros((0, count))

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[None]:
        """Have torch work in the calling thread alone."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def shares(self, spoken: np.ndarray) -> np.ndarray:
        """Log-probabilities → probabilities that add up, calibrated."""
        from scipy.special import softmax

        return softmax(spoken / self.temperature, axis=1)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return self.shares(self.log_probabilities(texts))


def train_t5(
    train: tuple[Sequence[str], np.ndarray],
    validation: tuple[Sequence[str], np.ndarray],
    names: Sequence[str],
    rows: int,
    seed: int,
    folder: Path,
    tell: Callable[[int, int], None],
) -> Candidate:
    """Fine-tune the T5 in `folder` on the newest `rows` of train; sources and label numbers, oldest first.

    names: what it writes for each label. tell: (texts read, texts to read in all). Raises StageError (2) for
    a folder that holds no usable T5.
    """
    import torch
    import transformers

    from t5sum.generate.tokens import load_tokenizer
    from t5sum.generate.train import build_model, quiet_libraries

    quiet_libraries()
    began = time.monotonic()
    sources, labels = train[0][-rows:], train[1][-rows:]
    tokenizer = load_tokenizer(folder, [PREFIX + text for text in sources[:200]])
    gpu = torch.cuda.is_available()
    model = build_model(folder, None, tokenizer, seed).to("cuda" if gpu else "cpu").train()
    topics = T5Topics(model, tokenizer, names)
    transformers.set_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    batches = EPOCHS * -(-len(sources) // BATCH)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / batches)
    bf16 = gpu and torch.cuda.get_device_capability()[0] >= 8
    order, shuffled = random.Random(seed), list(range(len(sources)))
    for epoch in range(EPOCHS):
        order.shuffle(shuffled)
        for start in range(0, len(shuffled), BATCH):
            chosen = shuffled[start : start + BATCH]
            with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
                loss = topics.loss([sources[i] for i in chosen], labels[chosen])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            falling.step()
            optimizer.zero_grad()
            tell(epoch * len(shuffled) + start + len(chosen), EPOCHS * len(shuffled))
    spoken = topics.log_probabilities(validation[0])
    topics.temperature = temperature(spoken, validation[1])
    seconds = time.monotonic() - began
    model.to("cpu")  # where the API would run it
    said = topics.shares(spoken)
    how = {"rows": len(sources), "epochs": EPOCHS, "lr": LEARNING_RATE, "source_tokens": SOURCE_TOKENS}
    return Candidate("t5", how, topics, seconds, said, said, validation[1])


def temperature(spoken: np.ndarray, labels: np.ndarray) -> float:
    """What to divide log-probabilities by, so that they lose least on these labels."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not len(labels):
        return 1.0
    right = np.arange(len(labels)), labels
    loss = lambda power: -log_softmax(spoken / np.exp(power), axis=1)[right].mean()  # noqa: E731
    return float(np.exp(minimize_scalar(loss, bounds=(-2, 4), method="bounded").x))
