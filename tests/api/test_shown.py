"""What logs, health and /model may show: no forged lines and no passwords. And what HTTPS=1 sends."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from django.test import Client, override_settings

FORGING = "a\r\n00:00:00 error: forged\x1b[2J\x9b31m\u2028\u202e\x00\x7f\t"


def record(message, *args, exc_info=None, **extra):
    made = logging.LogRecord("topic_sum", logging.INFO, "", 0, message, args, exc_info)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize("formatter", ["TextFormatter", "JsonFormatter"])
def test_no_log_line_holds_a_control_character(formatter):
    from topic_sum.api import logs

    made = getattr(logs, formatter)()
    line = made.format(record("%s done", FORGING, path=FORGING, text=FORGING))
    assert line.isprintable()
    if formatter == "JsonFormatter":
        assert json.loads(line)["path"] == FORGING
    try:
        raise ValueError(FORGING)
    except ValueError:
        raised = made.format(record("bug", exc_info=sys.exc_info()))
    assert all(part.isprintable() for part in raised.split("\n"))


@pytest.mark.parametrize(
    "path", ["/x%0d%0a00:00:00%20error:%20forged", "/%1b%5b2J", "/%c2%9b31m", "/%e2%80%a8"]
)
def test_a_path_forges_no_line_of_the_default_log(api, path):
    before = len(api.log)
    assert api.get(path).status == 404
    lines = api.log[before:].split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum("GET /" in line for line in lines) == 1 and not any(line.startswith("error") for line in lines)


@pytest.mark.parametrize(("text", "shown"), [
    ("http://user:p%40ss@hub/x", "http://***@hub/x"),
    ("redis://:secret@h:1/0 failed", "redis://***@h:1/0 failed"),
    ("see https://a:b@c@d/e and https://f/g@h", "see https://***@d/e and https://f/g@h"),
    ("rediss://h/0?password=abc&x=1", "rediss://h/0?password=***&x=1"), ("a@b: c", "a@b: c"),
])  # fmt: skip
def test_the_credentials_of_an_address_are_hidden(text, shown):
    from topic_sum.safe_text import without_credentials

    assert without_credentials(text) == shown


def test_credentials_of_the_hub_are_in_no_log_and_no_answer(serve, free_port, until):
    server = serve(wait=False, hub_url=f"http://reader:pa55word@127.0.0.1:{free_port()}")
    until(lambda: "error:" in server.log, "the log says why")
    detail = server.get("/health/ready").json["detail"]
    for shown in (server.log, detail):
        assert "127.0.0.1" in shown and "does not answer" in shown
        assert "pa55word" not in shown and "reader" not in shown


def test_credentials_are_hidden_while_a_local_copy_serves(serve, model_hub, published, tmp_path, free_port):
    serve().stop()
    closed = f"http://reader:pa55word@127.0.0.1:{free_port()}"
    server = serve(
        hub_url=closed, REDIS_URL=f"redis://cook:pa55word@127.0.0.1:{free_port()}", RATE_LIMIT="9/day"
    )
    model = server.get("/api/v1/model")
    assert model.json["from_local_copy"] is True and "127.0.0.1" in model.json["trouble"]
    for shown in (server.log, model.raw.decode()):
        assert "pa55word" not in shown and "reader" not in shown and "cook" not in shown


@pytest.mark.parametrize(("name", "value"), [
    ("HF_ENDPOINT", "user:pa55word@hub.example"), ("HF_ENDPOINT", "ftp://user:pa55word@hub"),
    ("REDIS_URL", "redis://:pa55word/x@host:6379"), ("REDIS_URL", "http://h?password=pa55word"),
    ("REDIS_URL", "redis://user:pa55word@"), ("REDIS_URL", "redis://u:pa55word@h:port"),
])  # fmt: skip
def test_a_wrong_address_is_refused_without_its_password(repo_root, name, value):
    environment = {"PATH": os.environ["PATH"], "MODEL_REPO": "a/b", name: value}
    ended = subprocess.run(
        [sys.executable, "-m", "topic_sum"], cwd=repo_root / "topic_sum_api", env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2 and f"error: {name}=" in ended.stderr
    assert "pa55word" not in ended.stderr + ended.stdout


def test_https_binds_no_other_host(in_process):
    with override_settings(SECURE_HSTS_SECONDS=31_536_000):
        answer = Client(SERVER_NAME="localhost").get("/health/live", secure=True)
    assert answer["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(("extra", "header"), [
    ({}, "False False"), ({"HSTS_INCLUDE_SUBDOMAINS": "1"}, "True False"),
    ({"HSTS_PRELOAD": "1"}, "False True"),
])  # fmt: skip
def test_hsts_is_widened_by_its_own_settings_only(repo_root, extra, header):
    code = (
        "from topic_sum import settings as s; print(s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD)"
    )
    environment = {"PATH": os.environ["PATH"], "MODEL_REPO": "a/b", "HTTPS": "1"} | extra
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo_root / "topic_sum_api",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.stdout.strip() == header, said.stderr


@pytest.mark.parametrize("path", ["/api/v1/topic", "/api/v1/analyze", "/none"])
def test_a_post_over_http_is_redirected_with_its_body(in_process, path):
    with override_settings(SECURE_SSL_REDIRECT=True):
        answer = Client(SERVER_NAME="localhost").post(path, {"text": "а"}, content_type="application/json")
    assert answer.status_code == 308
    assert answer["Location"] == f"https://localhost{path}"
    assert answer.json()["error"]["code"] == "https_required"
