"""What an article must be to become a row: the cleaning rules, as data, in one place.

`clean` tidies white space and takes known boilerplate out, then asks every rule of RULES in order; the first
one that is broken names the reason. A verdict depends on the article alone, never on its neighbours, the
clock or the order of the crawl, and cleaning a clean row changes nothing: that is what lets the dataset on
the Hub and any store be cleaned again and merge to the same rows.

To add a rule: one line in RULES (or in one of the pattern tables above it) and its cases in
tests/dataset/test_rules.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np

from gazeta.dataset.words import shingles

REQUIRED_COLUMNS = ("text", "summary", "title", "date", "url", "rubric")  # no row without a value in each
COLUMNS = REQUIRED_COLUMNS  # one more may be added after them: see CONTRIBUTING.md, "A column"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"

FIRST_DATE = "1999-01-01 00:00:00"  # the year the newspaper opened
CLOCK_SLACK = timedelta(hours=27)  # Moscow is UTC+3, and a day for a clock that is wrong
MIN_TITLE_LETTERS = 8
MIN_SUMMARY_LETTERS = 25
MIN_TEXT_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 100_000  # only day-long online broadcasts are longer
MAX_SUMMARY_SHARE = 1.0  # of the text's characters
MAX_COPIED_SHARE = 0.9  # of the summary's runs of three words, found in the text too
EDGE = 300  # characters at either end of a text where marks of boilerplate and advertising stand
MIN_CYRILLIC_SHARE = 0.7  # of all letters in the text
MAX_FOREIGN_CYRILLIC_SHARE = 0.02  # letters that Russian has not; Ukrainian has 7%, a quotation less
MIN_YERY_SHARE = 0.002  # «ы» and «э»: 2.2% of Russian letters, none in Bulgarian, Serbian or Ukrainian
MAX_DIGIT_SHARE = 0.25  # of letters and digits: above it, a score table or a schedule
MAX_CLOCK_LINES_SHARE = 0.4  # of the lines begin with a time or a minute of play: a live report


class HasColumns(Protocol):
    """What a row is made of: an Article of gazeta.sites.base, or a row read back from the Hub."""

    text: str
    summary: str
    title: str
    date: str
    url: str
    rubric: str
    summary_origin: str
    fetched_at: str


@dataclass(frozen=True, slots=True)
class Row:
    """The columns, and two facts for the lineage (fetched_at: "YYYY-MM-DD HH:MM:SS" UTC, or "")."""

    text: str
    summary: str
    title: str
    date: str
    url: str
    rubric: str
    summary_origin: str = ""
    fetched_at: str = ""


@dataclass(frozen=True)
class Rule:
    """`broken(row)` is True when the row must be dropped; `says` is how the card explains the reason."""

    name: str
    says: str
    broken: Callable[[Row], bool]


# Tidying

# C0 and C1 controls but the line feed, zero-width and bidirectional marks, the soft hyphen, the BOM.
_INVISIBLE = re.compile(
    "[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
# A tab, a carriage return or a file separator parts two words; the others above stand inside one.
_BREAKS = str.maketrans({"\t": " "} | dict.fromkeys("\r\v\f\u0085\u2028\u2029", "\n"))
_SPACES = re.compile(r"[^\S\n]+")
# Marks over and under letters. NFC needs quadratic time for a long row of them, and no word has more than a
# few: Unicode's Stream-Safe Text Format allows 30.
_MARKS = "".join(
    mark
    for mark in map(chr, range(0x300, 0x20000))
    if unicodedata.combining(unicodedata.normalize("NFD", mark)[0])
)
_MARK = re.compile(f"[{_MARKS}]")
_STACKED = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")
_AROUND_LINES = re.compile(r" ?\n[ \n]*")

# All patterns below look at lower-cased text: that is three times as fast as ignoring the case.

# Paragraphs that are never part of the story. Each must match the whole paragraph.
BOILERPLATE_PARAGRAPHS = re.compile(
    "|".join(
        (
            r"реклама\W*",
            r"на правах рекламы\W*",
            r"что думаешь\s?\?\W*",
            r"(читайте|смотрите) (также|еще|ещё|по теме)\b.{0,200}",
            r"(новости|материалы) по теме\W*",
            r"подпис(ывайтесь|аться|ывайся)\b.{0,200}",
            r"(комментарии|поделиться|распечатать|обсудить)\W*",
            r"(больше|главные|самые важные) новост(ей|и)\b.{0,120}(telegram|телеграм|канал)\S*.{0,60}",
            r"продолжение следует\W*",
        )
    ),
)

# A page that stands where an article should be. Found anywhere in the title, or at the start of the text.
BOILERPLATE_PAGES = re.compile(
    "|".join(
        (
            r"страница не (найдена|существует)",
            r"доступ (к \S+ )?(ограничен|запрещ[её]н|заблокирован)",
            r"(включите|разрешите|требуется) (javascript|cookie)",
            r"вы робот\b|подтвердите, что вы не робот|проверка браузера",
            r"ваш браузер (устарел|не поддерживается)",
            r"(ошибка|error) (404|403|500|502|503)\b",
            r"(сайт|сервис|страница) временно недоступ",
        )
    ),
)
# A summary that tells what page one is on, not what happened.
BOILERPLATE_SUMMARIES = re.compile(
    "|".join(
        (
            r"^(читайте|смотрите|(все )?подробности|подробнее)\b.{0,80}(газет[аеы]|сайте|материале|портале)",
            r"^(главные|последние|свежие|все) новости\b",
            r"^новости (дня|россии и мира|часа)\b",
        )
    ),
)

# Reason → field → pattern: what newspapers publish besides articles.
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


def unstacked(value: str) -> str:
    """`value` with at most 30 marks in a row."""
    # A longer row holds every 31st character at least once, and looking at those costs next to nothing.
    return _STACKED.sub(r"\1", value) if _MARK.search(value[::31]) else value


def tidy(value: str) -> str:
    """NFC, no invisible characters, single spaces, one line feed between paragraphs, nothing at the ends."""
    value = unicodedata.normalize("NFC", unstacked(value))
    # Printable text has no control, no format character and no space but U+0020: most articles come so.
    if not value.replace("\n", " ").isprintable():
        value = _INVISIBLE.sub("", value.translate(_BREAKS))
        # Taking an invisible character out can bring a letter and its accent together.
        value = _SPACES.sub(" ", unicodedata.normalize("NFC", unstacked(value)))
    if "  " in value:
        value = _SPACES.sub(" ", value)
    if "\n\n" in value or " \n" in value or "\n " in value:
        value = _AROUND_LINES.sub("\n", value)
    return value.strip()


def tidy_line(value: str) -> str:
    return tidy(value).replace("\n", " ")


def without_boilerplate(text: str) -> str:
    """The paragraphs of a tidy text that belong to the story."""
    return "\n".join(
        paragraph
        for paragraph in text.split("\n")
        # All of these are short; the bound spares the patterns the work on real paragraphs.
        if len(paragraph) > 260 or not BOILERPLATE_PARAGRAPHS.fullmatch(paragraph.lower())
    )


def tidy_row(article: HasColumns) -> Row:
    return Row(
        text=without_boilerplate(tidy(article.text)),
        summary=tidy_line(article.summary),
        title=tidy_line(article.title),
        date=article.date.strip(),
        url=article.url.strip(),
        rubric=article.rubric.strip().lower(),
        summary_origin=article.summary_origin,
        fetched_at=article.fetched_at,
    )


# What the rules look at

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


def _date_out_of_range(row: Row) -> bool:
    if row.date < FIRST_DATE:
        return True
    fetched = parse_date(row.fetched_at)
    return fetched is not None and row.date > (fetched + CLOCK_SLACK).isoformat(" ")


def copied_share(summary: str, text: str) -> float:
    """The share of the summary's runs of three words that stand in the text too; 1.0 is a plain copy."""
    runs, source = shingles(summary), shingles(text)
    places = np.minimum(np.searchsorted(source, runs), len(source) - 1)
    return np.count_nonzero(source[places] == runs) / len(runs)


_FOREIGN = np.array([ord(letter) for letter in "іїєґўіјљњћђџѓќѕәғқңөұүһӣӯҷҳ"], dtype=np.uint16)
_YERY = np.array([ord(letter) for letter in "ыэ"], dtype=np.uint16)
# For each character: 1 another letter, 2 Cyrillic, 3 foreign Cyrillic, 4 «ы» or «э», 5 a digit, 0 the rest.
_KINDS = np.zeros(65536, dtype=np.uint8)
for _code in range(0x0041, 0x0250):
    _KINDS[_code] = chr(_code).isalpha()
for _code in range(0x0400, 0x0530):
    _KINDS[_code] = 2 * chr(_code).isalpha()
for _code in (*range(0x0250, 0x0400), *range(0x0530, 0x2000), *range(0x3040, 0xD7A4)):
    _KINDS[_code] = chr(_code).isalpha()
_KINDS[_FOREIGN] = 3
_KINDS[[ord(chr(code).upper()) for code in _FOREIGN]] = 3
_KINDS[_YERY] = 4
_KINDS[[ord(chr(code).upper()) for code in _YERY]] = 4
_KINDS[[ord(digit) for digit in "0123456789"]] = 5


@lru_cache(maxsize=2)
def letter_counts(text: str) -> tuple[int, int, int, int, int]:
    """How many letters, Cyrillic letters, Cyrillic letters foreign to Russian, «ы» or «э», and digits."""
    codes = np.frombuffer(text.encode("utf-16-le", "replace"), dtype=np.uint16)
    _, other, cyrillic, foreign, yery, digits = np.bincount(_KINDS[codes], minlength=6).tolist()
    return other + cyrillic + foreign + yery, cyrillic + foreign + yery, foreign, yery, digits


def is_russian(text: str) -> bool:
    """By letters alone: enough Cyrillic, hardly any that Russian lacks, and the two that it is full of.

    A text of under 300 letters may lack «ы» and «э» by chance, so it is judged without them.
    """
    count, cyrillic, foreign, yery, _ = letter_counts(text)
    if count == 0 or cyrillic < MIN_CYRILLIC_SHARE * count or foreign > MAX_FOREIGN_CYRILLIC_SHARE * count:
        return False
    return cyrillic < 300 or yery >= MIN_YERY_SHARE * cyrillic


def _mostly_cyrillic(summary: str) -> bool:
    """Short and full of brand names at times, so only the plain case is told apart."""
    count, cyrillic, *_ = letter_counts(summary)
    return 2 * cyrillic >= count


def _is_boilerplate(row: Row) -> bool:
    return bool(
        BOILERPLATE_PAGES.search(row.title.lower())
        or BOILERPLATE_PAGES.search(row.text[:EDGE].lower())
        or BOILERPLATE_SUMMARIES.search(row.summary.lower())
    )


def _not_an_article(reason: str) -> Callable[[Row], bool]:
    patterns = NOT_ARTICLES[reason].items()

    def broken(row: Row) -> bool:
        for field, pattern in patterns:
            value = getattr(row, field)
            # Only a text is that long, and its mark stands at one of its ends.
            if pattern.search(value[:EDGE].lower()):
                return True
            if len(value) > EDGE and pattern.search(value[-EDGE:].lower()):
                return True
        return False

    return broken


_marked_live = _not_an_article("live report")


def _is_live(row: Row) -> bool:
    if _marked_live(row):
        return True
    lines = row.text.split("\n")
    clocks = sum(1 for line in lines if _CLOCK_LINE.match(line))
    return clocks >= 4 and clocks > MAX_CLOCK_LINES_SHARE * len(lines)


def _is_a_table(row: Row) -> bool:
    count, *_, digits = letter_counts(row.text)
    return digits > MAX_DIGIT_SHARE * (count + digits)


RULES: tuple[Rule, ...] = (
    Rule("no text", "the text is empty", lambda row: not row.text),
    Rule("no title", "the title is empty", lambda row: not row.title),
    Rule("no summary", "the summary is empty", lambda row: not row.summary),
    Rule("no rubric", "the rubric is empty", lambda row: not row.rubric),
    Rule("bad url", "the address is no http or https address",
         lambda row: not re.fullmatch(r"https?://[^\s/]+(/\S*)?", row.url)),
    Rule("bad date", f"the date is not of the form {DATE_FORMAT}", lambda row: parse_date(row.date) is None),
    Rule("date out of range", f"the date is before {FIRST_DATE[:10]} or after the page was fetched",
         _date_out_of_range),
    Rule("boilerplate", "an error page, a consent page, or a summary that only advertises the site",
         _is_boilerplate),
    Rule("gallery", "a photo or video gallery, or an infographic", _not_an_article("gallery")),
    Rule("live report", "an online broadcast: marked so, or most lines begin with a time", _is_live),
    Rule("horoscope", "a horoscope or a lunar calendar", _not_an_article("horoscope")),
    Rule("correction", "a correction or a denial by the editors", _not_an_article("correction")),
    Rule("quiz", "a test, a quiz or a poll", _not_an_article("quiz")),
    Rule("advertising", "marked as advertising", _not_an_article("advertising")),
    Rule("short text", f"the text has fewer than {MIN_TEXT_CHARACTERS} characters",
         lambda row: len(row.text) < MIN_TEXT_CHARACTERS),
    Rule("long text", f"the text has more than {MAX_TEXT_CHARACTERS:,} characters",
         lambda row: len(row.text) > MAX_TEXT_CHARACTERS),
    Rule("score table", f"more than {MAX_DIGIT_SHARE:.0%} of the text's letters and digits are digits",
         _is_a_table),
    Rule("short title", f"the title has fewer than {MIN_TITLE_LETTERS} letters",
         lambda row: letters(row.title) < MIN_TITLE_LETTERS),
    Rule("short summary", f"the summary has fewer than {MIN_SUMMARY_LETTERS} letters",
         lambda row: letters(row.summary) < MIN_SUMMARY_LETTERS),
    Rule("summary longer than text", "the summary has at least as many characters as the text",
         lambda row: len(row.summary) >= MAX_SUMMARY_SHARE * len(row.text)),
    Rule("wrong language", f"under {MIN_CYRILLIC_SHARE:.0%} of the letters are Cyrillic, or they are those of"
         " another language that is written with Cyrillic",
         lambda row: not is_russian(row.text) or not _mostly_cyrillic(row.summary)),
    Rule("summary copied", f"at least {MAX_COPIED_SHARE:.0%} of the summary's runs of three words stand in"
         " the text", lambda row: copied_share(row.summary, row.text) >= MAX_COPIED_SHARE),
)  # fmt: skip

EXPLAINED = {rule.name: rule.says for rule in RULES}


def broken_rule(row: Row) -> str:
    """The name of the first rule that a tidy row breaks; "" when it is to be kept."""
    return next((rule.name for rule in RULES if rule.broken(row)), "")


def clean(article: HasColumns) -> tuple[Row, str]:
    """The tidy row, and the name of the first rule that it breaks ("" when it is to be kept)."""
    row = tidy_row(article)
    return row, broken_rule(row)
