"""The cleaning rules, one by one, and what must hold for any text."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from gazeta.dataset.rules import Cleaner, parse_date
from gazeta.dataset.tidy import tidy, tidy_line
from hypothesis import given
from hypothesis import strategies as st

CLEANER = Cleaner()
RULES, clean = CLEANER.rules, CLEANER.clean

UKRAINIAN = (
    "У місті Зарічному закінчили ремонт мосту через річку. Рух по ньому відкриють у п'ятницю вранці,"
    " повідомив"
    " інженер. Мешканці чекали на відкриття майже рік, бо об'їзд забирав близько сорока хвилин. Автобуси"
    " повернуться на попередній маршрут з наступного тижня, а вночі рух будуть закривати для перевірки."
)
BULGARIAN = (
    "В центъра на града приключи ремонтът на моста над реката. Движението ще бъде пуснато в петък"
    " сутринта, каза"
    " инженерът. Жителите чакаха откриването почти година, защото обходният маршрут отнемаше около"
    " четиридесет"
    " минути. Автобусите се връщат по стария път от следващата седмица, а през нощта мостът ще бъде"
    " затварян за"
    " проверка и поддръжка на новите опори и на настилката, която беше положена през последните месеци."
)
KAZAKH = (
    "Қала орталығындағы көпірдің жөндеу жұмыстары аяқталды. Қозғалыс жұма күні таңертең ашылады деп"
    " хабарлады"
    " инженер. Тұрғындар көпірдің ашылуын бір жылға жуық күтті, өйткені айналма жол қырық минутқа созылған."
    " Автобустар келесі аптадан бастап бұрынғы бағытқа оралады, ал түнде тексеру үшін қозғалыс жабылады."
)
ENGLISH = (
    "The repair of the bridge in the town centre is over, and traffic will be let through on Friday"
    " morning."
    " People waited for it for almost a year, since the way round took forty minutes. Buses return to"
    " their old"
    " route next week, and at night the bridge will be closed for inspection, the engineer said on"
    " Thursday."
)

# The rule's name → what is bent so that this rule is the one that is broken.
BROKEN: dict[str, list[dict[str, str]]] = {
    "no text": [{"text": ""}, {"text": " \n\u200b "}, {"text": "Реклама\nЧитайте также: другое"}],
    "no title": [{"title": ""}, {"title": "\u00a0"}],
    "no summary": [{"summary": ""}],
    "no rubric": [{"rubric": " "}],
    "bad url": [{"url": ""}, {"url": "gazeta.ru/1"}, {"url": "ftp://gazeta.ru/1"}, {"url": "https://a b/c"}],
    "bad date": [
        {"date": ""},
        {"date": "2024-05-17"},
        {"date": "2024-02-30 10:00:00"},
        {"date": "2024-5-17 9:30:00"},
        {"date": "2024-05-17T09:30:00"},
    ],
    "date out of range": [
        {"date": "1998-12-31 23:59:59"},
        {"date": "2024-05-20 00:00:00"},  # two days after it was fetched
    ],
    "boilerplate": [
        {"title": "Страница не найдена"},
        {"text": "Доступ к сайту ограничен. " + "Обратитесь к своему оператору связи за помощью. " * 6},
        {"summary": "Главные новости России и мира на сегодня, каждый час"},
        {"summary": "Подробности читайте в материале «Газеты.Ru» сегодня вечером"},
    ],
    "gallery": [
        {"title": "Фото: как открывали мост в Зареченске"},
        {"title": "Мост в Зареченске: фоторепортаж с открытия"},
        {"url": "https://www.gazeta.ru/social/photo/most.shtml"},
    ],
    "live report": [
        {"title": "Открытие моста в Зареченске: онлайн-трансляция"},
        {"title": "Онлайн: открытие моста в Зареченске"},
        {"summary": "Онлайн-трансляция открытия моста в Зареченске, день второй"},
        {"text": "\n".join(f"1{minute // 10}:{minute:02d} Колонна машин проехала {minute}-ю опору моста, все"
                           " спокойно." for minute in range(10, 30))},
    ],
    "horoscope": [{"title": "Гороскоп на 17 мая для всех знаков"}, {"title": "Лунный календарь на май"}],
    "correction": [{"title": "Исправление"}, {"title": "Опровержение: о мосте в Зареченске"}],
    "quiz": [{"title": "Тест: что вы знаете о мостах"}, {"url": "https://www.gazeta.ru/quiz/1.shtml"}],
    "advertising": [
        {"title": "Мост надежды: партнерский материал"},
        {"text": "На правах рекламы\n\n" + "Новый жилой дом у реки сдадут в мае. " * 10 + "erid: 2VtzqwXyz"},
        {"text": "Новый жилой дом у реки сдадут в мае. " * 10 + "erid: 2VtzqwXyz"},
    ],
    "short text": [{"text": "Мост открыт."}],
    "long text": [{"text": "Мост через реку открыли утром, и по нему поехали первые автобусы. " * 2000}],
    "score table": [{"text": "\n".join(f"тур {a}: {a}:{a + 1} {a * 7}:{a * 3}" for a in range(80))}],
    "short title": [{"title": "Мост"}, {"title": "17.05.2024 12:30"}],
    "short summary": [{"summary": "Мост открыт снова."}],
    "summary longer than text": [
        {"summary": "Мост в Зареченске снова открыт, и по нему поехали первые утренние автобусы. " * 12}
    ],
    "wrong language": [
        {"text": UKRAINIAN}, {"text": BULGARIAN}, {"text": KAZAKH}, {"text": ENGLISH},
        {"summary": "The bridge in the town centre is open again after a year of repair."},
    ],
    "summary copied": [
        {"summary": "Движение по нему откроют в пятницу утром."},
        {"summary": "РАБОЧИЕ заменили опоры и уложили новый асфальт – рассказал инженер Семён Ладейкин!"},
    ],
}  # fmt: skip

# What looks like a broken rule and is none.
KEPT = [
    {"title": "Тест-драйв нового автобуса в Зареченске: едет тихо"},
    {"title": "Онлайн-кинотеатр покажет фильм о мосте в Зареченске"},
    {"title": "Фотограф Мостов открыл выставку в Зареченске"},
    {"title": "Поправки к закону о мостах приняты в первом чтении"},
    {"title": "Исправленный мост открыли в Зареченске в пятницу"},
    {"summary": "Новости хорошие: мост в центре города снова открывают после года ремонта и споров."},
    {"date": "1999-01-01 00:00:00"},
    {"date": "2024-05-18 12:00:00"},  # fetched that morning by UTC, and Moscow is ahead
    {"fetched_at": ""},
    {"summary": "Audi, BMW и Mercedes-Benz первыми проехали по открытому после ремонта мосту."},
    {
        "text": UKRAINIAN[:60]
        + ", сказал он по-украински.\n"
        + "Мост ремонтировали почти год, и жители рады. " * 12
    },
]


@pytest.mark.parametrize(
    ("name", "bent"),
    [(name, bent) for name, cases in BROKEN.items() for bent in cases],
    ids=lambda value: str(value)[:60],
)
def test_a_broken_rule_names_the_reason(good, name, bent):
    assert clean({**good, **bent})[1] == name


@pytest.mark.parametrize("bent", KEPT, ids=lambda bent: str(bent)[:60])
def test_what_only_looks_broken_is_kept(good, bent):
    assert clean({**good, **bent})[1] == ""


def test_every_rule_has_a_case_and_an_explanation(good):
    assert clean(good) == (good, "")
    assert [rule.name for rule in RULES] == list(dict.fromkeys(rule.name for rule in RULES))
    assert set(BROKEN) == {rule.name for rule in RULES} == set(CLEANER.explained())


def test_rows_of_real_news_without_a_fault_are_kept(good, invented):
    assert [reason for row in invented(400) if (reason := clean(row)[1])] == []


@pytest.mark.parametrize(
    "raw",
    ["2024-01-01T10:00:00", "2024-01-01 10:00", "2024-01-01 10:00:00.5", "2024-01-01 10:00:00.500000",
     "20240101 100000", "2024-W01-1 10:00:00", "2024-01-01 10:00:00+03:00", "2024-13-01 10:00:00",
     "2024-02-30 10:00:00", "2024-01-01 24:00:00", "1 января 2024", ""],
)  # fmt: skip
def test_a_date_has_one_form(raw):
    assert parse_date(raw) is None
    assert parse_date("2024-02-29 23:59:59") == datetime(2024, 2, 29, 23, 59, 59)


def test_spaces_breaks_and_invisible_characters_are_tidied():
    assert (
        tidy("  Мо\u00adст\u00a0\u2009открыт\t\tснова \r\n \n\u200b Ура\ufeff ") == "Мост открыт снова\nУра"
    )
    assert tidy("и\u0306ога") == "йога"  # composed: one letter, not a letter and a sign
    assert tidy_line("Мост\nоткрыт\r\n\r\nснова") == "Мост открыт снова"


def test_boilerplate_paragraphs_are_taken_out_and_the_story_stays(good):
    text = "Реклама\n" + good["text"].replace("\n", "\nЧитайте также: Как чинят мосты\n") + "\nЧто думаешь?"
    assert clean({**good, "text": text}) == (good, "")


TEXTS = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "абвгдеёжзийклмнопрстуфхцчшщъыьэюя АБВ.,!?«»—-0123456789\n\t\r \u00a0\u200b\u00ad\u0306\u2028"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=400,
)


@given(TEXTS)
def test_tidying_twice_changes_nothing(text):
    once = tidy(text)
    assert tidy(once) == once
    assert "\n\n" not in once and "  " not in once and once == once.strip()


@given(text=TEXTS, summary=TEXTS, title=TEXTS, good_text=st.booleans())
def test_cleaning_a_cleaned_row_changes_nothing(good, text, summary, title, good_text):
    row, reason = clean(
        {
            **good,
            "text": good["text"] + "\n" + text if good_text else text,
            "summary": summary,
            "title": title,
        }
    )
    assert clean(row) == (row, reason)


@pytest.mark.parametrize("before", [0, 1, 30, 31, 32])
def test_a_row_of_marks_keeps_thirty(before):
    """NFC of all would take minutes for a page made to do that."""
    began = time.process_time()
    kept = tidy("б" * before + "\u0301\u0323" * 50_000 + "б")
    assert len(kept) == before + 30 + 1
    hidden = tidy("б" * before + ("\u0323" * 29 + "\u200b") * 3_000 + "б")
    assert len(hidden) == before + 30 + 1
    assert time.process_time() - began < 2
