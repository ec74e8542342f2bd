"""One table of scenarios that run_mlops.sh and run_mlops.bat (under Wine) must both pass, word for word."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

DOCTOR = "python doctor.py --stages parser,training,api"
PARSER_IN_DOCKER = "docker compose -f docker-compose.parser.yml run --rm --build parser"
API_IN_DOCKER = "docker compose -f docker-compose.api.yml up --build --detach --wait"
API_WORDS = "docker compose -f docker-compose.api.yml logs --no-log-prefix --tail 5 api"
API_DOWN = "docker compose -f docker-compose.api.yml down"
SETUP = "python setup_venv.py"
COLLECT = "dataset_parser: venv -m gazeta"
TRAIN = "t5_training: venv main.py"
SERVE = "topic_sum_api: venv -m topic_sum"
SHOW = "python demo/show.py --running"

WITH_DOCKER = [DOCTOR, f"{SETUP} training", PARSER_IN_DOCKER, TRAIN, API_IN_DOCKER, SHOW]
WITHOUT_DOCKER = [f"{DOCTOR} --no-docker", f"{SETUP} parser training api", COLLECT, TRAIN, SERVE]
DEMO = [
    "python demo/services.py start --root artifacts/demo",
    f"{DOCTOR} --no-docker --small",
    f"{SETUP} parser training api",
    COLLECT,
    f"{TRAIN} config=../demo/train.yaml",
    "venv demo/show.py --newest",
]
DEMO_STOP = "python demo/services.py stop --root artifacts/demo"
QUICK = [
    "python demo/services.py start --root artifacts/quick --hub-only",
    f"{DOCTOR} --no-docker --small",
    f"{SETUP} parser training api",
    f"{COLLECT} limit=200",
    f"{TRAIN} config=../demo/train.yaml config=../demo/train_real_news.yaml tasks.topic.min_rows=5",
    SERVE,
    "python demo/services.py stop --root artifacts/quick",
]
ODD_NAMES = ["two words", "Новости", "a & b", "a (1)", "wow! !x!", "it's", "^caret^"]


@dataclass(frozen=True)
class Scenario:
    name: str
    options: str
    code: int = 0
    commands: tuple[str, ...] = ()
    rules: str = ""
    err: str = ""


def scenario(
    name: str, options: str, code: int, commands: list[str], rules: str = "", err: str = ""
) -> Scenario:
    return Scenario(name, options, code, tuple(commands), rules, err)


def ended(stage: str, code: int) -> str:
    return f"error: {stage} ended with exit code {code}; nothing was started after it\n"


def misused(words: str) -> str:
    return f"error: {words}; see SCRIPT --help\n"


SCENARIOS = [
    scenario("all stages succeed", "", 0, WITH_DOCKER),
    scenario("all stages succeed without Docker", "--no-docker", 0, WITHOUT_DOCKER),
    scenario("a key is never waited for", "--no-docker --no-pause", 0, WITHOUT_DOCKER),
    scenario("the demo", "--demo", 0, [*DEMO, DEMO_STOP]),
    scenario("the demo does not stay", "--demo --exit", 0, [*DEMO[:-1], DEMO[-1] + " --exit", DEMO_STOP]),
    scenario("quick", "--quick", 0, QUICK),
    scenario("the API in Docker does not stay", "--exit", 0, [*WITH_DOCKER, API_DOWN]),
    scenario("one stage: parser", "--only parser", 0, ["python doctor.py --stages parser", PARSER_IN_DOCKER]),
    scenario("one stage: training", "--only training", 0,
             ["python doctor.py --stages training", f"{SETUP} training", TRAIN]),
    scenario("one stage: api, and not stay", "--only api --no-docker --exit", 0,
             ["python doctor.py --stages api --no-docker", f"{SETUP} api", "venv demo/show.py --exit"]),
    scenario("from training", "--from training", 0,
             ["python doctor.py --stages training,api", f"{SETUP} training", TRAIN, API_IN_DOCKER, SHOW]),
    scenario("from api", "--from api", 0, ["python doctor.py --stages api", API_IN_DOCKER, SHOW]),
    # Each stage fails in turn.
    scenario("checks fail: no Docker", "", 5, WITH_DOCKER[:1], "doctor.py=5", ended("checks", 5)),
    scenario("checks fail: no token", "", 2, WITH_DOCKER[:1], "doctor.py=2", ended("checks", 2)),
    scenario("packages fail", "", 1, WITH_DOCKER[:2], "setup_venv.py=1", ended("packages", 1)),
    scenario("parser fails in Docker", "", 3, WITH_DOCKER[:3], "parser.yml=3", ended("parser", 3)),
    scenario("parser fails", "--no-docker", 6, WITHOUT_DOCKER[:3], "-m gazeta=6", ended("parser", 6)),
    scenario("training fails", "", 4, WITH_DOCKER[:4], "main.py=4", ended("training", 4)),
    scenario("api does not start", "", 17, [*WITH_DOCKER[:5], API_WORDS], "up --build=17", ended("api", 17)),
    scenario("api does not start, nor say why", "", 17, [*WITH_DOCKER[:5], API_WORDS],
             "up --build=17;logs=3", ended("api", 17)),
    scenario("api does not answer", "", 5, WITH_DOCKER, "show.py=5", ended("api", 5)),
    scenario("stand-ins do not start", "--demo", 5, [DEMO[0], DEMO_STOP], "services.py start=5",
             ended("checks", 5)),
    scenario("the demo's parser fails", "--demo", 3, [*DEMO[:4], DEMO_STOP], "-m gazeta=3",
             ended("parser", 3)),
    # Wrong usage starts nothing.
    scenario("unknown option", "--oops", 2, [], err=misused("unknown option --oops")),
    scenario("unknown stage", "--only cooking", 2, [],
             err=misused("no stage cooking; the stages are parser, training, api")),
    scenario("unknown stage to start with", "--from cooking", 2, [],
             err=misused("no stage cooking; the stages are parser, training, api")),
    scenario("a value is missing", "--demo --only", 2, [], err=misused("--only needs a value")),
    scenario("only and from", "--only api --from api", 2, [],
             err=misused("--only and --from exclude each other")),
    scenario("demo and quick", "--demo --quick", 2, [], err=misused("--demo and --quick exclude each other")),
    scenario("news without demo", "--news x.jsonl", 2, [], err=misused("--news goes with --demo")),
    scenario("unknown recipe", "--recipe tea", 2, [],
             err=misused("no recipe tea; the recipes are the .yaml files of the folder recipes")),
    scenario("no Python", "", 2, [], "version_info=1",
             "error: no Python 3.11 or newer found; install it from python.org\n"),
]  # fmt: skip


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.name)
def test_scenario(case: Scenario, make_tree: Callable) -> None:
    tree = make_tree("project")
    if "version_info" in case.rules:
        tree.old_python()
    outcome = tree.run(*case.options.split(), rules=case.rules)
    assert outcome.commands() == list(case.commands), outcome.err
    assert outcome.code == case.code
    script = "run_mlops.bat" if tree.name.endswith("bat") else "./run_mlops.sh"
    assert outcome.err == case.err.replace("SCRIPT", script)
    assert "Press any key" not in outcome.out
    headings = [line[3:] for line in outcome.out.splitlines() if line.startswith("== ")]
    assert len(headings) == len(set(headings))
    if case.code == 0:
        assert headings[-1] == ("parser" if "only parser" in case.options else
                                "training" if "only training" in case.options else "api")  # fmt: skip


def test_a_recipe_is_named_to_every_stage(make_tree: Callable) -> None:
    tree = make_tree("project")
    shutil.copy(tree.root / "recipes" / "gazeta.yaml", tree.root / "recipes" / "own.yaml")
    outcome = tree.run("--no-docker", "--recipe", "own")
    assert outcome.commands() == WITHOUT_DOCKER
    for words in (COLLECT, TRAIN, SERVE):
        (stage,) = (call for call in outcome.calls if call["words"] == words)
        assert stage["env"]["RECIPE"] == "own"


def test_a_recipe_of_the_environment_is_left_alone(make_tree: Callable) -> None:
    tree = make_tree("project")
    outcome = tree.run("--only", "training", env={"RECIPE": "mine.yaml"})
    (stage,) = (call for call in outcome.calls if call["words"] == TRAIN)
    assert stage["env"]["RECIPE"] == "mine.yaml"


def test_python_of_the_environment_is_used(windows_tree) -> None:
    windows_tree.python("own")
    own = windows_tree.windows_path(windows_tree.root / "bin" / "own.exe")
    outcome = windows_tree.run("--only", "training", env={"PYTHON": own})
    assert outcome.code == 0, outcome.err
    assert {call["program"].rpartition("\\")[2] for call in outcome.calls} == {"own.exe", "python.exe"}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_folder_may_have_any_name(name: str, make_tree: Callable) -> None:
    tree = make_tree(name)
    outcome = tree.run("--demo")
    assert outcome.code == 0, outcome.err
    assert outcome.commands() == [*DEMO, DEMO_STOP]


def test_folder_may_have_a_percent_sign(posix_tree) -> None:
    # Not under Wine, whose cmd.exe loses the % out of %~dp0.
    moved = posix_tree.root.rename(posix_tree.root.with_name("100% sure"))
    posix_tree.root, posix_tree.log = moved, moved / "calls.jsonl"
    assert posix_tree.run("--demo").commands() == [*DEMO, DEMO_STOP]


@pytest.mark.parametrize("name", ["Новости & (1).jsonl", "a b.jsonl.gz"])
def test_news_file_may_have_any_name_and_is_found_from_where_the_script_was_called(
    name: str, make_tree: Callable
) -> None:
    tree = make_tree("project")
    (tree.cwd() / name).write_text("{}\n")
    outcome = tree.run("--demo", "--news", name)
    assert outcome.code == 0, outcome.err
    source = f"artifacts/demo-{name.removesuffix('.gz').removesuffix('.jsonl')}"
    news = tree.cwd() / name
    assert outcome.commands()[0] == f"python demo/services.py start --root {source} --hub-only"
    (collect,) = (call for call in outcome.calls if call["words"] == COLLECT)
    assert tree.as_posix(collect["env"]["SOURCE_FILE"]) == news
    assert outcome.commands()[-1] == f"python demo/services.py stop --root {source}"
    assert outcome.commands()[4] == f"{TRAIN} config=../demo/train.yaml config=../demo/train_real_news.yaml"


def test_missing_news_file_is_named(make_tree: Callable) -> None:
    tree = make_tree("project")
    outcome = tree.run("--demo", "--news", "no such.jsonl")
    assert outcome.code == 2 and not outcome.calls
    assert outcome.err.startswith("error: cannot read ") and "no such.jsonl" in outcome.err


def test_without_any_python_the_scripts_say_so(make_tree: Callable) -> None:
    tree = make_tree("project")
    tree.no_python()
    outcome = tree.run()
    assert outcome.code == 2 and not outcome.calls
    assert outcome.err == "error: no Python 3.11 or newer found; install it from python.org\n"


@pytest.mark.parametrize("options", ["", "--demo", "--quick --exit", "--no-docker", "--only api --exit"])
def test_dry_run_prints_the_commands_and_starts_none(options: str, make_tree: Callable) -> None:
    tree = make_tree("project")
    dry = tree.run(*options.split(), "--dry-run")
    assert dry.code == 0 and not dry.calls and not dry.err
    assert not (tree.root / "artifacts").exists()
    real = tree.run(*options.split()).commands()
    said = [as_called(line) for line in dry.out.splitlines() if line and not line.startswith("== ")]
    assert said == [command for command in real if "services.py stop" not in command]


def as_called(line: str) -> str:
    """A line of the dry run in the words of Tree.words."""
    line = line.replace('"', "").replace("\\", "/").replace(".venv/Scripts/python.exe", ".venv/bin/python")
    if line.startswith("(cd "):
        folder, _, line = line.removeprefix("(cd ").removesuffix(")").partition(" && ")
        line = f"{folder}: {line.removeprefix('../')}"
    return line.replace(".venv/bin/python", "venv")


def test_help_names_the_same_options_in_both(posix_tree, windows_tree) -> None:
    shell, batch = posix_tree.run("--help"), windows_tree.run("--help")
    assert shell.code == batch.code == 0
    expected = shell.out.replace("./run_mlops.sh", "run_mlops.bat")
    assert batch.out == expected.replace("(run_mlops.bat waits when it was", "(this file waits when it was")


def test_second_run_at_the_same_time_is_refused_windows(windows_tree, holder: Callable) -> None:
    holder(windows_tree.root / "artifacts" / "run.lock")
    outcome = windows_tree.run()
    assert outcome.code == 6 and not outcome.calls
    assert outcome.err == "error: another run of this folder is active; wait for it or stop it\n"


EXPLORER = r'C:\Windows\system32\cmd.exe /c ""Z:\x y\run_mlops.bat" "'
POWERSHELL = r'"C:\WINDOWS\system32\cmd.exe" /c ""Z:\x y\run_mlops.bat""'
CONSOLE = r'"C:\Windows\system32\cmd.exe"'


@pytest.mark.parametrize(
    ("started_by", "options", "variable", "waits"),
    [(EXPLORER, "", "", True), (EXPLORER, "--oops", "", True), (EXPLORER, "--no-pause", "", False),
     (EXPLORER, "", "1", False), (POWERSHELL, "", "", False), (CONSOLE, "", "", False)],
)  # fmt: skip
def test_window_stays_open_only_when_double_clicked(
    started_by: str, options: str, variable: str, waits: bool, windows_tree
) -> None:
    env = {"CMDCMDLINE": started_by} | ({"MLOPS_NO_PAUSE": variable} if variable else {})
    outcome = windows_tree.run(*options.split(), rules="main.py=4", env=env)
    assert ("Press any key" in outcome.out) == waits
    assert outcome.code == (2 if options == "--oops" else 4)


@pytest.mark.parametrize(("started_by", "opened"), [(EXPLORER, True), (CONSOLE, False)])
def test_report_is_opened_only_when_double_clicked(started_by: str, opened: bool, windows_tree) -> None:
    assert windows_tree.run(env={"CMDCMDLINE": started_by}).code == 0
    raw = [json.loads(line)["argv"] for line in windows_tree.log.read_text(encoding="utf-8").splitlines()]
    (last,) = [argv for argv in raw if argv[:2] == ["stage.py", "end"]]
    assert ("--open" in last) == opened


def test_ctrl_c_in_a_windows_console_starts_nothing_more(windows_tree) -> None:
    """Wine's cmd.exe ends at once where that of Windows first asks whether to terminate the batch job."""
    pid, console = pty.fork()
    if pid == 0:
        os.chdir(windows_tree.cwd())
        command = windows_tree.command("--no-docker")
        os.execve(command[0], command, windows_tree.full_environment("-m gazeta=wait"))  # noqa: S606
    deadline = time.monotonic() + 50
    try:
        while not any("-m gazeta" in call["words"] for call in windows_tree.calls()):
            assert time.monotonic() < deadline and select.select([console], [], [], 0.1) is not None
            if select.select([console], [], [], 0)[0]:
                os.read(console, 4096)
        os.write(console, b"\x03")
        while time.monotonic() < deadline:
            try:
                if not os.read(console, 4096):
                    break
            except OSError:  # how a terminal says that nobody is left
                break
        assert time.monotonic() < deadline
    finally:
        os.close(console)
        status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) != 0
    assert windows_tree.calls()[-1]["words"] == COLLECT


def test_task_for_the_windows_scheduler_can_be_registered(windows_tree, repo_root) -> None:
    text = (repo_root / "docs" / "windows" / "gazeta_cycle.xml").read_text(encoding="ascii")
    tree = ElementTree.fromstring(text)  # noqa: S314  our own file
    fields = {element.tag.partition("}")[2]: element.text for element in tree.iter()}
    assert fields["Command"] == rf"{fields['WorkingDirectory']}\run_mlops.bat"
    assert (fields["Arguments"], fields["ExecutionTimeLimit"]) == ("--no-pause", "PT0S")
    for name, words, code in (("good", text, 0), ("bad", text.replace("</Exec>", ""), 1)):
        (windows_tree.root / f"{name}.xml").write_text(words)
        command = [
            windows_tree.wine,
            "schtasks",
            "/create",
            "/f",
            "/tn",
            f"tests {name}",
            "/xml",
            f"{name}.xml",
        ]
        done = subprocess.run(
            command, cwd=windows_tree.root, env=windows_tree.full_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, name


# What doctor.py itself finds, in both systems' words: no service is asked, so no network is needed.
SETTINGS = "HF_TOKEN=x\nDATASET_REPO=a/b\nMODEL_REPO=a/c\nHF_ENDPOINT=http://127.0.0.1:9\nSITE_URL=http://127.0.0.1:9\n"
CHECKED = [
    ("no .env", None, "", 2,
     ["error: HF_TOKEN: is not set; copy .env.example to .env and write it there (", "--demo, which needs"]),
    ("an empty value", SETTINGS.replace("a/b", ""), "", 2,
     ["error: DATASET_REPO: is not set; write it into .env"]),
    ("Docker is not installed", SETTINGS, "absent", 5,
     ["error: Docker: is not installed; install Docker Desktop"]),
    ("Docker does not run", SETTINGS, "info --format=1", 5,
     ["error: Docker: is installed but does not answer; start Docker Desktop", "add --no-docker"]),
    ("no Hub, no site", SETTINGS, "", 5,
     ["error: Hub: http://127.0.0.1:9 does not answer", "error: site: http://127.0.0.1:9"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "rules", "code", "words"), CHECKED, ids=[row[0] for row in CHECKED]
)
def test_checks_stop_the_run_before_anything_is_installed(
    name: str, settings: str | None, rules: str, code: int, words: list[str], make_tree: Callable, repo_root
) -> None:
    tree = make_tree("project")
    tree.real_python()
    shutil.copy(repo_root / "doctor.py", tree.root / "doctor.py")
    if settings is not None:
        (tree.root / ".env").write_text(settings)
    if rules == "absent":
        (tree.root / tree.docker).unlink()
    outcome = tree.run(rules=rules if "=" in rules else "")
    assert outcome.code == code, outcome.err
    for expected in words:
        assert expected in outcome.err
    assert outcome.err.splitlines()[-1] == ended("checks", code).strip()
    assert all(command.startswith("docker ") for command in outcome.commands())  # only asked about itself
    assert "packages    not started" in outcome.out


def test_windows_launcher_is_asked_for_a_known_python_first(windows_tree) -> None:
    windows_tree.python("py")
    outcome = windows_tree.run(rules="py -3.11=1;-3.12=1")
    assert outcome.code == 0, outcome.err
    programs = [call["program"] for call in outcome.calls if call["words"].startswith(("python", "bin/py"))]
    assert programs and all(program.endswith("py.exe") for program in programs)


def test_batch_file_is_plain_ascii_with_windows_line_ends(repo_root) -> None:
    raw = (repo_root / "run_mlops.bat").read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n") and raw.endswith(b"\r\n")
