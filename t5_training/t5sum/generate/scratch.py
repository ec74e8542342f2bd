"""A T5 of our own shape, for the demo and the tests: weights that are random but know where to look.

A summary copies names and numbers out of the text. From T5's usual random weights a model of this size learns
the wording of summaries in the demo's few minutes, but no copying. Three choices of the first weights bring
copying forward; all are learned on from there like any others:

- cross-attention begins by handing over what it looks at (values times output is the identity), after
  "Mimetic Initialization of Self-Attention Layers", Trockman and Kolter 2023;
- self-attention begins by looking at neighbours, as in ALiBi (Press et al. 2022): some heads left, some
  right, some at both sides, some everywhere;
- the first head of cross-attention begins by looking at what follows the last written word in the text, an
  induction head (Olsson et al. 2022), which otherwise takes most of the training to form.

docs/decisions/0004-invented-news.md has the measured difference.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from t5sum.config import ScratchConfig

FAR = 8.0  # attention logits: e^-8 is as good as not looking
MATCH = 0.5
ENCODER_SLOPES = (1.0, 1.0, 0.3, 0.0)  # logits per token of distance; heads take turns
DECODER_SLOPES = (1.0, 0.3, 0.0, 0.0)


def scratch_model(shape: ScratchConfig, tokenizer: Any) -> T5ForConditionalGeneration:
    """A model of this shape for this tokenizer, reproducible under `transformers.set_seed`."""
    config = T5Config(
        vocab_size=len(tokenizer), d_model=shape.d_model, d_kv=shape.d_kv, d_ff=shape.d_ff,
        num_layers=shape.num_layers, num_heads=shape.num_heads, dropout_rate=shape.dropout,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id, architectures=["T5ForConditionalGeneration"],
    )  # fmt: skip
    return with_first_weights(T5ForConditionalGeneration(config))


@torch.no_grad()
def with_first_weights(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """The model, with the three choices above in the place of T5's random weights."""
    hand_over(model)
    look_near(model)
    look_behind_the_last_word(model)
    return model


def hand_over(model: T5ForConditionalGeneration) -> None:
    """Cross-attention's output begins as the mean of the encoder states it looks at, head by head."""
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        torch.nn.init.orthogonal_(attention.v.weight)
        attention.o.weight.copy_(attention.v.weight.T)


def look_near(model: T5ForConditionalGeneration) -> None:
    """Relative position biases that fall with distance; the encoder's first two heads see one side only."""
    for stack, slopes in ((model.encoder, ENCODER_SLOPES), (model.decoder, DECODER_SLOPES)):
        attention = stack.block[0].layer[0].SelfAttention
        both = not attention.is_decoder
        positions = torch.arange(-127, 128 if both else 1)
        buckets = T5Attention._relative_position_bucket(
            positions, bidirectional=both, num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )  # fmt: skip
        distance = torch.full((attention.relative_attention_num_buckets,), float(len(positions)))
        for position, bucket in zip(positions.tolist(), buckets.tolist(), strict=True):
            distance[bucket] = min(distance[bucket].item(), abs(position))
        ahead = torch.zeros_like(distance, dtype=torch.bool)
        ahead[buckets[positions > 0]] = True
        bias = attention.relative_attention_bias.weight  # (buckets, heads)
        for head in range(bias.shape[1]):
            turn = head % len(slopes)
            bias[:, head] = -(distance * slopes[turn]).clamp(max=FAR)
            if both and turn < 2:
                bias[ahead if turn == 0 else ~ahead, head] = -FAR
                bias[0, head] = -FAR  # nor the word itself


def look_behind_the_last_word(model: T5ForConditionalGeneration) -> None:
    """The encoder's first head notes at each word what precedes it; cross-attention looks there.

    `seen` reads a word, `noted` is where its successor keeps it. Queries and keys are scaled such that a
    match outweighs some hundred other words, no more.
    """
    size = model.config.d_kv
    seen, noted = (torch.nn.init.orthogonal_(torch.empty(size, model.config.d_model)) for _ in range(2))
    encoder = model.encoder.block[0].layer[0].SelfAttention
    encoder.v.weight[:size] = seen
    encoder.o.weight[:, :size] = noted.T
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        attention.q.weight[:size] = MATCH * seen
        attention.k.weight[:size] = MATCH * noted
