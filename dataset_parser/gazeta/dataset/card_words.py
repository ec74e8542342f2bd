"""What a dataset card says about its recipe: columns, splits, sources, rights. The figures are in card.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gazeta import settings
from gazeta.dataset.duplicates import (
    MIN_AGREEING_NAMES,
    MIN_AGREEING_NUMBERS,
    MIN_CONTAINED,
    MIN_SIMILARITY,
)  # fmt: skip
from gazeta.dataset.files import FileReport
from gazeta.dataset.local import Dataset
from gazeta.dataset.schema import Column
from gazeta.dataset.words import RUN
from gazeta.recipe import Recipe
from gazeta.sites.base import DESCRIPTION, FIRST_PARAGRAPH, LEAD

ORIGINS = {
    LEAD: "the lead that the editors wrote",
    DESCRIPTION: "the page's description, if it says what the text does not",
    FIRST_PARAGRAPH: "the first paragraph of a news item without a lead (it is not in `text`)",
    "": "unknown: the row came without its lineage",
}
# What the columns of news from a site are, and what any other column is by its type.
OF_NEWS = {
    "text": "the article without its lead and without advertising; a line feed between paragraphs",
    "summary": "the lead, one line",
    "title": "the headline, one line",
    "subtitle": "the subheading, one line",
    "date": "publication, `YYYY-MM-DD HH:MM:SS`, Moscow time",
    "url": "the page; no two rows share one",
    "rubric": "the site's section, as in its addresses",
}
OF_TYPE = {
    "text": "text; a line feed between paragraphs",
    "line": "text, one line",
    "date": "`YYYY-MM-DD HH:MM:SS`",
    "url": "an address; no two rows share one",
    "label": "one of the values below",
    "number": "a number",
}

RIGHTS = (
    "The texts belong to their publisher and its authors. This dataset is for non-commercial research only:"
    " you may train and evaluate models on it and quote from it as the law allows; you may not republish the"
    " articles or sell them, alone or inside a product. The selection and the code are free to use; that"
    " gives no right in the texts."
)
RIGHTS_IN_FILES = (
    "The rows come from files that whoever published this dataset had. The rights in the texts are those of"
    " the files' authors; ask them before you use the texts."
)
INVENTED = (
    "**This revision was collected from a stand-in site ($site), not from a newspaper.** By default that site"
    " serves invented news: no person, company or event in it is real, and it may be used as freely as the"
    " code that made it (MIT). If it was started with other news (`--news FILE`), the rights in those texts"
    " stay with their publishers, and they are for non-commercial research only."
)
GAPS = (
    "One newspaper: its choice of topics, its style and its mistakes.",
    "Comments, galleries, live reports and pages behind a login are left out on purpose; an article whose"
    " page could not be read is missing here, and counted in the crawl report only.",
    "An article edited after it was collected is here as it was when last read.",
    "Near-duplicates are found by shared wording: two articles about one event in other words both stay.",
    "Language is judged by letters and common words, so a short foreign quotation passes.",
    "Rubrics are the site's own, and it renamed some over the years.",
)
GAPS_OF_FILES = ("The rows are those of the files, with the mistakes of the files.",)


def column_says(column: Column, recipe: Recipe) -> str:
    what = OF_NEWS.get(column.name) if recipe.sites else None
    return f"{what or OF_TYPE[column.type]}{'' if column.required else '; may be empty'}"


def intro(dataset: Dataset, files: Sequence[FileReport]) -> str:
    if dataset.recipe.sites:
        what = (
            "Russian news articles, each with its headline, its lead as a summary, and its rubric: for"
            " training and testing summarizers and topic classifiers"
        )
    else:
        what = f"rows from {', '.join(file.name for file in files) or 'files'}"
    dated = [date[:10] for date in dataset.dates if date]
    span = f" From {min(dated)} to {max(dated)}." if dated else ""
    return f"{dataset.rows:,} {what}.{span}"


def splits_say(recipe: Recipe) -> str:
    test, validation = f"{recipe.splits.test * 100:.3g}%", f"{recipe.splits.validation * 100:.3g}%"
    story = (
        " No story is in two splits, not even as an edited copy." if recipe.duplicates.by == "story" else ""
    )
    if recipe.splits.by == "date":
        return (
            f"By time: the newest {test} of the rows are `test`, the {validation} before them `validation`,"
            f" all others `train`.{story} As the dataset grows, rows move from `test` to `validation` to"
            " `train`."
        )
    return (
        f"By a hash of each row: {test} are `test`, {validation} `validation`, all others `train`.{story} A"
        " row stays in its split as the dataset grows."
    )


def duplicates_say(dataset: Dataset) -> str:
    kinds = dataset.duplicate_kinds
    return (
        f"{kinds['exact copy']:,} exact and {kinds['near copy']:,} near copies of rows are known and left"
        " out: the same story again under another address."
    )


def how_duplicates_are_found(recipe: Recipe) -> str:
    columns = ", ".join(f"`{name}`" for name in recipe.duplicates.columns)
    if recipe.duplicates.by == "none":
        return "Duplicates: none are looked for"
    if recipe.duplicates.by == "exact":
        return f"Duplicates: rows with the same words in {columns}. The earliest is kept."
    return (
        f"Near-duplicates: MinHash over runs of {RUN} words of {columns} finds candidates; a pair is one"
        f" story if at least {MIN_SIMILARITY:.0%} of the runs are shared (or {MIN_CONTAINED:.0%} of the"
        f" shorter text's), and at least {MIN_AGREEING_NAMES:.0%} of the names and {MIN_AGREEING_NUMBERS:.0%}"
        " of the numbers agree. The earliest row is kept."
    )


def how_it_was_collected(recipe: Recipe, crawl_report: dict[str, Any], files: Sequence[FileReport]) -> str:
    lines = []
    if recipe.sites:
        delay = f"{settings.CRAWL_DELAY:g} s" if settings.CRAWL_DELAY else "no pause"
        lines += [
            f"Site: {settings.SITE_URL}",
            f"Collector: `{settings.USER_AGENT}`; robots.txt is obeyed; {delay} between requests",
            f"Crawl: {_crawl(crawl_report)}",
        ]
    for file in files:
        lines.append(
            f"File: {file.name}, {file.rows:,} rows"
            + (f"; lines left out: {file.bad_lines()}" if file.bad else "")
            + (f"; {file.invented_urls:,} rows had no address and got a name" if file.invented_urls else "")
            + (f"; {file.invented_dates:,} rows had no date and got one" if file.invented_dates else "")
        )
    return "\n".join(f"- {line}" for line in lines)


def _crawl(report: dict[str, Any]) -> str:
    if not report:
        return "no crawl has ended in the store that made this revision"
    asked = ", ".join(f"{name}={value}" for name, value in report.get("arguments", {}).items() if value)
    figures = [
        f"{report[name]:,} {what}"
        for name, what in (
            ("fetched", "pages read"),
            ("kept", "kept"),
            ("dropped", "dropped"),
            ("failed", "failed"),
        )
        if isinstance(report.get(name), int)
    ]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.get("reasons", {}).items())
    return (
        f"number {report.get('crawl', '?')} ({asked or 'everything'}): {', '.join(figures) or 'no figures'}"
        + (f" ({reasons})" if reasons else "")
    )
