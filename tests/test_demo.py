"""The demo for real, in a copy of the project: what it says, what it serves, and where its token went.

The training is cut short by settings (a smaller model, 12 steps, 320 articles); with DEMO_FULL=1 it is the
one that everybody gets.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1500)
ROOT = Path(__file__).resolve().parent.parent
TOKEN = f"token-to-look-for-{uuid.uuid4().hex}"
FULL = os.environ.get("DEMO_FULL") == "1"
HOLD_THE_TOKEN = {"demo/demo.env", "demo/services.py"}  # the settings of the demo, and the Hub that knows it


class Copy:
    """The files of this checkout in a repository of their own, with other ports and a token to look for."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.root = folder / "project"
        self.words = ""  # all that was said
        self.api, self.hub, self.site = (free_port() for _ in range(3))
        query = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(query, cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name).write_bytes((ROOT / name).read_bytes())
                (self.root / name).chmod((ROOT / name).stat().st_mode)
        self.change("demo/demo.env", ("demo-token", TOKEN), ("8801", f"{self.hub}"), ("8802", f"{self.site}"))
        ports = f"HUB_PORT, SITE_PORT = {self.hub}, {self.site}"
        self.change("demo/services.py", ("demo-token", TOKEN), ("HUB_PORT, SITE_PORT = 8801, 8802", ports))
        if not FULL:
            self.change("demo/services.py", ("ARTICLES = 4000", "ARTICLES = 320"))
            (self.root / "demo/train.yaml").write_bytes((ROOT / "tests/small.yaml").read_bytes())
        self.venv()
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git(
            "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message", "copy"
        )
        (folder / "bin").mkdir()
        for name in ("python", "python3.11"):
            (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            (folder / "bin" / name).chmod(0o755)
        # Home and temporary files lie here too, so that nothing that is written escapes the search.
        self.environment = {
            **os.environ, "PORT": str(self.api), "PYTHON": sys.executable, "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        if FULL:
            del self.environment["OMP_NUM_THREADS"]

    def change(self, name: str, *changes: tuple[str, str]) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, f"{name} has no {old}"
            text = text.replace(old, new)
        (self.root / name).write_text(text, encoding="utf-8")

    def venv(self) -> None:
        """A .venv with all that is locked, as this Python has it: test_setup_venv.py makes a real one."""
        (self.root / ".venv/bin").mkdir(parents=True)
        (self.root / ".venv/bin/python").symlink_to(sys.executable)
        (self.root / ".venv/bin/activate").write_text("")
        for name in ("lib", "pyvenv.cfg"):
            (self.root / ".venv" / name).symlink_to(Path(sys.prefix) / name)
        digests = (
            "import json, setup_venv as s; print(json.dumps({p: s.digest(l) for p, l in s.LOCKS.items()}))"
        )
        known = subprocess.check_output([sys.executable, "-c", digests], cwd=self.root, text=True)
        (self.root / ".venv/installed.json").write_text(known)

    def git(self, *words: str) -> str:
        return subprocess.check_output(["git", *words], cwd=self.root, text=True)

    def bash(self, script: str, code: int = 0) -> str:
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200,
        )  # fmt: skip
        self.words += done.stdout
        assert done.returncode == code, done.stdout[-6000:]
        return done.stdout

    def ready(self) -> bool:
        return answers(f"http://127.0.0.1:{self.api}/health/ready")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def copy(tmp_path_factory, free_port: Callable[[], int]) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("demo"), free_port)
    yield made
    for folder in ("demo", "demo-mine", "hand"):
        subprocess.run(
            [sys.executable, "demo/services.py", "stop", "--root", f"artifacts/{folder}"], cwd=made.root
        )


def test_demo_goes_from_the_site_to_an_answer(copy: Copy) -> None:
    said = copy.bash("./run_mlops.sh --demo --exit")
    table = said[said.index("\nstage ") :]
    for stage in ("checks", "packages", "parser", "training", "api"):
        assert re.search(rf"^{stage} +done ", table, re.M), table
    assert re.search(r"^gate: summarize passed, ROUGE-L (\S+)", said, re.M)
    # The answer leads back to the crawl: commits of the model and of the dataset, as the stages named them.
    dataset = re.search(r"^published \S+ rows to demo/gazeta-news as (\w+)", said, re.M)
    assert dataset and re.search(rf"^  model +\w{{12}}, dataset {dataset[1]}", said, re.M)
    assert not copy.ready() and not answers(f"http://127.0.0.1:{copy.hub}/")
    if FULL:
        print(said)


def test_demo_again_stays_and_ends_by_the_kill_line_of_the_operations_page(
    copy: Copy,
) -> None:
    with (copy.root / "artifacts/said").open("w+") as said:
        script = subprocess.Popen(
            ["bash", "-c", "exec ./run_mlops.sh --demo"], cwd=copy.root, env=copy.environment,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 200
            while not copy.ready():
                assert script.poll() is None and time.monotonic() < deadline, Path(said.name).read_text()
                time.sleep(0.2)
            page = (copy.root / "docs/operations.md").read_text(encoding="utf-8")
            (line,) = re.findall(r"`(kill -TERM -- [^`]+)`", page)
            copy.bash(line.replace("PID", str(script.pid)))
            ended = script.wait(timeout=60)
        finally:
            script.kill()
        words = Path(said.name).read_text()
    copy.words += words
    assert ended == 143, words
    for stage in ("parser", "training"):
        part = words[words.index(f"== {stage}") :]
        assert "nothing to do" in part[: part.index("\n== ")], words
    assert not copy.ready() and not answers(f"http://127.0.0.1:{copy.hub}/")


def test_demo_takes_articles_of_ones_own(copy: Copy) -> None:
    copy.bash("python demo/services.py start --root artifacts/hand --articles 320")
    with urllib.request.urlopen(f"http://127.0.0.1:{copy.site}/_stand-in/articles.json") as answer:
        articles = json.load(answer)
    copy.bash("python demo/services.py stop --root artifacts/hand")
    file = copy.root / "artifacts/mine.jsonl"
    file.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in articles))
    said = copy.bash("./run_mlops.sh --demo --news artifacts/mine.jsonl --exit")
    assert re.search(r"^api +done ", said, re.M)


def test_the_lines_by_hand_go_from_the_site_to_an_answer(copy: Copy) -> None:
    """The README's block for the stand-ins, pasted; the API is asked and then stopped, as by Ctrl+C."""
    text = (copy.root / "README.md").read_text(encoding="utf-8")
    begin = text.index("    python3.11 demo/services.py start --root artifacts/hand\n")
    stop = "    python3.11 demo/services.py stop --root artifacts/hand\n"
    lines = text[begin : text.index(stop) + len(stop)].splitlines()
    (api,) = (line for line in lines if "-m topic_sum" in line)
    ask = f"curl --silent --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:{copy.api}"
    at_work = [
        re.sub(r"\((.*)\).*", r"(\1) &", api.strip()),
        f"for i in $(seq 100); do {ask}/health/ready | grep -q '\"ready\"' && break; sleep 0.3; done",
        f"{ask}/api/v1/analyze -H 'Content-Type: application/json' -d @demo/question.json; echo",
        "kill -INT -- -$!; wait $!",  # its group, as a terminal does
    ]
    place = lines.index(api)
    lines[place : place + 1] = at_work
    said = copy.bash("\n".join(["set -em", *(line.strip() for line in lines)]))
    answer = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert answer["summary"] and answer["model"]["repo"] == "demo/rut5-small"
    assert not copy.ready() and not answers(f"http://127.0.0.1:{copy.hub}/")


def test_the_token_is_nowhere_in_what_the_demo_left(copy: Copy) -> None:
    """After the tests above: artifacts, logs, reports, the Hub with its cards, caches, what was said."""
    assert "POST /api/v1/analyze" in copy.words and TOKEN not in copy.words
    assert copy.git("status", "--porcelain") == ""  # what is written is kept out of git
    assert set(copy.git("grep", "--name-only", TOKEN).split()) == HOLD_THE_TOKEN
    left = [path for path in copy.root.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.relative_to(copy.root.parent).as_posix() for path in left}
    for kind in ("logs/.*/training.log", "demo/hub/.*", "demo/hub.log", "demo/runs/.*/report.html",
                 "demo/crawl/crawl.sqlite3", "demo/hf/.*", "demo/api/.*"):  # fmt: skip
        assert any(re.fullmatch(f"project/artifacts/{kind}", name) for name in names), kind
    holding = {
        path.relative_to(copy.root).as_posix() for path in left
        if ".git" not in path.parts and TOKEN.encode() in path.read_bytes()
    }  # fmt: skip
    assert holding == HOLD_THE_TOKEN
