"""The sentences of a dataset card that depend on its recipe. The figures are in card.py."""

from __future__ import annotations

from gazeta.dataset.duplicates import (
    MIN_AGREEING_NAMES,
    MIN_AGREEING_NUMBERS,
    MIN_CONTAINED,
    MIN_SIMILARITY,
)  # fmt: skip
from gazeta.dataset.words import RUN
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

NEWS = (
    "Russian news articles, each with its headline, its lead as a summary, and its rubric: for training and"
    " testing summarizers and topic classifiers"
)
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
SPLITS_SAY = {
    "date": "By time: the newest {test} of the rows are `test`, the {validation} before them `validation`,"
    " all others `train`.{story} As the dataset grows, rows move from `test` to `validation` to `train`.",
    "hash": "By a hash of each row: {test} are `test`, {validation} `validation`, all others `train`.{story}"
    " A row stays in its split as the dataset grows.",
}
NO_STORY_TWICE = " No story is in two splits, not even as an edited copy."
DUPLICATES_SAY = {
    "none": "Duplicates: none are looked for",
    "exact": "Duplicates: rows with the same words in {columns}. The earliest is kept.",
    "story": f"Near-duplicates: MinHash over runs of {RUN} words of {{columns}} finds candidates; a pair is"
    f" one story if at least {MIN_SIMILARITY:.0%} of the runs are shared (or {MIN_CONTAINED:.0%} of the"
    f" shorter text's), and at least {MIN_AGREEING_NAMES:.0%} of the names and {MIN_AGREEING_NUMBERS:.0%} of"
    " the numbers agree. The earliest row is kept.",
}
