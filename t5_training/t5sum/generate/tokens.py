"""The tokenizer: the base model's, checked against sentencepiece, or one of our own trained on the rows.

transformers 5 builds a Unigram model from any `spiece.model`. From a BPE one it silently gives other tokens
than the model was trained with, about twice as many: training on them would spoil the base model. So wherever
a `spiece.model` exists, both are run on real rows and must agree; a BPE one is rebuilt as BPE.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from t5sum import StageError

SPIECE = "spiece.model"
WORD = re.compile(r"\w+")
SAMPLE = 200  # texts compared
LONGEST = 2000  # characters of each


def load_tokenizer(folder: Path, texts: Sequence[str]) -> Any:
    """The fast tokenizer of a base model's folder. Raises StageError (2) when it cannot be trusted."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise StageError(f"no tokenizer could be loaded for the base model: {first_line(error)}", 2) from None
    if not tokenizer.is_fast:
        raise StageError(
            f"the base model's tokenizer ({type(tokenizer).__name__}) has no tokenizer.json, which the API "
            "reads; byte-level models such as ByT5 cannot be used. Set model.base to a T5 or mT5 checkpoint",
            2,
        )
    if tokenizer.eos_token != "</s>":  # noqa: S105
        raise StageError(
            f"the base model ends its texts with {tokenizer.eos_token!r}, not </s>: it is no T5", 2
        )
    spiece = folder / SPIECE
    if not spiece.exists():
        if not (folder / "tokenizer.json").exists():  # transformers makes up one of 104 tokens
            raise StageError(f"the base model has no tokenizer: neither tokenizer.json nor {SPIECE}", 2)
        return tokenizer
    sample = [text[:LONGEST] for text in texts[:SAMPLE]]
    if agrees(tokenizer, spiece, sample):
        return tokenizer
    repaired = bpe_tokenizer(spiece, len(tokenizer) - pieces(spiece))
    if repaired is not None and agrees(repaired, spiece, sample):
        print("tokenizer: rebuilt from spiece.model as BPE; transformers had read it as Unigram", flush=True)
        return repaired
    raise StageError(
        "the base model's tokenizer gives other tokens than its own spiece.model does; training on "
        "them would spoil it. Choose another model.base, or put a right tokenizer.json into its folder",
        2,
    )


def agrees(tokenizer: Any, spiece: Path, texts: Sequence[str]) -> bool:
    """Whether every text gets the ids that sentencepiece gives it."""
    from sentencepiece import SentencePieceProcessor

    reference = SentencePieceProcessor(model_file=str(spiece))
    ours = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return all(mine == reference.encode(text) for mine, text in zip(ours, texts, strict=True))


def pieces(spiece: Path) -> int:
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(spiece)).get_piece_size()


def bpe_tokenizer(spiece: Path, extra_ids: int) -> Any | None:
    """A fast BPE tokenizer from a BPE `spiece.model`; None when it is not BPE."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import generate_merges

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(spiece.read_bytes())
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE:
        return None
    vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    unknown = proto.pieces[proto.trainer_spec.unk_id].piece
    backend = Tokenizer(models.BPE(vocab, generate_merges(vocab, scores), unk_token=unknown, fuse_unk=True))
    steps = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    if charsmap := proto.normalizer_spec.precompiled_charsmap:
        steps.insert(0, normalizers.Precompiled(charsmap))
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="<pad>", unk_token=unknown,  # noqa: S106
        # T5's own order: the highest number follows the last piece.
        additional_special_tokens=[f"<extra_id_{i}>" for i in reversed(range(extra_ids))],
    )  # fmt: skip


def train_tokenizer(texts: Iterable[str], vocab_size: int, folder: Path, seed: int = 0) -> Any:
    """Train a Unigram sentencepiece model on `texts` and return it as a T5 tokenizer, checked against itself.

    vocab_size: pieces; the tokenizer has 100 sentinels more. Too few texts give fewer pieces.
    """
    import sentencepiece
    from transformers import T5Tokenizer

    texts = list(texts)
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(seed)
    try:
        with quiet_descriptor(2):
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts + whole_words(texts)), model_writer=model, model_type="unigram",
                vocab_size=vocab_size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
                character_coverage=0.9999,
                normalization_rule_name="nmt_nfkc", max_sentence_length=100_000, num_threads=1,
                input_sentence_size=200_000, shuffle_input_sentence=True, minloglevel=2,
            )  # fmt: skip
    except RuntimeError as error:
        raise StageError(f"a tokenizer could not be trained on these rows: {first_line(error)}", 3) from None
    (folder / SPIECE).write_bytes(model.getvalue())
    tokenizer = T5Tokenizer.from_pretrained(folder)
    if not agrees(tokenizer, folder / SPIECE, [text[:LONGEST] for text in texts[:SAMPLE]]):
        raise AssertionError("the trained tokenizer differs from its own sentencepiece model")
    return tokenizer


def whole_words(texts: Iterable[str], least: int = 5) -> list[str]:
    """Lines that let frequent words become pieces; the trainer reads them after the texts.

    sentencepiece looks for pieces in the list of different words, and only at strings found in two of them: a
    word that never stands beside a comma or a full stop is not even considered. On the demo's articles a text
    took 1.65 times the tokens without these lines.
    """
    counts = Counter(word for text in texts for word in WORD.findall(text))
    return [word + sign for word, count in sorted(counts.items()) if count >= least for sign in ".,"]


@contextlib.contextmanager
def quiet_descriptor(number: int) -> Iterable[None]:
    """Silence what C code writes to a file descriptor."""
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
