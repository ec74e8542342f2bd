"""What a row must be to be published: the cleaning rules, in one place. Their bounds are in the recipe.

A Cleaner tidies white space, takes known boilerplate out, then asks every rule in order; the first one that
is broken names the reason. A verdict depends on the row alone, never on its neighbours, the clock or the
order of the crawl, and cleaning a clean row changes nothing. So the rows on the Hub and in any store can be
cleaned again, and merge to the same dataset.

To add a rule: one line in `rules_of` (or in one of the pattern tables) and its cases in
tests/dataset/test_rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np

from gazeta.dataset.schema import LINEAGE_FACTS, Row, Schema, number_of, number_text
from gazeta.dataset.tidy import tidy, tidy_line, tidy_text
from gazeta.dataset.words import shingles
from gazeta.recipe import GAZETA, KINDS, Recipe

DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
EDGE = 300  # characters at either end of a text where marks of boilerplate and advertising are
MIN_CYRILLIC_SHARE = 0.7  # of all letters in the text
MAX_FOREIGN_CYRILLIC_SHARE = 0.02  # letters that Russian lacks; Ukrainian has 7%, a quotation less
MIN_YERY_SHARE = 0.002  # «ы» and «э»: 2.2% of Russian letters, none in Bulgarian, Serbian or Ukrainian


@dataclass(frozen=True)
class Rule:
    """`broken(row)` is True if the row must be dropped; `says` is how the card explains the reason."""

    name: str
    says: str
    broken: Callable[[Row], bool]


# All patterns below are for lower-cased text: that is three times as fast as ignoring the case.

# A page in the place of an article. Found anywhere in the title, or at the start of the text.
BOILERPLATE_PAGES = re.compile(
    r"страница не (найдена|существует)"
    r"|доступ (к \S+ )?(ограничен|запрещ[её]н|заблокирован)"
    r"|(включите|разрешите|требуется) (javascript|cookie)"
    r"|вы робот\b|подтвердите, что вы не робот|проверка браузера"
    r"|ваш браузер (устарел|не поддерживается)"
    r"|(ошибка|error) (404|403|500|502|503)\b"
    r"|(сайт|сервис|страница) временно недоступ"
)
# A summary that says what the page is, not what happened.
BOILERPLATE_SUMMARIES = re.compile(
    r"^(читайте|смотрите|(все )?подробности|подробнее)\b.{0,80}(газет[аеы]|сайте|материале|портале)"
    r"|^(главные|последние|свежие|все) новости\b"
    r"|^новости (дня|россии и мира|часа)\b"
)

# Kind → column → pattern: what newspapers publish besides articles. A recipe says which kinds are dropped.
NOT_ARTICLES = {
    reason: {field: re.compile(pattern) for field, pattern in fields.items()}
    for reason, fields in {
        "gallery": {
            "url": r"/(photo|photos|gallery|video|infographics|photoreport)/",
            "title": r"^(фото|видео|галерея|инфографика)(\s*[:.|]|\s+[–—-])"
            r"|\b(фотогалерея|фоторепортаж|фотолента)\b",
        },
        "live report": {
            "title": r"\b(онлайн[- ]?(трансляция|репортаж)|(текстовая|прямая) трансляция|трансляция онлайн)\b"
            r"|(^|[.:|]\s*|\s[–—-]\s)(онлайн|хроника)(\s*[.:|]|\s[–—-]\s|$)",
            "summary": r"^(онлайн[- ]?|текстовая |прямая )трансляция\b",
        },
        "horoscope": {"title": r"\bгороскоп|\bлунный календарь\b"},
        "correction": {
            "title": r"^(исправление|поправка|опровержение|уточнение)(\s*[:.]|\s[–—-]|$)"
            r"|\bопровержение редакции\b",
        },
        "quiz": {
            "url": r"/(tests|quiz)/",
            "title": r"^(тест|викторина|опрос|кроссворд)(\s*[:.?]|\s[–—-])|\bпройдите тест\b",
        },
        "advertising": {
            "title": r"на правах рекламы|партн[её]рский материал|рекламный материал",
            "text": r"\A(на правах рекламы|партн[её]рский материал)|\berid\s*[:=]\s*\w{6,}",
        },
    }.items()
}


# What the rules look at

_ADDRESS = re.compile(r"https?://[^\s/]+(/\S*)?|urn:uuid:[0-9a-f-]{36}")  # the latter: see schema.content_urn
_CLOCK_LINE = re.compile(r"\d{1,2}[:.]\d{2}\b|\d{1,3}(\+\d)?[’'´]")


def letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def parse_date(raw: str) -> datetime | None:
    """A date of exactly the form "YYYY-MM-DD HH:MM:SS"; None for anything else."""
    try:
        parsed = datetime.fromisoformat(raw)  # a tenth of the time of strptime, and lets other forms pass
    except ValueError:
        return None
    return parsed if parsed.isoformat(" ") == raw and parsed.tzinfo is None and len(raw) == 19 else None


def copied_share(summary: str, text: str) -> float:
    """The share of the summary's runs of three words that the text has, too; 1.0 is a plain copy."""
    runs, source = shingles(summary), shingles(text)
    places = np.minimum(np.searchsorted(source, runs), len(source) - 1)
    return np.count_nonzero(source[places] == runs) / len(runs)


_FOREIGN, _YERY = "іїєґўіјљњћђџѓќѕәғқңөұүһӣӯҷҳ", "ыэ"
# For each character: 1 another letter, 2 Cyrillic, 3 foreign Cyrillic, 4 «ы» or «э», 5 a digit, 0 the rest.
_KINDS = np.zeros(65536, dtype=np.uint8)
for _code in range(0x0041, 0x0250):
    _KINDS[_code] = chr(_code).isalpha()
for _code in range(0x0400, 0x0530):
    _KINDS[_code] = 2 * chr(_code).isalpha()
for _code in (*range(0x0250, 0x0400), *range(0x0530, 0x2000), *range(0x3040, 0xD7A4)):
    _KINDS[_code] = chr(_code).isalpha()
for _letters, _kind in (_FOREIGN + _FOREIGN.upper(), 3), (_YERY + _YERY.upper(), 4), ("0123456789", 5):
    _KINDS[[ord(letter) for letter in _letters]] = _kind


@lru_cache(maxsize=2)
def letter_counts(text: str) -> tuple[int, int, int, int, int]:
    """How many letters, Cyrillic letters, Cyrillic letters foreign to Russian, «ы» or «э», and digits."""
    codes = np.frombuffer(text.encode("utf-16-le", "replace"), dtype=np.uint16)
    _, other, cyrillic, foreign, yery, digits = np.bincount(_KINDS[codes], minlength=6).tolist()
    return other + cyrillic + foreign + yery, cyrillic + foreign + yery, foreign, yery, digits


def is_russian(text: str) -> bool:
    """By letters alone: enough Cyrillic, hardly any that Russian lacks, and the two that it is full of.

    A text of under 300 letters may lack «ы» and «э» by chance, so they do not count there.
    """
    count, cyrillic, foreign, yery, _ = letter_counts(text)
    if count == 0 or cyrillic < MIN_CYRILLIC_SHARE * count or foreign > MAX_FOREIGN_CYRILLIC_SHARE * count:
        return False
    return cyrillic < 300 or yery >= MIN_YERY_SHARE * cyrillic


def _mostly_cyrillic(summary: str) -> bool:
    """A summary is short and sometimes full of brand names, so only the plain case counts."""
    count, cyrillic, *_ = letter_counts(summary)
    return 2 * cyrillic >= count


def _is_boilerplate(row: Row) -> bool:
    return bool(
        BOILERPLATE_PAGES.search(row.get("title", "").lower())
        or BOILERPLATE_PAGES.search(row.get("text", "")[:EDGE].lower())
        or BOILERPLATE_SUMMARIES.search(row.get("summary", "").lower())
    )


def _of_kind(kind: str, schema: Schema) -> Callable[[Row], bool]:
    patterns = [(name, NOT_ARTICLES[kind][name]) for name in NOT_ARTICLES[kind] if name in schema.names]

    def broken(row: Row) -> bool:
        for name, pattern in patterns:
            value = row[name]
            # Only a text is that long, and its mark is at one of its ends.
            if pattern.search(value[:EDGE].lower()):
                return True
            if len(value) > EDGE and pattern.search(value[-EDGE:].lower()):
                return True
        return False

    return broken


def _is_live(most_clock_lines: float, schema: Schema) -> Callable[[Row], bool]:
    marked = _of_kind("live report", schema)

    def broken(row: Row) -> bool:
        if marked(row):
            return True
        lines = row[schema.text].split("\n")
        clocks = sum(1 for line in lines if _CLOCK_LINE.match(line))
        return clocks >= 4 and clocks > most_clock_lines * len(lines)

    return broken


def _date_out_of_range(date: str, first: str | None, hours_ahead: float | None) -> Callable[[Row], bool]:
    earliest = f"{first} 00:00:00" if first else ""
    ahead = None if hours_ahead is None else timedelta(hours=hours_ahead)

    def broken(row: Row) -> bool:
        if not row[date] or row[date] < earliest:
            return bool(row[date])
        fetched = parse_date(row["fetched_at"]) if ahead is not None else None
        return fetched is not None and row[date] > (fetched + ahead).isoformat(" ")

    return broken


def _is_a_table(text: str, most_digits: float) -> bool:
    count, *_, digits = letter_counts(text)
    return digits > most_digits * (count + digits)


KIND_SAYS = {
    "gallery": "a photo or video gallery, or an infographic",
    "live report": "an online broadcast: marked so, or most lines begin with a time",
    "horoscope": "a horoscope or a lunar calendar",
    "correction": "a correction or a denial by the editors",
    "quiz": "a test, a quiz or a poll",
    "advertising": "marked as advertising",
}
# Column type → what a wrong value is, for the card, and how it is recognised.
FORMS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "url": ("the address is no http or https address", lambda value: not _ADDRESS.fullmatch(value)),
    "date": (f"the date is not of the form {DATE_FORMAT}", lambda value: parse_date(value) is None),
    "number": ("the value is no number", lambda value: number_of(value) is None),
}


def _of(column: str, broken: Callable[[str], bool], also_empty: bool = False) -> Callable[[Row], bool]:
    return lambda row: (also_empty or row[column] != "") and broken(row[column])


def rules_of(recipe: Recipe) -> Iterator[Rule]:
    """The rules of a recipe, in the order in which they are asked."""
    schema, bounds, text = recipe.schema, recipe.rules, recipe.schema.text
    for name in schema.required:
        if name not in schema.of_type("url", "date"):  # a missing one is a wrong one
            yield Rule(f"no {name}", f"the {name} is empty", _of(name, lambda value: not value, True))
    for column in recipe.columns:
        if column.type in FORMS:
            says, wrong = FORMS[column.type]
            yield Rule(f"bad {column.name}", says, _of(column.name, wrong, column.required))
    for name, (low, high) in bounds.between.items():
        yield Rule(f"{name} out of range", f"the {name} is not between {low:g} and {high:g}",
                   _of(name, lambda value, low=low, high=high: not low <= float(value) <= high))  # fmt: skip
    if schema.date and (bounds.first_date or bounds.max_hours_ahead is not None):
        yield Rule(f"{schema.date} out of range",
                   f"the {schema.date} is before {bounds.first_date} or after the page was fetched",
                   _date_out_of_range(schema.date, bounds.first_date, bounds.max_hours_ahead))  # fmt: skip
    if bounds.boilerplate:
        yield Rule("boilerplate", "an error page, a consent page, or a summary that only advertises the site",
                   _is_boilerplate)  # fmt: skip
    for kind in (kind for kind in KINDS if kind in bounds.drop):
        live = kind == "live report"
        broken = _is_live(bounds.max_clock_lines_share, schema) if live else _of_kind(kind, schema)
        yield Rule(kind, KIND_SAYS[kind], broken)
    for name, least in bounds.min_characters.items():
        yield Rule(f"short {name}", f"the {name} has fewer than {least:,} characters",
                   _of(name, lambda value, least=least: len(value) < least))  # fmt: skip
    for name, most in bounds.max_characters.items():
        yield Rule(f"long {name}", f"the {name} has more than {most:,} characters",
                   _of(name, lambda value, most=most: len(value) > most))  # fmt: skip
    if (share := bounds.max_digit_share) is not None:
        yield Rule("score table", f"more than {share:.0%} of the {text}'s letters and digits are digits",
                   _of(text, lambda value: _is_a_table(value, share)))  # fmt: skip
    for name, least in bounds.min_letters.items():
        yield Rule(f"short {name}", f"the {name} has fewer than {least:,} letters",
                   _of(name, lambda value, least=least: letters(value) < least))  # fmt: skip
    summarized = {"summary", "text"} <= set(schema.names)
    if (longest := bounds.max_summary_share) is not None and summarized:
        of = "" if longest == 1 else f"{longest:.0%} of "
        yield Rule("summary longer than text", f"the summary has at least as many characters as {of}the text",
                   lambda row: len(row["summary"]) >= longest * len(row["text"]))  # fmt: skip
    if bounds.language:
        yield Rule("wrong language", f"under {MIN_CYRILLIC_SHARE:.0%} of the letters are Cyrillic, or they"
                   " are those of another language that is written with Cyrillic",
                   lambda row: (row[text] != "" and not is_russian(row[text]))
                   or not _mostly_cyrillic(row.get("summary", "")))  # fmt: skip
    if (copied := bounds.max_copied_share) is not None and summarized:
        yield Rule("summary copied", f"at least {copied:.0%} of the summary's runs of three words are also in"
                   " the text", lambda row: copied_share(row["summary"], row["text"]) >= copied)  # fmt: skip


class Cleaner:
    """The tidying and the rules of one recipe."""

    def __init__(self, recipe: Recipe = GAZETA):
        self.rules = tuple(rules_of(recipe))
        ways: dict[str, Callable[[str], str]] = {
            "text": tidy_text if recipe.rules.boilerplate else tidy,
            "line": tidy_line,
            "date": str.strip,
            "url": str.strip,
            "label": lru_cache(1000)(tidy_line),  # a few values, again and again
            "number": number_text,
        }
        self._ways = [(column.name, ways[column.type]) for column in recipe.columns]

    def tidy(self, row: Row) -> Row:
        """A row with tidy columns. Columns that it lacks are empty."""
        tidied = {name: way(row.get(name, "")) for name, way in self._ways}
        return tidied | {fact: row.get(fact, "") for fact in LINEAGE_FACTS}

    def broken_rule(self, row: Row) -> str:
        """The name of the first rule that a tidy row breaks; "" if it is to be kept."""
        return next((rule.name for rule in self.rules if rule.broken(row)), "")

    def clean(self, row: Row) -> tuple[Row, str]:
        """The tidy row, and the name of the first rule that it breaks ("" if it is to be kept)."""
        row = self.tidy(row)
        return row, self.broken_rule(row)

    def explained(self) -> dict[str, str]:
        """Reason → what it means, for the card."""
        return {rule.name: rule.says for rule in self.rules}
