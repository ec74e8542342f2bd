"""Baselines and the traits of summaries."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest
from rouge_score.rouge_scorer import _lcs_table
from t5sum.judge.baselines import common_length, lead, oracle, sentences, textrank
from t5sum.judge.traits import TextWords, copied_spans, traits


def split(text: str) -> list[str]:
    return text.split()


TEXT = (
    "Мост через Каму открыли в понедельник. Его строили три года. По словам мэра, мост через Каму "
    "разгрузит центр города. Автобусы поедут по нему с июня. Прохожим раздавали мороженое."
)


def test_sentences_are_cut_by_rules_for_russian():
    text = "Об этом сообщил г. Иванов. В 2020 г. цена выросла до 1,5 млн руб. за штуку."
    assert len(sentences(text)) == 2


def test_lead_takes_the_first_sentences():
    parts = sentences(TEXT)
    assert lead(parts, 1) == "Мост через Каму открыли в понедельник."
    assert lead(parts, 3).endswith("разгрузит центр города.")
    assert lead(parts[:2], 3) == " ".join(parts[:2])
    assert lead([], 1) == ""


def test_textrank_takes_the_sentence_that_shares_most_with_the_others():
    parts = [
        "Снег выпал ночью.",
        "Рабочие строили мост три года.",
        "Рабочие открыли мост через широкую реку в понедельник утром.",
        "Широкую реку утром затянуло туманом.",
        "Прохожим раздавали мороженое.",
    ]
    assert textrank(parts, 1) == parts[2]


def test_textrank_keeps_the_texts_order():
    parts = sentences(TEXT)
    chosen = textrank(parts, 2)
    assert [part for part in parts if part in chosen] == sentences(chosen)


def test_textrank_takes_any_text():
    assert textrank([]) == ""
    assert textrank(["Одно."]) == "Одно."
    assert len(textrank(["Да.", "Нет.", "!!!", "Да."])) > 0
    assert textrank([f"Слово {number} повторили." for number in range(300)])


def test_textrank_needs_no_download(tmp_path):
    code = (
        "from t5sum.judge.baselines import textrank\n"
        "print(textrank(['Мост открыли.', 'Мост закрыли.', 'Снег.']))"
    )
    made = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, encoding="utf-8", check=True,
        env={"HOME": str(tmp_path), "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert made.stdout.strip() == "Мост открыли. Мост закрыли."


def test_the_oracle_finds_the_sentence_nearest_to_the_reference():
    assert oracle(sentences(TEXT), "С июня по мосту поедут автобусы.") == "Автобусы поедут по нему с июня."
    assert oracle([], "что угодно") == ""


def test_the_subsequence_by_bits_equals_the_table():
    pick = random.Random(2)
    for _ in range(300):
        a, b = (["абвгд"[pick.randrange(5)] for _ in range(pick.randrange(40))] for _ in range(2))
        assert common_length(a, b) == (_lcs_table(a, b)[-1][-1] if a and b else 0)


def test_copied_spans_are_the_longest_runs_of_the_text():
    text = TextWords(split("а б в г д е ж а б х"))
    assert copied_spans(split("а б х нет в г д"), text) == [3, 3]
    assert copied_spans(split("нет совсем"), text) == []
    assert copied_spans([], text) == []


def test_traits_worked_by_hand():
    text = TextWords(split("мэр открыл новый мост через реку"))
    found = traits("Мэр открыл новый мост через залив.", split("мэр открыл новый мост через залив"), text)
    assert found["words"] == 6
    assert found["novel1"] == pytest.approx(100 / 6)
    assert found["novel2"] == pytest.approx(100 / 5)
    assert found["novel3"] == pytest.approx(100 / 4)
    assert found["longest_copy"] == 5
    assert found["copied"] == pytest.approx(100 * 5 / 6)
    assert found["repeated"] == 0
    again = traits("", split("да нет да нет да нет"), text)
    assert again["repeated"] == pytest.approx(100 * 2 / 4)
    assert math.isnan(traits("", [], text)["novel1"])
