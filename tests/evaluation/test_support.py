"""Names, places and numbers that a text does not support."""

from __future__ import annotations

import gzip
import json

import pytest
import razdel
from t5sum.served.support import Text, known_names, mentions, numbers, unsupported

TEXT = (
    "В Москве мэр Сергей Орлов открыл станцию метро. Московский метрополитен потратил 2,5 млрд рублей. "
    "По словам Орлова, двадцать пять тысяч пассажиров проедут здесь 15.05.2020 в 12:30. "
    "Соединенные Штаты Америки и Франция прислали трех инженеров. Министр Медведев не приехал. "
    "Украинские строители получили 10 000 рублей. Компания Google и «Роснефть» участвовали. "
    "Павел Лебедев доволен."
)


def found(summary: str, text: str = TEXT) -> list[str]:
    return [mention.surface for mention in unsupported(summary, text)[0]]


@pytest.mark.parametrize(
    "summary",
    [
        "Новую станцию в Москве открыл Сергей Орлов.",
        "Мэра Орлова поблагодарили.",
        "Это понравилось Медведеву и Павлу Лебедеву.",  # fleeting vowel, surname endings
        "Вчера США и французы помогли.",  # initials
        "Помогла и Украина.",  # украинские
        "В городе Москва была Роснефть и Google.",
    ],
)
def test_inflected_names_of_the_text_are_supported(summary):
    assert found(summary) == []


@pytest.mark.parametrize(
    ("summary", "wrong"),
    [
        ("Станцию в Москве открыл Иван Орлов.", ["Иван"]),
        ("Станцию в Казани открыл Сергей Орлов.", ["Казани"]),
        ("Станцию открыл мэр Орловский из Парижа.", ["Парижа"]),
        ("Помогли КНР и США.", ["КНР"]),
        ("Приехал министр Медведчук.", ["Медведчук"]),
    ],
)
def test_names_the_text_does_not_hold_are_listed(summary, wrong):
    assert [surface for surface in found(summary) if surface != "Орловский"] == wrong


@pytest.mark.parametrize(
    "summary", ["стоило 2,5 млрд", "стоило 2500 млн", "проедут 25 тысяч", "проедут 25000",
                "приехали 3 инженера", "заплатили 10 тысяч", "заплатили 10000", "мая 15 числа",
                "начало в 12:30", "трое инженеров"],
)  # fmt: skip
def test_numbers_are_supported_in_digits_words_and_scales(summary):
    assert found(summary) == []


@pytest.mark.parametrize(
    ("summary", "wrong"),
    [("стоило 2,6 млрд", ["2,6"]), ("проедут 26 тысяч", ["26"]), ("приехали четыре инженера", ["четыре"]),
     ("это было в 2021 году", ["2021"]), ("начало в 13:30", ["13:30"])],
)  # fmt: skip
def test_other_numbers_are_listed(summary, wrong):
    assert found(summary) == wrong


def test_the_first_word_of_a_sentence_is_a_name_only_when_known():
    assert [m.surface for m in mentions("Полиция приехала. Путин уехал.")] == []
    names = known_names(["Об этом сказал Путин. Вчера Путин уехал.", "Там полиция, тут полиция."])
    assert [m.surface for m in mentions("Полиция приехала. Путина не было.", names)] == ["Путина"]


def test_places_point_into_the_summary():
    summary = "Мэр Иван Орлов потратил 7 рублей."
    wrong, count = unsupported(summary, TEXT)
    assert count == 3
    assert [(summary[m.start : m.end], m.kind) for m in wrong] == [("Иван", "name"), ("7", "number")]


def test_numerals_in_words_add_up():
    assert {"25", "25000"} <= numbers("двадцать пять тысяч")
    assert "145" in numbers("сто сорок пять")
    assert "25" not in numbers("пять двадцать")


def test_texts_without_letters_are_no_trouble():
    assert unsupported("", TEXT) == ([], 0)
    assert found("— … 🙂") == []
    assert Text("").numbers == set()


def test_sentences_of_real_news_support_themselves(shared):
    path = shared / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is absent")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [row["body"] for row in map(json.loads, lines) if row.get("body")][:300]
    names = known_names(texts)
    own = other = own_count = other_count = 0
    for place, text in enumerate(texts):
        known = Text(text)
        inner = " ".join(s.text for s in list(razdel.sentenize(text))[1:3])
        foreign = " ".join(s.text for s in list(razdel.sentenize(texts[place - 1]))[1:3])
        own += len(unsupported(inner, known, names)[0])
        own_count += unsupported(inner, known, names)[1]
        other += len(unsupported(foreign, known, names)[0])
        other_count += unsupported(foreign, known, names)[1]
    assert own_count > 500
    assert own == 0
    assert other / other_count > 0.8
