"""Topics from rubrics: the map, the choice of topics, the best candidate, its threshold, its export."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from t5sum import StageError
from t5sum.classify.candidates import calibrate, probabilities_of
from t5sum.classify.topics import (
    TopicConfig,
    _calibration,
    _choose,
    _threshold,
    load_map,
    topic_source,
    train_topics,
)
from t5sum.served.text import normalise

ROOT = Path(__file__).resolve().parent.parent.parent
# A budget that a busy machine keeps, so that the same candidate wins everywhere.
SETTINGS = TopicConfig(min_rows=5, forest_rows=0, hash_bits=14, latency_ms=1000)


def invented(count: int) -> list[dict[str, str]]:
    spec = importlib.util.spec_from_file_location(
        "news", ROOT / "demo/news/__init__.py", submodule_search_locations=[str(ROOT / "demo/news")]
    )
    assert spec and spec.loader
    news = importlib.util.module_from_spec(spec)
    sys.modules["news"] = news
    spec.loader.exec_module(news)
    stories = sorted(news.generate(count, seed=3), key=lambda story: story["date"])
    return [
        {"text": "\n".join(story["paragraphs"]), "title": story["title"], "rubric": story["rubric"]}
        for story in stories
    ]


def split(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    first, second = len(rows) * 7 // 10, len(rows) * 85 // 100
    return {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("topics")
    rows = split(invented(300))
    rows["train"] += [{"text": "Мнение о погоде. " * 9, "title": "", "rubric": "comments"}] * 7
    rows["train"] += [{"text": "Лес и грибы. " * 9, "title": "", "rubric": "forest"}] * 3
    return rows, folder, train_topics(rows, SETTINGS, folder, say=lambda text: None)


@pytest.fixture(scope="module")
def served(trained):
    _, folder, found = trained
    return load_served(folder, found["tasks"])


def load_served(folder: Path, section: dict):
    """As the API loads it."""
    from topic_sum.inference.kinds.classify import Classify
    from topic_sum.inference.tasks import from_format_1

    both = from_format_1({"summarize": {"prefix": ""}, "topic": section})
    return Classify.load("topic", both["tasks"]["topic"], folder)


def answer_of(served, text: str, title: str = ""):
    return served.classify({"title": normalise(title), "text": normalise(text)})


def test_renamed_rubrics_are_one_topic_and_formats_are_none() -> None:
    topics = load_map()
    assert topics.topic("lifestyle") == topics.topic("style") == "lifestyle"
    assert topics.topic("economics") == topics.topic("business") == "economy"
    assert topics.topic("Techzone ") == topics.topic("tech") == "tech"
    assert topics.topic("comments") is None and topics.topic("") is None
    assert topics.topic("unheard-of") == "unheard-of"
    assert topics.name("politics") == "Политика"


def test_rubric_that_stands_twice_in_the_map_is_named(tmp_path: Path, monkeypatch) -> None:
    wrong = tmp_path / "topics.yaml"
    wrong.write_text(
        "topics:\n  a: {name: A, rubrics: [x]}\n  b: {name: B, rubrics: [x]}\nexcluded: []\nmask: []\n"
    )
    monkeypatch.setattr("t5sum.classify.topics.MAP", wrong)
    load_map.cache_clear()
    try:
        with pytest.raises(StageError, match="the rubric x stands there twice") as raised:
            load_map()
    finally:
        load_map.cache_clear()
    assert raised.value.code == 2


@pytest.mark.parametrize(
    "text",
    [
        "Об этом сообщает РИА Новости со ссылкой на ведомство.", "Передаёт ТАСС.", "Пишет «Коммерсантъ».",
        "Читайте на https://example.org/x?y=1 подробнее", "© Пресс-служба, 2024", "Источник: пресс-служба",
    ],
)  # fmt: skip
def test_names_of_outlets_and_bylines_are_masked(text: str) -> None:
    masked = topic_source(text, "", SETTINGS, load_map().mask)
    for word in ("РИА", "ТАСС", "Коммерсант", "example", "Пресс", "пресс-служба"):
        assert word not in masked


def test_ordinary_words_are_not_masked() -> None:
    text = "Лента конвейера и российские газеты: журналист спросил тренера о матче и о новости дня."
    assert topic_source(text, "", SETTINGS, load_map().mask) == text


def test_the_title_stands_before_the_text_as_often_as_set() -> None:
    source = topic_source("текст " * 500, " Заголовок ", TopicConfig(title_repeat=3, max_chars=100), ())
    assert source.startswith("Заголовок\nЗаголовок\nЗаголовок\nтекст")
    assert len(source) == 3 * 10 + 100


def test_report_compares_every_candidate_and_names_what_was_left_out(trained) -> None:
    _, folder, found = trained
    report = found["report"]
    assert [figure["name"] for figure in report["candidates"]] == ["majority", "logistic"]
    majority, *learned = report["candidates"]
    for figure in learned:
        assert figure["validation"]["macro_f1"] > majority["validation"]["macro_f1"] + 30
        assert figure["size_mb"] > 0 and figure["latency_ms"] > 0 and figure["train_seconds"] > 0
    assert report["chosen"] == "logistic"
    assert report["excluded_rubrics"] == {"comments": 7}
    assert report["unmapped_rubrics"] == ["forest"]
    assert {"topic": "forest", "name": "forest", "rows": 3, "wanted": 5} in report["left_out"]
    assert sum(map(sum, report["confusion"])) == report["rows"]["test"]
    assert [path.name for path in (folder / "topics").iterdir()] == ["topics.safetensors"]


def test_the_map_of_rubrics_travels_with_the_model(trained) -> None:
    _, _, found = trained
    labels = {label["topic"]: label for label in found["tasks"]["labels"]}
    assert labels["economy"]["name"] == "Экономика"
    assert {"business", "economics"} <= set(labels["economy"]["rubrics"])


def test_a_topic_that_is_left_out_is_said(tmp_path: Path) -> None:
    rows = split(invented(120))
    rows["train"] += [{"text": "Лес и грибы. " * 9, "title": "", "rubric": "forest"}] * 3
    said: list[str] = []
    train_topics(rows, SETTINGS, tmp_path, say=said.append)
    assert any(
        "left out, with fewer than topic.min_rows=5 rows: " in line and "forest 3" in line for line in said
    )


def test_the_forest_is_compared_when_it_is_given_rows(tmp_path: Path) -> None:
    settings = TopicConfig(min_rows=5, forest_rows=120, hash_bits=12)
    found = train_topics(split(invented(200)), settings, tmp_path, say=lambda text: None)
    forest = found["report"]["candidates"][-1]
    assert forest["name"] == "forest" and forest["settings"]["rows"] == 120


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of a few thousand weights, with a tokenizer of the invented news."""
    from t5sum.config import load_config
    from t5sum.generate.scratch import scratch_model
    from t5sum.generate.tokens import train_tokenizer
    from t5sum.served.text import normalise

    folder = tmp_path_factory.mktemp("t5")
    texts = [normalise(row["text"]) for row in invented(60)]
    tokenizer = train_tokenizer(texts + list(load_map().names.values()), 800, folder / "spiece")
    shape = load_config([f"model.scratch.{word}" for word in (
        "d_model=48", "d_kv=12", "d_ff=96", "num_layers=1", "num_heads=4", "dropout=0")], {})  # fmt: skip
    scratch_model(shape.model.scratch, tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def test_t5_is_compared_when_asked_and_never_exported(t5: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, t5_rows=150)
    found = train_topics(split(invented(240)), settings, tmp_path, say=lambda text: None, t5=t5)
    *_, logistic, figure = found["report"]["candidates"]
    assert figure["name"] == "t5" and figure["settings"]["rows"] == 150
    assert figure["latency_ms"] > logistic["latency_ms"] and figure["size_mb"] > 0
    assert logistic["can_be_exported"] and not figure["can_be_exported"]
    assert found["report"]["chosen"] == "logistic"
    assert [path.name for path in (tmp_path / "topics").iterdir()] == ["topics.safetensors"]


def test_t5_learns_to_write_the_name_of_the_topic(t5: Path) -> None:
    from t5sum.classify.topic_t5 import T5Topics, train_t5

    names = ["Спорт", "Культура", "Стиль жизни"]
    words = [["матч", "гол", "тренер"], ["музей", "опера", "холст"], ["мода", "отдых", "диета"]]
    texts = [f"{a} {b} {a} {b}" for each in words for a in each for b in each] * 40
    labels = np.repeat(np.arange(3), 9).tolist() * 40
    told: list[tuple[int, int]] = []
    candidate = train_t5((texts, np.array(labels)), (texts[:27], np.array(labels[:27])), names, 1080, 1, t5,
                         lambda *progress: told.append(progress))  # fmt: skip
    assert told[-1] == (3240, 3240)
    assert (candidate.validation.argmax(axis=1) == labels[:27]).mean() > 0.8
    assert candidate.validation.sum(axis=1) == pytest.approx(1, abs=1e-5)
    topics = candidate.pipeline
    assert isinstance(topics, T5Topics)
    one = topics.predict_proba(texts[:1])
    assert one[0] == pytest.approx(candidate.validation[0], abs=1e-4), "padding changes nothing"


def test_the_score_does_not_rest_on_the_masked_words(tmp_path: Path) -> None:
    rows = split(invented(240))
    outlets = ["РИА Новости", "ТАСС", "Интерфакс", "Росбалт", "Reuters", "Bloomberg", "RT", "REGNUM"]
    rubrics = sorted({row["rubric"] for part in rows.values() for row in part})
    for part in rows.values():  # an outlet for each rubric: who sees it needs nothing else
        for row in part:
            row["text"] = f"Сообщает {outlets[rubrics.index(row['rubric']) % len(outlets)]}. " * 9
            row["title"] = ""
    ablation = train_topics(rows, SETTINGS, tmp_path, say=lambda text: None)["report"]["ablation"]
    assert ablation["test_rows_with_masked_words"] == len(rows["test"])
    assert ablation["trained_unmasked_macro_f1"] > ablation["trained_masked_macro_f1"] + 10


def test_the_api_finds_the_topic_of_unseen_articles(trained, served) -> None:
    rows, _, _ = trained
    topics = load_map()
    right = sum(
        answer_of(served, row["text"], row["title"]).scores[0].label == topics.topic(row["rubric"])
        for row in rows["test"]
    )
    assert right / len(rows["test"]) > 0.8


NOTHING = {
    "empty": "", "one word": "слово", "digits": "12345 67890 " * 30, "zero width": "\u200b\u200b\u200b",
    "controls": "\x00\x01", "pictures": "🙂🙃🚀" * 40, "one word again and again": "да " * 200,
    "letters": "ыыыыыы жжжжжж " * 20,
    "keys": "кпщ зшг ютрп лмнк вбыа цйф шгнр тпкз мюбл ъхэж чсзщ прлд фйцу кегш щзхъ ывап ролд жэяч смит",
    "latin": "lorem ipsum dolor sit amet " * 20,
    "english": "The home team won the last match of the season in front of forty thousand people, and its "
    "coach praised the goalkeeper, who had saved two penalties in the second half.",
    "spanish": "El ayuntamiento aprobó el martes el nuevo presupuesto, que prevé más dinero para las "
    "escuelas, las carreteras y el hospital, según informaron los portavoces tras un largo debate.",
    "ukrainian": "Команда виграла останній матч сезону на очах у сорока тисяч глядачів, а тренер похвалив "
    "воротаря, який відбив два пенальті у другому таймі.",
    "bulgarian": "Отборът спечели последния мач от сезона пред очите на четиридесет хиляди зрители, а "
    "треньорът похвали вратаря, който спаси две дузпи през второто полувреме.",
    "kazakh": "Команда маусымның соңғы ойынында қырық мың көрерменнің көз алдында жеңіске жетті, ал "
    "бапкер екі айып добын қайтарған қақпашыны мақтады.",
    "transliterated": "Komanda vyigrala poslednij match sezona na glazah u soroka tysyach zritelej, a "
    "trener pohvalil vratarya, kotoryj otbil dva penalti vo vtorom tajme.",
    "code": "for i in range(10): print(i) # code " * 10,
    "code with words": "# считаем слова в файле\ndef count(words):\n    found = {}  # слово и сколько "
    "раз оно встретилось\n    for word in words:\n        found[word] = found.get(word, 0) + 1",
    "recipe": "Смешайте два стакана муки со щепоткой соли, вбейте яйцо, влейте тёплой воды и замесите тугое "
    "тесто. Накройте полотенцем, дайте постоять полчаса, потом раскатайте и нарежьте полосками.",
    "poem": "За окошком тихо кружит первый снег, у печи мурлычет рыжий старый кот. Бабушка не спит, считает "
    "петли вслух, а за дверью ветер песенку поёт.",
    "chat": "привет! ты где вообще? я уже полчаса стою у подъезда, телефон садится, ключей нет. захвати по "
    "дороге хлеб и позвони как будешь подходить, ладно?",
    "manual": "Перед первым включением снимите защитную плёнку и вставьте батарейки. Нажмите и удерживайте "
    "кнопку три секунды, пока не загорится зелёный индикатор.",
    "advert": "Продам шкаф-купе, почти новый, два метра на полтора, цвет орех. Самовывоз, помогу разобрать. "
    "Торг уместен, звонить после шести вечера.",
    "lesson": "Рассмотрим треугольник, у которого две стороны равны. Проведём биссектрису из вершины и "
    "докажем, что она же является высотой и медианой.",
}  # fmt: skip


@pytest.mark.parametrize("kind", NOTHING)
def test_text_that_is_no_russian_news_has_no_topic_but_all_scores(served, kind: str) -> None:
    answer = answer_of(served, NOTHING[kind])
    assert answer.label is None and answer.name is None and answer.reason in ("unsure", "too_short")
    assert len(answer.scores) == len(served.labels)


def test_a_megabyte_of_text_is_answered(served) -> None:
    assert answer_of(served, "Матч выиграла сборная города. " * 35_000).scores


def test_same_rows_give_the_same_classifier(tmp_path: Path) -> None:
    rows = split(invented(120))
    found = [train_topics(rows, SETTINGS, tmp_path / name, say=lambda text: None) for name in ("a", "b")]
    assert found[0]["tasks"] == found[1]["tasks"]
    assert found[0]["report"]["confusion"] == found[1]["report"]["confusion"]


@pytest.mark.parametrize(
    ("rubric", "words"), [("sport", "found: sport 9"), ("articles", "found: no row with a rubric")]
)
def test_one_topic_is_too_few_and_says_what_was_found(rubric: str, words: str, tmp_path: Path) -> None:
    rows = [{"text": "Матч. " * 30, "title": "", "rubric": rubric}] * 9
    with pytest.raises(StageError, match=words) as raised:
        train_topics({"train": rows, "validation": rows, "test": rows}, SETTINGS, tmp_path)
    assert raised.value.code == 3


@pytest.mark.parametrize(
    ("setting", "value"), [("min_rows", 1), ("precision", 1.0), ("latency_ms", 0), ("hash_bits", 2)]
)
def test_wrong_setting_is_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"topic.{setting}={value}"):
        TopicConfig(**{setting: value})


def figure(name: str, score: float, latency: float, size: float) -> dict:
    return {"name": name, "validation": {"macro_f1": score}, "latency_ms": latency, "size_mb": size}


def test_best_score_within_the_budget_is_exported_and_never_the_majority() -> None:
    settings = TopicConfig(latency_ms=5, size_mb=30)
    figures = [
        figure("majority", 1, 0.1, 0.1), figure("fast", 60, 1, 5), figure("slow", 90, 9, 5),
        figure("large", 90, 1, 99), figure("good", 70, 2, 5),
    ]  # fmt: skip
    assert _choose(figures, [True] * 5, settings) == 4
    assert _choose([figures[0], figures[2]], [True] * 2, settings) == 1


def test_candidate_that_never_saw_a_topic_is_not_exported() -> None:
    figures = [figure("majority", 1, 0.1, 0.1), figure("partial", 90, 1, 5), figure("whole", 60, 1, 5)]
    assert _choose(figures, [True, False, True], TopicConfig()) == 2


def test_threshold_is_the_lowest_score_that_is_precise_enough() -> None:
    best = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.58, 0.55])
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], bool)
    scores, labels = np.stack([best, 1 - best], axis=1), np.where(right, 0, 1)
    assert _threshold(scores, labels, wanted=0.95, floor=0.52) == (0.58, 1.0, 0.9)
    assert _threshold(scores, labels, wanted=0.9, floor=0.52) == (0.55, 0.9, 1.0)


def test_threshold_stands_above_what_says_nothing() -> None:
    value, _, share = _threshold(np.array([[0.51, 0.49]] * 20), np.zeros(20, int), wanted=0.9, floor=0.52)
    assert value == pytest.approx(0.52) and share == 0


@pytest.mark.parametrize("topics", [2, 5])
def test_calibration_turns_overconfident_margins_into_true_shares(topics: int) -> None:
    chance = np.random.default_rng(1)
    margins = chance.normal(size=(4000, topics if topics > 2 else 1)) * 2 - 1
    true = probabilities_of(margins)
    labels = np.array([chance.choice(topics, p=row) for row in true])
    slope, bias = calibrate(4 * margins + 1, labels)
    found = probabilities_of(slope * (4 * margins + 1) + bias)
    assert _calibration(labels, probabilities_of(4 * margins + 1))["ece"] > 0.1
    assert _calibration(labels, found)["ece"] < 0.03
    assert np.abs(found - true).max() < 0.1


@pytest.mark.parametrize("count", [2, 3])
def test_a_few_topics_are_enough(count: int, tmp_path: Path) -> None:
    wanted = ["sport", "culture", "science"][:count]
    rows = split([row for row in invented(500) if row["rubric"] in wanted])
    found = train_topics(rows, SETTINGS, tmp_path, say=lambda text: None)
    served = load_served(tmp_path, found["tasks"])
    right = [
        served.classify({"text": normalise(row["text"])}).scores[0].label == row["rubric"]
        for row in rows["test"]
    ]
    assert np.mean(right) > 0.8


def test_the_api_gives_the_probabilities_of_training(trained, served) -> None:
    rows, _, _ = trained
    row = rows["test"][0]
    source = topic_source(row["text"], row["title"], SETTINGS, load_map().mask)
    values = {"title": normalise(row["title"]), "text": normalise(row["text"])}
    assert source == served.source(values)
    expected = served.model.predict_proba([source])[0]
    scores = {each.label: each.score for each in served.classify(values).scores}
    assert [scores[topic] for topic, _ in served.labels] == pytest.approx(expected, abs=1e-4)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-3)


def test_a_topic_only_among_the_newest_rows_is_still_known_to_the_export(tmp_path: Path) -> None:
    rows = invented(300)
    late = [row for row in rows if row["rubric"] == "sport"]
    found = train_topics(
        {"train": [row for row in rows if row["rubric"] != "sport"] + late}, SETTINGS, tmp_path,
        say=lambda text: None,
    )  # fmt: skip
    assert len(load_served(tmp_path, found["tasks"]).labels) == len(found["report"]["topics"])


def test_calibration_error_of_hand_worked_scores() -> None:
    probabilities = np.array([[0.95, 0.05]] * 4 + [[0.65, 0.35]] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    found = _calibration(labels, probabilities)
    # Half the rows at 0.95 are right in 0.75 of the cases, half at 0.65 always: 0.5 * 0.2 + 0.5 * 0.35.
    assert found["ece"] == pytest.approx(0.275)
    assert [shown["rows"] for shown in found["bins"]] == [4, 4]
