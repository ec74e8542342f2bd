"""Topics from rubrics: which labels are learned, the best candidate, its threshold, its export."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from t5sum import StageError
from t5sum.classify.candidates import calibrate, probabilities_of
from t5sum.classify.figures import calibration, choose, threshold
from t5sum.classify.labels import Labels
from t5sum.classify.train import train
from t5sum.config import ClassifyTask
from t5sum.load import load_config
from t5sum.served.classifier import TextModel
from t5sum.served.text import normalise
from t5sum.sources import masked

ROOT = Path(__file__).resolve().parent.parent.parent
TOPIC = load_config([], {}).tasks["topic"]
# A budget that a busy machine keeps, so that the same candidate wins everywhere.
SETTINGS = replace(TOPIC, min_rows=5, forest_rows=0, hash_bits=14, latency_ms=1000)


def quiet(text: str) -> None:
    pass


def train_topics(rows: dict, task: ClassifyTask, folder: Path, say=quiet) -> dict:
    """rows: oldest first; the stage has them the other way round."""
    return train("topic", {split: part[::-1] for split, part in rows.items()}, task, folder, say)


def source(row: dict, task: ClassifyTask = SETTINGS, mask: list[str] | None = None) -> str:
    return masked(row, task.template, task.max_chars, task.mask if mask is None else mask)


def labels_of(folder: Path, found: dict, rows: list[dict]) -> list[str]:
    """The exported classifier's labels, as the API reads it."""
    probabilities = TextModel.load(folder / "model.safetensors").predict_proba([source(row) for row in rows])
    return [found["labels"][number]["label"] for number in probabilities.argmax(axis=1)]


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
    return rows, folder, train_topics(rows, SETTINGS, folder)


@pytest.fixture(scope="module")
def served(trained):
    """The exported classifier as the API loads it."""
    from topic_sum.inference.kinds.classify import Classify

    _, folder, found = trained
    section = {
        "kind": "classify", "source": SETTINGS.source, "target": "rubric", "metrics": {},
        "path": "model.safetensors", "labels": found["labels"], "threshold": found["threshold"],
        "max_chars": SETTINGS.max_chars, "min_chars": SETTINGS.min_chars, "mask": SETTINGS.mask,
    }  # fmt: skip
    Classify.check("topic", section)
    return Classify.load("topic", section, folder)


def answer_of(served, text: str, title: str = ""):
    return served.classify({"title": normalise(title), "text": normalise(text)})


def test_renamed_rubrics_are_one_topic_and_formats_are_none() -> None:
    labels = Labels(TOPIC)

    def label(rubric: str | None) -> str | None:
        return labels.label({"rubric": rubric})

    assert label("lifestyle") == label("style") == "lifestyle"
    assert label("economics") == label("business") == "economy"
    assert label("Techzone ") == label("tech") == "tech"
    assert label("comments") is None and label("") is None and label(None) is None
    assert label("unheard-of") == "unheard-of"
    assert labels.name("politics") == "Политика" and labels.name("unheard-of") == "unheard-of"


@pytest.mark.parametrize(
    "text",
    [
        "Об этом сообщает РИА Новости со ссылкой на ведомство.", "Передаёт ТАСС.", "Пишет «Коммерсантъ».",
        "Читайте на https://example.org/x?y=1 подробнее", "© Пресс-служба, 2024", "Источник: пресс-служба",
    ],
)  # fmt: skip
def test_names_of_outlets_and_bylines_are_masked(text: str) -> None:
    found = source({"text": text})
    for word in ("РИА", "ТАСС", "Коммерсант", "example", "Пресс", "пресс-служба"):
        assert word not in found


def test_ordinary_words_are_not_masked() -> None:
    text = "Лента конвейера и российские газеты: журналист спросил тренера о матче и о новости дня."
    assert source({"text": text}) == text


def test_the_title_stands_before_the_text_as_often_as_the_template_says() -> None:
    task = replace(TOPIC, source="[{title}\n{title}\n{title}\n]{text}", max_chars=100)
    found = source({"text": "текст " * 500, "title": " Заголовок "}, task)
    assert found.startswith("Заголовок\nЗаголовок\nЗаголовок\nтекст")
    assert len(found) == 3 * 10 + 100


def test_report_compares_every_candidate_and_names_what_was_left_out(trained) -> None:
    _, folder, found = trained
    report = found["report"]
    assert [figure["name"] for figure in report["candidates"]] == ["majority", "logistic"]
    majority, *learned = report["candidates"]
    for figure in learned:
        assert figure["validation"]["macro_f1"] > majority["validation"]["macro_f1"] + 30
        assert figure["size_mb"] > 0 and figure["latency_ms"] > 0 and figure["train_seconds"] > 0
    assert report["chosen"] == "logistic"
    assert report["excluded"] == {"comments": 7}
    assert report["unlisted"] == ["forest"]
    assert {"label": "forest", "name": "forest", "rows": 3, "wanted": 5} in report["left_out"]
    assert sum(map(sum, report["confusion"])) == report["rows"]["test"]
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_the_names_of_the_labels_travel_with_the_model(trained) -> None:
    _, _, found = trained
    assert {"label": "economy", "name": "Экономика"} in found["labels"]


def test_a_topic_that_is_left_out_is_said(tmp_path: Path) -> None:
    rows = split(invented(120))
    rows["train"] += [{"text": "Лес и грибы. " * 9, "title": "", "rubric": "forest"}] * 3
    said: list[str] = []
    train_topics(rows, SETTINGS, tmp_path, say=said.append)
    assert any(
        "left out, with fewer than tasks.topic.min_rows=5 rows: " in line and "forest 3" in line
        for line in said
    )


def test_the_forest_is_compared_when_it_is_given_rows(tmp_path: Path) -> None:
    settings = replace(SETTINGS, forest_rows=120, hash_bits=12)
    found = train_topics(split(invented(200)), settings, tmp_path)
    forest = found["report"]["candidates"][-1]
    assert forest["name"] == "forest" and forest["settings"]["rows"] == 120


def test_the_score_does_not_rest_on_the_masked_words(tmp_path: Path) -> None:
    rows = split(invented(240))
    outlets = ["РИА Новости", "ТАСС", "Интерфакс", "Росбалт", "Reuters", "Bloomberg", "RT", "REGNUM"]
    rubrics = sorted({row["rubric"] for part in rows.values() for row in part})
    for part in rows.values():  # an outlet for each rubric: who sees it needs nothing else
        for row in part:
            row["text"] = f"Сообщает {outlets[rubrics.index(row['rubric']) % len(outlets)]}. " * 9
            row["title"] = ""
    ablation = train_topics(rows, SETTINGS, tmp_path)["report"]["ablation"]
    assert ablation["test_rows_with_masked_words"] == len(rows["test"])
    assert ablation["trained_unmasked_macro_f1"] > ablation["trained_masked_macro_f1"] + 10


def test_the_export_finds_the_topic_of_unseen_articles(trained) -> None:
    rows, folder, found = trained
    labels = Labels(TOPIC)
    said = labels_of(folder, found, rows["test"])
    right = sum(one == labels.label(row) for one, row in zip(said, rows["test"], strict=True))
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


def test_the_api_gives_the_probabilities_of_training(trained, served) -> None:
    rows, folder, _ = trained
    row = rows["test"][0]
    values = {"title": normalise(row["title"]), "text": normalise(row["text"])}
    assert served.source(values) == source(row)
    [expected] = TextModel.load(folder / "model.safetensors").predict_proba([source(row)])
    scores = {each.label: each.score for each in served.classify(values).scores}
    assert [scores[label] for label, _ in served.labels] == pytest.approx(expected, abs=1e-4)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-3)


def test_same_rows_give_the_same_classifier(tmp_path: Path) -> None:
    rows = split(invented(120))
    found = [train_topics(rows, SETTINGS, tmp_path / name) for name in ("a", "b")]
    assert (found[0]["labels"], found[0]["threshold"]) == (found[1]["labels"], found[1]["threshold"])
    assert found[0]["report"]["confusion"] == found[1]["report"]["confusion"]


@pytest.mark.parametrize(
    ("rubric", "words"), [("sport", "found: sport 9"), ("articles", "found: no row with a label")]
)
def test_one_topic_is_too_few_and_says_what_was_found(rubric: str, words: str, tmp_path: Path) -> None:
    rows = [{"text": "Матч. " * 30, "title": "", "rubric": rubric}] * 9
    with pytest.raises(StageError, match=words) as raised:
        train_topics({"train": rows, "validation": rows, "test": rows}, SETTINGS, tmp_path)
    assert raised.value.code == 3


def figure(name: str, score: float, latency: float, size: float) -> dict:
    return {"name": name, "validation": {"macro_f1": score}, "latency_ms": latency, "size_mb": size}


def test_best_score_within_the_budget_is_exported_and_never_the_majority() -> None:
    settings = replace(TOPIC, latency_ms=5, size_mb=30)
    figures = [
        figure("majority", 1, 0.1, 0.1), figure("fast", 60, 1, 5), figure("slow", 90, 9, 5),
        figure("large", 90, 1, 99), figure("good", 70, 2, 5),
    ]  # fmt: skip
    assert choose(figures, [True] * 5, settings) == 4
    assert choose([figures[0], figures[2]], [True] * 2, settings) == 1


def test_candidate_that_never_saw_a_topic_is_not_exported() -> None:
    figures = [figure("majority", 1, 0.1, 0.1), figure("partial", 90, 1, 5), figure("whole", 60, 1, 5)]
    assert choose(figures, [True, False, True], TOPIC) == 2


def test_threshold_is_the_lowest_score_that_is_precise_enough() -> None:
    best = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.58, 0.55])
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], bool)
    scores, labels = np.stack([best, 1 - best], axis=1), np.where(right, 0, 1)
    assert threshold(scores, labels, wanted=0.95, floor=0.52) == (0.58, 1.0, 0.9)
    assert threshold(scores, labels, wanted=0.9, floor=0.52) == (0.55, 0.9, 1.0)


def test_threshold_stands_above_what_says_nothing() -> None:
    value, _, share = threshold(np.array([[0.51, 0.49]] * 20), np.zeros(20, int), wanted=0.9, floor=0.52)
    assert value == pytest.approx(0.52) and share == 0


@pytest.mark.parametrize("topics", [2, 5])
def test_calibration_turns_overconfident_margins_into_true_shares(topics: int) -> None:
    chance = np.random.default_rng(1)
    margins = chance.normal(size=(4000, topics if topics > 2 else 1)) * 2 - 1
    true = probabilities_of(margins)
    labels = np.array([chance.choice(topics, p=row) for row in true])
    slope, bias = calibrate(4 * margins + 1, labels)
    found = probabilities_of(slope * (4 * margins + 1) + bias)
    assert calibration(labels, probabilities_of(4 * margins + 1))["ece"] > 0.1
    assert calibration(labels, found)["ece"] < 0.03
    assert np.abs(found - true).max() < 0.1


@pytest.mark.parametrize("count", [2, 3])
def test_a_few_topics_are_enough(count: int, tmp_path: Path) -> None:
    wanted = ["sport", "culture", "science"][:count]
    rows = split([row for row in invented(500) if row["rubric"] in wanted])
    found = train_topics(rows, SETTINGS, tmp_path)
    said = labels_of(tmp_path, found, rows["test"])
    assert np.mean([one == row["rubric"] for one, row in zip(said, rows["test"], strict=True)]) > 0.8


def test_a_topic_only_among_the_newest_rows_is_still_known_to_the_export(tmp_path: Path) -> None:
    rows = invented(300)
    late = [row for row in rows if row["rubric"] == "sport"]
    found = train_topics(
        {"train": [row for row in rows if row["rubric"] != "sport"] + late}, SETTINGS, tmp_path,
    )  # fmt: skip
    assert TextModel.load(tmp_path / "model.safetensors").topics == len(found["labels"])
    assert "sport" in {each["label"] for each in found["labels"]}


def test_calibration_error_of_hand_worked_scores() -> None:
    probabilities = np.array([[0.95, 0.05]] * 4 + [[0.65, 0.35]] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    found = calibration(labels, probabilities)
    # Half the rows at 0.95 are right in 0.75 of the cases, half at 0.65 always: 0.5 * 0.2 + 0.5 * 0.35.
    assert found["ece"] == pytest.approx(0.275)
    assert [shown["rows"] for shown in found["bins"]] == [4, 4]
