"""Words with their forms: cities, people, firms, and numbers that agree with their nouns.

All words that a template can insert come from here. Their forms are written by hand or follow a rule without
exceptions in these tables, so the news is grammatical. People and firms are invented; only cities are real.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

CASES = ("nom", "gen", "dat", "ins")

# nominative, genitive, dative, accusative, "where" (with its preposition), adjective up to its ending
_CITIES = """
Самара Самары Самаре Самару в_Самаре самарск
Казань Казани Казани Казань в_Казани казанск
Пермь Перми Перми Пермь в_Перми пермск
Тула Тулы Туле Тулу в_Туле тульск
Рязань Рязани Рязани Рязань в_Рязани рязанск
Калуга Калуги Калуге Калугу в_Калуге калужск
Воронеж Воронежа Воронежу Воронеж в_Воронеже воронежск
Саратов Саратова Саратову Саратов в_Саратове саратовск
Ярославль Ярославля Ярославлю Ярославль в_Ярославле ярославск
Иркутск Иркутска Иркутску Иркутск в_Иркутске иркутск
Томск Томска Томску Томск в_Томске томск
Омск Омска Омску Омск в_Омске омск
Тюмень Тюмени Тюмени Тюмень в_Тюмени тюменск
Курган Кургана Кургану Курган в_Кургане курганск
Вологда Вологды Вологде Вологду в_Вологде вологодск
Псков Пскова Пскову Псков в_Пскове псковск
Тверь Твери Твери Тверь в_Твери тверск
Смоленск Смоленска Смоленску Смоленск в_Смоленске смоленск
Пенза Пензы Пензе Пензу в_Пензе пензенск
Ижевск Ижевска Ижевску Ижевск в_Ижевске ижевск
Уфа Уфы Уфе Уфу в_Уфе уфимск
Барнаул Барнаула Барнаулу Барнаул в_Барнауле барнаульск
Мурманск Мурманска Мурманску Мурманск в_Мурманске мурманск
Архангельск Архангельска Архангельску Архангельск в_Архангельске архангельск
Астрахань Астрахани Астрахани Астрахань в_Астрахани астраханск
Липецк Липецка Липецку Липецк в_Липецке липецк
Тамбов Тамбова Тамбову Тамбов в_Тамбове тамбовск
Кострома Костромы Костроме Кострому в_Костроме костромск
Владимир Владимира Владимиру Владимир во_Владимире владимирск
Хабаровск Хабаровска Хабаровску Хабаровск в_Хабаровске хабаровск
Чита Читы Чите Читу в_Чите читинск
Якутск Якутска Якутску Якутск в_Якутске якутск
Калининград Калининграда Калининграду Калининград в_Калининграде калининградск
Ставрополь Ставрополя Ставрополю Ставрополь в_Ставрополе ставропольск
Оренбург Оренбурга Оренбургу Оренбург в_Оренбурге оренбургск
Челябинск Челябинска Челябинску Челябинск в_Челябинске челябинск
Новосибирск Новосибирска Новосибирску Новосибирск в_Новосибирске новосибирск
Красноярск Красноярска Красноярску Красноярск в_Красноярске красноярск
Петрозаводск Петрозаводска Петрозаводску Петрозаводск в_Петрозаводске петрозаводск
Сургут Сургута Сургуту Сургут в_Сургуте сургутск
"""

_MEN = """
Андрей Андрея Андрею Андреем
Борис Бориса Борису Борисом
Вадим Вадима Вадиму Вадимом
Виктор Виктора Виктору Виктором
Глеб Глеба Глебу Глебом
Денис Дениса Денису Денисом
Егор Егора Егору Егором
Илья Ильи Илье Ильей
Кирилл Кирилла Кириллу Кириллом
Леонид Леонида Леониду Леонидом
Никита Никиты Никите Никитой
Олег Олега Олегу Олегом
Павел Павла Павлу Павлом
Роман Романа Роману Романом
Степан Степана Степану Степаном
Федор Федора Федору Федором
"""

_WOMEN = """
Алина Алины Алине Алиной
Вера Веры Вере Верой
Галина Галины Галине Галиной
Дарья Дарьи Дарье Дарьей
Елена Елены Елене Еленой
Жанна Жанны Жанне Жанной
Зоя Зои Зое Зоей
Инна Инны Инне Инной
Лариса Ларисы Ларисе Ларисой
Марина Марины Марине Мариной
Нина Нины Нине Ниной
Оксана Оксаны Оксане Оксаной
Полина Полины Полине Полиной
Раиса Раисы Раисе Раисой
Тамара Тамары Тамаре Тамарой
Юлия Юлии Юлии Юлией
"""

# Rare or made-up surnames, so that no full name is that of a known person.
_SURNAMES = """
Вершков Лосицын Казарцев Тихомолов Корзухин Мелентьев Дубравин Остроухов Кедрин Полозьев
Берестов Чистяшин Гордынцев Лучинин Пестрецов Заворотов Снегин Хлебутин Ручьев Мостовиков
Залесский Вишневецкий Подгорский Озерецкий Долинский Лебяжский Ясенский Березинский Студеницкий Холмский
Кременцов Латышин Журавин Сомовин Ладынин Ветлугин Курбатин Елагин Травников Шелестов
"""

_FIRMS = """
Волгамир Сибкристалл Тайгадом Луговик Северолист Ветромаш Кедропром Светоград Уралфлора Ладогатех
Камахлеб Алтайвест Тихогор Белозорье Окавита Степлайн Руснива Полярит Донтекс Зарницаплюс
Янтарика Байкалит Мореход-Юг Снежинариум Ключевик Росинка-М Гранитор Лесовей Звонград Меридиум
"""

MONTHS = (
    ("января", "в январе"), ("февраля", "в феврале"), ("марта", "в марте"), ("апреля", "в апреле"),
    ("мая", "в мае"), ("июня", "в июне"), ("июля", "в июле"), ("августа", "в августе"),
    ("сентября", "в сентябре"), ("октября", "в октябре"), ("ноября", "в ноябре"), ("декабря", "в декабре"),
)  # fmt: skip


class Forms:
    """A word or a phrase with named forms; `{w}` is the first form, `{w:^}` capitalizes it."""

    def __init__(self, names: tuple[str, ...], forms: tuple[str, ...]) -> None:
        if len(names) != len(forms):
            raise ValueError(f"{forms} must have {len(names)} forms: {', '.join(names)}")
        self.bare = forms[0]
        for name, form in zip(names, forms, strict=True):
            setattr(self, name, form)

    def __str__(self) -> str:
        return self.bare

    def __format__(self, spec: str) -> str:
        return self.bare[0].upper() + self.bare[1:] if spec == "^" else self.bare


@dataclass(frozen=True)
class City:
    """`where` is "в Самаре", `to` is "в Самару", `adj` is "самарск" without its ending."""

    nom: str
    gen: str
    dat: str
    acc: str
    where: str
    adj: str

    @property
    def to(self) -> str:
        return f"{self.where.split()[0]} {self.acc}"

    @property
    def Where(self) -> str:
        return self.where[0].upper() + self.where[1:]

    @property
    def Adj(self) -> str:
        return self.adj.capitalize()

    def __str__(self) -> str:
        return self.nom


def decline_surname(surname: str, woman: bool) -> tuple[str, str, str, str]:
    """Nominative, genitive, dative, instrumental of a surname in -ов, -ев, -ин, -ын or -ский, -цкий."""
    if surname.endswith("ий"):
        stem = surname[:-2]
        endings = ("ая", "ой", "ой", "ой") if woman else ("ий", "ого", "ому", "им")
    else:
        stem = surname
        endings = ("а", "ой", "ой", "ой") if woman else ("", "а", "у", "ым")
    return tuple(stem + ending for ending in endings)


class Person:
    """A name with its cases: `gen` is the full name, `last_gen` the surname; `{p:сказал|сказала}` agrees."""

    def __init__(self, first: tuple[str, ...], surname: str, woman: bool) -> None:
        self.woman = woman
        for case, given, family in zip(CASES, first, decline_surname(surname, woman), strict=True):
            setattr(self, case, f"{given} {family}")
            setattr(self, f"last_{case}", family)
        self.last = self.last_nom

    def __str__(self) -> str:
        return self.nom

    def __format__(self, spec: str) -> str:
        return spec.split("|")[self.woman] if spec else self.nom


class Count(int):
    """A number that its noun agrees with.

    `{n:день|дня|дней}` gives "21 день", `{n:~дня|дней}` the genitive ("более 21 дня"), `{n}` the digits.
    """

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(int(self))
        last, teen = self % 10, 10 < self % 100 < 20
        if spec.startswith("~"):
            one, many = spec[1:].split("|")
            return f"{int(self)} {one if last == 1 and not teen else many}"
        one, few, many = spec.split("|")
        noun = many if teen or last == 0 or last > 4 else one if last == 1 else few
        return f"{int(self)} {noun}"


class Day:
    """A day of the year: `{d}` is "14 мая", `{d.month}` is "в мае"."""

    def __init__(self, day: date) -> None:
        genitive, self.month = MONTHS[day.month - 1]
        self.nom = f"{day.day} {genitive}"

    def __str__(self) -> str:
        return self.nom


def _table(text: str) -> list[tuple[str, ...]]:
    return [tuple(word.replace("_", " ") for word in line.split()) for line in text.strip().splitlines()]


CITIES = [City(*row) for row in _table(_CITIES)]
MEN = _table(_MEN)
WOMEN = _table(_WOMEN)
SURNAMES = _SURNAMES.split()
FIRMS = _FIRMS.split()
