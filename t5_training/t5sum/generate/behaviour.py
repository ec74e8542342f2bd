"""How a model behaves in ways that a mean score does not show: changed names, boilerplate, odd texts.

Every check works on any model revision's folder and any Russian news rows, and says what it tried. A check
whose input is missing (a topic classifier, summaries that name somebody) is "not tried".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t5sum.config import parsed
from t5sum.generate.predict import Export, generate
from t5sum.judge.traits import ngrams
from t5sum.sources import masked
from t5sum.tasks import load_arrays, read_tasks

# A surname after a first name, with a stem that takes every ending: one can be put in another's place.
# Иван Орлов, Ивану Орлову, Анны Орловой; Нина Березинская.
SURNAME = re.compile(
    r"\b[А-ЯЁ][а-яё]{2,} ([А-ЯЁ][а-яё]{2,}?(?P<kind>ов|ев|ин|ск|цк))"
    r"(?:а|у|ым|ой|ою|е|ий|ая|ого|ому|им|ую)?\b"
)
DECLENSION = {"ов": 1, "ев": 1, "ин": 1, "ск": 2, "цк": 2}
BOILERPLATE = (
    "Читайте также: главные новости дня. Подписывайтесь на наш канал, чтобы первыми узнавать обо всем.",
    "Реклама. Нашли ошибку? Выделите ее мышью и сообщите нам. Все права защищены.",
    "Что думаешь? Оставьте комментарий и поделитесь новостью с друзьями.",
)
LATIN = (
    "The city council approved a new bridge across the river on Monday. Construction will start next spring "
    "and is expected to take three years, the mayor told reporters. Residents had waited for it for a decade."
)
EMPTYISH = ("", " ", ".", "—", "Да", "🙂", "123")
LONG_TIMES = 400
LEFTOVERS = re.compile(r"<extra_id_\d+>|<pad>|</s>|<unk>|⁇|�")


@dataclass(frozen=True)
class Check:
    """One claim about a model. passed is None when it could not be tried; says: one line with the figures."""

    name: str
    passed: bool | None
    says: str
    tried: int = 0
    rate: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_all(
    model_dir: Path,
    rows: Sequence[dict[str, Any]],
    device: str = "auto",
    summaries: Sequence[str] | None = None,
    task: str = "",
) -> list[Check]:
    """Every check of this module for one generate task, the first one if none is named.

    rows: news like the model's own, fifty or more to say something. summaries: what the model made of these
    rows, if that is known already.
    """
    export = Export.of(model_dir, task)
    return [
        names_follow_the_text(export, rows, device, summaries=summaries),
        boilerplate_leaves_the_topic(model_dir, rows),
        odd_texts_give_sane_summaries(export, rows, device),
        repeated_text_is_not_repeated(export, rows, device),
        long_text_is_read_from_the_beginning(export, rows, device),
    ]


def main_column(section: dict[str, Any]) -> str:
    """The column that holds the text: the first that a task cannot do without."""
    template = parsed(section["source"])
    return next((each for each in template.columns if each in template.required), template.columns[0])


def names_follow_the_text(
    export: Export,
    rows: Sequence[dict[str, Any]],
    device: str = "auto",
    left: float = 0.9,
    taken: float = 0.25,
    most: int = 50,
    summaries: Sequence[str] | None = None,
) -> Check:
    """A surname changed everywhere in the text changes in the summary. summaries: the rows', if made already.

    Of the rows whose summary names somebody from the text, `most` get another row's surname of the same
    declension in its place. The old name must leave the summary in the share `left` of them (a model that
    knows names by heart keeps it), and the new one must be there in the share `taken` (made-up names are
    there by chance at best). `rate` is the share of summaries with the new name.
    """
    name = "names changed in the text change in the summary"
    rows = list(rows)[: 4 * most]
    before = summaries or generate(export, rows, device).predictions
    text = main_column(export.section)
    known = sorted({match[1] for row in rows for match in SURNAME.finditer(row[text])})
    swapped = (_swap(row, text, summary, known) for row, summary in zip(rows, before, strict=False))
    changed = [each for each in swapped if each][:most]
    if not changed:
        return Check(name, None, "no summary names anybody from its text")
    after = generate(export, [row for row, _, _ in changed], device).predictions
    gone = sum(old not in summary for (_, old, _), summary in zip(changed, after, strict=True))
    there = sum(new in summary for (_, _, new), summary in zip(changed, after, strict=True))
    count = len(changed)
    found = f"{gone} of {count} old names are gone ({left:.0%} wanted), "
    found += f"{there} new ones came ({taken:.0%} wanted)"
    passed = gone >= left * count and there >= taken * count
    return Check(name, passed, found, count, there / count)


def _swap(
    row: dict[str, Any], text: str, summary: str, known: Sequence[str]
) -> tuple[dict[str, Any], str, str] | None:
    """(the row with one name exchanged, old stem, new stem) for a name that text and summary share."""
    for match in SURNAME.finditer(row[text]):
        old = match[1]
        if old not in summary:
            continue
        # The same place in the list for the same name, whatever the order of the rows.
        like = DECLENSION[match["kind"]]
        others = [s for s in known if DECLENSION[s[-2:]] == like and s not in row[text] + summary]
        if not others:
            continue
        new = others[sum(map(ord, old)) % len(others)]
        exchange = {key: re.sub(rf"\b{old}", new, row.get(key) or "") for key in (text, "title")}
        return {**row, **exchange}, old, new
    return None


def boilerplate_leaves_the_topic(
    model_dir: Path, rows: Sequence[dict[str, Any]], wanted: float = 0.95, most: int = 200
) -> Check:
    """Subscribe and read-also paragraphs after a text do not change its label."""
    name = "added boilerplate does not change the topic"
    tasks = [each for each in read_tasks(model_dir)["tasks"].values() if each["kind"] == "classify"]
    if not tasks or not (model_dir / tasks[0]["path"]).exists():
        return Check(name, None, "the revision has no topic classifier")
    rows = list(rows)[:most]
    if not rows:
        return Check(name, None, "no rows were given")
    section, text = tasks[0], main_column(tasks[0])
    classify = load_classifier(model_dir, section)
    plain = [classify(row) for row in rows]
    added = [
        classify({**row, text: f"{row[text]} {BOILERPLATE[place % len(BOILERPLATE)]}"})
        for place, row in enumerate(rows)
    ]
    same = sum(a == b for a, b in zip(plain, added, strict=True))
    rate = same / len(rows)
    return Check(name, rate >= wanted, f"{same} of {len(rows)}, {wanted:.0%} wanted", len(rows), rate)


def load_classifier(model_dir: Path, section: dict[str, Any]) -> Any:
    """row → number of the label with the highest probability, read as tasks.json says."""
    classifier, template = load_arrays(model_dir, section), parsed(section["source"])

    def classify(row: dict[str, Any]) -> int:
        source = masked(row, template, section["max_chars"], section["mask"])
        return int(classifier.predict_proba([source])[0].argmax())

    return classify


def odd_texts_give_sane_summaries(
    export: Export, rows: Sequence[dict[str, Any]], device: str = "auto"
) -> Check:
    """Nearly empty, Latin-only and very long texts give some text without leftovers of the machinery."""
    column = main_column(export.section)
    long = " ".join(row[column] for row in rows)[:5000] * 40
    texts = [*EMPTYISH, LATIN, long]
    made = generate(export, _as_rows(column, texts), device).predictions
    most = export.section["generation"]["max_decoding_length"]
    faults = []
    for text, summary in zip(texts, made, strict=True):
        shown = repr(text[:20])
        if LEFTOVERS.search(summary.replace("⁇", "") if text in EMPTYISH or text == LATIN else summary):
            faults.append(f"{shown} gives {summary[:60]!r}")
        elif len(summary.split()) > most:
            faults.append(f"{shown} gives {len(summary.split())} words, {most} tokens are the most")
    found = "; ".join(faults) or f"{len(texts)} texts: nearly empty, Latin only, {len(long):,} characters"
    return Check("odd texts give sane summaries", not faults, found, len(texts), 1 - len(faults) / len(texts))


def repeated_text_is_not_repeated(
    export: Export, rows: Sequence[dict[str, Any]], device: str = "auto", most: int = 10
) -> Check:
    """One sentence said over and over is not said over and over by the summary."""
    name = "a repeated text is not repeated by the summary"
    column = main_column(export.section)
    texts = [
        " ".join([row[column].split(". ")[0].rstrip(".") + "."] * LONG_TIMES) for row in list(rows)[:most]
    ]
    if not texts:
        return Check(name, None, "no rows were given")
    made = generate(export, _as_rows(column, texts), device).predictions
    looping = [summary for summary in made if _loops(summary)]
    found = f"{len(looping)} of {len(texts)} loop" + (f", for example {looping[0][:80]!r}" if looping else "")
    return Check(name, not looping, found, len(texts), 1 - len(looping) / len(texts))


def _loops(summary: str) -> bool:
    """Whether a run of four words comes a third time."""
    grams = ngrams(summary.lower().split(), 4)
    return any(grams.count(gram) > 2 for gram in set(grams))


def long_text_is_read_from_the_beginning(
    export: Export, rows: Sequence[dict[str, Any]], device: str = "auto", most: int = 5
) -> Check:
    """Text beyond the source's limit of tokens does not change the summary."""
    name = "a very long text is read from its beginning"
    limit, column = export.section["source_max_tokens"], main_column(export.section)
    beginnings = [" ".join([row[column]] * 200).split()[: 3 * limit] for row in list(rows)[:most]]
    if not beginnings:
        return Check(name, None, "no rows were given")
    made = generate(export, _as_rows(column, (" ".join(words) for words in beginnings)), device).predictions
    longer_texts = (" ".join([*words, *["Совсем другое."] * 5000]) for words in beginnings)
    longer = generate(export, _as_rows(column, longer_texts), device).predictions
    same = sum(a == b for a, b in zip(made, longer, strict=True))
    return Check(name, same == len(made), f"{same} of {len(made)} alike", len(made), same / len(made))


def _as_rows(column: str, texts: Iterable[str]) -> list[dict[str, Any]]:
    return [{column: text} for text in texts]
