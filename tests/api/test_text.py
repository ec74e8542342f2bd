"""Normalising, shortening, and finding what a summary invents: values in, values out."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topic_sum.inference.served.text import normalise
from topic_sum.inference.text import shorten
from topic_sum.inference.unsupported import find_unsupported

SUMMARY = (
    "Мост через Светлую открыли раньше срока, сообщил начальник стройки. Дорога сократится до четырёх часов."
)


@pytest.mark.parametrize(
    "row", ["\u0301\u0323" * 40_000, "\u0f73\u0f75" * 40_000, ("\u0301" * 29 + "\u200b") * 3_000]
)
def test_a_row_of_marks_keeps_thirty(row):
    """NFC of the whole row would take many seconds."""
    began = time.process_time()
    kept = normalise(f"а{row}б")
    assert kept[0] in "аá" and kept[-1] == "б"
    assert len(kept) <= 1 + 2 * 30 + 1
    assert time.process_time() - began < 2


@pytest.mark.parametrize("before", range(33))
def test_a_row_of_marks_is_found_wherever_it_stands(before):
    for marks in (29, 30, 31, 45):
        kept = normalise("б" * before + "\u0323" * marks + "б")  # no letter of its own has this mark
        assert kept.count("\u0323") == min(marks, 30)
        assert len(kept) == before + min(marks, 30) + 1


def test_normalise_removes_what_nobody_sees_and_keeps_what_everybody_does():
    assert normalise(" а\u200b\u00adб\u202e\x00 \n\t в\u00a0г ") == "аб в г"
    assert normalise("и\u0306") == "й"
    assert normalise("\ufeff\u2066") == ""


@given(st.text())
def test_normalise_twice_is_normalise_once(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (200, SUMMARY),
        (len(SUMMARY), SUMMARY),
        (len(SUMMARY) - 1, "Мост через Светлую открыли раньше срока, сообщил начальник стройки."),
        (60, "Мост через Светлую открыли раньше срока…"),
        (40, "Мост через Светлую открыли раньше срока…"),
        (39, "Мост через Светлую открыли раньше…"),
        (30, "Мост через Светлую открыли…"),
    ],
)
def test_shorten_takes_sentences_then_clauses_then_words(limit, expected):
    assert shorten(SUMMARY, limit) == expected


@given(st.text(alphabet="абв АБ,.;—1«» ", max_size=300), st.integers(30, 200))
def test_shorten_keeps_the_limit_and_cuts_no_word_but_a_first_that_does_not_fit(text, limit):
    text = normalise(text)
    short = shorten(text, limit)
    assert len(short) <= max(limit, 1)
    if short != text:
        kept = short.removesuffix("…").rstrip()
        assert text.startswith(kept)
        rest = text[len(kept) :]
        if kept and kept[-1].isalnum() and rest and rest[0].isalnum():
            assert not any(character.isalnum() for character in kept.rpartition(" ")[0])
    if any(character.isalnum() for character in text[: limit - 1]):
        assert any(character.isalnum() for character in short)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("а" * 60 + " слово", "а" * 29 + "…"),
        ("— «" + "а" * 60, "— «" + "а" * 26 + "…"),
        (". " + "а" * 60, ". " + "а" * 27 + "…"),
        ("а" * 29 + " слово", "а" * 29 + "…"),
        ("слово " + "а" * 60, "слово…"),
        ("— — — — — — — — — — — — — — — — — —", "— — — — — — — — — — — — — — —…"),
    ],
)
def test_a_first_word_that_does_not_fit_is_cut_and_no_summary_is_without_a_word(text, expected):
    assert shorten(text, 30) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (29, "Из бюджета города выделили…"),
        (33, "Из бюджета города выделили…"),
        (30, "Из бюджета города выделили…"),
        (38, "Из бюджета города выделили 1 500 000…"),
        (56, "Из бюджета города выделили 1 500 000 рублей на ремонт…"),
    ],
)
def test_a_number_is_not_cut_between_its_groups(limit, expected):
    assert shorten("Из бюджета города выделили 1 500 000 рублей на ремонт моста", limit) == expected


def test_a_text_of_groups_of_digits_is_cut_all_the_same():
    assert shorten("1 " + "000 " * 15 + "рублей", 30) == "1 000 000 000 000 000 000 000…"


def test_a_hostile_source_takes_no_longer_than_its_length():
    def seconds(source):
        begun = time.process_time()
        find_unsupported("Прибыло НАТО, АА и Ббббб. " * 20, source)
        return time.process_time() - begun

    for unit in ("н а т о ", "а ", "А ", "двадцать ", "б" * 30 + " ", "1 000 "):
        seconds(unit * 10)  # what is made once
        assert seconds(unit * (100_000 // len(unit))) < 5, unit


@pytest.mark.parametrize(
    ("summary", "source", "expected"),
    [
        ("Погибли двадцать человек.", "Погибли 3 человека.", ["двадцать"]),
        ("Погибли двадцать пять человек.", "Погибли 25 человек.", []),
        ("Погибли двадцать пять человек.", "Погибли 26 человек.", ["двадцать", "пять"]),
        ("Нашли 5 тысяч рублей.", "Пропали 5 тыс. рублей.", []),
        ("Начало в 19:30.", "Матч начнётся в 19.30.", []),
        ("Начало в 19.30.", "Матч начнётся в 19:30.", []),
        ("Оценка 2,0 балла.", "Поставили 2 балла.", []),
        ("Рост 2,50.", "Рост на 2,5.", []),
        ("Рост на 2,1 процента.", "Победа 2:1.", ["2,1"]),
        ("Счёт 2:1.", "Рост на 2,1%.", ["2:1"]),
        ("Двадцать. Пять раз.", "Прошло 25 дней.", ["Двадцать", "Пять"]),
        ("Приезд 07.05.2024.", "Приедут 7.5.2024.", []),
        ("Он сказал: «Сегодня открыли парк».", "Открыт парк.", []),
        ("Это решили США.", "Соединенные Штаты Америки решили.", []),
        ("В Москве тепло.", "Московский день был тёплым.", []),
        ("Мост открыл Олег Рябинин.", "Мост строил Рябинин. Олегу помогали.", []),
        ("Мост открыл Иван Рябинин.", "Мост строил Олег Рябинин.", ["Иван"]),
        ("Сообщается, что мост открыт.", "Мост готов.", []),
        ("Пётр Сомов приехал.", "Олег приехал.", ["Пётр", "Сомов"]),
        ("Пётр Сомов и Олег приехали.", "Олега встретил Сомов.", []),
        ("МЧС сообщило о пожаре.", "Пожар потушен.", ["МЧС"]),
        ("О пожаре сообщило МЧС.", "Мчс тушило пожар.", []),
        ("Жители Приозёрска рады.", "в приозерске праздник", []),
        ("Работы шли в Санкт-Петербурге.", "В Петербурге шли работы. Санкт здесь тоже есть.", []),
        ("Прошли 20 поездов.", "Прошли двадцать поездов.", []),
        ("Стоит 1000 рублей.", "Стоит 1 000 рублей.", []),
        ("Дом 14 1945 года.", "Дом 14 построен в 1945 году.", []),
        ("В 2024 100 человек.", "В 2024 году пришли 100 человек.", []),
        ("Дом 15 1945 года.", "Дом 14 построен в 1945 году.", ["15"]),
        ("Под Тверью горел лес.", "Лес горел у Клина.", ["Тверью"]),
        ("Но Сомов отказался.", "Он отказался.", ["Сомов"]),
        ("Рост на 4,2%.", "Рост на 4.2 процента.", []),
        ("Рост на 4,3%.", "Рост на 4,2%.", ["4,3"]),
        ("Погибли 12 человек.", "Пострадали 112 человек.", ["12"]),
        ("Дело № 7 закрыто.", "Дело № 07 закрыли.", []),
        ("", "Текст.", []),
    ],
)
def test_names_and_numbers_without_support_are_found(summary, source, expected):
    found = find_unsupported(summary, source)
    assert [part.text for part in found] == expected
    assert all(summary[part.start : part.end] == part.text for part in found)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_can_be_searched(summary, source):
    summary, source = normalise(summary), normalise(source)
    found = find_unsupported(summary, source)
    assert [part.start for part in found] == sorted(part.start for part in found)
    assert all(first.end <= second.start for first, second in pairwise(found))


@given(st.text(max_size=200))
def test_a_text_supports_itself(text):
    text = normalise(text)
    assert find_unsupported(text, text) == []
