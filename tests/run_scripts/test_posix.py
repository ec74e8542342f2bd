"""What only run_mlops.sh can be asked: Ctrl+C, two runs at once, settings that reach the stages."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def start(tree, *options: str, rules: str) -> subprocess.Popen:
    return subprocess.Popen(
        tree.command(*options), env=tree.full_environment(rules), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def called(tree, words: str) -> bool:
    return any(words in call["words"] for call in tree.calls())


def test_ctrl_c_stops_the_stage_and_the_stand_ins_and_says_so_in_the_table(posix_tree) -> None:
    run = start(posix_tree, "--demo", rules="-m gazeta=wait")
    wait_until(lambda: called(posix_tree, "-m gazeta"), "the parser")
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 130, err
    assert called(posix_tree, "services.py stop") and not called(posix_tree, "main.py")
    table = out[out.index("\nstage ") :]
    assert [line.split()[:3] for line in table.splitlines()[4:7]] == [
        ["parser", "stopped", table.splitlines()[4].split()[2]],
        ["training", "not", "started"],
        ["api", "not", "started"],
    ]


def test_term_to_the_group_stops_the_stage_at_once_as_the_operations_page_says(posix_tree) -> None:
    run = start(posix_tree, "--no-docker", rules="-m gazeta=wait")
    wait_until(lambda: called(posix_tree, "-m gazeta"), "the parser")
    subprocess.run(["bash", "-c", f"kill -TERM -- -$(ps -o pgid= -p {run.pid} | tr -d ' ')"], check=True)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 143, err
    assert "parser      stopped" in out and not called(posix_tree, "main.py")


def test_ctrl_c_is_how_the_api_is_stopped(posix_tree) -> None:
    """The API ends with 0 when it is told to stop, and so does the run."""
    server = posix_tree.root / ".venv" / "bin" / "python"
    server.write_text(server.read_text().replace("time.sleep(60)", "waits()").replace(
        "call = {", "def waits():\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n"
        "        sys.exit(0)\n\n\ncall = {", 1))  # fmt: skip
    run = start(posix_tree, "--no-docker", "--only", "api", rules="-m topic_sum=wait")
    wait_until(lambda: called(posix_tree, "-m topic_sum"), "the API")
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    assert "api         done" in out


def test_ctrl_c_typed_on_a_terminal_reaches_the_stage_once(posix_tree) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(  # noqa: S606  without a shell on purpose
            posix_tree.root / "run_mlops.sh",
            ["run_mlops.sh", "--no-docker"],
            posix_tree.full_environment("-m gazeta=wait"),
        )
    wait_until(lambda: called(posix_tree, "-m gazeta"), "the parser")
    os.write(terminal, b"\x03")
    words = b""
    while True:
        try:
            words += os.read(terminal, 4096)
        except OSError:
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert words.count(b"KeyboardInterrupt") == 1  # the recorder's own words
    assert b"parser      stopped" in words


def test_second_run_at_the_same_time_is_refused_and_the_first_goes_on(posix_tree) -> None:
    first = start(posix_tree, "--no-docker", rules="-m gazeta=wait")
    wait_until(lambda: called(posix_tree, "-m gazeta"), "the parser")
    second = subprocess.run(
        posix_tree.command("--no-docker"), env=posix_tree.full_environment(), capture_output=True, text=True
    )
    assert second.returncode == 6
    assert second.stderr == "error: another run of this folder is active; wait for it or stop it\n"
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=30)
    assert posix_tree.run("--no-docker").code == 0


def test_a_killed_script_holds_the_lock_until_its_stage_has_ended(posix_tree) -> None:
    run = start(posix_tree, "--no-docker", rules="-m gazeta=wait")
    wait_until(lambda: called(posix_tree, "-m gazeta"), "the parser")
    run.kill()
    run.wait()
    refused = subprocess.run(
        posix_tree.command("--no-docker"), env=posix_tree.full_environment(), capture_output=True
    )
    assert refused.returncode == 6
    os.killpg(run.pid, signal.SIGINT)
    wait_until(lambda: posix_tree.run("--no-docker").code == 0, "the end of the stage that was left")
    run.communicate(timeout=30)


def environment_of(outcome, words: str) -> dict[str, str]:
    return next(call["env"] for call in outcome.calls if words in call["words"])


SETTINGS = """\ufeff# a comment\r
NOTE=Привет, мир = "да"\r
export DATASET_REPO = user/news   # whose it is\r
MODEL_REPO='user/model'\r
\r
HF_TOKEN="a b#c=d"\r
CRAWL_CONTACT=mailto:a@b.example?x=1&y=(2)!\r
"""


def test_a_line_of_env_that_is_no_setting_is_said_once_and_the_table_says_who_met_it(posix_tree) -> None:
    (posix_tree.root / ".env").write_text("MODEL_REPO=a/b\nhf_pasted_without_a_name\n")
    outcome = posix_tree.run("--no-docker")
    assert outcome.code == 2
    said = outcome.err.splitlines()
    assert said[0] == "error: line 2 of .env is not NAME=VALUE; see .env.example" and len(said) == 2
    assert re.search(r"^checks +wrong setting \(exit code 2\) ", outcome.out, re.M)


def test_settings_reach_every_stage_as_they_were_meant(posix_tree) -> None:
    (posix_tree.root / ".env").write_text(SETTINGS, encoding="utf-8", newline="")
    outcome = posix_tree.run(env={"MODEL_REPO": "from/environment"})
    assert outcome.code == 0, outcome.err
    assert len(outcome.calls) == 6
    for call in outcome.calls:
        assert call["env"] == {
            "NOTE": 'Привет, мир = "да"',
            "DATASET_REPO": "user/news",
            "MODEL_REPO": "from/environment",
            "HF_TOKEN": "a b#c=d",
            "CRAWL_CONTACT": "mailto:a@b.example?x=1&y=(2)!",
            "PYTHONUTF8": "1",
        }
    logs = "".join(path.read_text() for path in posix_tree.root.glob("artifacts/logs/*/*"))
    assert "a b#c=d" not in outcome.out + outcome.err + logs


def test_demo_is_deaf_to_the_users_own_settings(posix_tree) -> None:
    (posix_tree.root / ".env").write_text("HF_TOKEN=mine\nDATASET_REPO=mine/news\nNOTE=x\n")
    outcome = posix_tree.run("--demo", env={"HF_TOKEN": "mine", "SITE_URL": "https://www.gazeta.ru"})
    seen = environment_of(outcome, "-m gazeta")
    assert seen["HF_TOKEN"] == "demo-token" and seen["DATASET_REPO"] == "demo/gazeta-news"
    assert seen["SITE_URL"] == "http://127.0.0.1:8802" and "NOTE" not in seen
    assert seen["ARTIFACTS_DIR"] == str(posix_tree.root / "artifacts" / "demo")
    assert seen["HF_HOME"] == str(posix_tree.root / "artifacts" / "demo" / "hf")


def test_quick_asks_the_real_site_politely_and_never_the_real_hub(posix_tree) -> None:
    (posix_tree.root / ".env").write_text("HF_TOKEN=mine\nCRAWL_CONTACT=me@example.org\n")
    seen = environment_of(posix_tree.run("--quick"), "-m gazeta")
    assert "SITE_URL" not in seen and "CRAWL_DELAY" not in seen  # the collector's own: gazeta.ru, a second
    assert seen["CRAWL_CONTACT"] == "me@example.org"
    assert seen["HF_TOKEN"] == "demo-token" and seen["HF_ENDPOINT"] == "http://127.0.0.1:8801"


def test_proxy_is_asked_for_the_world_and_not_for_this_computer(posix_tree, proxy, repo_root) -> None:
    shutil.copy(repo_root / "doctor.py", posix_tree.root / "doctor.py")
    (posix_tree.root / ".env").write_text(
        f"HTTP_PROXY={proxy.url}\nHF_ENDPOINT=http://127.0.0.1:9\nSITE_URL=http://news.invalid\nHF_TOKEN=x\n"
        "DATASET_REPO=a/b\nMODEL_REPO=a/c\n"
    )
    outcome = posix_tree.run("--no-docker")
    assert proxy.asked == ["http://news.invalid/robots.txt"]
    assert outcome.code == 5 and "error: Hub: http://127.0.0.1:9 does not answer" in outcome.err


@pytest.mark.parametrize("given", ["", "intranet.example"])
def test_every_stage_is_told_to_leave_this_computer_out_of_the_proxy(given: str, posix_tree) -> None:
    extra = {"NO_PROXY": given} if given else {}
    outcome = posix_tree.run("--no-docker", env={"HTTPS_PROXY": "http://proxy.example:3128", **extra})
    wanted = f"{given},127.0.0.1,localhost".lstrip(",")
    assert {call["env"]["NO_PROXY"] for call in outcome.calls} == {wanted}
    assert all("NO_PROXY" not in call["env"] for call in posix_tree.run("--no-docker").calls)


def test_bad_settings_line_is_named_but_not_shown(posix_tree) -> None:
    (posix_tree.root / ".env").write_text("HF_TOKEN=x\nhf_pasted_without_a_name\n")
    outcome = posix_tree.run()
    assert outcome.code == 2 and not outcome.calls
    assert "error: line 2 of .env is not NAME=VALUE; see .env.example\n" in outcome.err
    assert "hf_pasted" not in outcome.err + outcome.out


def test_settings_of_another_encoding_are_refused_in_words(posix_tree) -> None:
    (posix_tree.root / ".env").write_bytes("NOTE=Привет\n".encode("cp1251"))
    outcome = posix_tree.run()
    assert outcome.code == 2
    assert "error: .env is not UTF-8 text; save it as UTF-8\n" in outcome.err


def test_every_run_leaves_a_folder_of_logs_and_a_table(posix_tree) -> None:
    outcome = posix_tree.run("--no-docker", rules="main.py=4")
    folder = posix_tree.root / outcome.out.split("logs: ")[1].split("\n")[0]
    assert {path.stem for path in folder.glob("*.log")} == {"checks", "packages", "parser", "training"}
    assert "exit code 4 after" in (folder / "training.log").read_text()
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [(each["stage"], each["code"]) for each in results] == [
        ("checks", 0), ("packages", 0), ("parser", 0), ("training", 4)
    ]  # fmt: skip
    assert "training    not promoted (exit code 4)" in outcome.out
    assert "api         not started" in outcome.out


def test_folder_that_cannot_be_written_is_said_at_once(posix_tree) -> None:
    (posix_tree.root / "artifacts").write_text("a file where the folder should be")
    outcome = posix_tree.run()
    assert outcome.code == 2 and not outcome.calls
    assert outcome.err.splitlines()[-1] == "error: cannot write into the folder artifacts"


def test_line_for_cron_logs_what_went_wrong(posix_tree, repo_root, tmp_path) -> None:
    page = (repo_root / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^0 3 \* \* \* (/srv/gazeta/run_mlops.sh .*)$", page, re.MULTILINE)
    assert "%" not in line  # cron takes it for the end of the line
    logger = posix_tree.root / "bin" / "logger"
    logger.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/syslog"\n')
    logger.chmod(0o755)
    command = line.replace("/srv/gazeta", str(posix_tree.root))
    for rules, logged in (("", ""), ("parser.yml=3", "-t gazeta the nightly run ended with 3\n")):
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=posix_tree.full_environment(rules), stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "")
        assert (done.stderr == "") == (logged == "")
    assert (tmp_path / "syslog").read_text() == logged


def test_units_of_the_operations_page_are_valid(posix_tree, repo_root, tmp_path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    page = (repo_root / "docs" / "operations.md").read_text(encoding="utf-8")
    units = re.findall(r"`/etc/systemd/system/(\S+)`:\n\n```ini\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in units] == ["gazeta.service", "gazeta.timer", "gazeta-api.service"]
    paths = []
    for name, text in units:
        paths.append(tmp_path / name)
        paths[-1].write_text(text.replace("/srv/gazeta", str(posix_tree.root)).replace("User=gazeta", ""))
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True)
    assert done.returncode == 0 and str(tmp_path) not in done.stderr, done.stderr
