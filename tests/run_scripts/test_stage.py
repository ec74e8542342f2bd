"""stage.py beneath a terminal and beneath pipes: words, logs, exit codes, settings."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def copy_stage(repo_root: Path, folder: Path) -> None:
    shutil.copy(repo_root / "stage.py", folder / "stage.py")
    shutil.copytree(repo_root / "mlops", folder / "mlops", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def place(tmp_path: Path, repo_root: Path) -> Path:
    """A folder with stage.py in it, and a run begun."""
    copy_stage(repo_root, tmp_path)
    subprocess.run([sys.executable, "stage.py", "begin", "work", "rest"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def stage(place: Path, monkeypatch: pytest.MonkeyPatch):
    # The parts of this copy, not those of another test's: they know their own folder.
    monkeypatch.syspath_prepend(place)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlops"]:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location("stage_under_test", place / "stage.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.settings, module.runs = (sys.modules[f"mlops.{name}"] for name in ("settings", "runs"))
    yield module
    del sys.modules[spec.name]


def command(code: str) -> list[str]:
    return [sys.executable, "stage.py", "run", "work", "--", "python", "-c", textwrap.dedent(code)]


def log_of(place: Path) -> list[str]:
    (file,) = place.glob("artifacts/logs/*/work.log")
    return file.read_text(encoding="utf-8").splitlines()[1:-1]


def on_terminal(place: Path, code: str) -> tuple[int, str]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execv(sys.executable, command(code))  # noqa: S606  without a shell on purpose
    words = b""
    while True:
        try:
            words += os.read(terminal, 4096)
        except OSError:
            break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), words.decode()


def test_streams_stay_apart_and_both_are_logged(place: Path) -> None:
    code = "import sys; print('Привет'); print('беда', file=sys.stderr); sys.exit(3)"
    done = subprocess.run(command(code), cwd=place, capture_output=True)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (3, "Привет\n", "беда\n")
    assert sorted(log_of(place)) == ["Привет", "беда"]


def test_terminal_is_passed_on_and_the_log_is_clean(place: Path) -> None:
    code = r"""
        import sys
        print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty())
        for share in (10, 50, 100):
            print(f"\r\x1b[32mread {share} %\x1b[0m", end="", flush=True)
        print()
        print("last")
    """
    code_seen, words = on_terminal(place, code)
    assert code_seen == 0
    assert words.replace("\r\n", "\n").startswith("True True True\n\r\x1b[32mread 10 %\x1b[0m\r")
    assert log_of(place) == ["True True True", "read 100 %", "last"]


def test_command_sees_the_size_of_the_terminal(place: Path) -> None:
    _, words = on_terminal(place, "import os; os.system('true'); print(os.get_terminal_size(1) is not None)")
    assert words.strip() == "True"


def test_death_by_a_signal_is_told_as_a_shell_does(place: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run(command(code), cwd=place).returncode == 137
    assert on_terminal(place, code)[0] == 137


def test_a_reader_that_left_does_not_stop_the_stage(place: Path) -> None:
    code = "print('x' * 100000); print('still here')"
    with subprocess.Popen(command(code), cwd=place, stdout=subprocess.PIPE) as child:
        child.stdout.read(1)
        child.stdout.close()
    assert child.returncode == 0
    assert log_of(place)[-1] == "still here"


def test_what_a_stage_leaves_running_does_not_hold_the_run(place: Path) -> None:
    code = """
        import subprocess, sys
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
        print(left.pid)
    """
    done = subprocess.run(command(code), cwd=place, stdout=subprocess.PIPE, timeout=20)
    os.kill(int(done.stdout), 9)
    assert done.returncode == 0


def test_full_disk_ends_the_log_and_not_the_stage(place: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (folder,) = (path for path in (place / "artifacts" / "logs").iterdir() if path.is_dir())
    (folder / "work.log").symlink_to("/dev/full")
    done = subprocess.run(command("print('worked')"), cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "worked\n")
    assert done.stderr.startswith("warning: the log goes no further: ")


def test_program_that_is_not_there_is_named(place: Path) -> None:
    base = [sys.executable, "stage.py", "run", "work", "--"]
    for program, code in (("docker", 5), ("../.venv/bin/python", 1)):
        done = subprocess.run([*base, program], cwd=place, capture_output=True, text=True, env={"PATH": ""})
        assert done.returncode == code
        assert done.stderr.startswith("error: ") and "cannot be started" in done.stderr


def test_without_a_run_it_says_who_calls_it(tmp_path: Path, repo_root: Path) -> None:
    copy_stage(repo_root, tmp_path)
    done = subprocess.run(command("pass"), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: no run has begun")


@pytest.mark.parametrize(
    ("line", "value"),
    [("A=b", "b"), (" A = b c ", "b c"), ('A="b # c"', "b # c"), ("A='b'", "b"), ("A=", ""), ("A=#x", ""),
     ("A=b#c", "b#c"), ("A=b #c", "b"), ("A=b=c==", "b=c=="), ("A=it's", "it's"), ('A="b" # c', "b"),
     ("export A=b", "b"), ('A=""', ""), ("A=$HOME %PATH% !x!", "$HOME %PATH% !x!")],
)  # fmt: skip
def test_setting(line: str, value: str, stage) -> None:
    assert stage.settings.parse_settings(f"# first\n\n{line}\n", ".env") == {"A": value}


@pytest.mark.parametrize("line", ["no equals sign", "1A=b", "A B=c", "=x", "Имя=x"])
def test_line_that_is_no_setting_is_refused_by_its_number(line: str, stage) -> None:
    with pytest.raises(stage.settings.WrongSetting, match=r"line 2 of \.env") as caught:
        stage.settings.parse_settings(f"A=b\n{line}\n", ".env")
    assert line not in str(caught.value)


def test_relative_artifacts_folder_means_the_same_to_every_stage(place: Path) -> None:
    (place / ".env").write_text("ARTIFACTS_DIR=elsewhere\n")
    base = [sys.executable, "stage.py", "run", "work", "--settings", ".env", "--in", "artifacts", "--"]
    code = "import os; print(os.environ['ARTIFACTS_DIR'])"
    done = subprocess.run([*base, "python", "-c", code], cwd=place, capture_output=True, text=True)
    assert done.stdout == f"{place / 'elsewhere'}\n", done.stderr


def test_oldest_logs_are_forgotten(stage) -> None:
    for day in range(60):
        (stage.runs.LOGS / f"2020-01-01_00-00-{day:02}").mkdir()
    stage.begin(["work"])
    names = sorted(path.name for path in stage.runs.LOGS.iterdir() if path.is_dir())
    assert len(names) == stage.runs.KEPT_RUNS
    assert names[0] > "2020-01-01_00-00-10" and stage.run_folder().name in names


def test_report_of_this_run_is_named(place: Path, stage, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (place / "artifacts" / "runs" / name / "report.html" for name in ("old", "new"))
    for report in (old, new):
        report.parent.mkdir(parents=True)
        report.write_text("<html>")
    os.utime(old, (0, 0))
    stage.end(None, False)
    assert f"report: {new}\n" in capsys.readouterr().out
    os.utime(new, (0, 0))
    stage.end(None, False)
    assert "report:" not in capsys.readouterr().out


def test_report_opens_in_the_browser_when_asked(place: Path, stage, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    stage.end(None, True)
    assert opened == []
    report = place / "artifacts" / "runs" / "новый прогон" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<html>")
    stage.end(None, False)
    assert opened == []
    stage.end(None, True)
    assert opened == [report.as_uri()]


def left(folder: Path, name: str, **fields) -> None:
    """A stage's result.json, as the contract between the stages and this file has it."""
    whole = {"format": 1, "stage": name, "recipe": "gazeta", "outcome": "done", "exit_code": 0,
             "began": "2099-01-01T00:00:00+00:00", "seconds": 65.0} | fields  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(whole), encoding="utf-8")


BOTH = {
    "dataset": {"repo": "demo/news", "revision": "db820d97f5"},
    "model": {"repo": "demo/m", "revision": "f0b624a9"},
}


@pytest.mark.parametrize(
    ("name", "code", "fields", "row"),
    [
        ("parser", 0, {"revisions": BOTH}, ["done", "1 min 5 s", "db820d97"]),
        ("parser", 0, {"outcome": "nothing to do"}, ["nothing to do", "1 min 5 s"]),
        ("training", 0, {"revisions": BOTH}, ["done", "1 min 5 s", "f0b624a9"]),
        ("training", 4, {"revisions": BOTH}, ["not promoted (exit code 4)", "1 min 5 s", "f0b624a9"]),
        ("training", 1, {"revisions": BOTH}, ["failed (exit code 1)", "1 min 5 s"]),
        ("api", 0, {"outcome": "serving", "revisions": BOTH}, ["done", "1 min 5 s", "f0b624a9"]),
        ("api", 0, {}, ["done", "1 min 5 s"]),
        ("api", 0, {"stage": "parser", "revisions": BOTH}, ["done", "1 min 5 s"]),
    ],
)  # fmt: skip
def test_table_shows_what_a_stage_left_as_its_result(name, code, fields, row, place, stage, capsys) -> None:
    stage.begin([name, "rest"])
    folder = stage.run_folder()
    left(folder, name, **fields)
    # Words are for people: whatever the log says, the table does not change.
    (folder / f"{name}.log").write_text("published: demo/model at 01234567\n", encoding="utf-8")
    stage.record(folder, {"stage": name, "code": code, "seconds": 65})
    stage.end(None, False)
    head, shown, rest = capsys.readouterr().out.splitlines()[1:4]
    assert re.split(r"  +", shown) == [name, *row]
    assert head.index("time") == shown.index("1 min") and rest == "rest        not started"


def run_stage(place: Path, name: str, code: str, **variables: str) -> Path:
    """Run it, and return where its result is kept."""
    script = ["run", name, "--", "python", "-c", textwrap.dedent(code)]
    subprocess.run([sys.executable, "stage.py", *script], cwd=place, check=True, env=os.environ | variables)
    (log,) = place.glob(f"artifacts/logs/*/{name}.log")
    return log.with_suffix(".json")


LEAVES = """
    import json, os, pathlib
    folder = pathlib.Path(os.environ.get("ARTIFACTS_DIR", "artifacts"), "results")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parser.json").write_text(json.dumps({"stage": "parser", "began": "2099-01-01T00:00:00+00:00"}))
"""


def test_a_stages_result_is_kept_beside_its_log(place: Path) -> None:
    assert json.loads(run_stage(place, "parser", LEAVES).read_text())["stage"] == "parser"


def test_a_result_lies_where_artifacts_dir_says(place: Path, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    assert run_stage(place, "parser", LEAVES, ARTIFACTS_DIR=elsewhere).exists()


def test_the_result_of_an_earlier_run_is_not_taken_for_this_ones(place: Path) -> None:
    left(place / "artifacts" / "results", "parser", began="2020-01-01T00:00:00+00:00")
    assert not run_stage(place, "parser", "pass").exists()


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"stage": "training"}'])
def test_a_damaged_result_is_none(damaged: str, place: Path) -> None:
    (place / "artifacts" / "results").mkdir()
    (place / "artifacts" / "results" / "parser.json").write_text(damaged)
    assert not run_stage(place, "parser", "pass").exists()


@pytest.mark.parametrize(
    ("name", "words", "asked"),
    [
        ("parser", "run --rm --build parser", "run --rm -T parser cat /artifacts/results/parser.json"),
        ("api", "up --build --detach --wait", "exec -T api cat /artifacts/results/api.json"),
        ("api", "down", None),
    ],
)
def test_a_container_is_asked_for_its_result(name: str, words: str, asked: str | None, place: Path) -> None:
    docker = place / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f"""#!/bin/sh
echo "$*" >>{place}/asked
case "$*" in *cat*) echo '{{"stage": "{name}", "began": "2099-01-01T00:00:00+00:00"}}' ;; esac
"""
    )
    docker.chmod(0o755)
    script = ["run", name, "--", "docker", "compose", "-f", "x.yml", *words.split()]
    path = {"PATH": f"{docker.parent}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "stage.py", *script], cwd=place, check=True, env=os.environ | path)
    calls = (place / "asked").read_text().splitlines()
    assert calls[0] == f"compose -f x.yml {words}"
    assert calls[1:] == ([f"compose -f x.yml {asked}"] if asked else [])
    (log,) = place.glob(f"artifacts/logs/*/{name}.log")
    assert log.with_suffix(".json").exists() is (asked is not None)


def test_token_may_lie_in_a_file_of_its_own(place: Path, stage) -> None:
    (place / "secret").write_text("hf_x\n")
    settings = place / ".env"
    settings.write_text("HF_TOKEN_FILE=secret\nHF_TOKEN=\n")
    assert stage.user_settings(settings, {})["HF_TOKEN"] == "hf_x"
    assert "HF_TOKEN" not in stage.user_settings(settings, {"HF_TOKEN": "mine"})
    settings.write_text("HF_TOKEN=hf_y\nHF_TOKEN_FILE=secret\n")
    assert stage.user_settings(settings, {})["HF_TOKEN"] == "hf_y"
    settings.write_text("HF_TOKEN_FILE=no such file\n")
    with pytest.raises(stage.settings.WrongSetting, match="HF_TOKEN_FILE=no such file cannot be read"):
        stage.user_settings(settings, {})


def test_image_is_told_which_commit_it_is_made_of(place: Path) -> None:
    folder = place / "bin"
    folder.mkdir()
    for name, words in (("git", 'echo "0123abcd4567"'), ("docker", 'echo "made of $REVISION"')):
        (folder / name).write_text(f"#!/bin/sh\n{words}\n")
        (folder / name).chmod(0o755)
    start = [sys.executable, "stage.py", "run", "work", "--", "docker", "build"]
    for path, said in ((f"{folder}:/bin", "0123abcd4567"), (f"{folder}:/bin", "unknown")):
        done = subprocess.run(start, cwd=place, env={"PATH": path}, capture_output=True, text=True)
        assert done.stdout == f"made of {said}\n"
        (folder / "git").write_text("#!/bin/sh\nexit 128\n")


@pytest.mark.parametrize(
    ("what", "sent", "said", "code"),
    [
        ("run --rm parser", signal.SIGINT, 130, 130),
        # Compose now and then says 255 of itself in the place of the signal.
        ("run --rm parser", signal.SIGINT, 255, 130), ("run --rm parser", signal.SIGTERM, 255, 143),
        ("run --rm parser", signal.SIGINT, 5, 5), ("up --wait", signal.SIGINT, 130, 130),
    ],
)  # fmt: skip
def test_container_that_compose_leaves_at_work_is_stopped(
    what: str, sent: signal.Signals, said: int, code: int, place: Path
) -> None:
    """Told to stop, `docker compose run` goes without its container unless it has a terminal."""
    docker = place / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f"#!{sys.executable} -IS\nimport signal, sys, time\n"
        f"open({str(place / 'calls')!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "if 'ps' in sys.argv: print('c0ffee')\n"
        "if 'run' in sys.argv or 'up' in sys.argv:\n"
        f"    for number in (2, 15): signal.signal(number, lambda *_: sys.exit({said}))\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(60)\n"
    )
    docker.chmod(0o755)
    start = [
        sys.executable,
        "stage.py",
        "run",
        "work",
        "--",
        "docker",
        "compose",
        "-f",
        "x.yml",
        *what.split(),
    ]
    stage = subprocess.Popen(
        start, cwd=place, env={"PATH": str(docker.parent)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert stage.stdout is not None and stage.stdout.readline() == "at work\n"
    os.killpg(stage.pid, sent)
    _, err = stage.communicate(timeout=30)
    assert stage.returncode == code
    calls = (place / "calls").read_text().splitlines()
    if what.startswith("run"):
        assert calls[1:] == ["compose -f x.yml ps --all --quiet", "stop c0ffee"]
        assert "stopping the container" in err
    else:
        assert calls == [f"compose -f x.yml {what}"]


def test_commands_of_one_stage_add_up(stage, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stage.run_folder()
    for code, seconds in ((0, 60), (5, 70), (0, 2)):
        stage.record(folder, {"stage": "work", "code": code, "seconds": seconds})
    stage.end(None, False)
    assert "work        a service is missing (exit code 5)" in (out := capsys.readouterr().out)
    assert "2 min 12 s" in out
