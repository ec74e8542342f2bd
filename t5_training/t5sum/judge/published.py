"""The column that is comparable with the published results on the Gazeta dataset.

Those were computed by IlyaGusev/summarus: both sides through razdel, joined by single spaces, lower-cased,
punctuation kept; ROUGE by the package `rouge` 0.3.2, BLEU by nltk.corpus_bleu (4-grams, no smoothing), chrF
by nltk.corpus_chrf(beta=1.0), the length in characters of the joined tokens. `rouge` is no longer maintained
and nltk's two are slow, so the same sums are done here, article by article; tests hold them to frozen outputs
of the packages. METEOR was the Java program (-l ru -norm); ours (exact + stem) takes its place over the same
tokens. It lacks the paraphrases and word weights, and is not the same number.

The oddities are theirs and stay: n-grams are counted once however often they occur, ROUGE-L splits sentences
at every full stop, and its F measure weighs recall by (precision / recall) squared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp

import numpy as np

from t5sum.judge.metrics import CHRF_ORDER, character_ngrams, chrf_statistics, meteor, tokens

ORDERS = 4
BY_ARTICLE = ("rouge1", "rouge2", "rougeL", "chrf", "meteor", "characters")
# As published for the test sets of Gazeta v1 (5,770 articles) and v2 (6,793).
COLUMNS = {
    "rouge1": "R-1", "rouge2": "R-2", "rougeL": "R-L", "chrf": "chrF", "meteor": "METEOR", "bleu": "BLEU",
    "characters": "characters",
}  # fmt: skip
PUBLISHED = {
    "rut5_base_sum_gazeta, Gazeta v1": (32.2, 14.4, 28.1, 39.8, 25.7, 12.3, 330),
    "mbart_ru_sum_gazeta, Gazeta v1": (32.4, 14.3, 28.0, 39.7, 26.4, 12.1, 371),
    "rut5_base_sum_gazeta, Gazeta v2": (28.6, 11.1, 24.5, 37.2, 22.0, 9.4, 331),
    "mbart_ru_sum_gazeta, Gazeta v2": (28.7, 11.1, 24.4, 37.3, 22.7, 9.4, 373),
}


class PublishedReference:
    """A reference summary in the published tokenization, taken apart once."""

    def __init__(self, reference_tokens: Sequence[str]) -> None:
        self.text = " ".join(reference_tokens)
        self.tokens = self.text.split(" ")
        self.sentences = split_sentences(self.text)
        self.characters = character_ngrams(self.text)
        self.ngrams = [Counter(_ngrams(self.tokens, n)) for n in range(1, ORDERS + 1)]


def published_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """rouge1, rouge2, rougeL, bleu, chrf, meteor from 0 to 100, and characters, as published."""
    rows = [
        published_statistics(tokens(p), PublishedReference(tokens(r)))
        for p, r in zip(predictions, references, strict=True)
    ]
    return published_corpus({name: np.array([row[name] for row in rows]) for name in rows[0]})


def published_statistics(prediction_tokens: Sequence[str], reference: PublishedReference) -> dict:
    """One article: BY_ARTICLE (0 to 100, and characters), and the counts for "bleu" (10)."""
    text = " ".join(prediction_tokens)
    pieces = text.split(" ")
    sentences = split_sentences(text)
    return {
        "rouge1": rouge_n(sentences, reference.sentences, 1),
        "rouge2": rouge_n(sentences, reference.sentences, 2),
        "rougeL": rouge_l(sentences, reference.sentences),
        "chrf": sentence_chrf1(character_ngrams(text), reference.characters),
        "meteor": meteor(pieces, reference.tokens),
        "characters": len(text),
        "bleu": bleu_counts(pieces, reference),
    }


def published_corpus(statistics: dict[str, np.ndarray]) -> dict[str, float]:
    """Corpus scores from the stacked `published_statistics` of all articles."""
    means = {name: float(statistics[name].mean()) for name in BY_ARTICLE}
    means["bleu"] = corpus_bleu(statistics["bleu"].sum(0))
    return means


def split_sentences(text: str) -> list[str]:
    """Sentences as the package sees them: what stands between full stops, white space evened out."""
    return [" ".join(part.split()) for part in text.split(".") if part]


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _words(sentences: Sequence[str]) -> list[str]:
    return [word for sentence in sentences for word in sentence.split(" ")]


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> float:
    """ROUGE-N F measure of two lists of sentences, 0 to 100, over sets of n-grams."""
    if not prediction or not reference:
        return 0.0
    ours, theirs = set(_ngrams(_words(prediction), n)), set(_ngrams(_words(reference), n))
    both = len(ours & theirs)
    precision = both / len(ours) if ours else 0.0
    recall = both / len(theirs) if theirs else 0.0
    return 100 * 2 * precision * recall / (precision + recall + 1e-8)


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """Summary-level ROUGE-L of two lists of sentences, 0 to 100.

    The union, over all pairs of sentences, of the words on their longest common subsequence, against the
    number of different words of each side.
    """
    if not prediction or not reference:
        return 0.0
    union: set[str] = set()
    predicted = [sentence.split(" ") for sentence in prediction]
    for sentence in reference:
        for other in predicted:
            union |= common_subsequence(sentence.split(" "), other)
    recall = len(union) / len(set(_words(reference)))
    precision = len(union) / len(set(_words(prediction)))
    beta = precision / (recall + 1e-12)
    bottom = recall + beta**2 * precision
    return 100 * (1 + beta**2) * recall * precision / (bottom + 1e-12)


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> set[str]:
    """Words on the longest common subsequence; of equally long ones, the one the package walks to."""
    if not set(a) & set(b):
        return set()
    rows = [[0] * (len(b) + 1)]
    for word in a:
        above, row = rows[-1], [0]
        left = 0
        for j, other in enumerate(b):
            if word == other:
                left = above[j] + 1
            elif above[j + 1] > left:
                left = above[j + 1]
            row.append(left)
        rows.append(row)
    i, j, found = len(a), len(b), set()
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            found.add(a[i])
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def bleu_counts(prediction: Sequence[str], reference: PublishedReference) -> list[int]:
    """Lengths of both sides, then matches and totals for n = 1 to 4, as nltk counts them."""
    matches, totals = [], []
    for n, theirs in enumerate(reference.ngrams, start=1):
        ours = Counter(_ngrams(prediction, n))
        matches.append(sum(min(count, theirs[gram]) for gram, count in ours.items() if gram in theirs))
        totals.append(max(1, ours.total()))
    return [len(prediction), len(reference.tokens), *matches, *totals]


def corpus_bleu(counts: np.ndarray) -> float:
    """BLEU without smoothing, 0 to 100: an order without a match makes it 0."""
    predicted, referred = int(counts[0]), int(counts[1])
    matches, totals = counts[2 : 2 + ORDERS], counts[2 + ORDERS :]
    if not matches.all():
        return 0.0
    brevity = 1.0 if predicted > referred else exp(1 - referred / predicted)
    return 100 * brevity * float(np.exp(np.log(matches / totals).mean()))


def sentence_chrf1(prediction: list[Counter[str]], reference: list[Counter[str]]) -> float:
    """Mean over n = 1 to 6 of the F1 of character n-grams, 0 to 100; an order one side lacks counts as 0."""
    counts = chrf_statistics(prediction, reference)
    total = 0.0
    for ours, theirs, both in zip(counts[::3], counts[1::3], counts[2::3], strict=True):
        total += 200 * both / (ours + theirs) if both else 0.0
    return total / CHRF_ORDER
