"""Summaries that need no training: what a model has to be better than.

lead-1 and lead-3 are the first sentences of the text, strong for news. TextRank (sumy) picks the sentences
that share most words with the others. The oracle is the sentence nearest to the reference: it has seen the
answer, and shows how far copying one sentence can get.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from t5sum.judge.metrics import stem, tokens, words

TEXTRANK_SENTENCES = 2
# TextRank compares every sentence with every other one: a live report of a thousand would take minutes.
MOST_SENTENCES = 100
FUNCTION_WORDS = """
    без более бы был была были было быть вам вас весь во вот все всего всех вы где да даже для до его ее
    если есть еще же за здесь из или им их как ко когда кто ли либо мне может мы на над надо наш не него
    нее нет ни них но ну об однако он она они оно от очень по под после при про с со так также такой там
    те тем то того тоже той только том ты у уже хотя чего чем что чтобы чье эта эти это этого этой этом
    этот я
"""


def sentences(text: str) -> list[str]:
    """Sentences of a text, by razdel."""
    import razdel

    return [sentence.text for sentence in razdel.sentenize(text) if sentence.text.strip()]


def lead(text_sentences: Sequence[str], count: int) -> str:
    """The first `count` sentences."""
    return " ".join(text_sentences[:count])


def textrank(text_sentences: Sequence[str], count: int = TEXTRANK_SENTENCES) -> str:
    """The `count` sentences that TextRank rates highest, in the text's order."""
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence

    if len(text_sentences) <= count:
        return " ".join(text_sentences)
    tokenizer = _Tokenizer()
    first = [Sentence(sentence, tokenizer) for sentence in text_sentences[:MOST_SENTENCES]]
    chosen = _summarizer()(ObjectDocumentModel([Paragraph(first)]), count)
    return " ".join(str(sentence) for sentence in chosen)


def oracle(text_sentences: Sequence[str], reference: str) -> str:
    """The sentence with the highest ROUGE-L against the reference; "" for a text without sentences."""
    wanted = words(tokens(reference))
    best, best_score = "", -1.0
    for sentence in text_sentences:
        found = words(tokens(sentence))
        both = common_length(found, wanted)
        f_measure = 2 * both / (len(found) + len(wanted)) if both else 0.0
        if f_measure > best_score:
            best, best_score = sentence, f_measure
    return best


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, one bit per word of `a` (Hyyrö 2004)."""
    where: dict[str, int] = {}
    for place, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << place
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & where.get(word, 0)
        row = (row + match | row - match) & full
    return len(a) - row.bit_count()


class _Tokenizer:
    """What sumy asks for in place of its own tokenizer, which needs nltk's downloads."""

    def to_words(self, sentence: str) -> tuple[str, ...]:
        return tuple(word for word in words(tokens(sentence)) if len(word) > 1)


@cache
def _summarizer():
    from sumy.summarizers.text_rank import TextRankSummarizer

    summarizer = TextRankSummarizer(stem)
    summarizer.stop_words = frozenset(FUNCTION_WORDS.split())
    return summarizer
