"""Scores of Russian summaries, over razdel tokens.

The tokenizers of the usual packages were made for English: rouge-score's keeps only [a-z0-9], so identical
Russian texts score 0 with it. Here every metric sees the same lower-cased razdel words, without punctuation
(two unrelated sentences share a full stop, not a word); BLEU and chrF keep their published definitions.

- ROUGE-1/2/L: package rouge-score, F measure, no stemming.
- BLEU: package sacrebleu, tokenize="intl". chrF: its chrF2, counted here, see `chrf_statistics`.
- METEOR (exact + stem): package nltk, alpha .75, beta 1.4, gamma .7 (the Russian settings of METEOR 1.5),
  Snowball stems, no synonyms. It is not the METEOR of the published tables, whose paraphrase tables and
  word weights need Java.

Corpus ROUGE and METEOR are means over articles; BLEU and chrF are computed from counts summed over articles.
`published.py` holds the column that is comparable with the published table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

# Every score and its name in tables; the star is explained below the tables.
METRICS = {
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "meteor": "METEOR*",
}
BY_ARTICLE = ("rouge1", "rouge2", "rougeL", "meteor")  # the others are in OF_COUNTS
CHRF_ORDER = 6
BLEU_ORDER = 4


def score(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Score summaries against reference summaries: rouge1, rouge2, rougeL, bleu, chrf, meteor, from 0 to 100.

    An empty prediction scores 0. Raises ValueError when the two lists differ in length, are empty, hold
    something other than text, or a reference is empty.
    """
    check_pairs(predictions, references)
    rows = [
        pair_statistics(prediction, Reference(reference), words(tokens(prediction)))
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return corpus_scores({name: np.array([row[name] for row in rows]) for name in rows[0]})


def check_pairs(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Raise ValueError, in one line, unless the two can be scored against each other."""
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str):
            raise ValueError(f"{name} must be a list of texts, not one text")
    if len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions for {len(references)} references: give one for each"
        )
    if not len(predictions):
        raise ValueError("there is nothing to score: both lists are empty")
    for name, texts in (("predictions", predictions), ("references", references)):
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"{name}[{number}] is {type(text).__name__}, not text")
            if name == "references" and not text.strip():
                raise ValueError(f"references[{number}] is empty: there is nothing to score against")


def tokens(text: str) -> list[str]:
    """razdel tokens of `text`, lower-cased, punctuation included."""
    import razdel

    return [token.text.lower() for token in razdel.tokenize(text)]


def words(all_tokens: Sequence[str]) -> list[str]:
    """The tokens that hold a letter or a digit."""
    return [token for token in all_tokens if token[0].isalnum() or any(map(str.isalnum, token))]


class Reference:
    """A reference summary, taken apart once and compared with every system's summary."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.words = words(self.tokens)
        self.characters = character_ngrams(text)


def pair_statistics(
    prediction: str, reference: Reference, predicted: list[str]
) -> dict[str, float | list[int]]:
    """One article's scores (0 to 100) for BY_ARTICLE, its counts for OF_COUNTS: "bleu" (10), "chrf" (18).

    predicted: the prediction's words.
    """
    rouge = rouge_scorer().score(reference.words, predicted)
    # rouge-score gives texts of one word a ROUGE-2 of 0, even identical ones.
    same = bool(predicted) and predicted == reference.words
    bleu = bleu_scorer().sentence_score(prediction, [reference.text])
    return {
        **{name: 100.0 if same else rouge[name].fmeasure * 100 for name in ("rouge1", "rouge2", "rougeL")},
        "meteor": meteor(predicted, reference.words),
        "bleu": [bleu.sys_len, bleu.ref_len, *bleu.counts, *bleu.totals],
        "chrf": chrf_statistics(character_ngrams(prediction), reference.characters),
    }


def corpus_scores(statistics: dict[str, np.ndarray]) -> dict[str, float]:
    """Corpus scores from the stacked `pair_statistics` of all articles."""
    return {
        name: float(
            statistics[name].mean() if name in BY_ARTICLE else OF_COUNTS[name](statistics[name].sum(0))
        )
        for name in METRICS
    }


class _AlreadyTokens:
    """rouge-score asks its tokenizer for tokens; ours are made already."""

    def tokenize(self, given: list[str]) -> list[str]:
        return given


@cache
def rouge_scorer():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_AlreadyTokens())


@cache
def bleu_scorer():
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="intl", effective_order=True)  # for its counts; the score is made in bleu_of


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """Corpus BLEU, 0 to 100, from summed counts (..., 10); sacrebleu's formula with its "exp" smoothing.

    An order without a match counts as 1/2, 1/4, 1/8 … of a match; no match at all scores 0. Orders that the
    predictions are too short for are left out, so that identical short texts score 100 (effective order).
    """
    counts = np.asarray(counts, float)
    predicted, referred = counts[..., 0], counts[..., 1]
    correct, total = counts[..., 2 : 2 + BLEU_ORDER], counts[..., 2 + BLEU_ORDER :]
    missing = np.cumsum(correct == 0, axis=-1)
    smoothed = np.where(correct > 0, correct, 0.5**missing)
    logs = np.where(total > 0, np.log(smoothed / total.clip(1)), 0.0).sum(-1)
    brevity = np.minimum(0, 1 - referred / predicted.clip(1))
    return np.where(correct.any(-1), 100 * np.exp(brevity + logs / (total > 0).sum(-1).clip(1)), 0.0)


def character_ngrams(text: str) -> list[Counter[str]]:
    """n-grams of characters without white space, for n = 1 to 6."""
    joined = "".join(text.split())
    return [Counter(joined[i : i + n] for i in range(len(joined) - n + 1)) for n in range(1, CHRF_ORDER + 1)]


def chrf_statistics(prediction: list[Counter[str]], reference: list[Counter[str]]) -> list[int]:
    """For n = 1 to 6: n-grams predicted, n-grams in the reference, n-grams matched.

    Counted here, not by sacrebleu: its counts are private, and are needed to resample chrF over articles.
    """
    found = []
    for ours, theirs in zip(prediction, reference, strict=True):
        both = sum(min(count, theirs[gram]) for gram, count in ours.items() if gram in theirs)
        found += [ours.total(), theirs.total(), both]
    return found


def chrf_of(counts: np.ndarray, beta: float = 2.0) -> np.ndarray:
    """Corpus chrF, 0 to 100, from summed counts (..., 18): the F score of mean precision and mean recall."""
    counts = np.asarray(counts, float).reshape(*np.shape(counts)[:-1], CHRF_ORDER, 3)
    predicted, referred, both = counts[..., 0], counts[..., 1], counts[..., 2]
    used = (predicted > 0) & (referred > 0)
    orders = used.sum(-1).clip(1)
    precision = np.where(used, both / predicted.clip(1), 0).sum(-1) / orders
    recall = np.where(used, both / referred.clip(1), 0).sum(-1) / orders
    bottom = beta**2 * precision + recall
    return 100 * (1 + beta**2) * precision * recall / np.where(bottom > 0, bottom, 1)


# The score (...) of counts summed over articles (..., n), for the metrics that no article alone has.
OF_COUNTS = {"bleu": bleu_of, "chrf": chrf_of}


class _NoSynonyms:
    """Takes the place of WordNet, which nltk asks for: it is English, and a download."""

    def synsets(self, word: str) -> list:
        return []


class _Stems:
    """The stemmer as nltk wants it."""

    def stem(self, word: str) -> str:
        return stem(word)


@cache
def _snowball():
    from nltk.stem.snowball import SnowballStemmer

    return SnowballStemmer("russian")


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Snowball stem of a lower-cased word, remembered: news repeats its words."""
    return _snowball().stem(word)


def meteor(prediction: list[str], reference: list[str]) -> float:
    """METEOR (exact + stem) of two lists of lower-cased tokens, 0 to 100.

    Identical texts score 100, as in METEOR 1.5; nltk alone would punish them for being one chunk.
    """
    from nltk.translate.meteor_score import single_meteor_score

    if prediction == reference:
        return 100.0 if prediction else 0.0
    return 100 * single_meteor_score(
        reference,
        prediction,
        stemmer=_Stems(),
        wordnet=_NoSynonyms(),
        alpha=0.75,
        beta=1.4,
        gamma=0.7,
    )
