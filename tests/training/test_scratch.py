"""The weights that the demo's small T5 starts from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers
from t5sum.config import ScratchConfig
from t5sum.generate.scratch import FAR, scratch_model, with_first_weights
from t5sum.generate.tokens import train_tokenizer, whole_words

SHAPE = ScratchConfig(vocab_size=200, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout=0.0)
TEXTS = [f"Слово {n} стоит в тексте {n % 7} раз подряд" for n in range(40)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> transformers.T5Tokenizer:
    return train_tokenizer(TEXTS, 200, tmp_path_factory.mktemp("tokenizer"))


def test_the_same_seed_gives_the_same_weights(tokenizer) -> None:
    models = []
    for _ in range(2):
        transformers.set_seed(7)
        models.append(scratch_model(SHAPE, tokenizer).state_dict())
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())


def test_cross_attention_begins_by_handing_over_what_it_looks_at(tokenizer) -> None:
    model = scratch_model(SHAPE, tokenizer)
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        states = torch.randn(5, SHAPE.d_model)
        assert torch.allclose(attention.o(attention.v(states)), states, atol=1e-4)


def test_encoder_heads_begin_by_looking_left_right_around_and_everywhere(tokenizer) -> None:
    attention = scratch_model(SHAPE, tokenizer).encoder.block[0].layer[0].SelfAttention
    bias = attention.compute_bias(21, 21)[0, :, 10].detach()  # (heads, keys), seen from the middle
    left, right, around, everywhere = bias
    assert (left[10:] == -FAR).all() and left[9] > left[5] > -FAR
    assert (right[:11] == -FAR).all() and right[11] > right[15] > -FAR
    assert around[9] == around[11] > around[2] > -FAR
    assert (everywhere == 0).all()


def test_decoder_heads_begin_with_the_last_words_or_everywhere(tokenizer) -> None:
    attention = scratch_model(SHAPE, tokenizer).decoder.block[0].layer[0].SelfAttention
    last, recent, *everywhere = attention.compute_bias(21, 21)[0, :, 20].detach()
    assert last[20] > last[19] > last[13] >= -FAR
    assert recent[20] > recent[10] > last[10]
    assert all((head == 0).all() for head in everywhere)


def test_cross_attention_begins_by_looking_behind_the_last_written_word() -> None:
    shape = replace(SHAPE, d_model=128, d_kv=32)
    config = transformers.T5Config(
        vocab_size=300, d_model=shape.d_model, d_kv=shape.d_kv, d_ff=shape.d_ff, num_layers=2, num_heads=4,
        dropout_rate=0.0, decoder_start_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    transformers.set_seed(3)
    model = with_first_weights(transformers.T5ForConditionalGeneration(config)).eval()
    source = torch.randperm(290)[:60].unsqueeze(0) + 5
    written = source[:, [20, 40]]  # two words of the text
    seen = model(input_ids=source, decoder_input_ids=written, output_attentions=True).cross_attentions
    assert seen[0][0, 0].argmax(dim=-1).tolist() == [21, 41]


def test_frequent_words_become_pieces_of_the_tokenizer(tokenizer) -> None:
    assert tokenizer.tokenize("Слово стоит подряд") == ["▁Слово", "▁стоит", "▁подряд"]
    assert whole_words(["раз два раз"], least=2) == ["раз.", "раз,"]


def test_a_summary_can_be_generated_from_such_weights(tokenizer) -> None:
    model = scratch_model(SHAPE, tokenizer)
    batch = tokenizer(TEXTS[:2], return_tensors="pt", padding=True)
    assert model.generate(**batch, max_new_tokens=4).shape == (2, 5)
