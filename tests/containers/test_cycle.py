"""run_mlops.sh as most people start it: stages 1 and 3 in containers, stage 2 in .venv, settings in .env."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1500)
ARTICLE = {
    "title": "В Вологде открыли детский технопарк",
    "text": "В бывшем цехе пахнет краской. Технопарк строили два года, рассказала директор Ольга Тропинина. "
    "В восьми мастерских будут заниматься 640 школьников, на станки потратили 95 миллионов рублей.",
}


@dataclass
class Cycle:
    docker: object
    checkout: Path
    first: subprocess.CompletedProcess[str]

    @property
    def settings(self) -> dict[str, str]:
        lines = (self.checkout / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    def compose(self, stage: str, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.docker.compose(stage, *words, **{**self.settings, **extra})

    def ask(self, path: str, body: dict | None = None) -> dict:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"{self.url}{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def container(self) -> str:
        return self.compose("api", "ps", "--quiet", "--all", "api").stdout.strip()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 90
        while True:
            try:
                return self.ask("/health/ready") and None
            except (OSError, urllib.error.HTTPError):
                assert time.monotonic() < deadline, self.compose("api", "logs", "--tail", "20").stdout
                time.sleep(0.2)


def run_script(docker, checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run_mlops.sh", *options], env=docker.environment(HF_HOME=str(checkout / "hf")),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cycle(images, checkout: Path, stand_ins) -> Iterator[Cycle]:
    yield Cycle(images, checkout, run_script(images, checkout))


def test_whole_cycle_ends_with_a_healthy_api_and_an_answer(cycle: Cycle) -> None:
    assert cycle.first.returncode == 0, cycle.first.stdout[-3000:] + cycle.first.stderr[-3000:]
    assert "POST /api/v1/analyze" in cycle.first.stdout
    state = json.loads(cycle.docker.said("inspect", cycle.container()))[0]["State"]
    assert (state["Status"], state["Health"]["Status"]) == ("running", "healthy")
    answer = cycle.ask("/api/v1/analyze", ARTICLE)
    assert answer["summary"] and len(answer["scores"]) >= 8
    # From the answer back to the crawl: the revision that stage 1 published from its container.
    assert answer["model"]["dataset_revision"][:8] in cycle.first.stdout


def test_second_run_finds_nothing_to_do_as_the_volumes_survive(cycle: Cycle) -> None:
    before = cycle.ask("/api/v1/model")
    again = run_script(cycle.docker, cycle.checkout, "--from", "parser")
    assert again.returncode == 0, again.stderr
    parser = again.stdout[again.stdout.index("== parser") : again.stdout.index("== training")]
    assert "nothing to do" in parser + again.stderr
    assert "nothing to do" in again.stdout[again.stdout.index("== training") :]
    assert cycle.ask("/api/v1/model") == before


def test_token_is_in_no_log_and_in_no_layer(cycle: Cycle) -> None:
    token = cycle.settings["HF_TOKEN"]
    seen = cycle.first.stdout + cycle.first.stderr + cycle.compose("api", "logs").stdout
    seen += "".join(path.read_text() for path in cycle.checkout.glob("artifacts/logs/*/*"))
    for stage in ("parser", "api"):
        seen += cycle.docker.said("history", "--no-trunc", f"gazeta-{stage}")
    assert "exit code 0 after" in seen  # the logs are really there
    assert token not in seen


def test_kept_pages_are_read_again_and_come_out_as_contributing_says(cycle: Cycle) -> None:
    """One page of the stand-in site has a layout that nobody knows: it is kept, and stays unread."""
    text = " ".join((cycle.checkout / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    again, out = (
        next(line for line in re.findall(r"`(docker compose [^`]+)`", text) if words in line)
        for words in ("gazeta.reparse", "page.html")
    )
    environment = cycle.docker.environment(**cycle.settings)

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line], cwd=cycle.checkout, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    done = run(again)
    assert done.returncode == 3, done.stderr
    # An alarm writes pages there; here a file takes the place of one.
    write = "mkdir -p /artifacts/crawl/pages && printf '<html>\\r\\n\\377' > /artifacts/crawl/pages/a.html"
    assert cycle.compose("parser", "run", "--rm", "-T", "parser", "sh", "-c", write).returncode == 0
    assert run(out.replace("FILE", "a.html")).returncode == 0
    assert (cycle.checkout / "page.html").read_bytes() == b"<html>\r\n\xff"


def test_api_comes_up_with_a_secret_file_by_the_line_of_the_operations_page(
    cycle: Cycle, free_port: Callable[[], int]
) -> None:
    page = (cycle.checkout / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`(docker compose [^`]+secrets\.yml up [^`]+)`", page)
    (overlay,) = re.findall(r"```yaml\n(services:\n  api:.*?)```", page, re.DOTALL)
    (cycle.checkout / "docker-compose.secrets.yml").write_text(overlay)
    (cycle.checkout / "hf_token").write_text(cycle.settings["HF_TOKEN"] + "\n")
    (cycle.checkout / "hf_token").chmod(0o644)
    settings = {**cycle.settings, "HF_TOKEN": "", "PORT": str(free_port()),
                "COMPOSE_PROJECT_NAME": f"mlops-test-up-{os.getpid()}"}  # fmt: skip
    try:
        done = subprocess.run(
            ["bash", "-c", line], cwd=cycle.checkout, env=cycle.docker.environment(**settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        container = cycle.compose("api", "ps", "--quiet", "api", **settings).stdout.strip()
        assert cycle.settings["HF_TOKEN"] not in cycle.docker.said("inspect", container)
        assert cycle.settings["HF_TOKEN"] in cycle.docker.said(
            "inspect", cycle.container()
        )  # where .env has it
        with urllib.request.urlopen(
            f"http://127.0.0.1:{settings['PORT']}/api/v1/model", timeout=60
        ) as answer:
            assert json.load(answer)["revision"] == cycle.ask("/api/v1/model")["revision"]
    finally:
        cycle.compose("api", "down", "--volumes", **settings)


@pytest.mark.parametrize("stage", ["parser", "api"])
def test_token_may_come_as_a_secret_file_as_the_operations_page_says(stage: str, cycle: Cycle) -> None:
    page = (cycle.checkout / "docs" / "operations.md").read_text(encoding="utf-8")
    (overlay,) = re.findall(r"```yaml\n(services:\n  api:.*?)```", page, re.DOTALL)
    (cycle.checkout / "docker-compose.secrets.yml").write_text(overlay.replace("  api:", f"  {stage}:"))
    secret = cycle.checkout / "hf_token"
    secret.write_text(cycle.settings["HF_TOKEN"] + "\n")
    secret.chmod(0o644)
    files = [
        f"--file={cycle.checkout / name}"
        for name in (f"docker-compose.{stage}.yml", "docker-compose.secrets.yml")
    ]
    # As each stage reads it: stage 1 hands the Hub's client a token, stage 3 lets the client find its own.
    token = {"parser": "__import__('gazeta.settings').settings.hub_token()", "api": "None"}[stage]
    who = (
        f"import huggingface_hub as hub, os; print(os.environ.get('HF_TOKEN') or 'none', hub.whoami({token})"
    )
    who += "['name'])"
    project = {"HF_TOKEN": "", "COMPOSE_PROJECT_NAME": f"mlops-test-secret-{os.getpid()}"}
    try:
        done = cycle.docker.run(
            "compose", *files, "run", "--rm", "-T", "--no-deps", stage, "python", "-c", who,
            **{**cycle.settings, **project},
        )  # fmt: skip
    finally:
        cycle.compose(stage, "down", "--volumes", **project)
    assert done.stdout == "none demo\n", done.stderr


def test_memory_of_the_crawl_is_saved_and_read_back_as_the_page_says(cycle: Cycle) -> None:
    page = (cycle.checkout / "docs" / "operations.md").read_text(encoding="utf-8")
    save, read = re.findall(r"^docker compose .* tar .* [<>] crawl\.tar$", page, re.MULTILINE)

    def shell(line: str, **settings: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], env=cycle.docker.environment(**{**cycle.settings, **settings}),
            cwd=cycle.checkout, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    count = "import sqlite3; print(sqlite3.connect('/artifacts/crawl/crawl.sqlite3').execute("
    count += "'select count(*) from article').fetchone()[0])"
    kept = f'docker compose -f docker-compose.parser.yml run --rm -T parser python -c "{count}"'
    project = {"COMPOSE_PROJECT_NAME": f"{cycle.docker.environment()['COMPOSE_PROJECT_NAME']}-backup"}
    shell(save)
    try:
        shell(read, **project)
        assert shell(kept, **project) == shell(kept) != "0\n"
    finally:
        cycle.compose("parser", "down", "--volumes", **project)


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [({"HF_TOKEN": "no-such-token"}, 2, "HF_TOKEN"), ({"DATASET_REPO": ""}, 2, "DATASET_REPO"),
     ({"SITE_URL": "gazeta"}, 2, "SITE_URL"),
     ({"SITE_URL": "http://127.0.0.1:9", "CRAWL_GIVE_UP": "1"}, 5, "127.0.0.1:9")],
    ids=["unknown token", "no repository", "no address", "no site"],
)  # fmt: skip
def test_compose_run_gives_the_crawls_own_exit_code(wrong: dict, code: int, words: str, cycle: Cycle) -> None:
    # A volume of its own: the crawl of the cycle has nothing left to publish, so it would not ask the Hub.
    project = f"{cycle.docker.environment()['COMPOSE_PROJECT_NAME']}-wrong"
    settings = {"CRAWL_LIMIT": "3", "COMPOSE_PROJECT_NAME": project, **wrong}
    try:
        done = cycle.compose("parser", "run", "--rm", "-T", "parser", **settings)
    finally:
        cycle.compose("parser", "down", "--volumes", **settings)
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], done.stderr


@pytest.mark.parametrize("how", ["terminal", "SIGINT", "SIGTERM"])
def test_crawl_that_is_stopped_keeps_what_it_has_and_leaves_nothing_running(
    how: str, cycle: Cycle, stand_ins
) -> None:
    """Ctrl+C on a terminal reaches the container; without one, Compose goes and would leave it at work."""
    project = f"{cycle.docker.environment()['COMPOSE_PROJECT_NAME']}-{how.lower()}"
    urllib.request.urlopen(f"{stand_ins.site}/_stand-in/reset", timeout=10).close()
    # A dataset of its own: what is published already would not be read again.
    slow = {
        **cycle.settings,
        "CRAWL_DELAY": "0.2",
        "COMPOSE_PROJECT_NAME": project,
        "DATASET_REPO": "demo/new",
    }
    command = [str(cycle.checkout / "run_mlops.sh"), "--only", "parser"]
    read, write = pty.openpty() if how == "terminal" else os.pipe()
    nothing = None if how == "terminal" else subprocess.DEVNULL
    script = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *command] if how == "terminal" else command,
        env=cycle.docker.environment(**slow), stdin=nothing or write, stdout=write, stderr=write,
        start_new_session=True,
    )  # fmt: skip
    os.close(write)
    words = Words(read)
    mine = ["ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}"]
    count = "import sqlite3; print(sqlite3.connect('file:/artifacts/crawl/crawl.sqlite3?mode=ro', uri=True)"
    count += ".execute('select count(*) from article').fetchone()[0])"
    look = ["run", "--rm", "--volume", f"{project}_crawl:/artifacts", "gazeta-parser", "python", "-c", count]
    try:
        deadline = time.monotonic() + 90
        while articles_asked_for(stand_ins.site) < 10:
            assert script.poll() is None and time.monotonic() < deadline, words.text
            time.sleep(0.3)
        assert cycle.docker.said(*mine)
        if how == "terminal":
            os.write(read, b"\x03")
        else:
            os.killpg(script.pid, getattr(signal, how))
        assert script.wait(timeout=90) == (143 if how == "SIGTERM" else 130), words.text
        assert cycle.docker.said(*mine) == ""
        assert "parser      stopped" in words.text and "Traceback" not in words.text
        assert int(cycle.docker.said(*look)) >= 3
    finally:
        script.kill()
        for container in cycle.docker.said(*mine).split():
            cycle.docker.run("rm", "--force", container)
        cycle.compose("parser", "down", "--volumes", **slow)


def test_crawl_left_at_work_is_stopped_as_the_page_says(cycle: Cycle, stand_ins) -> None:
    page = (cycle.checkout / "docs" / "operations.md").read_text(encoding="utf-8")
    assert "Find its name with `docker ps` and stop it with `docker stop`." in page
    urllib.request.urlopen(f"{stand_ins.site}/_stand-in/reset", timeout=10).close()
    project = f"{cycle.docker.environment()['COMPOSE_PROJECT_NAME']}-left"
    slow = {
        **cycle.settings,
        "CRAWL_DELAY": "0.2",
        "COMPOSE_PROJECT_NAME": project,
        "DATASET_REPO": "demo/left",
    }
    mine = ["--filter", f"label=com.docker.compose.project={project}", "--format", "{{.Names}}"]
    command = ["docker", "compose", "-f", "docker-compose.parser.yml", "run", "--rm", "-T", "parser"]
    by_hand = subprocess.Popen(
        command, cwd=cycle.checkout, env=cycle.docker.environment(**slow), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while articles_asked_for(stand_ins.site) < 10:
            assert by_hand.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        os.killpg(by_hand.pid, signal.SIGTERM)
        by_hand.wait(timeout=60)
        name = cycle.docker.said("ps", *mine)
        assert name, "nothing was left at work"
        cycle.docker.said("stop", name)
        assert cycle.docker.said("ps", *mine) == ""
        count = "import sqlite3; print(sqlite3.connect('/artifacts/crawl/crawl.sqlite3').execute("
        count += "'select count(*) from article').fetchone()[0])"
        volume = ["--volume", f"{project}_crawl:/artifacts"]
        assert int(cycle.docker.said("run", "--rm", *volume, "gazeta-parser", "python", "-c", count)) >= 3
    finally:
        by_hand.kill()
        by_hand.wait()
        for container in cycle.docker.said("ps", "--all", *mine).split():
            cycle.docker.run("rm", "--force", container)
        cycle.compose("parser", "down", "--volumes", **slow)


def articles_asked_for(site: str) -> int:
    with urllib.request.urlopen(f"{site}/_stand-in/stats.json", timeout=10) as answer:
        return sum(count for path, count in json.load(answer)["paths"].items() if path.endswith(".shtml"))


# A new session has no terminal until it takes one: only then does Ctrl+C mean something there.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Words(threading.Thread):
    """Reads what a process says, so that it never waits for us."""

    def __init__(self, source: int) -> None:
        super().__init__(daemon=True)
        self.source, self.raw = source, b""
        self.start()

    def run(self) -> None:
        try:
            while block := os.read(self.source, 65536):
                self.raw += block
        except OSError:  # how a terminal says that nobody is left
            pass
        os.close(self.source)

    @property
    def text(self) -> str:
        self.join(timeout=5)
        return self.raw.decode(errors="replace")


def test_api_finishes_what_it_was_asked_when_it_is_stopped_and_comes_back_without_the_hub(
    cycle: Cycle, stand_ins
) -> None:
    ended: list[tuple[float, dict]] = []

    def ask(number: int) -> None:
        answer = cycle.ask("/api/v1/analyze", {"text": f"{number}. " + " ".join([ARTICLE["text"]] * 400)})
        ended.append((time.monotonic(), answer))

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for each in asking:
        each.start()
    time.sleep(0.5)  # all eight have been let in; two cores cannot have answered them
    began = time.monotonic()
    stopped = cycle.compose("api", "stop")
    for each in asking:
        each.join(timeout=90)
    assert stopped.returncode == 0 and len(ended) == 8 and all(answer["summary"] for _, answer in ended)
    assert max(when for when, _ in ended) > began, "nothing was in flight"
    assert json.loads(cycle.docker.said("inspect", cycle.container()))[0]["State"]["ExitCode"] == 0

    hub = stand_ins.processes["hub"]
    hub.send_signal(signal.SIGSTOP)  # a Hub that takes calls and never answers
    try:
        assert cycle.compose("api", "start").returncode == 0
        cycle.wait_until_ready()
        assert cycle.ask("/api/v1/model")["revision"] == ended[0][1]["model"]["revision"]
    finally:
        hub.send_signal(signal.SIGCONT)


def test_copies_behind_nginx_by_the_line_of_the_page(cycle: Cycle, free_port: Callable[[], int]) -> None:
    """Two copies answer in turns, count requests together, and one of them may go."""
    overlay = (cycle.checkout / "docs/scale/compose.yml").read_text(encoding="utf-8")
    for image in re.findall(r"^ +image: (\S+)", overlay, re.M):
        if cycle.docker.run("image", "inspect", image).returncode != 0:
            pulled = cycle.docker.run("pull", "--quiet", image, seconds=300)
            if pulled.returncode != 0:
                pytest.skip(f"{image} is not here and cannot be pulled")
    page = (cycle.checkout / "topic_sum_api/README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ +(docker compose .*docs/scale/compose\.yml .*)$", page, re.M)
    settings = {**cycle.settings, "PORT": str(free_port()), "RATE_LIMIT": "30/day",
                "COMPOSE_PROJECT_NAME": f"mlops-test-scale-{os.getpid()}"}  # fmt: skip
    files = ["-f", "docker-compose.api.yml", "-f", "docs/scale/compose.yml"]

    def compose(*words: str) -> str:
        done = subprocess.run(
            ["docker", "compose", *files, *words], cwd=cycle.checkout, capture_output=True, text=True,
            env=cycle.docker.environment(**settings), stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def topic(number: int) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{settings['PORT']}/api/v1/topic",
            data=json.dumps({"text": f"{number}. {ARTICLE['text']}"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    try:
        done = subprocess.run(
            ["bash", "-c", line], cwd=cycle.checkout, env=cycle.docker.environment(**settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        copies = compose("ps", "--quiet", "api").split()
        assert len(copies) == 2
        assert [topic(number) for number in range(15)] == [200] * 15
        logs = [compose("logs", "--index", str(number), "api").splitlines() for number in (1, 2)]
        asked = [sum("/api/v1/topic" in line for line in lines) for lines in logs]
        assert sum(asked) == 15 and min(asked) > 0, asked
        cycle.docker.said("stop", copies[0])
        assert [topic(number) for number in range(15, 30)] == [200] * 15
        # Fifteen of these were counted by a copy that is gone: the limit is that of all.
        assert topic(30) == 429
    finally:
        subprocess.run(
            ["docker", "compose", *files, "down", "--volumes", "--timeout", "5"], cwd=cycle.checkout,
            env=cycle.docker.environment(**settings), capture_output=True,
        )  # fmt: skip


def test_exit_takes_the_api_down_and_the_port_is_free(cycle: Cycle) -> None:
    done = run_script(cycle.docker, cycle.checkout, "--only", "api", "--exit")
    assert done.returncode == 0, done.stderr
    assert cycle.container() == ""
    with pytest.raises(OSError):
        cycle.ask("/health/live")
