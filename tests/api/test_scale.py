"""docs/scale and docs/kubernetes: several copies of the API, as far as that shows without running them."""

import http.client
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
SCALE = ROOT / "docs" / "scale"


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """What Docker makes of the two compose files together."""
    spec = importlib.util.find_spec("compose")
    # The binary itself: the package's wrapper loses its exit code.
    binary = Path(spec.submodule_search_locations[0]) / "docker-compose"
    command = [binary, "-f", "docker-compose.api.yml", "-f", "docs/scale/compose.yml", "config"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home"))}
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert said.returncode == 0, said.stderr
    return yaml.safe_load(said.stdout)["services"]


def test_copies_share_no_port_and_only_nginx_can_be_reached(merged):
    assert "ports" not in merged["api"]  # the second copy would find it taken
    assert "ports" not in merged["redis"]
    [port] = merged["nginx"]["ports"]
    assert (port["host_ip"], port["target"]) == ("127.0.0.1", 8080)
    assert "listen 8080;" in (SCALE / "nginx.conf").read_text()


def test_copies_believe_one_proxy_and_count_in_one_redis(merged):
    assert merged["api"]["environment"]["NUM_PROXIES"] == "1"
    assert merged["api"]["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in merged.values())


def test_nginx_waits_longer_than_the_api_and_takes_bodies_as_large():
    from topic_sum import settings

    words = (SCALE / "nginx.conf").read_text()
    assert int(re.search(r"proxy_read_timeout (\d+)s", words)[1]) > settings.REQUEST_SECONDS
    assert int(re.search(r"client_max_body_size (\d+)m", words)[1]) * 2**20 >= settings.MAX_BODY_BYTES


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here")
def test_nginx_accepts_its_configuration():
    said = subprocess.run(["nginx", "-t", "-c", str(SCALE / "nginx.conf")], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_nginx_has_the_words_of_the_api_for_its_own_errors():
    from topic_sum.api.messages import MESSAGES, words

    conf = (SCALE / "nginx.conf").read_text(encoding="utf-8")
    [size] = re.findall(r"client_max_body_size (\d+)m", conf)
    [wait] = re.findall(r"^ +503 (\d+);", conf, re.M)
    said = re.findall(r"""^ +(?:"(\d+) (..)"|default) '"(\w+)", "message": "(.+)"';""", conf, re.M)
    for status, lang, code, message in said:
        filled = words(code, lang or "en", most=int(size) * 2**20, wait=wait, method="$request_method")
        assert (int(status or 400), message) == (MESSAGES[code].status, filled)
    answered = {status for status, *_ in said}
    sent = set()
    for codes, other in re.findall(r"error_page ((?:\d+ )+)(?:=(\d+) )?@error;", conf):
        sent |= {other} if other else set(codes.split())
    assert sent == (answered - {""}) | {"400"}
    kept = re.findall(r"error_page ((?:\d+ )+)=503 @error", conf)
    assert kept == ["500 502 503 504 "]


def told(answer):
    """Status and code of an error, once its shape was looked at."""
    assert answer.headers["Content-Type"] == "application/json", answer.raw
    assert answer.json.keys() == {"error"} and answer.json["error"].keys() == {"code", "message", "field"}
    return answer.status, answer.json["error"]["code"]


def test_errors_of_nginx_have_the_shape_of_all_others(nginx, api, text):
    front = nginx(int(api.url.rsplit(":", 1)[1]))
    assert front.post("/api/v1/topic", {"text": text("sport")}).json["topic"] == "sport"
    assert told(front.get("/api/v1/metrics")) == (404, "not_found")
    large = b'{"text": "' + b"a" * 3 * 2**20 + b'"}'
    assert told(front.post("/api/v1/topic", large, Content_Type="application/json")) == (
        413,
        "body_too_large",
    )
    assert told(front.get("/", X="a" * 9000)) == (431, "headers_too_large")
    assert told(front.ask("TRACE", "/")) == (405, "method_not_allowed")
    # The API's own come through as they are.
    assert told(front.get("/nothing")) == (404, "not_found")
    assert told(front.post("/api/v1/topic", {})) == (400, "required")


def test_a_proxy_before_nginx_that_ends_tls_is_not_sent_to_https_again(nginx, serve):
    front = nginx(urlsplit(serve(HTTPS="1", NUM_PROXIES="2").url).port)

    def asked(**headers):
        connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=20)
        connection.request("GET", "/api/v1/model", headers=headers)
        answer = connection.getresponse()
        connection.close()
        return answer.status, (answer.headers["Location"] or "")[:8]

    assert asked() == (301, "https://")
    assert asked(**{"X-Forwarded-Proto": "https"}) == (200, "")
    assert asked(**{"X-Forwarded-Proto": "gopher"}) == (301, "https://")


def test_no_copy_that_answers_is_a_503_with_retry_after(nginx, free_port):
    front = nginx(free_port())
    for asked, lang, words in (("ru-RU,ru;q=0.9", "ru", "не отвечает"), ("de", "en", "does not answer")):
        answer = front.post("/api/v1/analyze", {"text": "Слово"}, Accept_Language=asked)
        assert told(answer) == (503, "unavailable")
        assert words in answer.json["error"]["message"]
        assert (answer.headers["Retry-After"], answer.headers["Content-Language"]) == ("5", lang)


def test_a_copy_that_says_nothing_is_a_503_with_retry_after(nginx):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        front = nginx(silent.getsockname()[1], **{"proxy_read_timeout 75s;": "proxy_read_timeout 1s;"})
        answer = front.post("/api/v1/analyze", {"text": "Слово"})
    assert told(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("damage", [None, "readinesProbe"])
def test_kubernetes_takes_the_manifest(tmp_path, damage):
    """By the schemas of Kubernetes itself, where an unknown field is an error."""
    manifest = tmp_path / "api.yaml"
    written = (ROOT / "docs" / "kubernetes" / "api.yaml").read_text()
    manifest.write_text(written.replace("readinessProbe", damage) if damage else written)
    command = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", manifest]
    said = subprocess.run(command, capture_output=True, text=True)
    assert (said.returncode != 0) == bool(damage), said.stdout + said.stderr
    assert said.stdout.count("INFO") + said.stderr.count("INFO") == (3 if damage else 4)


def test_kubernetes_probes_stops_and_limits_fit_the_api():
    documents = list(yaml.safe_load_all((ROOT / "docs" / "kubernetes" / "api.yaml").read_text()))
    assert [each["kind"] for each in documents] == [
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    ]  # fmt: skip
    from topic_sum import settings
    from topic_sum.urls import urlpatterns

    pod = documents[0]["spec"]["template"]["spec"]
    [api] = pod["containers"]
    paths = {str(pattern.pattern) for pattern in urlpatterns}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert api[probe]["httpGet"]["path"].lstrip("/") in paths
    assert pod["terminationGracePeriodSeconds"] > settings.REQUEST_SECONDS + 5
    assert pod["securityContext"]["runAsNonRoot"]
    assert api["securityContext"]["readOnlyRootFilesystem"]
    assert {"cpu", "memory"} <= set(api["resources"]["limits"])
    source = (ROOT / "topic_sum_api" / "topic_sum" / "settings.py").read_text()
    assert all(f'"{variable["name"]}"' in source for variable in api["env"])
