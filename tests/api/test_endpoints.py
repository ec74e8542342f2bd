"""The whole server, over HTTP, as a client meets it."""


def test_analyze_answers_topic_and_summary_and_names_the_model(api, text, published):
    answer = api.post("/api/v1/analyze", {"text": text("sport"), "title": "Матч чемпионата"})
    assert answer.status == 200, answer.raw
    body = answer.json
    assert body["topic"] == "sport"
    assert body["name"] == "Спорт"
    assert body["summary"]
    assert body["model"] == {
        "repo": "demo/tiny",
        "revision": published,
        "dataset_repo": "demo/news",
        "dataset_revision": "d" * 40,
    }
    assert body["source"]["windows"] == 1
    assert body["source"]["cut"] is False
