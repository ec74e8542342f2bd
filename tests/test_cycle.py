"""The cycle as the documentation tells it: each command of the READMEs is run, here or by a test named below.

Nothing here knows the inside of a stage: commands, exit codes, the Hub and HTTP.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
ARTICLE = {
    "title": "В Вологде открыли детский технопарк",
    "text": "В бывшем цехе пахнет краской. Технопарк строили два года, рассказала директор Ольга Тропинина. "
    "В восьми мастерских будут заниматься 640 школьников, на станки потратили 95 миллионов рублей.",
}

# What the walk runs, in its order, as it stands in the documents.
WALK = [
    "scrapy crawl gazeta -a since=2024-01-01 -a until=2024-12-31 -a rubrics=science,sport -a limit=500",
    "cd dataset_parser && python -m gazeta limit=500",
    "python -m gazeta since=2024-01-01 limit=500",
    "scrapy crawl gazeta",
    "python -m gazeta.publish --check",
    "python -m gazeta.reparse",
    "cd dataset_parser && ../.venv/bin/python -m gazeta.reparse",
    "python -m gazeta.publish",
    "python -m gazeta",
    "python main.py train.lrr=1",
    "python main.py train",
    "python main.py train-topics",
    "python main.py",
    "python main.py",
    "python main.py evaluate --model REV --dataset REV",
    "cd topic_sum_api && python -m topic_sum",
    CURL := 'curl http://127.0.0.1:8000/api/v1/analyze -H "Content-Type: application/json" '
    "-d @demo/question.json",
    "cd t5_training && python main.py train.epochs=3",
    'python main.py promote REV because="..."',
    "python main.py rollback",
    "python main.py promote REV",
    "python main.py upload RUN",
]
# What it leaves out, and the test that runs that; the last ones are run by hand.
TWINS = "run_scripts/test_twins.py::test_scenario"
VENV = (
    "run_scripts/test_setup_venv.py::test_changed_lock_is_installed_once_together_with_the_others_asked_for"
)
WHOLE_IN_CONTAINERS = "containers/test_cycle.py::test_whole_cycle_ends_with_a_healthy_api_and_an_answer"
BACKUP = "containers/test_cycle.py::test_memory_of_the_crawl_is_saved_and_read_back_as_the_page_says"
ELSEWHERE: dict[str, str | None] = {
    "./run_mlops.sh": TWINS,
    "./run_mlops.sh --demo": TWINS,
    "./run_mlops.sh --demo --news FILE.jsonl.gz":
        "run_scripts/test_twins.py::test_news_file_may_have_any_name_and_is_found_from_where_the_script_was_called",
    "./run_mlops.sh --only api": TWINS,
    "run_mlops.bat": TWINS,
    "run_mlops.sh": TWINS,
    "run_mlops.bat --demo": TWINS,
    "python doctor.py": "run_scripts/test_doctor.py::test_all_well_is_0",
    "python setup_venv.py parser training api": VENV,
    "python demo/services.py start --root artifacts/hand":
        "run_scripts/test_services.py::test_both_answer_after_start_and_neither_after_stop",
    "python demo/services.py stop --root artifacts/hand":
        "run_scripts/test_services.py::test_both_answer_after_start_and_neither_after_stop",
    "python main.py config=../demo/train.yaml": TWINS,
    ".venv/bin/ruff check . && .venv/bin/ruff format --check .": "test_style.py::test_python_passes_ruff",
    "python demo/site.py --port 8803 --outlet second":
        "site/test_server.py::test_second_outlet_has_its_own_addresses_markup_sitemap_and_archive",
    "scrapy crawl SITE":
        "parser/test_second_outlet.py::test_two_outlets_share_one_store_one_schema_and_one_dataset",
    'python -m gazeta.publish --accept "text length"':
        "dataset/test_publish.py::test_drift_blocks_publishing_until_it_is_accepted",
    "python -m gazeta.publish --tokenizer tokenizer.json":
        "dataset/test_card.py::test_lengths_in_tokens_are_measured_when_a_tokenizer_is_at_hand",
    "torchrun --nproc_per_node=2 main.py":
        "training/test_ranks.py::test_two_processes_learn_what_one_learns_and_go_on_where_they_were",
    "docker compose -f ../docker-compose.parser.yml run --rm --build parser":
        "containers/test_cycle.py::test_compose_run_gives_the_crawls_own_exit_code",
    "docker compose -f docker-compose.parser.yml run --rm --build parser python -m gazeta.reparse": None,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "cat /artifacts/crawl/pages/FILE > page.html": None,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "tar --create --directory /artifacts crawl > crawl.tar": BACKUP,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "tar --extract --directory /artifacts < crawl.tar": BACKUP,
    "docker compose -f docker-compose.api.yml up --build --detach --wait": WHOLE_IN_CONTAINERS,
    "docker compose -f docker-compose.api.yml down":
        "containers/test_cycle.py::test_exit_takes_the_api_down_and_the_port_is_free",
    "python manage.py api_key": "api/test_access.py::test_api_key_makes_a_key_and_its_hash",
    'curl http://127.0.0.1:8000/api/v1/analyze -H "Content-Type: application/json" '
    "-d @../demo/question.json":
        "api/test_readme.py::test_the_curl_example_is_answered",
    "./tests/run.sh": None,  # this run is one
    "./tests/run.sh tests/parser": None,
    "./tests/run.sh tests/parser -k 2021": None,
    "./tests/run.sh tests/faults": None,
    "./tests/run.sh --coverage": None,
    "WINE_DIR=DIR ./tests/run.sh tests/run_scripts": None,
    "tests/run_scripts/make_wine.sh DIR": None,
    ".ci/lock": None,
    ".ci/audit": None,
    r'schtasks /create /tn "Gazeta cycle" /xml docs\windows\gazeta_cycle.xml':
        "run_scripts/test_twins.py::test_task_for_the_windows_scheduler_can_be_registered",
    "run_mlops.sh --only STAGE": TWINS,
    "docker compose run": "containers/test_cycle.py::test_compose_run_gives_the_crawls_own_exit_code",
    "docker compose -f docker-compose.api.yml -f docker-compose.secrets.yml up --build --detach --wait":
        "containers/test_cycle.py::test_token_may_come_as_a_secret_file_as_the_operations_page_says",
    "python main.py --smoke tracking=mlflow":
        "training/test_stage.py::test_smoke_does_everything_once_and_publishes_nothing",
    ".ci/run": None,
    "tests/run_scripts/make_wine.sh": None,
    "docker compose -f docker-compose.api.yml -f docs/scale/compose.yml up "
    "--build --detach --wait --scale api=2": None,
}  # fmt: skip


class Prompt:
    """A user at a prompt: runs lines of the documentation against one site and one Hub."""

    def __init__(self, folder: Path, site: str, hub_environment: dict[str, str], port: int) -> None:
        self.folder = folder
        self.api = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ, **hub_environment, "ARTIFACTS_DIR": str(folder / "artifacts"), "PYTHONUTF8": "1",
            "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}", "DATASET_REPO": "demo/news",
            "MODEL_REPO": "demo/model", "SITE_URL": site, "CRAWL_DELAY": "0", "PORT": str(port),
            "CRAWL_CONTACT": "tests@localhost.invalid", "MODEL_CHECK_SECONDS": "1",
        }  # fmt: skip
        self.done: list[str] = []
        self.words = ""  # all that was said on the way

    def run(
        self, line: str, at: str, *, code: int = 0, more: str = "", **words: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `line` as it stands in a document, in the folder `at`.

        `words` take the place of what the document leaves to its reader (REV, RUN …), `more` is added at the
        end. Training gets small settings.
        """
        self.done.append(line)
        command = line
        for name, value in words.items():
            assert name in command, f"{name} is not in: {line}"
            command = command.replace(name, value)
        if "main.py" in command and not re.search(r"promote|rollback|--smoke|train\.lrr", command):
            command += f" config={shlex.quote(str(ROOT / 'tests/small.yaml'))}"
        ended = subprocess.run(
            ["bash", "-c", f"{command} {more}"], cwd=ROOT / at, env=self.environment, capture_output=True,
            text=True, timeout=500,
        )  # fmt: skip
        self.words += ended.stdout + ended.stderr
        assert ended.returncode == code, f"{command} {more}\n{ended.stdout}{ended.stderr}"
        return ended

    def nothing_to_do(self, line: str, at: str) -> None:
        again = self.run(line, at)
        assert "nothing to do" in again.stdout + again.stderr, again.stdout + again.stderr

    def start(self, line: str, at: str) -> subprocess.Popen[bytes]:
        self.done.append(line)
        with (self.folder / "api.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", "-c", line.replace("&& ", "&& exec ")],
                cwd=ROOT / at,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def served(self) -> str:
        return ask(f"{self.api}/api/v1/model")["revision"]

    def serves(self, revision: str) -> None:
        """Wait for the API to change over; it answers all the while."""
        deadline = time.monotonic() + 60
        while self.served() != revision:
            assert time.monotonic() < deadline, f"the API does not change over to {revision}"
            time.sleep(0.2)

    def tag(self) -> str:
        """The commit that is served."""
        refs = ask(f"{self.environment['HF_ENDPOINT']}/api/models/demo/model/refs")
        return next(each["targetCommit"] for each in refs["tags"] if each["name"] == "production")

    def head(self, kind: str, name: str) -> str:
        refs = ask(f"{self.environment['HF_ENDPOINT']}/api/{kind}s/{name}/refs")
        return refs["branches"][0]["targetCommit"]


@pytest.fixture
def prompt(tmp_path: Path, hub, free_port: Callable[[], int], wait_for) -> Iterator[Prompt]:
    port = free_port()
    command = [PYTHON, str(ROOT / "demo/site.py"), "--port", str(port), "--articles", "320"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as site:
        try:
            wait_for(f"http://127.0.0.1:{port}/robots.txt", site)
            yield Prompt(tmp_path, f"http://127.0.0.1:{port}", hub.environment(tmp_path / "hf"), free_port())
        finally:
            site.terminate()


@pytest.mark.timeout(1500)
def test_by_hand_from_site_to_answer_as_the_documentation_tells_it(prompt: Prompt, hub, wait_for) -> None:
    parser, training = "dataset_parser", "t5_training"

    # ---- stage 1
    bounded = "-a since=2024-01-01 -a until=2024-12-31 -a rubrics=science,sport -a limit=500"
    prompt.run(f"scrapy crawl gazeta {bounded}", parser)
    prompt.run("cd dataset_parser && python -m gazeta limit=500", ".")
    prompt.run("python -m gazeta since=2024-01-01 limit=500", parser)
    prompt.run("scrapy crawl gazeta", parser, more="-a since=2013-01-01")
    prompt.run("python -m gazeta.publish --check", parser)
    # One page of the stand-in site has a layout that nobody knows; it stays unread, which is exit code 3.
    prompt.run("python -m gazeta.reparse", parser, code=3)
    own = {"../.venv/bin/python": PYTHON}
    prompt.run("cd dataset_parser && ../.venv/bin/python -m gazeta.reparse", ".", code=3, **own)
    published = prompt.run("python -m gazeta.publish", parser)
    dataset = prompt.head("dataset", "demo/news")
    assert dataset[:8] in published.stdout
    prompt.nothing_to_do("python -m gazeta", parser)

    # ---- stage 2
    wrong = prompt.run("python main.py train.lrr=1", training, code=2)
    assert "did you mean train.lr?" in wrong.stderr
    prompt.run("python main.py train", training)
    prompt.run("python main.py train-topics", training)
    whole = prompt.run("python main.py", training)
    first = prompt.tag()
    assert dataset[:8] in whole.stdout and first[:8] in whole.stdout
    prompt.nothing_to_do("python main.py", training)
    evaluated = prompt.run("python main.py evaluate --model REV --dataset REV", training, REV="main")
    assert (prompt.folder / "artifacts/evaluations" / f"{first[:12]}-{dataset[:12]}" / "report.html").exists()
    assert "results:" in evaluated.stdout

    # ---- stage 3, and a candidate that the gate refuses while it serves
    server = prompt.start("cd topic_sum_api && python -m topic_sum", ".")
    try:
        wait_for(f"{prompt.api}/health/ready", server, 120)
        by_curl = prompt.run(CURL, ".", **{"http://127.0.0.1:8000": prompt.api})
        assert json.loads(by_curl.stdout)["model"]["revision"] == first
        answer = ask(f"{prompt.api}/api/v1/analyze", ARTICLE)
        assert answer["summary"] and len(answer["scores"]) >= 8
        assert sum(score["score"] for score in answer["scores"]) == pytest.approx(1, abs=0.01)
        # The answer leads back to the crawl: model revision → dataset revision → rows.
        assert (answer["model"]["revision"], answer["model"]["dataset_revision"]) == (first, dataset)

        refused = prompt.run(
            "cd t5_training && python main.py train.epochs=3", ".", code=4, more="gate.lead_margin=-100"
        )
        assert "gate: refused" in refused.stdout + refused.stderr
        second = prompt.head("model", "demo/model")
        assert prompt.tag() == first != second  # on the Hub, but not served
        assert prompt.served() == first

        prompt.run('python main.py promote REV because="..."', training, REV=second)
        prompt.serves(second)
        prompt.run("python main.py rollback", training)
        prompt.serves(first)
        prompt.run("python main.py promote REV", training, REV=second[:8])  # as the log writes it
        prompt.serves(second)
        run = re.search(r"^run: (\S+),", whole.stdout, re.M)
        assert run
        prompt.run("python main.py upload RUN", training, RUN=Path(run[1]).name)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    assert server.returncode == 0

    # ---- what a token leaves behind: nothing
    token = prompt.environment["HF_TOKEN"].encode()
    assert token.decode() not in prompt.words
    kept = [path for path in prompt.folder.rglob("*") if path.is_file()]
    assert len(kept) > 50
    assert not [path for path in kept if token in path.read_bytes()]
    assert prompt.done == WALK  # what test_every_command_of_the_documentation_is_run relies on


def test_training_without_a_dataset_says_so_in_one_line(prompt: Prompt) -> None:
    ended = prompt.run("python main.py", "t5_training", code=2)
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "demo/news" in lines[0]


def ask(url: str, body: dict[str, str] | None = None) -> dict:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode() if body else None, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


# ---- the documents
# What starts something of ours; git, pip or systemctl are their makers' to test.
BEGINNINGS = (
    r"(?:\./|\.\\)?run_mlops\.(?:sh|bat)|\./tests/run\.sh|\.ci/\w+|(?:\.\./)*\.venv/bin/\S+|python3?(?:\.11)?|"
    r"scrapy|docker compose|curl|schtasks /create|torchrun|tests/\S+\.sh"
)
COMMAND = re.compile(rf"(?:\$ )?((?:[A-Z_]+=\S+ )*(?:cd \S+ && )?(?:{BEGINNINGS})(?: \S.*)?)$")


def documents() -> list[str]:
    done = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    # Decisions and the change log tell of the past; the model card is a template with tests of its own.
    return [
        name for name in done.stdout.splitlines()
        if not name.startswith("docs/decisions/") and Path(name).name not in ("CHANGELOG.md", "model_card.md")
    ]  # fmt: skip


def commands(name: str) -> Iterator[str]:
    """The command lines of a document: those of its blocks and those between backquotes."""
    text = re.sub(r" *\\\n\s*", " ", (ROOT / name).read_text(encoding="utf-8"))
    for line in text.splitlines():
        for text in [line.strip(), *re.findall(r"`([^`]+)`", line)]:
            bare = re.sub(r"^\((.*)\)$", r"\1", re.sub(r"\s+#.*$", "", text))
            if (found := COMMAND.match(bare)) and "benchmarks/" not in bare:
                yield found[1]


def plain(line: str) -> str:
    """What a command does, wherever it is called from and whichever way Python is named."""
    line = re.sub(r"^cd \S+ && |^MODEL_REPO=\S+ ", "", line).replace("REVISION", "REV")
    return re.sub(r"^(?:(?:\.\./)*\.venv/bin/)?python(?:3\.11)? ", "python ", line)


def test_the_reader_of_commands_finds_them() -> None:
    found = list(commands("README.md"))
    assert "./run_mlops.sh --demo" in found and "./tests/run.sh" in found
    assert "cd t5_training && python main.py train.epochs=3" in found


def test_every_command_of_the_documentation_is_run() -> None:
    written = {plain(line): name for name in documents() for line in commands(name)}
    known = {plain(line) for line in (*WALK, *ELSEWHERE)}
    assert {line: name for line, name in written.items() if line not in known} == {}
    assert known - written.keys() == set(), "no document has these any more"


@pytest.mark.parametrize("test", sorted({test for test in ELSEWHERE.values() if test}))
def test_the_tests_named_above_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("name", ["README.md", "README.ru.md"])
def test_the_lines_by_hand_work_when_pasted_one_after_the_other(name: str, tmp_path: Path) -> None:
    """Each stage is called in its folder, with its settings; what it does there the walk above tests."""
    text = (ROOT / name).read_text(encoding="utf-8")
    begin = text.index("    python3.11 setup_venv.py parser training api")
    stop = "    python3.11 demo/services.py stop --root artifacts/hand\n"
    block = text[begin : text.index(stop) + len(stop)]
    for folder in ("dataset_parser", "t5_training", "topic_sum_api", ".venv/bin", "demo"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".env").write_text("DATASET_REPO=you/news\n")
    (tmp_path / "demo" / "demo.env").write_text((ROOT / "demo" / "demo.env").read_text())
    (tmp_path / ".venv/bin/activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "${PWD##*/} $DATASET_REPO ${ARTIFACTS_DIR##*/} $*"\n')
    python.chmod(0o755)
    (tmp_path / ".venv/bin/python3.11").symlink_to(python)
    lines = [line for line in block.splitlines() if line.startswith("    ")]
    environment = {"PATH": f"{tmp_path}/.venv/bin:{os.environ['PATH']}"}
    pasted = subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *lines])], cwd=tmp_path, env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert (pasted.returncode, pasted.stderr) == (0, "")
    here = tmp_path.name
    assert pasted.stdout.splitlines() == [
        f"{here}   setup_venv.py parser training api",
        "dataset_parser you/news  -m gazeta limit=500",
        "t5_training you/news  main.py train.epochs=3",
        "topic_sum_api you/news  -m topic_sum",
        f"{here} you/news  demo/services.py start --root artifacts/hand",
        "dataset_parser demo/gazeta-news hand -m gazeta",
        "t5_training demo/gazeta-news hand main.py config=../demo/train.yaml",
        "topic_sum_api demo/gazeta-news hand -m topic_sum",
        f"{here} demo/gazeta-news hand demo/services.py stop --root artifacts/hand",
    ]


def test_the_answer_shown_is_to_the_question_that_is_asked() -> None:
    question = json.loads((ROOT / "demo/question.json").read_text(encoding="utf-8"))
    for name in ("README.md", "README.ru.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "-d @demo/question.json" in text
        shown = re.search(r'^    \{"topic".*(?:\n     .*)+', text, re.M)
        assert shown
        answer = json.loads(shown[0].replace(", …]", "]"))
        assert answer["source"]["chars"] == len(question["text"])
        assert "«Кедр»" in question["title"] and "«Кедр»" in answer["summary"]
        assert question["title"] in text, "the demo's own words above are about the same article"


def test_both_readmes_show_the_same_commands() -> None:
    assert list(commands("README.md")) == list(commands("README.ru.md"))
