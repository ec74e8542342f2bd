"""Small things: nulls, an empty Accept, keep-alive, and what is left behind."""

from __future__ import annotations

import socket
import time

import pytest
from django.test import override_settings


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "Гол в матче", "texts": None}, None),
        ({"text": "Гол в матче", "titles": None, "title": None}, None),
        ({"texts": ["Гол в матче"], "title": None}, None),
        ({"texts": None}, "required"),
        ({"text": None}, "wrong_type"),
    ],
)
def test_null_is_the_same_as_absent(in_process, body, code):
    answer = in_process.post("/api/v1/topic", body, content_type="application/json")
    assert answer.status_code == (400 if code else 200), answer.content
    assert answer.json().get("error", {}).get("code") == code


@pytest.mark.parametrize("accept", ["", " "])
def test_an_empty_accept_takes_anything(in_process, accept):
    assert in_process.get("/api/v1/model", HTTP_ACCEPT=accept).status_code == 200


@pytest.mark.parametrize("status", [503, 429])
def test_busy_is_answered_with_the_status_of_the_setting(status):
    from topic_sum.api.exceptions import translate
    from topic_sum.inference.errors import Busy, NotReady

    with override_settings(BUSY_STATUS=status):
        assert translate(Busy(3)).status == status
        assert translate(NotReady("")).status == 503


def test_several_processes_leave_no_folder_and_keep_alive_is_a_setting(serve, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    server = serve(WEB_CONCURRENCY="2", KEEPALIVE_SECONDS="1", TMPDIR=str(temporary))
    assert list(temporary.glob("topic_sum-metrics-*"))
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=12) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        while connection.recv(65536):
            pass
        assert 0.5 < time.monotonic() - began < 10
    assert server.stop() == 0
    assert not list(temporary.glob("topic_sum-metrics-*"))
