"""Micro-batches of like lengths that leave every step's examples as they are."""

from __future__ import annotations

import numpy as np
import pytest
from t5sum.generate.batches import Collate, StepSampler


def lengths(count: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.stack([random.integers(5, 600, count), random.integers(5, 200, count)], axis=1)


def sampler(count: int, effective: int, micro: int, grouped: bool = True, epoch: int = 0) -> StepSampler:
    made = StepSampler(lengths(count), effective, micro, seed=42, grouped=grouped)
    made.epoch = epoch
    return made


@pytest.mark.parametrize(
    ("count", "effective", "micro"), [(1000, 256, 4), (1000, 16, 16), (7, 8, 4), (64, 8, 8), (1, 1, 1)]
)
@pytest.mark.parametrize("grouped", [True, False])
def test_every_example_comes_once_an_epoch(count: int, effective: int, micro: int, grouped: bool) -> None:
    assert sorted(sampler(count, effective, micro, grouped)) == list(range(count))


def test_epochs_differ_and_each_is_the_same_every_time() -> None:
    assert list(sampler(300, 32, 4)) == list(sampler(300, 32, 4))
    assert list(sampler(300, 32, 4, epoch=1)) != list(sampler(300, 32, 4))


def test_with_much_accumulation_a_step_has_the_examples_of_a_plain_shuffle() -> None:
    grouped, plain = list(sampler(1024, 256, 4)), list(sampler(1024, 256, 4, grouped=False))
    steps = {frozenset(grouped[i : i + 256]) for i in range(0, 1024, 256)}
    assert steps == {frozenset(plain[i : i + 256]) for i in range(0, 1024, 256)}


@pytest.mark.parametrize("effective", [8, 64, 256])
def test_the_steps_are_the_same_whatever_the_micro_batch(effective: int) -> None:
    def steps(micro: int) -> list[frozenset[int]]:
        order = list(sampler(1000, effective, micro))
        return [frozenset(order[i : i + effective]) for i in range(0, 1000, effective)]

    assert steps(8) == steps(4) == steps(1)


def test_like_sources_are_sorted_by_target() -> None:
    """Of micro-batches with the same source padding, the targets' padding is less than in order of source."""
    random = np.random.default_rng(7)
    both = np.stack([random.integers(50, 600, 1024), random.integers(5, 200, 1024)], axis=1)

    def padded(order: list[int]) -> int:
        return sum(4 * both[order[i : i + 4], 1].max() for i in range(0, 1024, 4))

    ours = list(StepSampler(both, 256, 4, 0, True))
    by_source = np.concatenate(
        [sorted(ours[i : i + 256], key=lambda at: -both[at, 0]) for i in range(0, 1024, 256)]
    )
    assert padded(ours) < 0.85 * padded(by_source.tolist())


@pytest.mark.parametrize(("effective", "micro"), [(256, 4), (16, 16)])
def test_grouping_saves_most_of_the_padding(effective: int, micro: int) -> None:
    def padded(order: list[int]) -> int:
        blocks = [order[i : i + micro] for i in range(0, len(order), micro)]
        return sum(len(block) * lengths(2048)[block, 0].max() for block in blocks)

    real = int(lengths(2048)[:, 0].sum())
    plain, grouped = (
        padded(list(sampler(2048, effective, micro, False))),
        padded(list(sampler(2048, effective, micro))),
    )
    assert grouped - real < 0.2 * (plain - real)


@pytest.mark.parametrize("count", [1000, 1024, 70])
def test_the_longest_example_comes_in_the_first_step(count: int) -> None:
    for epoch in range(3):
        first = list(sampler(count, 64, 4, epoch=epoch))[:64]
        assert lengths(count)[first, 0].max() == lengths(count)[:, 0].max()


def test_a_batch_is_padded_to_its_longest_and_the_decoder_reads_the_target_shifted() -> None:
    features = [
        {"input_ids": np.array([5, 6, 1]), "labels": np.array([7, 1]), "row": 3},
        {"input_ids": np.array([8, 1]), "labels": np.array([9, 10, 1]), "row": 4},
    ]
    batch = Collate(pad=0, start=0, multiple=1)(features)
    assert batch["input_ids"].tolist() == [[5, 6, 1], [8, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[7, 1, -100], [9, 10, 1]]
    assert batch["decoder_input_ids"].tolist() == [[0, 7, 1], [0, 9, 10]]
    assert batch["row"].tolist() == [3, 4]
    assert Collate(pad=0, start=0, multiple=8)(features)["input_ids"].shape == (2, 8)


def test_the_decoder_reads_what_the_model_itself_would_make_of_the_labels() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
    )
    batch = Collate(pad=0, start=0, multiple=4)(
        [{"input_ids": np.array([5, 1]), "labels": np.array([7, 8, 9, 1, 1][:n]), "row": 0} for n in (2, 5)]
    )
    expected = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    assert batch["decoder_input_ids"].tolist() == expected.tolist()
