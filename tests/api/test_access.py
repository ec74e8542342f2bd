"""Keys, rate limits, hosts, CORS, logs: who may ask how often, and what is written down about it."""

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import math
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from rest_framework.exceptions import Throttled

KEY = "a-key-that-is-long-enough-for-anybody"
SHA = "sha256:" + hashlib.sha256(b"another-key-known-by-its-hash-only").hexdigest()


class Redis(socketserver.ThreadingTCPServer):
    """As much of Redis as a rate limit needs: INCRBY, DECRBY, GET, EXPIRE."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port):
        self.numbers, self.lock, self.connections = {}, threading.Lock(), set()
        super().__init__(("127.0.0.1", port), Conversation)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            # Closing alone leaves the line open while a file object reads from it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.connections.add(self.connection)
        while line := self.rfile.readline():
            parts = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                parts.append(self.rfile.read(size + 2)[:-2].decode())
            command, *rest = parts
            with self.server.lock:
                numbers = self.server.numbers
                if command in ("INCRBY", "DECRBY"):
                    change = int(rest[1]) if command == "INCRBY" else -int(rest[1])
                    numbers[rest[0]] = numbers.get(rest[0], 0) + change
                    answer = f":{numbers[rest[0]]}"
                elif command == "GET":
                    value = str(numbers[rest[0]]) if rest[0] in numbers else None
                    answer = f"${len(value)}\r\n{value}" if value else "$-1"
                elif command == "EXPIRE":
                    answer = ":1"
                elif command == "CLIENT":
                    answer = "+OK"
                else:
                    answer = "-ERR unknown command"
            self.wfile.write(f"{answer}\r\n".encode())


@pytest.fixture
def redis(free_port):
    server = Redis(free_port())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def guarded(model_hub, published, tmp_path_factory, free_port, start):
    """A server with keys, a rate limit of its own, JSON logs and one allowed origin."""
    server = start(
        tmp_path_factory.mktemp("guarded"), free_port(), model_hub.url, API_KEYS=f"{KEY},{SHA}",
        RATE_LIMIT="20/hour", LOG_FORMAT="json", CORS_ORIGINS="https://news.example", NUM_PROXIES="1",
    )  # fmt: skip
    yield server
    server.stop()


def test_without_a_key_is_a_401_that_says_how(guarded):
    answer = guarded.post("/api/v1/topic", {"text": "Слово"})
    assert (answer.status, answer.json["error"]["code"]) == (401, "no_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_wrong_key_is_a_401(guarded):
    answer = guarded.post("/api/v1/topic", {"text": "Слово"}, Authorization="Bearer wrong")
    assert (answer.status, answer.json["error"]["code"]) == (401, "wrong_key")


@pytest.mark.parametrize("key", [KEY, "another-key-known-by-its-hash-only"])
def test_a_key_lets_in_whether_kept_plain_or_hashed(guarded, text, key):
    answer = guarded.post("/api/v1/topic", {"text": text("sport")}, Authorization=f"Bearer {key}")
    assert answer.status == 200, answer.raw


def test_the_hash_itself_is_no_key(guarded):
    assert guarded.get("/api/v1/model", Authorization=f"Bearer {SHA}").status == 401


def test_health_page_docs_and_metrics_need_no_key(guarded):
    for path in ("/", "/health/live", "/health/ready", "/api/docs", "/api/schema", "/api/v1/metrics"):
        assert guarded.get(path).status == 200, path


def test_the_page_asks_for_the_key_where_one_is_needed(guarded, api):
    assert 'id="key"' in guarded.get("/").raw.decode()
    assert 'id="key"' not in api.get("/").raw.decode()


def test_cors_answers_the_named_origin_only(guarded, api):
    ask = {"Access-Control-Request-Method": "POST"}
    allowed = guarded.get("/api/v1/model", Origin="https://news.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://news.example"
    assert (
        "Access-Control-Allow-Origin"
        not in guarded.get("/api/v1/model", Origin="https://evil.example").headers
    )
    assert (
        "Access-Control-Allow-Origin" not in api.get("/api/v1/model", Origin="https://news.example").headers
    )
    assert "Origin" in allowed.headers["Vary"]
    refused = guarded.get("/api/v1/model", Host="elsewhere.example", Origin="https://news.example")
    assert (refused.status, refused.json["error"]["code"]) == (400, "bad_host")
    assert refused.headers["Access-Control-Allow-Origin"] == "https://news.example"
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert refused.headers["X-Frame-Options"] == "DENY"
    assert guarded.get("/api/schema").headers["Vary"] == "Accept, Origin"
    preflight = guarded.ask("OPTIONS", "/api/v1/analyze", Origin="https://news.example", **ask)
    assert preflight.status == 204
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]


def test_log_lines_are_json_with_ids_and_without_texts(guarded, text):
    secret = text("culture", seed=4242)
    asked = {"Authorization": f"Bearer {KEY}", "X-Request-ID": "look-for-this-one"}
    assert guarded.post("/api/v1/analyze", {"text": secret}, **asked).status == 200
    entries = [json.loads(line) for line in guarded.log.splitlines()]
    [entry] = [entry for entry in entries if entry.get("request_id") == "look-for-this-one"]
    assert (entry["path"], entry["status"], entry["chars"]) == ("/api/v1/analyze", 200, len(secret))
    assert secret[:30] not in guarded.log
    assert KEY not in guarded.log


@pytest.mark.parametrize("form", ["text", "json"])
def test_texts_are_in_the_log_and_the_page_says_so_where_log_texts_asks_for_it(serve, text, form):
    server = serve(LOG_TEXTS="1", LOG_FORMAT=form)
    one, two = text("culture", seed=4243), text("sport", seed=4243)
    assert server.post("/api/v1/topic", {"texts": [one, two.replace(" ", "\n", 1)]}).status == 200
    [line] = [line for line in server.log.splitlines() if "POST /api/v1/topic 200" in line]
    assert f"{one} | {two}" in line
    page = server.get("/").raw.decode()
    assert "записываются в журнал" in page
    assert "не сохраняется" not in page


def test_texts_are_nowhere_and_the_page_says_so_where_nothing_asks_for_them(api, text):
    sent = text("culture", seed=4244)
    assert api.post("/api/v1/topic", {"text": sent}).status == 200
    assert "POST /api/v1/topic 200" in api.log
    assert sent[:30] not in api.log
    page = api.get("/").raw.decode()
    assert "Текст нигде не сохраняется." in page
    assert "записываются" not in page


@pytest.mark.parametrize("name", ["TextFormatter", "JsonFormatter"])
def test_a_traceback_names_its_request(name):
    """The client is told this number to quote."""
    from topic_sum.api import logs

    record = logging.LogRecord("topic_sum", logging.ERROR, "", 0, "error: a bug in answering /x", (), None)
    record.request_id = "look-for-this-one"
    assert "look-for-this-one" in getattr(logs, name)().format(record)


@pytest.mark.parametrize("path", ["/api/v1/model", "/health/ready"], ids=["view of the API", "other view"])
def test_a_bug_is_logged_with_the_number_that_the_client_is_told(in_process, monkeypatch, caplog, path):
    from topic_sum.api import health, model

    def broken():
        raise ZeroDivisionError

    for module in (health, model):
        monkeypatch.setattr(module, "service", broken)
    answer = Client(raise_request_exception=False, SERVER_NAME="localhost").get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "server_error")
    number = answer["X-Request-ID"]
    assert number in answer.json()["error"]["message"]
    [logged] = [record for record in caplog.records if record.exc_info and record.name == "topic_sum"]
    assert logged.request_id == number


def test_with_several_processes_a_model_that_is_served_no_more_is_told_as_0(monkeypatch):
    from topic_sum import metrics

    def serve(revision):
        model = SimpleNamespace(
            repo="a/b", revision=revision, dataset_revision="d", loaded_at=datetime.now(UTC)
        )
        scheduler = SimpleNamespace(admission=SimpleNamespace(active=0, slots=1))
        current = SimpleNamespace(ready=True, model=model)
        service = SimpleNamespace(scheduler=scheduler, current=current)
        monkeypatch.setitem(metrics._state, "service", service)
        metrics.refresh_gauges()

    monkeypatch.setitem(metrics._state, "labels", None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "anywhere")
    serve("old")
    serve("new")
    told = {
        sample.labels["revision"]: sample.value
        for family in metrics.MODEL.collect()
        for sample in family.samples
        if sample.labels["repo"] == "a/b"
    }
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    metrics.MODEL.remove("a/b", "old", "d")
    metrics.MODEL.remove("a/b", "new", "d")
    assert told["old"] == 0
    assert told["new"] > 1_000_000_000


def test_a_control_character_in_a_path_forges_no_log_line(guarded):
    guarded.get("/x%0a%7B%22level%22:%22forged%22%7D")
    assert all(json.loads(line)["level"] != "forged" for line in guarded.log.splitlines())


def test_over_the_limit_is_a_429_with_retry_after_and_others_go_on(guarded):
    def ask(address):
        return guarded.get("/api/v1/model", Authorization=f"Bearer {KEY}", **{"X-Forwarded-For": address})

    answers = [ask("203.0.113.7") for _ in range(25)]
    assert answers[-1].status == 429
    assert answers[-1].json["error"]["code"] == "rate_limited"
    # In the next hour these twenty weigh less and less: early in an hour that is later than in an hour.
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600 * 21 / 20
    other = guarded.get("/api/v1/model", Authorization="Bearer another-key-known-by-its-hash-only")
    assert other.status == 200


@pytest.mark.parametrize(("number", "key"), [(1, {}), (2, {"Authorization": "Bearer guessed"})])
def test_requests_without_a_right_key_are_counted_by_address_and_lock_out_no_holder(guarded, number, key):
    address = {"X-Forwarded-For": f"203.0.113.{50 + number}"}
    statuses = [guarded.get("/api/v1/model", **key, **address).status for _ in range(22)]
    assert statuses == [401] * 20 + [429] * 2
    right = {"Authorization": "Bearer another-key-known-by-its-hash-only"}
    assert guarded.get("/api/v1/model", **right, **address).status == 200


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # the same client, by a socket for both kinds
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::1", "::"),
        ("unix:", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_client_is_its_address_or_the_network_of_its_house(address, client):
    from django.test import RequestFactory
    from topic_sum.api.access import client_address

    assert client_address(RequestFactory().get("/", REMOTE_ADDR=address)) == client


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("redis://127.0.0.1:6379/0", True),
        ("unix:///run/redis.sock", True),
        ("unix://", False),
        ("redis://", False),
        ("http://127.0.0.1", False),
    ],
)
def test_redis_is_asked_by_an_address_or_by_a_socket(monkeypatch, given, taken):
    from django.core.exceptions import ImproperlyConfigured
    from topic_sum import settings

    monkeypatch.setenv("REDIS_URL", given)
    try:
        assert settings.env_url("REDIS_URL", ("redis", "rediss", "unix")) == given.rstrip("/")
    except ImproperlyConfigured as error:
        assert not taken, error
    else:
        assert taken


def test_without_keys_the_limit_is_by_address_and_proxies_are_believed_as_far_as_told(serve):
    server = serve(RATE_LIMIT="3/hour", NUM_PROXIES="1")

    def ask(forwarded):
        return server.get("/api/v1/model", **{"X-Forwarded-For": forwarded}).status

    assert [ask("203.0.113.1") for _ in range(4)] == [200, 200, 200, 429]
    assert ask("203.0.113.2") == 200
    # What the client itself wrote stands before what our proxy added: it buys nothing.
    assert ask("198.51.100.9, 203.0.113.1") == 429
    # An IPv6 household is one caller.
    assert [ask(f"2001:db8::{number}") for number in range(1, 5)] == [200, 200, 200, 429]


def clock(most, seconds, start, until, come):
    """Moments at which requests are admitted when `come` says after each answer when the next is sent."""
    from topic_sum.api.throttles import Counters

    counters, now, admitted, refused = Counters(None), start, [], []
    while now < until:
        wait = counters.admit("somebody", most, seconds, now)
        (refused if wait else admitted).append(now)
        now = come(now, wait)
    return admitted, refused


def test_who_waits_as_told_is_let_in():
    """A burst, and then never sooner than Retry-After says: refused, it is once at a time."""
    for most, seconds in ((5, 60), (60, 3600), (1, 60), (7, 1)):
        admitted, refused = clock(
            most,
            seconds,
            1000.4 * seconds,
            1020.0 * seconds,
            lambda now, wait: now + max(1e-6, math.ceil(wait)),
        )
        moments = sorted([(now, True) for now in admitted] + [(now, False) for now in refused])
        assert not any(not one and not other for (_, one), (_, other) in itertools.pairwise(moments))
        # Whole seconds are what Retry-After can say: with a second as the window that is most of it.
        assert len(admitted) >= 0.4 * most * 19.6
        assert max(sum(start <= now < start + seconds for now in admitted) for start in admitted) <= 2 * most


def test_who_asks_twice_as_often_as_allowed_gets_what_is_allowed():
    admitted, refused = clock(60, 3600, 3600.0 * 1000, 3600.0 * 1005, lambda now, wait: now + 30)
    assert refused
    for hour in range(1000, 1005):
        assert 45 <= sum(hour <= now / 3600 < hour + 1 for now in admitted) <= 61


def test_retry_after_is_not_a_part_of_a_second_too_few(monkeypatch):
    from topic_sum.api import throttles
    from topic_sum.api.exceptions import translate

    now = 60_010.25
    monkeypatch.setattr(throttles.settings, "RATE_LIMIT", (3, 60))
    counters = throttles.Counters(None)
    monkeypatch.setattr(throttles, "counters", lambda url: counters)
    monkeypatch.setattr(throttles, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
    request = SimpleNamespace(user=None, META={"REMOTE_ADDR": "203.0.113.99"})
    limit = throttles.RateLimit()
    assert [limit.allow_request(request, None) for _ in range(4)] == [True] * 3 + [False]
    told = translate(Throttled(limit.wait()))
    now += int(told.headers["Retry-After"])
    assert limit.allow_request(request, None)


def test_redis_holds_the_limit_for_all_servers(serve, redis):
    url = f"redis://127.0.0.1:{redis.server_address[1]}/0"
    first, second = (serve(RATE_LIMIT="4/hour", REDIS_URL=url) for _ in range(2))
    statuses = [server.get("/api/v1/model").status for server in (first, second) * 3]
    assert sorted(statuses) == [200] * 4 + [429] * 2
    assert set(redis.numbers.values()) == {4}, "a refused request counts for nobody"
    assert first.get("/health/ready").status == 200


def test_redis_gone_mid_way_is_said_once_and_answers_go_on(serve, redis):
    server = serve(RATE_LIMIT="50/hour", REDIS_URL=f"redis://127.0.0.1:{redis.server_address[1]}/0")
    assert server.get("/api/v1/model").status == 200
    redis.stop()
    assert [server.get("/api/v1/model").status for _ in range(5)] == [200] * 5
    assert server.log.count("error: Redis at REDIS_URL failed") == 1
    assert server.get("/api/v1/model").json["limits"]["rate_limit_shared"] is False
    assert "topic_sum_redis_failures_total 1.0" in server.get("/api/v1/metrics").raw.decode()


def test_check_deploy_is_clean_behind_https_with_keys(repo_root):
    environment = {
        "PATH": "/usr/bin:/bin", "MODEL_REPO": "a/b", "HTTPS": "1", "HOST": "0.0.0.0", "API_KEYS": KEY,
        "ALLOWED_HOSTS": "news.example",
    }  # fmt: skip
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    folder = repo_root / "topic_sum_api"
    checked = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    # README.md names these two.
    plain = environment | {"HTTPS": ""}
    checked = subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, timeout=60)
    assert set(re.findall(r"\((\w+\.W\d+)\)", checked.stderr)) == {"security.W004", "security.W008"}
    environment |= {"API_KEYS": "", "ALLOWED_HOSTS": "*"}
    checked = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert checked.returncode != 0
    assert "topic_sum.W002" in checked.stderr
    assert "topic_sum.W003" in checked.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEYS", "sha256:abc"),
        ("API_KEYS", f"{KEY},sha256:{'g' * 64}"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "news.example"),
        ("CORS_ORIGINS", "https://news.example/"),
    ],
)
def test_a_key_or_origin_that_can_never_fit_stops_the_start(repo_root, name, value):
    environment = {"PATH": "/usr/bin:/bin", "MODEL_REPO": "a/b", name: value}
    folder = repo_root / "topic_sum_api"
    command = [sys.executable, "-m", "topic_sum"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {name} holds "), done.stderr


@pytest.mark.parametrize("server", ["gunicorn", "waitress"])
def test_a_folder_that_can_never_hold_a_model_stops_the_start(repo_root, tmp_path, server):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/nothing"):
        environment = {
            "PATH": "/usr/bin:/bin",
            "MODEL_REPO": "a/b",
            "ARTIFACTS_DIR": str(folder),
            "SERVER": server,
        }
        command = [sys.executable, "-m", "topic_sum"]
        done = subprocess.run(
            command,
            cwd=repo_root / "topic_sum_api",
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: cannot write in {folder}/api ("), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("reason", ["ENOSPC", "EDQUOT", "EROFS"])
def test_a_full_disk_does_not_stop_the_start_and_one_that_cannot_be_written_does(monkeypatch, reason):
    from topic_sum import settings

    def mkdir(*args, **kwargs):
        raise OSError(getattr(errno, reason), "no")

    monkeypatch.setattr(type(settings.MODELS_DIR), "mkdir", mkdir)
    with (
        pytest.raises(ImproperlyConfigured, match="ARTIFACTS_DIR")
        if reason == "EROFS"
        else contextlib.nullcontext()
    ):
        settings.check_folder()


def test_behind_https_probes_are_not_sent_elsewhere(in_process):
    """They come from inside, by plain HTTP."""
    with override_settings(SECURE_SSL_REDIRECT=True):
        client = Client(SERVER_NAME="localhost")
        for path in ("/health/live", "/api/v1/health/live", "/api/v1/metrics"):
            assert client.get(path).status_code == 200, path
        assert client.get("/api/v1/model")["Location"] == "https://localhost/api/v1/model"


def test_api_key_makes_a_key_and_its_hash(repo_root):
    made = subprocess.run(
        [sys.executable, "manage.py", "api_key"], cwd=repo_root / "topic_sum_api",
        env={"PATH": "/usr/bin:/bin", "MODEL_REPO": "a/b"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    key, digest = (line.split()[-1] for line in made.stdout.splitlines())
    assert digest == "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    assert len(key) > 40


def test_pages_carry_the_headers_that_protect_them(api):
    headers = api.get("/").headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert api.get("/api/v1/model").headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in headers
    for path in ("/", "/health/live", "/api/v1/model", "/api/v1/nothing"):
        answer = api.get(path)  # without it gunicorn sends chunks, which clients of HTTP/1.0 do not know
        assert int(answer.headers["Content-Length"]) == len(answer.raw)
