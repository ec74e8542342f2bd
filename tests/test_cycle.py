"""The cycle as the documentation tells it: each command of the READMEs is run, here or by a test named below.

Nothing here knows the inside of a stage: commands, exit codes, the Hub and HTTP.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tokenizers

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
    "python -m gazeta.publish --tokenizer tokenizer.json",
    "cd dataset_parser && python -m gazeta limit=500",
    "python -m gazeta since=2024-01-01 limit=500",
    "scrapy crawl gazeta",
    "python -m gazeta.publish --check",
    "python -m gazeta.reparse",
    "cd dataset_parser && ../.venv/bin/python -m gazeta.reparse",
    "python -m gazeta.publish",
    "python -m gazeta",
    QUERY := "sqlite3 ../artifacts/crawl/crawl.sqlite3 "
    "\"SELECT state, reason, detail FROM page WHERE url = 'https://…'\"",
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
# What it leaves out, and the test that runs that: the command itself, unless a comment says otherwise.
# TWINS and RUN_SH run the script itself; programs in the place of pip, Python and Docker note their call.
TWINS = "run_scripts/test_twins.py::test_scenario"
RUN_SH = "test_run_sh.py::test_lines_of_the_documents_reach_pytest_as_they_were_meant"
BY_HAND = "test_demo.py::test_the_lines_by_hand_go_from_the_site_to_an_answer"
STAYS = "test_demo.py::test_demo_again_stays_and_ends_by_the_kill_line_of_the_operations_page"
VENV = "run_scripts/test_setup_venv.py::test_the_command_makes_an_environment_and_installs_what_is_locked"
WHOLE_IN_CONTAINERS = "containers/test_cycle.py::test_whole_cycle_ends_with_a_healthy_api_and_an_answer"
PAGES = "containers/test_cycle.py::test_kept_pages_are_read_again_and_come_out_as_contributing_says"
SECRETS = "containers/test_cycle.py::test_api_comes_up_with_a_secret_file_by_the_line_of_the_operations_page"
SECOND = "parser/test_second_outlet.py::test_two_outlets_share_one_store_one_schema_and_one_dataset"
CI = "test_run_sh.py::test_ci_runs_the_tests_with_and_without_a_wine"
AUDIT = "test_run_sh.py::test_audit_asks_for_every_lock"
INSTALLED = "test_cycle.py::test_pip_finds_all_that_a_lock_names_installed"
UPGRADE = "test_upgrade.py::test_a_new_version_leaves_settings_and_artifacts_and_the_old_one_comes_back"
TRACKER = (
    "training/test_tracking.py::test_a_tracker_has_the_whole_stage_and_shows_it_by_the_lines_of_the_page"
)
SYSTEMD = "test_systemd.py::test_systemd_runs_the_units_of_the_operations_page"
MEASURED = "test_benchmarks.py::test_the_lines_of_the_collectors_page_run"
LEFT = "containers/test_cycle.py::test_crawl_left_at_work_is_stopped_as_the_page_says"
FREED = "containers/test_images.py::test_lines_that_free_room_are_known_to_docker"
UV = "test_upgrade.py::test_uv_makes_a_lock_with_hashes_that_pip_takes"
CRON = "run_scripts/test_posix.py::test_line_for_cron_logs_what_went_wrong"
BACKUP = "containers/test_cycle.py::test_memory_of_the_crawl_is_saved_and_read_back_as_the_page_says"
ELSEWHERE: dict[str, str] = {
    "./run_mlops.sh": TWINS,
    "run_mlops.bat": TWINS,
    "run_mlops.sh": TWINS,
    "run_mlops.bat --demo": TWINS,
    "run_mlops.sh --only STAGE": TWINS,
    "run_mlops.bat --no-docker --only STAGE": TWINS,
    "./run_mlops.sh --only api": TWINS,
    "run_mlops.sh --no-docker --only parser": TWINS,
    "run_mlops.sh --no-docker --only training": TWINS,
    'run_mlops.sh >/dev/null || logger -t gazeta "the nightly run ended with $?"': CRON,
    "./run_mlops.sh --demo": STAYS,
    "./run_mlops.sh --demo --news FILE.jsonl.gz": "test_demo.py::test_demo_takes_articles_of_ones_own",
    "python demo/services.py start --root artifacts/hand": BY_HAND,
    "python demo/services.py stop --root artifacts/hand": BY_HAND,
    "python main.py config=../demo/train.yaml": BY_HAND,
    "kill -TERM -- -$(ps -o pgid= -p PID | tr -d ' ')": STAYS,
    "python doctor.py": "run_scripts/test_doctor.py::test_all_well_is_0",
    "python status.py": "run_scripts/test_status.py::test_a_good_night_is_shown_stage_by_stage",
    "python setup_venv.py parser training api": VENV,
    "pip install -r requirements.lock": INSTALLED,
    ".venv/bin/ruff check . && .venv/bin/ruff format --check .": "test_style.py::test_python_passes_ruff",
    "python demo/site.py --port 8803 --outlet second":
        "site/test_server.py::test_second_outlet_has_its_own_addresses_markup_sitemap_and_archive",
    "scrapy crawl SITE": SECOND,
    'python -m gazeta.publish --accept "text length"':
        "dataset/test_publish.py::test_drift_blocks_publishing_until_it_is_accepted",
    "python main.py tasks.topic=null":
        "training/test_inputs.py::test_a_dataset_without_rubrics_trains_summaries_alone",
    "python main.py --smoke tracking=mlflow":
        "training/test_stage.py::test_smoke_with_a_tracker_has_its_record_or_says_how_to_install_it",
    "torchrun --nproc_per_node=2 main.py":
        "training/test_ranks.py::test_two_processes_learn_what_one_learns_and_go_on_where_they_were",
    "accelerate launch main.py":
        "training/test_ranks.py::test_accelerate_launch_starts_them_as_well",
    "git pull": UPGRADE,
    "git checkout VERSION": UPGRADE,
    "chmod 600 .env": UPGRADE,
    "pip install mlflow-skinny sqlalchemy alembic": TRACKER,
    "pip install tensorboard": TRACKER,
    "pip install trackio": TRACKER,
    "mlflow ui --backend-store-uri sqlite:///../artifacts/tracking/mlflow.db": TRACKER,
    "tensorboard --logdir ../artifacts/tracking/tensorboard": TRACKER,
    "TRACKIO_DIR=../artifacts/tracking/trackio trackio show": TRACKER,
    "python -m pip install torch==2.13.0+cu130 --index-url https://download.pytorch.org/whl/cu130":
        "test_upgrade.py::test_torch_for_a_card_installs_by_the_line_of_the_page_and_stays",
    "systemctl daemon-reload && systemctl enable --now gazeta.timer": SYSTEMD,
    "systemctl list-timers gazeta.timer": SYSTEMD,
    "systemctl stop gazeta.timer": SYSTEMD,
    "systemctl restart gazeta-api": SYSTEMD,
    "systemctl is-failed gazeta": SYSTEMD,
    "journalctl -u gazeta": SYSTEMD,
    "kill -9": "faults/test_cycle_kill.py::test_a_night_killed_again_and_again_ends_like_an_undisturbed_one",
    "pip install pip-audit": "test_upgrade.py::test_the_audit_installs",
    "pip install uv": UV,
    "uv pip compile requirements.lock --no-deps --generate-hashes --output-file hashed.lock": UV,
    "python manage.py check --deploy":
        "api/test_access.py::test_check_deploy_is_clean_behind_https_with_keys",
    "python manage.py api_key": "api/test_access.py::test_api_key_makes_a_key_and_its_hash",
    'curl http://127.0.0.1:8000/api/v1/analyze -H "Content-Type: application/json" '
    "-d @../demo/question.json":
        "api/test_readme.py::test_the_curl_example_is_answered",
    # In containers, where a Docker engine is.
    "docker compose -f ../docker-compose.parser.yml run --rm --build parser":
        "containers/test_cycle.py::test_compose_run_gives_the_crawls_own_exit_code",
    "docker compose run": "containers/test_cycle.py::test_compose_run_gives_the_crawls_own_exit_code",
    "docker compose -f docker-compose.parser.yml run --rm --build parser python -m gazeta.reparse": PAGES,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "cat /artifacts/crawl/pages/FILE > page.html": PAGES,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "tar --create --directory /artifacts crawl > crawl.tar": BACKUP,
    "docker compose -f docker-compose.parser.yml run --rm -T parser "
    "tar --extract --directory /artifacts < crawl.tar": BACKUP,
    "docker compose -f docker-compose.api.yml up --build --detach --wait": WHOLE_IN_CONTAINERS,
    "docker compose -f docker-compose.api.yml down":
        "containers/test_cycle.py::test_exit_takes_the_api_down_and_the_port_is_free",
    "docker compose -f docker-compose.api.yml -f docker-compose.secrets.yml up "
    "--build --detach --wait": SECRETS,
    "docker compose -f docker-compose.api.yml -f docs/scale/compose.yml up "
    "--build --detach --wait --scale api=2":
        "containers/test_cycle.py::test_copies_behind_nginx_by_the_line_of_the_page",
    "docker ps": LEFT,
    "docker stop": LEFT,
    "docker inspect": SECRETS,
    "docker builder prune": FREED,
    "docker image prune": FREED,
    "docker image inspect gazeta-api --format '{{json .Config.Labels}}'":
        "containers/test_images.py::test_image_says_what_it_is",
    # The tests' own scripts.
    "./tests/run.sh": RUN_SH,
    "./tests/run.sh tests/parser": RUN_SH,
    "./tests/run.sh tests/parser -k 2021": RUN_SH,
    "./tests/run.sh tests/faults": RUN_SH,
    "CRAWL_KILLS=20 CRAWL_OUTAGE=60 ../tests/run.sh tests/faults/test_crawl_kill.py": RUN_SH,
    "DEMO_FULL=1 ./tests/run.sh tests/test_demo.py": RUN_SH,
    "WINE_DIR=DIR ./tests/run.sh tests/run_scripts": RUN_SH,
    "./tests/run.sh --coverage": "test_run_sh.py::test_coverage_asks_ninety_per_cent_of_each_sibling",
    # At sizes that measure nothing.
    "benchmarks/run.sh": "test_run_sh.py::test_the_small_run_asks_each_benchmark_for_what_it_knows",
    "python benchmarks/NAME.py": "test_benchmarks.py::test_a_benchmark_writes_medians_with_their_spread",
    "python ../benchmarks/crawl.py --peers --grow 5000,60000": MEASURED,
    "python ../benchmarks/dataset.py --rows 60000": MEASURED,
    "tests/run_scripts/make_wine.sh": CI,
    "tests/run_scripts/make_wine.sh DIR": CI,
    ".ci/run": CI,
    ".ci/audit": AUDIT,
    ".ci/lock": "test_supply_chain.py::test_the_script_that_locks_begins_from_what_is_pinned",
    ".venv/bin/python tests/licences.py":
        "test_supply_chain.py::test_the_list_of_licences_is_that_of_the_locks",
    r'schtasks /create /tn "Gazeta cycle" /xml docs\windows\gazeta_cycle.xml':
        "run_scripts/test_twins.py::test_task_for_the_windows_scheduler_can_be_registered",
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

    def card(self) -> str:
        url = f"{self.environment['HF_ENDPOINT']}/datasets/demo/news/raw/main/README.md"
        return urllib.request.urlopen(url, timeout=60).read().decode()

    def query(self, line: str) -> list[tuple]:
        """What sqlite3 would answer: this library is in Python, that program is not everywhere."""
        self.done.append(line)
        program, file, words = shlex.split(line)
        assert program == "sqlite3"
        place = self.folder / Path(file).relative_to("..")
        with contextlib.closing(sqlite3.connect(place)) as base:
            (known,) = base.execute("SELECT url FROM article LIMIT 1").fetchone()
            return base.execute(words.replace("https://…", known)).fetchall()

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
    words = prompt.folder / "tokenizer.json"
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.save(str(words))
    bounded = "-a since=2024-01-01 -a until=2024-12-31 -a rubrics=science,sport -a limit=500"
    prompt.run(f"scrapy crawl gazeta {bounded}", parser)
    prompt.run(
        "python -m gazeta.publish --tokenizer tokenizer.json", parser, **{"tokenizer.json": str(words)}
    )
    assert "In tokens of" in prompt.card()
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
    assert prompt.query(QUERY) == [("kept", "", "")]

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
            "cd t5_training && python main.py train.epochs=3", ".", code=4, more="generate.gate.margin=-100"
        )
        assert "gate: summarize refused" in refused.stdout + refused.stderr
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
# What starts a program; without one of these a line is text, and `systemctl` alone is its name.
PROGRAMS = (
    r"(?:\./|\.\\|\S*/)?run_mlops\.(?:sh|bat)|(?:\.\./)*\./?tests/run\.sh|(?:\.\./)*tests/\S+\.sh|benchmarks/run\.sh|"
    r"\.ci/\w+|(?:\.\.[/\\])*\.venv[/\\]\S+|python3?(?:\.11)?|pip|uv|scrapy|torchrun|docker|curl|sqlite3|git|kill|"
    r"mlflow|tensorboard|trackio|accelerate|schtasks|systemctl|journalctl|chmod|crontab|kubectl|nginx|hf"
)
COMMAND = re.compile(
    rf"(?:\$ )?((?:[\d*]+ ){{0,5}}(?:[A-Z_]+=\S+ )*(?:cd \S+ && )?(?:{PROGRAMS})(?=$| \S)(?: \S.*)?)$"
)
ALONE = re.compile(
    r"(?:docker|git|pip|uv|python[\d.]*|scrapy|systemctl|nginx|mlflow|tensorboard|trackio|curl|sqlite3)$"
)


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
    for paragraph in text.split("\n\n"):
        text = re.sub(r"```.*?(?:```|$)", "", paragraph, flags=re.DOTALL)
        quoted = [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", text)]
        for words in [*(line.strip() for line in paragraph.splitlines()), *quoted]:
            bare = re.sub(r"^\((.*)\)$", r"\1", re.sub(r"\s+#.*$", "", words))
            if (found := COMMAND.match(bare)) and not ALONE.match(found[1]):
                yield found[1]


def plain(line: str) -> str:
    """What a command does, wherever it is called from and whichever way Python is named."""
    line = re.sub(r"^cd \S+ && |^MODEL_REPO=\S+ |^ExecStart=|^(?:[\d*]+ ){5}", "", line)
    line = re.sub(r"^/srv/gazeta/", "", line.replace("REVISION", "REV"))
    return re.sub(r"^(?:[./\\]*\.venv[/\\]\w+[/\\])?python(?:3\.11|\.exe)? ", "python ", line)


def test_the_reader_of_commands_finds_them() -> None:
    found = list(commands("README.md"))
    assert "./run_mlops.sh --demo" in found and "./tests/run.sh" in found
    assert "cd t5_training && python main.py train.epochs=3" in found
    every = {plain(line) for name in documents() for line in commands(name)}
    begun = {re.sub(r"^(?:[A-Z_]+=\S+ )*", "", line).split()[0] for line in every}
    assert {"docker", "kill", "sqlite3", "schtasks", "systemctl", "pip", "mlflow", "../tests/run.sh"} <= begun
    # Of the blocks that are shell no line is missed, but for those that only set something.
    for name in documents():
        for block in re.findall(r"```(?:sh|bat)\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S):
            for line in block.splitlines():
                bare = re.sub(r"\s+#.*$", "", line)
                assert bare in list(commands(name)) or bare.startswith("cd "), f"{name}: {line}"


def test_every_command_of_the_documentation_is_run() -> None:
    written = {plain(line): name for name in documents() for line in commands(name)}
    known = {plain(line) for line in (*WALK, *ELSEWHERE)}
    assert {line: name for line, name in written.items() if line not in known} == {}
    assert known - written.keys() == set(), "no document has these any more"


@pytest.mark.parametrize("folder", ["dataset_parser", "t5_training", "topic_sum_api"])
def test_pip_finds_all_that_a_lock_names_installed(folder: str) -> None:
    """The line of the READMEs without the index: the tests' environment has every version that is pinned."""
    done = subprocess.run(
        [PYTHON, "-m", "pip", "install", "--dry-run", "--no-index", "-r", "requirements.lock"],
        cwd=ROOT / folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "Would install" not in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
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
        assert "детскую больницу" in question["title"] and "детскую больницу" in answer["summary"]
        assert question["title"] in text, "the demo's own words above are about the same article"


def test_both_readmes_show_the_same_commands() -> None:
    assert list(commands("README.md")) == list(commands("README.ru.md"))


@pytest.mark.parametrize("name", ["README.md", "README.ru.md"])
def test_readme_has_every_option_exit_code_and_name_at_the_top(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    usage = subprocess.run(
        [ROOT / "run_mlops.sh", "--help"], capture_output=True, text=True, check=True
    ).stdout
    told = set(re.findall(r"`(--[a-z-]+)[^`]*`", "".join(re.findall(r"^\| `--.*$", text, re.M))))
    assert told == set(re.findall(r"^  (--[a-z-]+)", usage, re.M))
    assert re.findall(r"^\| (\d[\d, ]*) \|", text, re.M) == [*"0123456", "129, 130, 143"]
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = text[text.index("    run_mlops.sh  run_mlops.bat") :]
    tops = {line.partition("/")[0] for line in names.splitlines()} - {".gitignore", ".gitattributes"}
    assert {top for top in tops if top not in tree and not top.startswith("README")} == set()
    docs = {line.split("/")[1] for line in names.splitlines() if line.startswith("docs/")} - {"cycle.svg"}
    assert {each for each in docs if each not in tree} == set()
