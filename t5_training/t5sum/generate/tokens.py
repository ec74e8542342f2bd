"""The tokenizer: the base model's, checked against its own files, or one of our own trained on the rows.

transformers 5 builds a Unigram model with `<unk>` at 2 from any `spiece.model`. From a BPE one it silently
gives other tokens than the model was trained with, about twice as many; with another `<unk>` or with byte
fallback, unknown letters become wrong tokens. Training on them would spoil the base model. So transformers'
tokenizer and the folder's own `spiece.model` (or else its `tokenizer.json`) are both run on real rows;
if they differ, the tokenizer is rebuilt from the folder's file.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from t5sum import StageError, first_line

SPIECE = "spiece.model"
BYTE_LEVEL = ("vocab.json", "merges.txt")  # GPT-2's files, which FRED-T5 has
END = "</s>"
INPUTS = ["input_ids", "attention_mask"]  # what generate() takes
WORD = re.compile(r"\w+")
SAMPLE = 200  # texts compared
LONGEST = 2000  # characters of each
REFUSED = (
    "the base model's tokenizer gives other tokens than its own {} does; training on them would spoil it. "
    "Choose another model.base, or put a right tokenizer.json into its folder"
)


def load_tokenizer(folder: Path, texts: Sequence[str]) -> Any:
    """The fast tokenizer of a base model's folder. Raises StageError (2) when it cannot be trusted.

    It ends every text with </s> and has a padding token, whatever the files in the folder leave out.
    """
    sample = [text[:LONGEST] for text in texts[:SAMPLE]]
    try:
        config = folder / "config.json"
        pad = json.loads(config.read_text(encoding="utf-8")).get("pad_token_id") if config.exists() else None
        return ended(choose(folder, sample), pad)
    except BaseException as error:
        # tokenizers raises bare Exception for a bad file, or Rust's PanicException, which is not even one.
        if isinstance(error, StageError | KeyboardInterrupt | SystemExit):
            raise
        raise StageError(f"no tokenizer could be loaded for the base model: {first_line(error)}", 2) from None


def choose(folder: Path, sample: Sequence[str]) -> Any:
    """transformers' tokenizer where it agrees with the folder's own files, else one built from those."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

    spiece, whole = folder / SPIECE, folder / "tokenizer.json"
    if not spiece.exists() and not whole.exists() and all((folder / name).exists() for name in BYTE_LEVEL):
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
        ids = tokenizer(list(sample), add_special_tokens=False)["input_ids"] if sample else []
        if [tokenizer.decode(each) for each in ids] != list(sample):  # bytes lose nothing
            raise StageError(REFUSED.format(" and ".join(BYTE_LEVEL)), 2)
        return tokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.is_fast:
        raise StageError(
            f"the base model's tokenizer ({type(tokenizer).__name__}) has no tokenizer.json, which the API "
            "reads; byte-level models such as ByT5 cannot be used. Set model.base to a T5 or mT5 checkpoint",
            2,
        )
    if spiece.exists():
        if agrees(tokenizer, spiece, sample):
            return tokenizer
        kind, rebuilt = from_spiece(spiece, tokenizer)
        if rebuilt is None or not agrees(rebuilt, spiece, sample):
            raise StageError(REFUSED.format(SPIECE), 2)
        print(f"tokenizer: rebuilt from {SPIECE} as {kind}; transformers had read it wrongly", flush=True)
        return rebuilt
    if not whole.exists():  # transformers makes up one of 104 tokens
        raise StageError(
            f"the base model has no tokenizer: neither tokenizer.json nor {SPIECE} nor {BYTE_LEVEL[0]}", 2
        )
    own = Tokenizer.from_file(str(whole))
    own.no_truncation()
    own.no_padding()
    if encoded(tokenizer, sample) == [
        each.ids for each in own.encode_batch(sample, add_special_tokens=False)
    ]:
        return tokenizer
    print("tokenizer: taken from tokenizer.json as it is; transformers had read it wrongly", flush=True)
    names = {name: getattr(tokenizer, name) for name in ("eos_token", "pad_token", "unk_token")}
    return PreTrainedTokenizerFast(tokenizer_object=own, model_input_names=INPUTS, **names)


def ended(tokenizer: Any, pad: int | None) -> Any:
    """The tokenizer, with </s> after every text and a padding token. pad: the id that config.json names."""
    from tokenizers import processors

    vocabulary = tokenizer.get_vocab()
    if END not in vocabulary:
        raise StageError(
            f"the base model ends its texts with {tokenizer.eos_token!r}, not {END}: it is no T5", 2
        )
    names = {number: token for token, number in vocabulary.items()}
    padding = names.get(pad, tokenizer.pad_token or "<pad>")
    if padding not in vocabulary:
        raise StageError("the base model has no padding token: set pad_token_id in its config.json", 2)
    if tokenizer("а")["input_ids"][-1] == vocabulary[END] and (tokenizer.eos_token, tokenizer.pad_token) == (
        END, padding,
    ):  # fmt: skip
        return tokenizer
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, vocabulary[END])]
    )
    special = {name for name in ("<s>", tokenizer.bos_token, tokenizer.eos_token) if name in vocabulary}
    return fast(backend, padding, tokenizer.unk_token or padding, sorted(special - {END, padding}))


def fast(backend: Any, pad: str, unknown: str, special: Sequence[str]) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=pad, unk_token=unknown,
        additional_special_tokens=list(special), model_input_names=INPUTS,
    )  # fmt: skip


def special_ids(tokenizer: Any, start: int | None) -> dict[str, int]:
    """The ids that padding, the end and the decoder's start have in this model.

    Checkpoints differ: </s> is 1 or 2, and the decoder starts with 0, as T5's own does, or with 2. start: the
    model's decoder_start_token_id; none: the padding.
    """
    start = tokenizer.pad_token_id if start is None else start
    if tokenizer.convert_ids_to_tokens(start) is None:
        raise StageError(f"the base model's decoder starts with token {start}, which its tokenizer lacks", 2)
    return {
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": start,
    }  # fmt: skip


def encoded(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids as training makes them, without </s>."""
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]


def agrees(tokenizer: Any, spiece: Path, texts: Sequence[str]) -> bool:
    """Whether every text gets the ids that sentencepiece gives it, or other ids that are as likely."""
    from sentencepiece import SentencePieceProcessor

    reference = SentencePieceProcessor(model_file=str(spiece))
    pairs = zip(encoded(tokenizer, texts), map(reference.encode, texts), strict=True)
    return all(ours == theirs or as_likely(reference, ours, theirs) for ours, theirs in pairs)


def as_likely(reference: Any, ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether a Unigram model cannot tell two ways to cut one text apart, but by the rounding of its sums.

    Seen with real news: «подм|ен|у» and «подм|е|ну» differ by 3e-5 of 2,000.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(reference.serialized_model_proto())
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM or max(ours) >= len(proto.pieces):
        return False
    if reference.decode(list(ours)) != reference.decode(list(theirs)):
        return False
    one, other = (math.fsum(proto.pieces[number].score for number in ids) for ids in (ours, theirs))
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-4)


def from_spiece(spiece: Path, misread: Any) -> tuple[str, Any | None]:
    """A fast tokenizer as `spiece.model` says, with the sentinels of transformers' own; its kind."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers.convert_slow_tokenizer import generate_merges

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(spiece.read_bytes())
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    [unknown] = [piece.piece for piece in proto.pieces if piece.type == piece.UNKNOWN]
    if END not in vocab:
        raise StageError(f"the base model's {SPIECE} has no {END}: it is no T5", 2)
    if trained.model_type == trained.BPE:
        kind, model = "BPE", models.BPE(
            vocab, generate_merges(vocab, scores), unk_token=unknown, fuse_unk=True,
            byte_fallback=trained.byte_fallback,
        )  # fmt: skip
    elif trained.model_type == trained.UNIGRAM:
        kind, model = "Unigram", models.Unigram(
            list(scores.items()), unk_id=vocab[unknown], byte_fallback=trained.byte_fallback
        )  # fmt: skip
    else:
        return "", None
    backend = Tokenizer(model)
    steps = []
    if normal.precompiled_charsmap:
        steps.append(normalizers.Precompiled(normal.precompiled_charsmap))
    if normal.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if normal.add_dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Sequence(
        [
            *([decoders.ByteFallback()] if trained.byte_fallback else []),
            decoders.Metaspace(prepend_scheme=scheme),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, vocab[END])]
    )
    # T5's sentinels follow the last piece, in the order that transformers gives them.
    added = [
        name for name, _ in sorted(misread.get_vocab().items(), key=lambda item: item[1]) if name not in vocab
    ]
    sentinels = [name for name in added if name.startswith("<extra_id_")]
    if set(added) - {*sentinels, misread.pad_token, misread.eos_token, misread.unk_token}:
        return "", None  # a tokenizer.json of other pieces: which of the two the model knows is unknown
    pad = misread.pad_token if misread.pad_token in vocab else unknown
    return kind, fast(backend, pad, unknown, sentinels)


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
