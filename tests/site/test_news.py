"""The demo's invented news: what the collector, the trainer and a reader may count on."""

from __future__ import annotations

import itertools
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"
sys.path.insert(0, str(DEMO))

from news import generate, kinds, words  # noqa: E402

WORD = re.compile(r"[\w-]+")


@pytest.fixture(scope="module")
def articles() -> list[dict]:
    return list(generate(2000))


def body(article: dict) -> str:
    return "\n".join(article["paragraphs"])


def shingles(text: str) -> set[tuple[str, ...]]:
    found = WORD.findall(text.lower())
    return {tuple(found[i : i + 5]) for i in range(len(found) - 4)}


def stem(word: str) -> str:
    """Enough of a word to meet its other cases: «Самаре» and «Самары»."""
    if word[0].isdigit():
        return word
    return word.lower()[: -3 if len(word) > 5 else -1]


def facts(summary: str) -> list[str]:
    """Numbers, and names: words with a capital that do not open a sentence."""
    spans = re.finditer(r"\d+(?:[,:]\d+)?|(?<![.!?] )(?<!^)\b[А-Я][\w-]+", summary)
    return [match.group() for match in spans]


def test_the_same_arguments_give_the_same_articles(articles: list[dict]) -> None:
    assert list(generate(150)) == articles[:150]
    assert list(generate(20, seed=1)) != articles[:20]


def test_an_article_has_every_field_the_site_serves(articles: list[dict]) -> None:
    for article in articles:
        assert set(article) == {"title", "subtitle", "summary", "paragraphs", "date", "rubric"}
        assert re.fullmatch(r"20(1[3-9]|2[0-5])-\d\d-\d\d \d\d:\d\d:\d\d", article["date"])
        assert 5 <= len(article["paragraphs"]) <= 9
        assert all(article["paragraphs"]) and article["title"] and article["summary"]
        assert 80 <= len(article["summary"]) <= 220
        assert 450 <= len(body(article)) <= 1600


def test_five_thousand_articles_are_distinct_and_cover_rubrics_and_years_evenly() -> None:
    many = list(generate(5000))
    for field in (body, lambda a: a["summary"], lambda a: a["title"]):
        assert len({field(article) for article in many}) == len(many)
    rubrics = Counter(article["rubric"] for article in many)
    assert len(rubrics) >= 8
    assert max(rubrics.values()) - min(rubrics.values()) <= 1
    years = Counter(article["date"][:4] for article in many)
    assert len(years) == 13
    assert min(years.values()) > 0.7 * len(many) / 13
    newest = Counter(a["rubric"] for a in sorted(many, key=lambda a: a["date"])[-len(many) // 20 :])
    assert newest.keys() == rubrics.keys()


def test_no_two_articles_are_near_duplicates(articles: list[dict]) -> None:
    """Jaccard of word 5-grams stays below 0.6 for every pair, so the collector keeps them all."""
    sets = [shingles(body(article)) for article in articles]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, shingle_set in enumerate(sets):
        for shingle in shingle_set:
            holders[shingle].append(number)
    worst = 0.0
    for number, shingle_set in enumerate(sets):
        shared = Counter(other for shingle in shingle_set for other in holders[shingle] if other > number)
        for other, common in shared.items():
            worst = max(worst, common / (len(shingle_set) + len(sets[other]) - common))
    assert 0 < worst < 0.6


def test_the_summary_is_no_sentence_of_the_text(articles: list[dict]) -> None:
    for article in articles:
        text = body(article)
        for sentence in re.split(r"(?<=[.!?]) ", article["summary"]):
            assert sentence not in text
        whole, common = shingles(article["summary"]), shingles(article["summary"]) & shingles(text)
        assert len(common) < 0.6 * len(whole), article["summary"]


def test_every_name_and_number_of_the_summary_stands_in_the_text(articles: list[dict]) -> None:
    for article in articles:
        text = body(article).lower()
        named = facts(article["summary"])
        assert len(named) >= 2, article["summary"]
        for fact in named:
            assert re.search(rf"(?<![\w,]){re.escape(stem(fact))}", text), (fact, article)


def test_every_fact_of_a_summary_is_told_by_every_variant_of_some_paragraph() -> None:
    """What the test above sees in a sample holds for all articles that can be drawn."""

    def named(template: str) -> set[str]:
        return {re.split(r"[.:]", slot)[0] for slot in re.findall(r"{([^}]+)}", template)}

    for kind in kinds.load()[0]:
        names = [set.intersection(*map(named, variants)) for variants in kind.lines]
        for summary in kind.summaries:
            assert named(summary) <= set().union(*names), kind.name
        for angle, tails in kind.tails.items():
            angle_told = set.intersection(*map(named, kind.angles[angle]))
            for tail in tails:
                assert named(tail) <= angle_told.union(*names), (kind.name, angle)


def test_an_article_holds_names_and_numbers_that_its_summary_leaves_out(articles: list[dict]) -> None:
    rivals = 0
    for article in articles:
        summary = " ".join(map(stem, facts(article["summary"])))
        rivals += any(stem(fact) not in summary for fact in facts(body(article).replace("\n", " ")))
    assert rivals == len(articles)


def test_the_first_sentence_is_a_weak_summary_but_not_an_absurd_one(articles: list[dict]) -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    razdel = pytest.importorskip("razdel")

    class Tokens:
        def tokenize(self, text: str) -> list[str]:
            return [token.text.lower() for token in razdel.tokenize(text) if token.text[0].isalnum()]

    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Tokens())
    scores = []
    for article in articles[:400]:
        lead = next(iter(razdel.sentenize(" ".join(article["paragraphs"])))).text
        scores.append(scorer.score(article["summary"], lead)["rougeL"].fmeasure)
    assert 0.1 < sum(scores) / len(scores) < 0.35


def test_cities_stand_in_the_case_that_their_preposition_asks_for(articles: list[dict]) -> None:
    found = 0
    for article, city in itertools.product(articles[:700], words.CITIES):
        text = " ".join([article["title"], article["summary"], body(article)])
        if city.nom[:-1] not in text:
            continue
        assert (
            not re.search(rf"\b(город[аеу]?|городом) {city.where.split()[1]}\b", text) or city.gen == city.nom
        )
        wrong = {city.nom, city.gen, city.dat} - {city.where.split()[1], city.acc}
        for form in wrong:
            assert not re.search(rf"\b[Вв]о? {form}\b", text), (form, text)
        for form in {city.nom, city.acc, city.dat} - {city.gen}:
            assert not re.search(rf"\b[Ии]з {form}\b", text), (form, text)
        found += 1
    assert found > 1000


def test_numbers_agree_with_their_nouns(articles: list[dict]) -> None:
    forms = {"процент": "процент процента процентов", "час": "час часа часов", "год": "год года лет",
             "рубль": "рубль рубля рублей", "минута": "минута минуты минут", "метр": "метр метра метров",
             "голос": "голос голоса голосов", "тысяча": "тысяча тысячи тысяч"}  # fmt: skip
    accusative = {"минуту": "минута", "тысячу": "тысяча"}
    seen = Counter()
    for article in articles:
        for number, noun in re.findall(
            r"(?<![,\d])\b(\d+) ([а-я]+)", body(article) + " " + article["summary"]
        ):
            noun = accusative.get(noun, noun)
            for name, three in forms.items():
                if noun in three.split():
                    last, teen = int(number) % 10, 10 < int(number) % 100 < 20
                    want = 2 if teen or last in (0, 5, 6, 7, 8, 9) else 0 if last == 1 else 1
                    allowed = {three.split()[want], three.split()[2 if last != 1 or teen else 1]}
                    assert noun in allowed, f"{number} {noun}"
                    seen[name] += 1
    assert len(seen) == len(forms)


def test_no_template_leaves_a_trace(articles: list[dict]) -> None:
    for article in articles:
        text = "\n".join([article["title"], article["subtitle"], article["summary"], body(article)])
        assert not re.search(r"[{}|_<>/]|  | [,.]|\.\.|None", text), text
        for paragraph in article["paragraphs"]:
            assert re.match(r"[«А-Я\d]", paragraph) and paragraph[-1] in ".»", paragraph


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1 день"), (2, "2 дня"), (5, "5 дней"), (11, "11 дней"), (12, "12 дней"), (21, "21 день"),
     (111, "111 дней"), (122, "122 дня"), (1000, "1000 дней")],
)  # fmt: skip
def test_a_count_picks_its_nouns_form(number: int, said: str) -> None:
    assert f"{words.Count(number):день|дня|дней}" == said


def test_a_genitive_count_knows_one_from_many() -> None:
    assert f"{words.Count(21):~дня|дней}" == "21 дня"
    assert f"{words.Count(11):~дня|дней}" == "11 дней"


def test_people_are_declined_by_gender() -> None:
    inna = words.Person(("Инна", "Инны", "Инне", "Инной"), "Залесский", woman=True)
    egor = words.Person(("Егор", "Егора", "Егору", "Егором"), "Снегин", woman=False)
    assert (inna.nom, inna.gen, inna.last_ins) == ("Инна Залесская", "Инны Залесской", "Залесской")
    assert (egor.gen, egor.dat, egor.ins) == ("Егора Снегина", "Егору Снегину", "Егором Снегиным")
    assert f"{inna:сказал|сказала}" == "сказала"


@pytest.mark.parametrize(
    ("text", "problem"),
    [("rubric sport\nfacts\n  a city\n", "has no titles"),
     ("chapter one\n", "no section is called 'chapter'")],
)  # fmt: skip
def test_a_broken_kind_names_itself_and_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        kinds.parse("broken", text)
    assert "broken" in str(raised.value)
