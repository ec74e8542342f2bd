"""The scores: worked by hand, held to the packages, and right for Russian."""

from __future__ import annotations

import gzip
import json
import math
import random

import numpy as np
import pytest
from t5sum.judge import metrics, scoring
from t5sum.judge.metrics import BY_ARTICLE, METRICS, OF_COUNTS, bleu_of, chrf_of, meteor, score, tokens, words
from t5sum.judge.published import published_scores, rouge_l, rouge_n, split_sentences

# Invented pairs: prediction, reference, and ROUGE-1, -2, -L (F, percent) as `rouge` 0.3.2 printed them for
# the razdel-tokenised, lower-cased texts.
FROZEN = [
    (
        "Мэр Казани Иван Петров открыл новый мост через реку. Строительство обошлось в 1,5 млрд рублей.",
        "Новый мост через реку открыл мэр Казани. На строительство ушло 1,5 млрд рублей и три года.",
        (70.96774143600416, 41.37930984542212, 51.50582251367647),
    ),
    (
        "Суд приговорил бухгалтера к двум годам условно. Суд учел раскаяние. Суд не назначил штраф.",
        "Бухгалтер получил два года условно. Суд учел, что он раскаялся. Штраф суд не назначил.",
        (46.153845656804734, 29.62962913031551, 38.01431127009201),
    ),
    (
        "Курс доллара вырос до 90 рублей",
        "Доллар подорожал до 90 рублей. Евро упал.",
        (46.153845656804734, 36.36363586776859, 45.617173524117035),
    ),
    (
        "Сборная выиграла турнир в третий раз подряд, забив в финале пять мячей.",
        "В третий раз подряд турнир выиграла сборная: в финале она забила пять мячей.",
        (79.99999950080002, 39.9999995008, 55.82165605091388),
    ),
    (
        "«Новый год» встретили на площади... Салют гремел до утра!",
        "На площади встретили «Новый год». До утра гремел салют.",
        (95.65217341398866, 47.619047120181406, 51.97777051318169),
    ),
]
PREDICTIONS = [pair[0] for pair in FROZEN]
REFERENCES = [pair[1] for pair in FROZEN]


@pytest.mark.parametrize(
    "text",
    [
        "Мэр Казани открыл новый мост через Волгу.",
        "Ёлка",
        "Я",
        "В 2024 году цена выросла до 1,5 млрд рублей — «Газета».",
    ],
)
def test_identical_russian_texts_score_100(text):
    assert score([text], [text]) == pytest.approx(dict.fromkeys(score([text], [text]), 100.0))
    published = published_scores([text], [text])
    assert published["rouge1"] == pytest.approx(100, abs=1e-5)


def test_unrelated_texts_score_0():
    # No word and no letter in common, and a full stop on both sides.
    assert score(["Мы ели суп."], ["Холод прогнал ворон в край поз"[:13]])["rouge1"] == 0
    assert score(["ааа ббб ввв ггг."], ["ддд еее жжж ззз!"]) == dict.fromkeys(METRICS, 0.0)


def test_a_shared_full_stop_is_no_shared_word():
    found = score(["Снег выпал ночью."], ["Банк поднял ставку."])
    assert found["rouge1"] == found["rougeL"] == found["meteor"] == 0


def test_case_and_punctuation_do_not_count_for_rouge():
    assert score(["«Мост» ОТКРЫЛИ"], ["мост открыли!"])["rouge2"] == 100


def test_hand_worked_case():
    found = score(["мама мыла белую раму"], ["мама долго мыла раму"])
    # 3 of 4 words on both sides, no shared pair of words, subsequence мама мыла раму.
    assert found["rouge1"] == pytest.approx(75.0)
    assert found["rouge2"] == 0
    assert found["rougeL"] == pytest.approx(75.0)
    # Precision and recall 3/4; three chunks of three matches: (1 - 0.7 * 1 ** 1.4) * 0.75.
    assert found["meteor"] == pytest.approx(100 * 0.3 * 0.75)
    # 3 of 4 words, then no pair (1/2 of one of 3), no triple (1/4 of one of 2), no four (1/8 of 1).
    assert found["bleu"] == pytest.approx(100 * (3 / 4 * 0.5 / 3 * 0.25 / 2 * 0.125 / 1) ** 0.25)


def test_hand_worked_bleu_of_texts_of_one_word():
    # Half as long as the reference: exp(1 - 2/1). Pairs and longer orders nobody has.
    assert score(["мост"], ["мост открыли"])["bleu"] == pytest.approx(100 * math.exp(-1))
    assert score(["мост", "дом"], ["мост", "лес"])["bleu"] == pytest.approx(50)


def test_hand_worked_chrf():
    # аб against ав: letters 1 of 2, pairs 0 of 1, longer orders nobody has: mean precision = recall = 1/4.
    assert score(["аб"], ["ав"])["chrf"] == pytest.approx(25.0)
    # аб against абв: letters 2/2 and 2/3, pairs 1/1 and 1/2; the triple only one side has is left out.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    assert score(["аб"], ["абв"])["chrf"] == pytest.approx(
        500 * precision * recall / (4 * precision + recall)
    )
    assert score(["абв"], ["аб"])["chrf"] == pytest.approx(  # the same two the other way round
        500 * precision * recall / (4 * recall + precision)
    )
    # One letter of five, and none of the pairs to fives: mean precision = recall = 1/25.
    assert score(["абвгд"], ["аежзи"])["chrf"] == pytest.approx(4.0)


def test_hand_worked_meteor():
    # Precision 2 of 2, recall 2 of 3, which weighs three quarters; two matches in one chunk.
    mean = 1 / (0.75 / (2 / 3) + 0.25 / 1)
    assert score(["мама мыла"], ["мама мыла раму"])["meteor"] == pytest.approx(
        100 * mean * (1 - 0.7 * (1 / 2) ** 1.4)
    )


def test_meteor_matches_inflected_forms_by_stem():
    assert meteor(["новые", "мосты"], ["новых", "мостов"]) > 60
    assert score(["новые мосты"], ["новых мостов"])["rouge1"] == 0


def test_an_empty_prediction_scores_0_and_does_not_raise():
    assert set(score([""], ["Мост открыли."]).values()) == {0.0}
    assert published_scores([""], ["Мост открыли."])["rouge1"] == 0
    half = score(["", "Мост открыли."], ["Мост открыли.", "Мост открыли."])
    assert half["rougeL"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["а"], ["а", "б"], "1 predictions for 2 references"),
        (["а", "б"], ["а"], "2 predictions for 1 references"),
        ([], [], "both lists are empty"),
        ("а", ["а"], "must be a list"),
        (["а"], "а", "must be a list"),
        ([None], ["а"], r"predictions\[0\] is NoneType"),
        (["а"], [" "], r"references\[0\] is empty"),
    ],
)
def test_what_cannot_be_scored_is_named(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score(predictions, references)


@pytest.mark.parametrize(("prediction", "reference", "expected"), FROZEN)
def test_published_rouge_equals_the_package(prediction, reference, expected):
    found = published_scores([prediction], [reference])
    assert (found["rouge1"], found["rouge2"], found["rougeL"]) == pytest.approx(expected, rel=1e-9)


def test_published_rouge_keeps_the_oddities_of_the_package():
    assert split_sentences("первая . вторая ... ") == ["первая", "вторая", ""]
    assert rouge_n(["да да да"], ["да"], 1) == pytest.approx(100, abs=1e-5)  # a set, not a bag
    assert rouge_l([], ["да"]) == rouge_n(["да"], [], 2) == 0


def test_published_bleu_and_chrf_equal_nltk():
    import razdel
    from nltk.translate.bleu_score import corpus_bleu
    from nltk.translate.chrf_score import corpus_chrf

    sides = [
        [" ".join(token.text for token in razdel.tokenize(text)).lower() for text in texts]
        for texts in (PREDICTIONS, REFERENCES)
    ]
    found = published_scores(PREDICTIONS, REFERENCES)
    split = [[text.split(" ") for text in side] for side in sides]
    assert found["bleu"] == pytest.approx(100 * corpus_bleu([[one] for one in split[1]], split[0]))
    assert found["chrf"] == pytest.approx(100 * corpus_chrf(sides[1], sides[0], beta=1.0))
    assert found["characters"] == sum(map(len, sides[0])) / len(sides[0])


def packages(predictions: list[str], references: list[str]) -> dict[str, float]:
    """The same scores by rouge-score, sacrebleu and nltk alone."""
    import razdel
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return [
                t.text.lower() for t in razdel.tokenize(text) if any(letter.isalnum() for letter in t.text)
            ]

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Words())
    rows = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
    return {
        **{name: 100 * math.fsum(row[name].fmeasure for row in rows) / len(rows) for name in rows[0]},
        "bleu": BLEU(tokenize="intl").corpus_score(predictions, [references]).score,
        "chrf": CHRF().corpus_score(predictions, [references]).score,
    }


def test_scores_equal_the_packages_on_invented_pairs():
    found = score(PREDICTIONS, REFERENCES)
    for name, expected in packages(PREDICTIONS, REFERENCES).items():
        assert found[name] == pytest.approx(expected, rel=1e-9), name


def test_scores_equal_the_packages_on_200_real_pairs(shared):
    path = shared / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is absent")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row.get("summary") and row.get("body")]
    rows = random.Random(5).sample(rows, 200)
    predictions, references = [row["body"][:250] for row in rows], [row["summary"] for row in rows]
    found = score(predictions, references)
    for name, expected in packages(predictions, references).items():
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_every_metric_has_one_way_to_be_computed():
    assert METRICS.keys() == {*BY_ARTICLE, *OF_COUNTS} and not OF_COUNTS.keys() & set(BY_ARTICLE)


def test_a_metric_of_counts_takes_its_counts_and_its_formula(monkeypatch):
    """CONTRIBUTING.md: nothing else names the metrics; its interval is made of resampled counts too."""
    pair_statistics = metrics.pair_statistics

    def and_shared(prediction, reference, predicted):
        both = [len(set(predicted) & set(reference.words)), len(set(predicted) | set(reference.words))]
        return pair_statistics(prediction, reference, predicted) | {"shared": both}

    monkeypatch.setattr(metrics, "pair_statistics", and_shared)
    monkeypatch.setitem(METRICS, "shared", "Shared words")
    monkeypatch.setitem(OF_COUNTS, "shared", lambda counts: 100 * counts[..., 0] / counts[..., 1])
    assert score(["а б в", "а б"], ["а б г", "а б"])["shared"] == pytest.approx(100 * 4 / 6)
    articles = [
        scoring.Article("Текст.", reference, {"model": prediction})
        for prediction, reference in zip(PREDICTIONS * 5, REFERENCES * 5, strict=True)
    ]
    systems = scoring.score_systems(articles, with_baselines=False, processes=1)
    scoring.compare_all(systems, "model", samples=200, confidence=0.95, seed=1)
    interval = systems["model"].intervals["shared"]
    assert 0 < interval.low < interval.mean < interval.high < 100
    monkeypatch.delitem(OF_COUNTS, "shared")
    with pytest.raises(KeyError):
        score(PREDICTIONS, REFERENCES)


def test_nothing_matched_is_0_and_nothing_is_divided_by_it():
    with np.errstate(all="raise"):
        assert bleu_of([0, 5, 0, 0, 0, 0, 0, 0, 0, 0]) == 0
        assert chrf_of([0] * 18) == 0
        assert chrf_of([3, 0, 0] * 6) == chrf_of([0, 3, 0] * 6) == 0
        assert bleu_of([1, 1, 1, 0, 0, 0, 1, 0, 0, 0]) == pytest.approx(100)


def test_texts_of_punctuation_alone_have_no_word_in_common():
    found = score(["!!!"], ["!!!"])
    assert found["rouge1"] == found["rougeL"] == found["meteor"] == 0


def test_many_sums_of_counts_are_scored_at_once_as_each_alone():
    """The intervals are made of a thousand resampled sums."""
    rows = [
        metrics.pair_statistics(prediction, metrics.Reference(reference), words(tokens(prediction)))
        for prediction, reference in zip([*PREDICTIONS, "нет"], [*REFERENCES, "да"], strict=True)
    ]
    for name, formula in OF_COUNTS.items():
        counts = np.array([row[name] for row in rows])
        assert formula(counts) == pytest.approx([float(formula(row)) for row in counts]), name


def test_scoring_writes_nothing_on_the_screen(caplog, capfd):
    score(PREDICTIONS, REFERENCES)  # sacrebleu advises against some settings, once an article
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_the_metric_of_the_package_evaluate_needs_no_network(repo_root, tmp_path, monkeypatch):
    import socket

    def refuse(*_):
        raise OSError("the test has no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    import evaluate
    from t5sum.judge.summary_metric import SummaryMetric

    expected = score(PREDICTIONS, REFERENCES)
    metric = SummaryMetric(cache_dir=str(tmp_path))
    assert metric.compute(predictions=PREDICTIONS, references=REFERENCES) == pytest.approx(expected)
    path = repo_root / "t5_training" / "t5sum" / "judge" / "summary_metric.py"
    loaded = evaluate.load(str(path), cache_dir=str(tmp_path / "cache"))
    loaded.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    loaded.add_batch(predictions=PREDICTIONS[2:], references=REFERENCES[2:])
    assert loaded.compute() == pytest.approx(expected)
