"""Every check of doctor.py: what it finds, the fix it names, its exit code, and that no secret is shown."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DATE = "Thu, 01 Jan 2015 00:00:00 GMT"
TOKEN = "hf_SecretSecretSecret"


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch):
    for name in (
        "HF_TOKEN",
        "HF_ENDPOINT",
        "DATASET_REPO",
        "MODEL_REPO",
        "SITE_URL",
        "PORT",
        "ARTIFACTS_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(ROOT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlops"]:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location("doctor_under_test", ROOT / "doctor.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.checks, module.services = (sys.modules[f"mlops.{name}"] for name in ("checks", "services"))
    yield module
    del sys.modules[spec.name]


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the server's `status`, `body` and, where set, `date`."""

    def do_GET(self) -> None:
        body = self.server.body.encode()
        self.send_response_only(self.server.status)
        if self.server.date:
            self.send_header("Date", self.server.date)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.status, made.body, made.date = 200, "{}", ""
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def whoami(role: str = "write", name: str = "demo", orgs: tuple[str, ...] = ()) -> str:
    return json.dumps(
        {"name": name, "orgs": [{"name": org} for org in orgs], "auth": {"accessToken": {"role": role}}}
    )


def only(checks, name: str):
    (found,) = [check for check in checks if check.name == name]
    return found


def hub_checks(doctor, server, monkeypatch: pytest.MonkeyPatch, **settings: str):
    settings = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "DATASET_REPO": "demo/news"} | settings
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return list(doctor.services.check_hub(needs_token=True))


def test_token_that_may_write_is_accepted(doctor, server, monkeypatch) -> None:
    server.body = whoami()
    checks = hub_checks(doctor, server, monkeypatch)
    assert [check.state for check in checks] == ["ok", "ok"]
    assert only(checks, "token").words == "of demo, may write"


@pytest.mark.parametrize(
    ("status", "body", "code", "fix"),
    [(401, "{}", 2, "make a new one with the right Write"), (503, "{}", 5, "try again later"),
     (200, whoami("read"), 2, "make one with the right Write"),
     (200, "<html>Sign in to this Wi-Fi</html>", 5, "look for a proxy or a sign-in page")],
)  # fmt: skip
def test_token_that_will_not_do_is_told_before_hours_are_spent(
    status: int, body: str, code: int, fix: str, doctor, server, monkeypatch
) -> None:
    server.status, server.body = status, body
    found = only(hub_checks(doctor, server, monkeypatch), "token")
    assert (found.state, found.code) == ("failed", code) and found.fix.startswith(fix)
    assert TOKEN not in found.words + found.fix


def test_repository_of_somebody_else_is_refused_unless_it_is_an_organisation_of_the_user(
    doctor, server, monkeypatch
) -> None:
    server.body = whoami(orgs=("newsroom",))
    found = only(hub_checks(doctor, server, monkeypatch, MODEL_REPO="stranger/model"), "MODEL_REPO")
    assert (found.state, found.code) == ("failed", 2) and "stranger" in found.words
    checks = hub_checks(doctor, server, monkeypatch, MODEL_REPO="newsroom/model")
    assert all(check.state == "ok" for check in checks)


@pytest.mark.parametrize(("date", "warned"), [(DATE, True), ("nonsense", False), ("", False)])
def test_clock_is_compared_with_the_hubs(date: str, warned: bool, doctor, server, monkeypatch) -> None:
    server.body, server.date = whoami(), date
    checks = [check for check in hub_checks(doctor, server, monkeypatch) if check.name == "clock"]
    assert bool(checks) == warned
    assert not warned or (checks[0].state, checks[0].fix) == ("warning", "set the computer's clock")


def test_hub_that_is_down_fails_who_publishes_and_warns_who_serves(doctor, free_port, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    (publishing,) = doctor.services.check_hub(needs_token=True)
    (serving,) = doctor.services.check_hub(needs_token=False)
    assert (publishing.state, publishing.code) == ("failed", 5) and "HF_ENDPOINT" in publishing.fix
    assert serving.state == "warning" and "local copy" in serving.fix


def test_something_that_is_no_web_server_is_not_a_bug_of_ours(doctor, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        monkeypatch.setenv("SITE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        found = doctor.services.check_site()
    assert (found.state, found.code) == ("failed", 5) and "no web server" in found.words


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (404, "ok"), (502, "failed")])
def test_site(status: int, state: str, doctor, server, monkeypatch) -> None:
    server.status = status
    monkeypatch.setenv("SITE_URL", server.url)
    found = doctor.services.check_site()
    assert found.state == state
    assert state == "ok" or (found.code == 5 and "--from training" in found.fix)


@pytest.mark.parametrize(("value", "state"), [("", "failed"), ("  ", "failed"), ("x", "ok")])
def test_missing_token_names_both_ways_on(value: str, state: str, doctor, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    found = doctor.checks.check_setting("HF_TOKEN", "why")
    assert found.state == state
    if state == "failed":
        assert found.code == 2 and ".env" in found.fix and "--demo" in found.fix


@pytest.mark.parametrize("value", ["news", "a/b/c", "a b/c", "/news", "https://huggingface.co/a/b"])
def test_repository_that_is_not_user_name_is_shown(value: str, doctor, monkeypatch) -> None:
    monkeypatch.setenv("DATASET_REPO", value)
    found = doctor.checks.check_setting("DATASET_REPO", "why")
    assert (found.state, found.code) == ("failed", 2) and repr(value) in found.words


def test_token_in_the_wrong_line_is_not_shown(doctor, monkeypatch) -> None:
    monkeypatch.setenv("MODEL_REPO", TOKEN)
    found = doctor.checks.check_setting("MODEL_REPO", "why")
    assert found.state == "failed" and TOKEN not in found.words + found.fix


def test_taken_port_is_5_and_names_the_setting(doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = doctor.services.check_port(other.getsockname()[1], "API", "set another PORT")
    assert (found.state, found.code, found.fix) == ("failed", 5, "set another PORT")


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1"])
def test_port_that_is_no_port_is_2(port: str, doctor, monkeypatch) -> None:
    monkeypatch.setenv("PORT", port)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    found = only(doctor.run_checks(["api"], docker=False, small=True), "PORT")
    assert (found.state, found.code) == ("failed", 2) and repr(port) in found.words


def test_only_the_port_of_our_own_container_may_be_taken_over(doctor, server, fake_docker) -> None:
    server.body = "# TYPE topic_sum_ready gauge\ntopic_sum_ready 0.0\n"  # an API of ours, of whatever folder
    port = str(server.server_port)
    fake_docker(f"echo 127.0.0.1:{port}")
    assert doctor.services.check_api_port(port, docker=True).state == "ok"
    assert doctor.services.check_api_port(port, docker=False).code == 5
    for body in ("echo 'service \"api\" is not running' >&2; exit 1", "echo 127.0.0.1:1"):
        fake_docker(body)
        found = doctor.services.check_api_port(port, docker=True)
        assert (found.state, found.code) == ("failed", 5)
        assert "another PORT" in found.fix and ".env" in found.fix and "--demo by" in found.fix


def test_misspelt_names_in_env_are_named_with_what_was_meant(doctor, monkeypatch, tmp_path: Path) -> None:
    for name in (".env.example", "docker-compose.api.yml", "docker-compose.parser.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(doctor.checks, "ROOT", tmp_path)
    assert list(doctor.checks.check_names()) == []  # no .env at all
    named = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
    others = """HTTP_PROXY http_proxy all_proxy HF_HOME HF_HUB_OFFLINE HF_HUB_CACHE HF_DATASETS_CACHE TZ LANG
        OMP_NUM_THREADS CUDA_VISIBLE_DEVICES TORCH_HOME PIP_INDEX_URL MLFLOW_TRACKING_URI COMPOSE_PROJECT_NAME
        MAX_WINDOWS LOG_FORMAT HF_TOKEN_PATH TRANSFORMERS_CACHE XDG_CACHE_HOME MY_NOTE"""
    right = "".join(f"{name}=1\n" for name in (*named, *others.split()))
    (tmp_path / ".env").write_text(right)
    assert list(doctor.checks.check_names()) == []
    (tmp_path / ".env").write_text(f"{right}CRAWL_LIMT=5\nHF_TOKN={TOKEN}\nmodel_repo=a/b\n")
    assert [
        f"{check.state}: {check.name}: {check.words}; {check.fix}" for check in doctor.checks.check_names()
    ] == [
        "warning: .env: CRAWL_LIMT is not a setting; did you mean CRAWL_LIMIT?",
        "warning: .env: HF_TOKN is not a setting; did you mean HF_TOKEN?",
        "warning: .env: model_repo is not a setting; did you mean MODEL_REPO?",
    ]
    assert not [check for check in doctor.run_checks(["training"], docker=False, small=True)
                if check.name == ".env" and check.state == "failed"]  # fmt: skip


@pytest.mark.parametrize(
    ("needed", "state", "code"), [(0, "ok", 0), (10**6 * 2, "failed", 2)], ids=["enough", "far too little"]
)
def test_disk(needed: int, state: str, code: int, doctor, tmp_path: Path) -> None:
    found = doctor.checks.check_disk(tmp_path / "not" / "made" / "yet", needed)
    assert (found.state, found.code) == (state, code)
    assert state == "ok" or "ARTIFACTS_DIR" in found.fix


def test_artifacts_folder_that_is_a_file_is_refused(doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = doctor.checks.check_disk(tmp_path / "file" / "artifacts", 0)
    assert (found.state, found.code) == ("failed", 2) and "ARTIFACTS_DIR" in found.fix


def test_too_little_memory_is_a_warning(doctor, monkeypatch) -> None:
    monkeypatch.setattr(doctor.checks, "memory_gb", lambda: 3.0)
    assert doctor.checks.check_memory(8).state == "warning" and doctor.checks.check_memory(2).state == "ok"
    monkeypatch.setattr(doctor.checks, "memory_gb", lambda: None)
    assert doctor.checks.check_memory(2).state == "warning"


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(body: str) -> None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")

    return make


@pytest.mark.parametrize(
    ("body", "states", "fix"),
    [("echo 26.1", "ok ok", ""),
     ("[ $1 = info ] && exit 1; echo v2.26.1-4", "failed ok", "start Docker Desktop"),
     ("[ $1 = info ] && exec sleep 60; echo 2.26.1", "failed ok", "start Docker Desktop"),
     ("exec sleep 60", "failed failed", ""),
     ("[ $1 = info ] && echo 26.1", "ok failed", "install Docker Desktop"),
     ("echo 2.12.2", "ok failed", "update Docker")],
    ids=["runs", "does not run", "hangs", "hangs altogether", "without Compose", "with an old Compose"],
)  # fmt: skip
def test_docker(body: str, states: str, fix: str, doctor, fake_docker, monkeypatch) -> None:
    monkeypatch.setattr(doctor.services, "SECONDS", 1)
    fake_docker(body)
    checks = list(doctor.services.check_docker())
    assert [check.name for check in checks] == ["Docker", "Compose"]
    assert " ".join(check.state for check in checks) == states
    for check in checks:
        assert check.state == "ok" or (check.code == 5 and check.fix.startswith(fix))
        assert check.state == "ok" or "--no-docker" in check.fix


def test_service_that_never_answers_does_not_hold_the_others(doctor, monkeypatch) -> None:
    """A name service may hang for a minute, and nothing can interrupt it."""
    monkeypatch.setattr(doctor, "ALL_SECONDS", 0.3)
    stuck = threading.Event()
    checks = doctor.side_by_side(
        {"Hub": lambda: [doctor.checks.ok("Hub", "here")], "site": lambda: stuck.wait(60) and [],
         "GPU": lambda: [doctor.checks.ok("GPU", "a card")]}
    )  # fmt: skip
    stuck.set()
    assert [(check.name, check.state, check.code) for check in checks] == [
        ("Hub", "ok", 0), ("site", "failed", 5), ("GPU", "ok", 0)
    ]  # fmt: skip
    assert "0.3 s" in checks[1].words and checks[1].fix


def test_bug_in_a_check_is_not_taken_for_a_slow_service(doctor) -> None:
    with pytest.raises(ZeroDivisionError):
        doctor.side_by_side({"site": lambda: [1 / 0]})


@pytest.mark.parametrize(
    ("scope", "permissions", "warned"),
    [("demo", ["repo.content.read", "repo.write"], False), ("demo/news", ["repo.write"], False),
     ("demo", ["repo.content.read"], True), ("other", ["repo.write"], True)],
)  # fmt: skip
def test_fine_grained_token_is_asked_for_its_right_to_write(
    scope: str, permissions: list[str], warned: bool, doctor, server, monkeypatch
) -> None:
    body = json.loads(whoami("fineGrained"))
    body["auth"]["accessToken"]["fineGrained"] = {
        "scoped": [{"entity": {"type": "user", "name": scope}, "permissions": permissions}]
    }
    server.body = json.dumps(body)
    checks = hub_checks(doctor, server, monkeypatch)
    found = [check for check in checks if check.state != "ok"]
    assert bool(found) == warned
    assert not warned or (found[0].state == "warning" and "demo/news" in found[0].words)


def test_docker_that_is_not_installed(doctor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = doctor.services.check_docker()
    assert (found.state, found.code, found.words) == ("failed", 5, "is not installed")
    assert "--no-docker" in found.fix


def run_doctor(*options: str, **env: str) -> subprocess.CompletedProcess:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"MLOPS_RUN": "1"}
    command = [sys.executable, ROOT / "doctor.py", *options]
    return subprocess.run(command, env=base | env, capture_output=True, text=True, timeout=60)


def test_json_lists_every_check_and_the_exit_code_is_that_of_the_first_failure(server, free_port) -> None:
    server.body = whoami()
    done = run_doctor(
        "--json", "--stages", "training", HF_TOKEN=TOKEN, HF_ENDPOINT=server.url,
        DATASET_REPO="demo/news", MODEL_REPO="not a name",
    )  # fmt: skip
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 2 == checks["MODEL_REPO"]["code"]
    assert {"Python", "disk", "memory", "HF_TOKEN", "DATASET_REPO", "Hub", "token", "GPU"} <= set(checks)
    assert all(check["fix"] for check in checks.values() if check["state"] != "ok")
    assert TOKEN not in done.stdout + done.stderr


def test_failures_go_to_stderr_with_their_fix_and_no_token(free_port) -> None:
    hub = f"http://127.0.0.1:{free_port()}"
    done = run_doctor(
        "--stages", "training", HF_TOKEN=TOKEN, HF_ENDPOINT=hub, DATASET_REPO="a/b", MODEL_REPO="a/b"
    )
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: Hub: {hub} does not answer") and "; check the network" in line
    assert TOKEN not in done.stdout + done.stderr


def test_all_well_is_0(server, free_port) -> None:
    server.body = whoami()
    done = run_doctor(
        "--no-docker", "--small", HF_TOKEN=TOKEN, HF_ENDPOINT=server.url, SITE_URL=server.url,
        PORT=str(free_port()), DATASET_REPO="demo/news", MODEL_REPO="demo/model",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_by_hand_it_reads_the_settings_as_the_scripts_do(server, free_port, tmp_path: Path) -> None:
    shutil.copy(ROOT / "doctor.py", tmp_path / "doctor.py")
    shutil.copytree(ROOT / "mlops", tmp_path / "mlops")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings = f"HF_ENDPOINT={server.url}\nHF_TOKEN_FILE=token\nDATASET_REPO=demo/news\nMODEL_REPO=x\n"
    (tmp_path / ".env").write_text(settings)
    server.body = whoami()
    command = [sys.executable, tmp_path / "doctor.py", "--stages", "training", "--small", "--json"]

    def states(**env: str) -> dict[str, str]:
        environment = {"PATH": os.environ["PATH"], **env}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert TOKEN not in done.stdout + done.stderr
        return {check["name"]: check["state"] for check in json.loads(done.stdout)}

    found = states(MODEL_REPO="demo/model")
    assert {name: found[name] for name in ("HF_TOKEN", "token", "MODEL_REPO")} == {
        "HF_TOKEN": "ok", "token": "ok", "MODEL_REPO": "ok"
    }  # fmt: skip
    assert states()["MODEL_REPO"] == "failed"
    assert states(MLOPS_RUN="1")["HF_TOKEN"] == "failed"  # a run's settings are complete: the demo's, say


def test_settings_that_cannot_be_read_are_2(tmp_path: Path) -> None:
    shutil.copy(ROOT / "doctor.py", tmp_path / "doctor.py")
    shutil.copytree(ROOT / "mlops", tmp_path / "mlops")
    (tmp_path / ".env").write_text("hf_pasted_without_a_name\n")
    done = subprocess.run([sys.executable, tmp_path / "doctor.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: line 1 of ") and "hf_pasted" not in done.stderr


def test_unknown_stage_is_2() -> None:
    done = run_doctor("--stages", "cooking")
    assert done.returncode == 2 and done.stderr.startswith("error: no stage 'cooking'")
