"""The whole server, over HTTP, as a client meets it."""

import copy
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import HashingVectorizer


def test_analyze_answers_topic_and_summary_and_names_the_model(api, text, published):
    answer = api.post("/api/v1/analyze", {"text": text("sport"), "title": "Матч чемпионата"})
    assert answer.status == 200, answer.raw
    body = answer.json
    assert (body["topic"], body["name"]) == ("sport", "Спорт")
    assert body["summary"]
    assert body["model"] == {
        "repo": "demo/tiny",
        "revision": published,
        "dataset_repo": "demo/news",
        "dataset_revision": "d" * 40,
    }
    assert body["source"]["windows"] == 1
    assert body["source"]["cut"] is False


def test_summarize_and_topic_answer_what_analyze_answers(api, text):
    asked = {"text": text("economy", seed=5)}
    both = api.post("/api/v1/analyze", asked).json
    assert api.post("/api/v1/summarize", asked).json["summary"] == both["summary"]
    alone = api.post("/api/v1/topic", asked).json
    assert alone["topic"] == both["topic"] == "economy"
    assert alone["scores"] == both["scores"]
    assert "summary" not in alone


def test_scores_cover_all_topics_best_first_and_sum_to_one(api, text):
    scores = api.post("/api/v1/topic", {"text": text("culture")}).json["scores"]
    assert {score["topic"] for score in scores} == {"sport", "economy", "culture"}
    assert [score["score"] for score in scores] == sorted((score["score"] for score in scores), reverse=True)
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=0.001)


def test_top_k_limits_the_scores(api, text):
    assert len(api.post("/api/v1/topic", {"text": text("culture"), "top_k": 1}).json["scores"]) == 1


def test_explain_names_words_of_the_text_that_speak_for_the_topic(api, text):
    asked = text("sport")
    words = api.post("/api/v1/topic", {"text": asked, "explain": True}).json["explain"]
    assert words
    assert all(word["word"] in asked and word["weight"] > 0 for word in words)
    assert words[0]["word"].lower() in "матч гол тренер команды чемпионат сборная стадион"


def test_a_short_text_has_no_topic_and_says_why_and_keeps_its_scores(api):
    body = api.post("/api/v1/topic", {"text": "Гол!"}).json
    assert (body["topic"], body["name"], body["reason"]) == (None, None, "too_short")
    assert len(body["scores"]) == 3


def test_a_text_about_nothing_known_has_no_topic(api):
    body = api.post("/api/v1/topic", {"text": "Zyx wvu tsr qpo nml kji hgf edc ba. " * 4, "top_k": 1}).json
    assert body["topic"] is None
    assert body["reason"] == "unsure"
    assert body["scores"][0]["score"] < 0.4


def test_every_text_of_a_list_gets_its_own_result_or_error(api, text):
    asked = {"texts": [text("sport"), "   ", text("economy"), 5], "titles": ["Матч", None, None, None]}
    answer = api.post("/api/v1/analyze", asked)
    assert answer.status == 200
    first, empty, third, number = answer.json["results"]
    assert first["topic"] == "sport"
    assert third["topic"] == "economy"
    assert empty == {"error": {"code": "empty", "message": "This field is empty.", "field": "texts[1]"}}
    assert (number["error"]["code"], number["error"]["field"]) == ("wrong_type", "texts[3]")
    assert first["summary"] == api.post("/api/v1/summarize", {"text": asked["texts"][0]}).json["summary"]


def test_a_list_is_answered_in_its_order_whoever_is_done_first(serve, text):
    server = serve(TRANSLATORS="3")
    texts = [text("sport", sentences=40 if number % 3 == 0 else 2, seed=number) for number in range(9)]
    results = server.post("/api/v1/summarize", {"texts": texts}).json["results"]
    alone = [server.post("/api/v1/summarize", {"text": each}).json for each in texts]
    assert [result["summary"] for result in results] == [answer["summary"] for answer in alone]
    assert [result["source"] for result in results] == [answer["source"] for answer in alone]


def test_a_long_text_is_read_in_windows_and_nothing_is_cut(api, text):
    body = api.post("/api/v1/summarize", {"text": text("sport", sentences=40)}).json
    assert body["source"]["windows"] > 1
    assert body["source"]["cut"] is False
    assert body["summary"]


def test_a_topic_says_how_much_of_the_text_decided_it(api, text):
    """The tiny model reads 4,000 characters for the topic."""
    short, long = text("sport"), text("sport", sentences=80)
    for path in ("topic", "analyze"):
        read = {
            asked: api.post(f"/api/v1/{path}", {"text": asked}).json["topic_source"]
            for asked in (short, long)
        }
        whole = {"chars": len(short), "read": len(short), "words": words(short), "cut": False}
        assert read[short] == whole
        assert read[long] == {"chars": len(long), "read": 4000, "words": words(long[:4000]), "cut": True}


def test_every_address_stands_under_the_version(api):
    assert api.get("/api/v1/health/live", Host="10.1.2.3").json == {"status": "live"}
    assert api.get("/api/v1/health/ready").json == {"status": "ready"}
    assert api.get("/api/v1/schema").raw == api.get("/api/schema").raw
    assert json.loads(api.get("/api/v1/schema", Accept="application/json").raw)["openapi"].startswith("3.")
    docs = api.get("/api/v1/docs")
    assert docs.status == 200
    assert docs.headers["Content-Security-Policy"] == api.get("/api/docs").headers["Content-Security-Policy"]


def words(text):
    """As scikit-learn counts them."""
    return len(HashingVectorizer().build_analyzer()(text))


def test_the_words_that_decide_a_topic_are_those_of_its_vectorizer(api):
    for asked in ("Гол! И 1:0, а потом 12 345 — «Енисей-2» и д. р.", "ТАСС сообщает: матч_дня, ёлка"):
        assert api.post("/api/v1/topic", {"text": asked}).json["topic_source"]["words"] == words(asked)


@pytest.mark.parametrize("explain", [False, True])
def test_a_topic_asked_for_again_comes_from_the_cache_with_all_it_had(api, text, explain):
    asked = {"text": text("sport", seed=790 + explain), "title": "Матч", "explain": explain}
    first, second, third = (
        api.post("/api/v1/topic", asked | more).json for more in ({}, {}, {"title": "Гол", "top_k": 1})
    )
    assert (first.pop("cached"), second.pop("cached"), third["cached"]) == (False, True, False)
    assert first.pop("milliseconds") and second.pop("milliseconds")
    assert first == second
    assert len(third["scores"]) == 1
    assert len(api.post("/api/v1/topic", asked | {"top_k": 2}).json["scores"]) == 2
    assert api.post("/api/v1/topic", asked | {"top_k": 2}).json["cached"] is True
    assert api.post("/api/v1/topic", asked | {"explain": not explain}).json["cached"] is False


def test_an_answer_of_two_parts_is_cached_when_both_are(api, text):
    asked = {"text": text("sport", seed=80)}

    def cached(path, **more):
        return api.post(f"/api/v1/{path}", asked | more).json["cached"]

    assert cached("summarize") is False
    assert cached("analyze") is False, "the topic was new"
    assert cached("analyze") is True
    assert cached("analyze", explain=True) is False
    assert cached("analyze", explain=True, max_chars=40) is True
    assert cached("analyze", variants=2) is False


def test_topics_push_no_summary_out_of_the_cache(serve, text):
    server = serve(CACHE_SIZE="2")
    asked = {"text": text("sport")}
    server.post("/api/v1/summarize", asked)
    for seed in range(3):
        server.post("/api/v1/topic", {"text": text("economy", seed=seed)})
    assert server.post("/api/v1/topic", {"text": text("economy", seed=0)}).json["cached"] is False
    assert server.post("/api/v1/topic", {"text": text("economy", seed=0)}).json["cached"] is True
    assert server.post("/api/v1/summarize", asked).json["cached"] is True


def test_the_schema_is_made_once(in_process, monkeypatch):
    """It takes 50 ms, and everybody may ask for it."""
    from topic_sum.api import schema

    kinds = ("application/json", "application/yaml")
    made = [in_process.get("/api/schema", HTTP_ACCEPT=kind).content for kind in kinds]
    monkeypatch.setattr(schema, "SchemaGenerator", None)
    assert [in_process.get("/api/v1/schema", HTTP_ACCEPT=kind).content for kind in kinds] == made


def test_what_is_in_the_cache_needs_no_slot(in_process, text):
    from topic_sum.serving import service

    def ask(path, asked, **more):
        return in_process.post(f"/api/v1/{path}", {"text": asked, **more}, content_type="application/json")

    known = text("sport", seed=77)
    assert ask("analyze", known).json()["cached"] is False
    explained = text("sport", seed=78)
    assert ask("topic", explained, explain=True).json()["cached"] is False
    admission = service().scheduler.admission
    with ExitStack() as everybody:
        for _ in range(admission.slots):
            everybody.enter_context(admission.slot(service().job()))
        assert ask("summarize", text("culture", seed=77)).status_code == 503
        assert ask("summarize", known, variants=2).status_code == 503
        assert ask("analyze", known, explain=True).status_code == 503
        for path in ("analyze", "summarize"):
            answer = ask(path, known)
            assert (answer.status_code, answer.json()["cached"]) == (200, True)
        assert ask("topic", known, explain=True).status_code == 503
        assert ask("topic", explained, explain=True).json()["cached"] is True
    assert admission.active == 0


def test_a_text_of_more_windows_than_allowed_says_that_it_was_cut(api, text):
    body = api.post("/api/v1/summarize", {"text": text("sport", sentences=400)}).json
    assert body["source"]["windows"] == 16
    assert body["source"]["cut"] is True


def test_variants_are_different_and_the_summary_is_the_first(api, text):
    body = api.post("/api/v1/summarize", {"text": text("culture", seed=3), "variants": 3}).json
    summaries = [variant["summary"] for variant in body["variants"]]
    assert summaries[0] == body["summary"]
    assert 1 < len(summaries) <= 3
    assert len(set(summaries)) == len(summaries)


def test_variants_that_are_alike_once_they_are_shortened_are_one(api, text):
    for seed in range(8):
        asked = {"text": text("culture", seed=seed), "variants": 5, "max_chars": 30}
        variants = api.post("/api/v1/summarize", asked).json["variants"]
        words = [set(variant["summary"].lower().split()) for variant in variants]
        assert words
        for index, one in enumerate(words):
            assert all(len(one & other) <= 0.75 * len(one | other) for other in words[:index])


def test_variants_true_means_three(api, text):
    asked = {"text": text("culture", seed=3)}
    assert (
        api.post("/api/v1/summarize", asked | {"variants": True}).json["variants"]
        == api.post("/api/v1/summarize", asked | {"variants": 3}).json["variants"]
    )
    assert "variants" not in api.post("/api/v1/summarize", asked | {"variants": False}).json


def test_the_first_variant_is_the_summary_given_without_variants(api, text):
    asked = {"text": text("culture", seed=4)}
    assert (
        api.post("/api/v1/summarize", asked | {"variants": 2}).json["summary"]
        == api.post("/api/v1/summarize", asked).json["summary"]
    )


def test_max_chars_is_kept(api, text):
    asked = {"text": text("economy", seed=9)}
    whole = api.post("/api/v1/summarize", asked).json["summary"]
    short = api.post("/api/v1/summarize", asked | {"max_chars": 30}).json["summary"]
    assert len(whole) > 30 >= len(short)
    assert whole.startswith(short.rstrip("…"))


def test_the_same_question_again_is_answered_from_the_cache(api, text):
    asked = {"text": text("economy", seed=77)}
    assert api.post("/api/v1/summarize", asked).json["cached"] is False
    assert api.post("/api/v1/summarize", asked).json["cached"] is True
    assert api.post("/api/v1/summarize", asked | {"variants": 2}).json["cached"] is False


def test_a_title_that_the_summary_does_not_read_computes_nothing_again(api, text):
    """The tiny model was trained without titles."""
    asked = {"text": text("economy", seed=78)}
    first = api.post("/api/v1/summarize", asked | {"title": "Прибыль банка"}).json
    second = api.post("/api/v1/summarize", asked | {"title": "Рынок в Приозёрске"}).json
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["source"] == second["source"]


def test_a_title_that_the_summary_reads_is_another_question(loaded, text):
    from topic_sum.inference.revision import Source
    from topic_sum.inference.served.template import Template
    from topic_sum.inference.service import Limits, Service

    task = copy.copy(loaded.task("summarize"))
    task.engine = copy.copy(task.engine)
    task.template = task.engine.template = Template("summarize: [{title}. ]{text}")
    served = Service(Source("a/b", "production", Path(), None, None), Limits(1, 4, 1, 60, 16, 10, 300))
    answers = [
        served.answer(loaded, task, {"title": title, "text": text("sport")}, {}, served.job())
        for title in ("Матч", "Гол", "Матч")
    ]
    served.stop()
    assert [cached for _, cached in answers] == [False, False, True]
    assert answers[0][0] == answers[2][0] != answers[1][0]


def test_invisible_characters_and_spaces_do_not_change_the_answer(api, text):
    plain = text("sport", seed=8)
    dirty = plain.replace(" ", " \u200b\n\t ", 5).replace("о", "о\u00ad", 2) + "\u202e"
    asked = api.post("/api/v1/summarize", {"text": dirty}).json
    assert asked["summary"] == api.post("/api/v1/summarize", {"text": plain}).json["summary"]
    assert asked["source"]["chars"] == len(plain)


def test_model_tells_revisions_metrics_topics_and_limits(api, published):
    body = api.get("/api/v1/model").json
    assert body["revision"] == published
    assert body["requested_revision"] == "production"
    assert body["metrics"] == {"rougeL": 12.5, "topic_macro_f1": 0.99}
    assert {"topic": "sport", "name": "Спорт"} in body["topics"]
    assert body["from_local_copy"] is False
    assert body["trouble"] is None
    assert body["limits"]["max_texts"] == 16


def test_health_and_page_and_docs_answer(api):
    assert api.get("/health/live").json == {"status": "live"}
    assert api.get("/health/ready").json == {"status": "ready"}
    for path in ("/", "/api/docs", "/api/schema"):
        assert api.get(path, Accept="text/html,application/yaml;q=0.9,*/*;q=0.8").status == 200, path


def test_swagger_ui_and_its_files_come_from_here(api):
    page = api.get("/api/docs").raw.decode()
    addresses = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert api.get(address.replace("&amp;", "&")).status == 200


def test_metrics_count_what_was_answered(api, text):
    def number(name):
        lines = api.get("/api/v1/metrics").raw.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = number('topic_sum_texts_total{task="topic"}'), number("topic_sum_source_tokens_total")
    api.post("/api/v1/analyze", {"text": text("sport", seed=31)})
    assert number('topic_sum_texts_total{task="topic"}') == before[0] + 1
    assert number("topic_sum_source_tokens_total") > before[1]
    assert number("topic_sum_ready") == 1
    assert number("topic_sum_slots") == 5
    assert number("topic_sum_active_requests") == 0


def test_an_answer_is_plain_utf8_json(api, text):
    answer = api.post("/api/v1/topic", {"text": text("sport")})
    assert answer.headers["Content-Type"] == "application/json"
    assert "Спорт" in answer.raw.decode()
    assert json.loads(answer.raw)


def test_a_request_id_is_kept_and_a_bad_one_replaced(api):
    assert (
        api.get("/health/live", **{"X-Request-ID": "abc-12345678"}).headers["X-Request-ID"] == "abc-12345678"
    )
    assert api.get("/health/live", **{"X-Request-ID": "x y"}).headers["X-Request-ID"] != "x y"
