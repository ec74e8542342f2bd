"""Wrong requests: the right status, one shape, the field named, in the client's language."""

import json

import pytest

CASES = [
    # body, code, status, field
    ({}, "required", 400, "text"),
    ({"text": ""}, "empty", 400, "text"),
    ({"text": " \n\u200b "}, "empty", 400, "text"),
    ({"text": None}, "wrong_type", 400, "text"),
    ({"text": 5}, "wrong_type", 400, "text"),
    ({"text": ["а"]}, "wrong_type", 400, "text"),
    ({"text": "12 345, 67!"}, "no_words", 422, "text"),
    ({"text": "а" * 100_001}, "too_long", 413, "text"),
    ({"text": "а", "title": "б" * 501}, "too_long", 413, "title"),
    ({"text": "а", "title": 5}, "wrong_type", 400, "title"),
    ({"text": "а", "texts": ["б"]}, "text_or_texts", 400, "text"),
    ({"text": "а", "titles": ["б"]}, "text_or_texts", 400, "titles"),
    ({"texts": ["б"], "title": "в"}, "text_or_texts", 400, "title"),
    ({"texts": []}, "empty", 400, "texts"),
    ({"texts": "а"}, "wrong_type", 400, "texts"),
    ({"texts": ["а"] * 17}, "too_many", 413, "texts"),
    ({"texts": ["а" * 70_000] * 3}, "too_long", 413, "texts"),
    ({"texts": ["а", "б"], "titles": ["в"]}, "titles_do_not_match", 400, "titles"),
    ({"text": "а", "max_chars": 5}, "out_of_range", 400, "max_chars"),
    ({"text": "а", "max_chars": "100"}, "wrong_type", 400, "max_chars"),
    ({"text": "а", "variants": 6}, "out_of_range", 400, "variants"),
    ({"text": "а", "variants": "3"}, "wrong_type", 400, "variants"),
    ({"text": "а", "variants": 1.5}, "wrong_type", 400, "variants"),
    ({"text": "а", "top_k": 0}, "out_of_range", 400, "top_k"),
    ({"text": "а", "explain": 1}, "wrong_type", 400, "explain"),
    ({"text": "а", "maxchars": 100}, "unknown_field", 400, "maxchars"),
    ([], "not_an_object", 400, None),
    ("а", "not_an_object", 400, None),
    (None, "not_an_object", 400, None),
]


@pytest.mark.parametrize(
    ("body", "code", "status", "field"), CASES, ids=[f"{c[1]}-{c[3]}-{i}" for i, c in enumerate(CASES)]
)
def test_a_wrong_field_is_named(api, body, code, status, field):
    answer = api.post("/api/v1/analyze", json.dumps(body).encode(), Content_Type="application/json")
    assert answer.status == status, answer.raw
    error = answer.json["error"]
    assert set(answer.json) == {"error"}
    assert set(error) == {"code", "message", "field"}
    assert (error["code"], error["field"]) == (code, field)


RAW_CASES = [
    (b"", "required"),
    (b"{", "bad_json"),
    (b'{"text": "\xff\xfe"}', "not_utf8"),
    ("текст".encode("cp1251"), "not_utf8"),
    (b'{"text": NaN}', "bad_number"),
    (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json_too_deep"),
    (b'{"variants": 1' + b"0" * 6000 + b"}", "bad_number"),
    (b'{"text": "a\nb"}', "bad_json"),
    (b'{"text": "\\ud800 half a pair"}', "bad_characters"),
    (b'{"text": "a", "\\ud800": 1}', "unknown_field"),
]


@pytest.mark.parametrize(("raw", "code"), RAW_CASES, ids=range(len(RAW_CASES)))
def test_a_body_that_is_no_json_is_a_400(api, raw, code):
    answer = api.post("/api/v1/summarize", raw, Content_Type="application/json")
    assert answer.status == 400, answer.raw
    assert answer.json["error"]["code"] == code


def test_a_message_is_in_one_language(api):
    told = api.post("/api/v1/topic", b'{"text": }', Content_Type="application/json", Accept_Language="ru")
    assert told.json["error"]["message"] == "Тело запроса — не JSON (строка 1, столбец 10)."


@pytest.mark.parametrize("path", ["/api/v1/model", "/api/v1/topic", "/api/schema", "/api/docs"])
def test_a_query_string_changes_nothing(api, text, path):
    asked = f"{path}?format=xml&format=json"
    answer = api.post(asked, {"text": text("sport")}) if path.endswith("topic") else api.get(asked)
    assert answer.status == 200, answer.raw


def test_an_option_of_another_address_is_an_unknown_field(api):
    answer = api.post("/api/v1/topic", {"text": "Слово", "variants": 3})
    assert (answer.status, answer.json["error"]["field"]) == (400, "variants")


@pytest.mark.parametrize(
    "how",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Type": "application/json; charset=windows-1251"},
        {"Content_Type": 'application/json; charset="koi8-r"'},
    ],
    ids=str,
)
def test_a_body_that_is_packed_or_of_another_charset_is_a_415(api, how):
    answer = api.post("/api/v1/topic", b"{}", **({"Content_Type": "application/json"} | how))
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "us-ascii"])
def test_utf8_may_be_said(api, text, charset):
    asked = json.dumps({"text": text("sport")}).encode()
    kind = f"application/json; charset={charset}"
    assert api.post("/api/v1/topic", asked, Content_Type=kind).status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_a_415(api, kind):
    answer = api.post("/api/v1/topic", b"text=abc", Content_Type=kind)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


def test_get_where_post_belongs_is_a_405_that_names_what_is_allowed(api):
    answer = api.get("/api/v1/analyze")
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/api/v1/health/ready", "/api/v1/metrics", "/api/schema", "/api/v1/schema"]
)
def test_post_where_get_belongs_is_a_405_in_the_same_shape(api, path):
    answer = api.post(path, {})
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_an_unknown_address_is_a_404_in_the_same_shape(api):
    for path in ("/api/v1/nothing", "/nothing", "/static/../settings.py", "/api/v1/analyze/"):
        answer = api.get(path)
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("path", ["/api/v1/model", "/api/docs", "/api/v1/docs"])
def test_an_accept_header_without_json_is_a_406(api, path):
    answer = api.get(path, Accept="image/png")
    assert (answer.status, answer.json["error"]["code"]) == (406, "not_acceptable")


def test_a_file_of_the_page_refuses_in_the_same_shape(api):
    answer = api.post("/static/web/page.js", {})
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert answer.json["error"]["message"] == "Method POST is not allowed here."
    assert answer.headers["Allow"] == "GET, HEAD"
    answer = api.get("/static/web/page.js", Range="bytes=10000000-")
    assert (answer.status, answer.json["error"]["code"]) == (416, "bad_range")
    assert answer.headers["Content-Range"].startswith("bytes */")


ADDRESSES = [
    *("/", "/static/web/page.js", "/static/", "/nothing", "/health/live", "/health/ready"),
    *("/api/schema", "/api/docs", "/api/v1/schema", "/api/v1/docs", "/api/v1/metrics", "/api/v1/model"),
    *("/api/v1/analyze", "/api/v1/summarize", "/api/v1/topic", "/api/v1/health/ready"),
]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ODD"]
)
def test_whatever_is_asked_of_any_address_errors_have_one_shape(api, method):
    refused = 0
    for path in ADDRESSES:
        for accept in ("*/*", "text/html", "image/png", "application/json;q=0", "/"):
            answer = api.ask(method, path, Accept=accept)
            if answer.status < 400:
                continue
            refused += 1
            assert answer.headers["Content-Type"].startswith("application/json"), (path, accept, answer.raw)
            if method != "HEAD":
                assert set(answer.json["error"]) == {"code", "message", "field"}, (path, accept)
    assert refused > 10


def test_errors_are_russian_for_russians_and_english_otherwise(api):
    def message(languages):
        return api.post("/api/v1/topic", {}, Accept_Language=languages).json["error"]["message"]

    assert message("ru-RU,ru;q=0.9,en;q=0.8") == "Поле обязательно."
    assert message("tlh;q=0.9,ru;q=0.5,en;q=0.3") == "Поле обязательно."
    assert message("en,ru;q=0.5") == "This field is required."
    assert message("tlh") == "This field is required."
    assert message(";q=x,,,") == "This field is required."


def test_no_error_shows_a_path_or_a_traceback(api):
    for raw in (b"{", b'{"text": 1}', b'{"text": "a", "variants": -1}'):
        answer = api.post("/api/v1/analyze", raw, Content_Type="application/json").raw.decode()
        assert "Traceback" not in answer
        assert ".py" not in answer


def test_a_foreign_host_header_is_refused(api):
    answer = api.get("/api/v1/model", Host="evil.example")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad_host")
    assert api.get("/health/live", Host="10.1.2.3").status == 200
