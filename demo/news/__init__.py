"""Invented Russian news for the demo: no page, person or event in it is real.

`generate` draws articles from the kinds of events in kinds/. The summary of an article names people, places
and numbers from deep in its text, among others of that sort: it cannot be written without reading the text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from . import kinds as _kinds

FIRST = datetime(2013, 1, 1, 6)
LAST = datetime(2025, 12, 31, 21)


def generate(count: int, seed: int = 0) -> Iterator[dict]:
    """Yield `count` articles. The same arguments give the same ones; a smaller count gives the first of them.

    Keys: title, subtitle (may be ""), summary, paragraphs (the body without the summary), date
    ("YYYY-MM-DD HH:MM:SS", Moscow time, any day from 2013 to 2025), rubric (Gazeta's slug). All rubrics are
    equally frequent and spread over the years. No two articles share a text, a summary or a title.
    """
    by_rubric: dict[str, list[_kinds.Kind]] = {}
    kinds, common = _kinds.load()
    for kind in kinds:
        by_rubric.setdefault(kind.rubric, []).append(kind)
    rubrics = sorted(by_rubric)
    seen: set[str] = set()
    for number in range(count):
        rng = random.Random(f"{seed}:{number}")
        rubric = rubrics[number % len(rubrics)]
        minutes = int((LAST - FIRST) / timedelta(minutes=1))
        moment = FIRST + timedelta(minutes=rng.randrange(minutes), seconds=rng.randrange(60))
        while True:
            story = _kinds.write_article(rng.choice(by_rubric[rubric]), common, rng, moment.date())
            marks = {story["title"], story["summary"], "\n".join(story["paragraphs"])}
            if not marks & seen:
                break
        seen |= marks
        yield {**story, "date": moment.strftime("%Y-%m-%d %H:%M:%S"), "rubric": rubric}
