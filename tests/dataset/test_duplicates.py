"""Near-duplicates: what is one story, what is not, and that the index finds what the definition says."""

from __future__ import annotations

import gzip
import json
import random
import re
from itertools import combinations

import datasketch
import numpy as np
import pytest
from gazeta.dataset import duplicates, words
from hypothesis import given, settings
from hypothesis import strategies as st

FORECAST = (
    "В Зареченске в пятницу потеплеет до {a} градусов, сообщил синоптик Семен Ладейкин. Ночью ожидается {b}"
    " градуса, ветер усилится до {c} метров в секунду. Атмосферное давление составит {d} миллиметров"
    " ртутного"
    " столба. В горах местами пройдут дожди, в долине реки Быстрой утром будет туман. Влажность воздуха"
    " поднимется до {e} процентов. Жителям советуют взять зонты и не оставлять машины под деревьями."
)
MATCH = (
    "Команда «{home}» победила на своем поле команду «{away}» со счетом 2:1 в матче двенадцатого тура."
    " Победный"
    " мяч забил {scorer} на 87-й минуте после подачи углового. Гости играли вдесятером: судья удалил"
    " защитника"
    " за две желтые карточки. Тренер {coach} остался доволен игрой и похвалил запасных, которые вышли после"
    " перерыва. Следующий матч команда проведет через неделю в гостях."
)


def same(one: str, other: str) -> float:
    return duplicates.same_story(duplicates.sketch(one), duplicates.sketch(other))


def typos(text: str, rng: random.Random, share: float) -> str:
    told = text.split(" ")
    for at in range(len(told)):
        if rng.random() < share and len(told[at]) > 3:
            cut = rng.randrange(1, len(told[at]) - 1)
            told[at] = told[at][:cut] + rng.choice("аеинорст") + told[at][cut + 1 :]
    return " ".join(told)


def other_numbers(text: str, rng: random.Random) -> str:
    def change(found: re.Match[str]) -> str:
        while True:
            new = str(rng.randrange(10 ** len(found[0])))
            if new != found[0]:
                return new

    return re.sub(r"\d+", change, text)


def pairs_among(texts: list[str]) -> set[tuple[int, int]]:
    """What the product finds: candidates by the index, then the verdict."""
    found = duplicates.candidates(duplicates.signatures([words.shingles(text) for text in texts]))
    told = duplicates.same_story_pairs(
        found, lambda numbers: {number: duplicates.sketch(texts[number]) for number in numbers}
    )
    return {(left, right) for left, right, _ in told}


def test_a_text_is_the_same_story_as_itself(good):
    assert same(good["text"], good["text"]) == 1.0


def test_typos_a_cut_paragraph_and_swapped_sentences_stay_one_story(invented):
    rng = random.Random(3)
    for row in invented(60):
        paragraphs = row["text"].split("\n")
        assert same(row["text"], typos(row["text"], rng, 0.04))
        assert same(row["text"], "\n".join(paragraphs[1:]))
        assert same(row["text"], "\n".join(reversed(paragraphs)))


def test_two_forecasts_from_one_template_are_two_stories():
    today = FORECAST.format(a=12, b=3, c=7, d=745, e=80)
    tomorrow = FORECAST.format(a=7, b=12, c=3, d=751, e=92)
    assert not same(today, tomorrow)


def test_a_forecast_with_one_number_mended_is_one_story():
    assert same(FORECAST.format(a=12, b=3, c=7, d=745, e=80), FORECAST.format(a=12, b=3, c=8, d=745, e=80))


def test_two_match_reports_from_one_template_are_two_stories():
    one = MATCH.format(home="Якорь", away="Сокол", scorer="Игнат Рогов", coach="Павел Суриков")
    other = MATCH.format(home="Восход", away="Гранит", scorer="Тимур Багров", coach="Лев Ушаков")
    assert not same(one, other)
    assert same(one, one.replace("остался доволен игрой", "был доволен игрой своих"))


def test_distinct_articles_of_the_demo_are_distinct_stories(invented):
    assert pairs_among([row["text"] for row in invented(3000)]) == set()


def test_a_family_of_copies_is_found_whole(invented):
    rng = random.Random(1)
    texts = [row["text"] for row in invented(300)]
    copies = [typos(text, rng, 0.03) for text in texts for _ in range(3)]
    found = pairs_among(texts + copies)
    wanted = {pair for at in range(300) for pair in combinations([at, *range(300 + 3 * at, 303 + 3 * at)], 2)}
    assert len(wanted - found) <= 0.01 * len(wanted)
    assert found <= wanted


def test_candidates_are_sorted_distinct_pairs():
    signed = duplicates.signatures([words.shingles(text) for text in ["а б в г д"] * 4 + ["х у ч ж з"]])
    assert duplicates.candidates(signed).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert duplicates.candidates(signed[:0]).shape == (0, 2)


def test_estimates_of_similarity_are_close_to_the_truth(invented):
    """The signatures stand in for Jaccard similarity: 150 permutations err by 0.04 on average."""
    rng = random.Random(2)
    errors = []
    for row in invented(80):
        one, other = words.shingles(row["text"]), words.shingles(typos(row["text"], rng, rng.random() / 4))
        true = len(np.intersect1d(one, other)) / len(np.union1d(one, other))
        signed = duplicates.signatures([one, other])
        errors.append((signed[0] == signed[1]).mean() - true)
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


def bands_in_common(signed: np.ndarray) -> set[tuple[int, int]]:
    """The definition of a candidate pair, by looking at all pairs."""
    bands = signed.reshape(len(signed), duplicates.BANDS, duplicates.ROWS)
    return {
        (one, other)
        for one, other in combinations(range(len(signed)), 2)
        if (bands[one] == bands[other]).all(axis=1).any()
        and (signed[one] == signed[other]).mean() >= duplicates.LOOSE
    }


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=25), min_size=2, max_size=12),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100)
def test_sorting_bands_finds_exactly_the_pairs_that_share_one(sets, salt):
    told = [np.unique(np.array(some, np.uint32) * np.uint32(2654435761) + np.uint32(salt)) for some in sets]
    signed = duplicates.signatures(told)
    assert {tuple(pair) for pair in duplicates.candidates(signed).tolist()} == bands_in_common(signed)


def test_the_index_misses_no_pair_that_is_similar_by_exact_jaccard(invented):
    """Against the truth for all pairs of 400 texts, half of them edited copies of the other half."""
    rng = random.Random(5)
    texts = [row["text"] for row in invented(200)]
    texts += [typos(text, rng, rng.random() / 8) for text in texts]
    sets = [words.shingles(text) for text in texts]
    found = {tuple(pair) for pair in duplicates.candidates(duplicates.signatures(sets)).tolist()}
    exact = {
        (one, other): len(np.intersect1d(sets[one], sets[other])) / len(np.union1d(sets[one], sets[other]))
        for one, other in combinations(range(len(sets)), 2)
    }
    similar = {pair for pair, jaccard in exact.items() if jaccard >= duplicates.MIN_SIMILARITY}
    assert len(similar) > 150
    assert len(similar - found) <= 0.04 * len(similar)  # 0.96 is promised at the threshold itself
    assert not {pair for pair in similar - found if exact[pair] >= 0.55}
    assert all(exact[pair] > 0.1 for pair in found)  # what is looked at in vain is few


def test_datasketch_finds_the_same_candidates(invented):
    """The library that was measured against (docs/decisions/0005): its index over the same signatures."""
    rng = random.Random(6)
    texts = [row["text"] for row in invented(150)]
    signed = duplicates.signatures(
        [words.shingles(text) for text in [*texts, *(typos(t, rng, 0.1) for t in texts)]]
    )
    index = datasketch.MinHashLSH(
        num_perm=duplicates.PERMUTATIONS, params=(duplicates.BANDS, duplicates.ROWS)
    )
    of = {"num_perm": duplicates.PERMUTATIONS, "scheme": "affine32"}
    hashed = [datasketch.MinHash(hashvalues=row, **of) for row in signed]
    for number, one in enumerate(hashed):
        index.insert(number, one)
    theirs = {
        (number, other)
        for number, one in enumerate(hashed)
        for other in index.query(one)
        if number < other and (signed[number] == signed[other]).mean() >= duplicates.LOOSE
    }
    assert {tuple(pair) for pair in duplicates.candidates(signed).tolist()} == theirs
    assert len(theirs) >= 100


WORDS = st.lists(
    st.sampled_from(("мост", "река", "город", "дождь", "судья", "мяч", "театр", "завод", "5", "17", "Рогов")),
    max_size=40,
)


@given(WORDS, WORDS)
@settings(max_examples=200)
def test_the_verdict_does_not_depend_on_the_order_of_the_pair(one, other):
    assert same(" ".join(one), " ".join(other)) == same(" ".join(other), " ".join(one))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30), st.randoms())
def test_groups_do_not_depend_on_the_order_of_the_links(links, rng):
    expected = duplicates.groups(20, links)
    shuffled = [pair[:: rng.choice((1, -1))] for pair in links]
    rng.shuffle(shuffled)
    assert duplicates.groups(20, shuffled) == expected
    for left, right in links:
        assert expected[left] == expected[right]
    assert all(group <= row and expected[group] == group for row, group in enumerate(expected))


@pytest.fixture(scope="module")
def real_texts(shared) -> list[str]:
    path = shared / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path.name} is absent")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    return [text for text in texts if len(text) >= 300]


def test_edited_copies_of_real_articles_are_found(real_texts):
    rng = random.Random(7)
    texts = rng.sample(real_texts, 800)
    before = pairs_among(texts)
    copies = []
    for text in texts:
        sentences = re.split(r"(?<=[.!?])\s+", typos(text, rng, 0.02))
        del sentences[rng.randrange(len(sentences))]
        at = rng.randrange(max(1, len(sentences) - 1))
        sentences[at : at + 2] = reversed(sentences[at : at + 2])
        copies.append(" ".join(sentences))
    found = pairs_among(texts + copies)
    right = {(at, 800 + at) for at in range(800)} & found
    # Stories that real sites told twice link their copies too: those are no mistakes.
    wrong = {
        pair for pair in found - right if (min(pair) % 800, max(pair) % 800) not in before
        and (max(pair) % 800, min(pair) % 800) not in before
    }  # fmt: skip
    assert len(right) >= 0.95 * 800
    assert len(right) >= 0.95 * (len(right) + len(wrong))


def test_real_articles_with_other_numbers_are_other_stories(real_texts):
    rng = random.Random(11)
    pairs = [(text, changed) for text in real_texts if (changed := other_numbers(text, rng)) != text]
    merged = sum(bool(same(text, changed)) for text, changed in pairs)
    assert len(pairs) > 1500
    assert merged <= 0.001 * len(pairs)
