"""What the stand-in site publishes: articles, each with the address and era that follow from its date."""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from news import generate

RUBRICS = {
    "politics": "Политика", "social": "Общество", "business": "Бизнес", "army": "Армия",
    "culture": "Культура", "science": "Наука", "sport": "Спорт", "tech": "Технологии", "auto": "Авто",
    "lifestyle": "Стиль", "style": "Стиль", "family": "Семья", "economics": "Экономика",
    "techzone": "Технологии", "travel": "Туризм", "comments": "Мнения", "photo": "Фото", "articles": "Статьи",
}  # fmt: skip
UNSORTED = "articles"

# Topics in other people's files → the rubric that means the same here. Rows without a label, or with one that
# names no subject ("other", "not_news"), go into the unsorted section "articles", which is not a topic. A
# guessed rubric would mislead the topic model, and without a rubric the row would be lost.
RUBRIC_OF_TOPIC = {
    "society": "social", "economy": "business", "entertainment": "culture", "sports": "sport",
    "technology": "tech", "science": "science", "politics": "politics",
}  # fmt: skip

# The generator guarantees this many distinct articles; beyond that, the site repeats them with a number.
DISTINCT = 5000

# Era, its first day, and the first numbers of its features and news items. Numbers grow with the eras as on
# the real site, and the ranges are so far apart that those of 60,000 articles (six each) do not overlap.
ERAS = [
    ("2007", datetime(1999, 1, 1), 1_100_000, 1_100_000),
    ("2013", datetime(2013, 1, 1), 5_700_000, 5_700_000),
    ("2015", datetime(2015, 1, 1), 9_000_000, 9_000_000),
    ("2021", datetime(2021, 6, 1), 14_600_000, 17_083_000),
    ("2024", datetime(2024, 1, 1), 18_300_000, 22_400_000),
]
WHITE = re.compile(r"\s+")
# Control characters, invisible spaces and hyphens, lone surrogates: no editor would leave them in a text.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff\ufffe\uffff]"
)


class BadNews(Exception):
    """A news file that cannot be served; the message gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class Article:
    """The text of one article, apart from where and how it is shown."""

    title: str
    subtitle: str
    summary: str
    paragraphs: tuple[str, ...]
    rubric: str


@dataclass(frozen=True, slots=True)
class Story:
    """An article on the site. `when` is Moscow time; a `copy` above 0 numbers a repeat of the same text.

    `edited` adds a paragraph, as if by an editor an hour after publication.
    """

    article: Article
    when: datetime
    number: int
    path: str
    era: str
    news: bool
    copy: int = 0
    edited: bool = False

    def _numbered(self, words: str) -> str:
        return f"{words} Повтор {self.copy}." if self.copy else words

    @property
    def title(self) -> str:
        return f"{self.article.title} ({self.copy})" if self.copy else self.article.title

    @property
    def subtitle(self) -> str:
        return self.article.subtitle

    @property
    def summary(self) -> str:
        return self._numbered(self.article.summary)

    @property
    def rubric(self) -> str:
        return rubric_on(self.when, self.article.rubric)

    @property
    def has_lead(self) -> bool:
        """News items since mid-2021 have no element for the lead: it is their first paragraph."""
        return not (self.news and self.era in ("2021", "2024"))

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of the body as the page shows them."""
        body = [self._numbered(words) for words in self.article.paragraphs]
        if self.edited:
            body.append("Новость дополнена: в редакцию поступили уточнения, они внесены в текст.")
        return body if self.has_lead else [self.summary, *body]

    @property
    def turn(self) -> int:
        """A number that grows by one per story; it chooses the variant of the layout."""
        return self.number // 6

    @property
    def unix(self) -> int:
        return int(self.when.replace(tzinfo=moscow(self.when)).timestamp())

    @property
    def iso(self) -> str:
        return self.when.replace(tzinfo=moscow(self.when)).isoformat()

    @property
    def modified(self) -> datetime:
        """The time of the last edit: minutes after publication, the same in every run."""
        return self.when + timedelta(seconds=40 + self.number % 1800, hours=self.edited)

    def expected(self) -> dict[str, object]:
        """What a parser should find on this story's page.

        `text` is the body as shown, so it begins with the summary if `summary_origin` is "first_paragraph".
        `date` has seconds; the layout before 2013 shows minutes only.
        """
        when = self.when.replace(second=0) if self.era == "2007" else self.when
        return {
            "path": self.path,
            "title": self.title,
            "subtitle": self.subtitle,
            "summary": self.summary,
            "summary_origin": "lead" if self.has_lead else "first_paragraph",
            "text": "\n".join(self.paragraphs),
            "date": when.strftime("%Y-%m-%d %H:%M:%S"),
            "rubric": self.rubric,
            "era": self.era,
            "news": self.news,
        }


def moscow(when: datetime) -> timezone:
    """Moscow's offset on that day: +04:00 from 2011-03-27 to 2014-10-25, +03:00 since, summer time before."""
    if datetime(2011, 3, 27) <= when < datetime(2014, 10, 26):
        return timezone(timedelta(hours=4))
    summer = when < datetime(2011, 3, 27) and datetime(when.year, 3, 28) <= when < datetime(when.year, 10, 28)
    return timezone(timedelta(hours=4 if summer else 3))


def rubric_on(when: datetime, rubric: str) -> str:
    """The site renamed /lifestyle to /style in 2024."""
    return "style" if rubric == "lifestyle" and when.year >= 2024 else rubric


def edit(stories: list[Story], count: int) -> list[Story]:
    """The same stories, with the newest `count` edited."""
    newest = {story.path for story in sorted(stories, key=lambda story: story.when)[len(stories) - count :]}
    return [replace(story, edited=story.path in newest) for story in stories]


def plain(words: object) -> str:
    """One line of printable text."""
    return WHITE.sub(" ", UNPRINTABLE.sub("", str(words or ""))).strip()


def place(article: Article, when: datetime, index: int, copy: int = 0, news: bool | None = None) -> Story:
    """Give an article its address, which depends on nothing but its index, date and rubric."""
    era, _, feature_base, news_base = [era for era in ERAS if era[1] <= when][-1]
    if news is None:
        news = article.rubric != UNSORTED and zlib.crc32(f"story {index}".encode()) % 10 < 3
    number = (news_base if news else feature_base) + index * 6 + 1
    rubric = rubric_on(when, article.rubric)
    root = f"/{rubric}" if rubric else ""  # only pages without an article have no rubric
    day = when.strftime("%Y/%m/%d")
    if era in ("2021", "2024"):
        path = f"{root}/news/{day}/{number}.shtml" if news else f"{root}/{day}/{number}.shtml"
    elif news:
        path = f"{f'/news{root}' if era == '2007' else f'{root}/news'}/{day}/n_{number}.shtml"
    else:
        path = f"{root}/{day}{'/' if era == '2015' and index % 2 == 0 else '_'}a_{number}.shtml"
    return Story(article, when, number, path, era, news, copy)


def invented(count: int, seed: int, new: int = 0) -> list[Story]:
    """`count` invented stories, then `new` more, dated after all of those, for the next crawl to find.

    Beyond DISTINCT the texts repeat with a number, for runs that need many pages but no dataset.
    """
    rows = [
        (article_of(row), datetime.fromisoformat(row["date"]))
        for row in generate(min(count + new, DISTINCT), seed)
    ]
    stories = []
    for index in range(count):
        copy, base = divmod(index, len(rows))
        article, when = rows[base]
        # A repeat has an earlier date, so that 60,000 stories do not share 5,000 moments.
        stories.append(place(article, when - timedelta(hours=31 * copy, seconds=copy), index, copy))
    newest = max((story.when for story in stories), default=datetime(2025, 12, 31))
    for turn in range(new):
        copy, base = divmod(count + turn, len(rows))
        when = newest + timedelta(minutes=7 * (turn + 1))
        stories.append(place(rows[base][0], when, count + turn, copy))
    return stories


def article_of(row: dict) -> Article:
    return Article(
        title=plain(row["title"]),
        subtitle=plain(row.get("subtitle")),
        summary=plain(row["summary"]),
        paragraphs=tuple(words for words in map(plain, row["paragraphs"]) if words),
        rubric=row["rubric"],
    )


def from_file(path: Path, limit: int | None = None) -> list[Story]:
    """The stories of a news file: JSON Lines, gzipped if the name ends in .gz.

    A row needs `title`, `summary` and `body` or `text`; `body`, the text without its lead, is preferred.
    `date` (ISO, Moscow time if it names no zone), `rubric`, `topic` and `subtitle` are optional.
    Incomplete and broken rows are left out and counted in one line on stderr.
    """
    stories: list[Story] = []
    left_out: Counter[str] = Counter()
    rows = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for raw in lines:
                if limit is not None and len(stories) >= limit:
                    break
                if not raw.strip():
                    continue
                rows += 1
                try:
                    article, when = _row(json.loads(raw), raw)
                except LookupError as why:
                    left_out[str(why.args[0])] += 1
                    continue
                except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
                    left_out["broken"] += 1
                    continue
                stories.append(place(article, when, rows - 1))
    except (OSError, EOFError, zlib.error) as error:
        raise BadNews(f"cannot read {path}: {error}; give a .jsonl or .jsonl.gz file of news") from None
    if not stories:
        raise BadNews(f"{path} has no row with a title, a summary and a text; write one JSON row per line")
    if left_out:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        print(f"{path.name}: {len(stories)} of {rows} rows served; left out: {why}", file=sys.stderr)
    return stories


def _row(row: dict, raw: bytes) -> tuple[Article, datetime]:
    summary, title = plain(row.get("summary")), plain(row.get("title"))
    body = str(row.get("body") or row.get("text") or "")
    paragraphs = tuple(words for words in map(plain, body.split("\n")) if words)
    if not summary:
        raise LookupError("without a summary")
    if not title:
        raise LookupError("without a title")
    if not paragraphs:
        raise LookupError("without a text")
    rubric = row.get("rubric") or RUBRIC_OF_TOPIC.get(row.get("topic"))
    subtitle = plain(row.get("subtitle"))
    article = Article(
        title=title,
        subtitle="" if subtitle == summary else subtitle,
        summary=summary,
        paragraphs=paragraphs,
        rubric=rubric if rubric in RUBRICS else UNSORTED,
    )
    return article, _date(row.get("date"), raw)


def _date(value: str | None, raw: bytes) -> datetime:
    if not value:  # no date: a day of 2019 that depends only on the row itself
        return datetime(2019, 1, 1) + timedelta(minutes=zlib.crc32(raw) % (365 * 24 * 60))
    when = datetime.fromisoformat(value)
    if when.tzinfo is not None:
        # A file may use any time zone; the site shows Moscow time.
        when = when.astimezone(moscow(when.replace(tzinfo=None))).replace(tzinfo=None)
    when = when.replace(microsecond=0)
    if when < ERAS[0][1]:
        raise ValueError(value)
    return when
