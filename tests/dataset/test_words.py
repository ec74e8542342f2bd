"""Word codes agree with words: the same for the same words, others for other words."""

from __future__ import annotations

import re

from gazeta.dataset.words import shingles, word_codes
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(
    alphabet=st.one_of(
        st.sampled_from("абвё АБВЁ .,-—«»\n0123_azЇї\u0301😀\u2028"), st.characters(exclude_categories=["Cs"])
    ),
    max_size=120,
)


EXPECTED_CODES = ["0x8687bb2613ba8dfd", "0xacadb41688297bb7", "0xb838b8c56803cc49"]
EXPECTED_SHINGLES = [3333094658]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower().replace("ё", "е"))


@given(st.text(alphabet="абвгдеёЖЗИКл 019_,.!?«»—-\n", max_size=200))
def test_there_is_a_code_for_each_word(text):
    assert len(word_codes(text)) == len(words(text))


@given(st.lists(st.text(alphabet="абвгдеёЖЗИКл019", min_size=1, max_size=12), max_size=20))
def test_codes_are_equal_exactly_where_words_are(said):
    told = words(" ".join(said))
    codes = word_codes(", ".join(said)).tolist()
    assert len(codes) == len(told)
    assert len(set(codes)) == len(set(told))
    assert all(
        (codes[a] == codes[b]) == (told[a] == told[b]) for a in range(len(told)) for b in range(len(told))
    )


@given(TEXTS)
def test_any_text_has_codes_and_shingles(text):
    codes = word_codes(text)
    assert len(shingles(text)) <= max(1, len(codes) - 2)
    assert word_codes(text + " ").tolist() == codes.tolist()


def test_the_codes_stay_what_they_are():
    """They are published in lineage/: another code would break the link to every row that was left out."""
    assert word_codes("Мост открыт").tolist() == word_codes("мост, ОТКРЫТ!").tolist()
    assert [hex(code) for code in word_codes("мост снова открыт").tolist()] == EXPECTED_CODES
    assert shingles("мост снова открыт").tolist() == EXPECTED_SHINGLES
