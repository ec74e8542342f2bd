"""Text → counts of hashed n-grams, for the classifiers and the regression.

The same as served/classifier.py computes for one text, made by scikit-learn for thousands at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from t5sum.served.classifier import Features

CHUNK = 2_000  # texts hashed at once: one block of 60,000 would need three times the memory of the result


def blocks_of(bits: int) -> tuple[Features, ...]:
    """Words, pairs of words, and letter sequences inside words: the stems and endings of a language."""
    return Features("words", 1, 2, bits), Features("letters", 4, 5, bits)


def counter(*blocks: Features) -> Any:
    """What scikit-learn makes of these features."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.pipeline import make_union

    return make_union(*(
        HashingVectorizer(
            n_features=block.columns, norm=None, alternate_sign=False, dtype=np.float32,
            ngram_range=(block.shortest, block.longest),
            analyzer={"words": "word", "letters": "char_wb"}[block.of],
        )
        for block in blocks
    )).fit(["-"])  # fmt: skip


def count(counts: Any, sources: Sequence[str]) -> Any:
    """(sources, columns) as a sparse matrix."""
    from scipy.sparse import vstack

    parts = range(0, len(sources), CHUNK)
    return vstack([counts.transform(sources[i : i + CHUNK]) for i in parts], format="csr")
