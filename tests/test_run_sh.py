"""The scripts that run the tests; programs in the place of pip and pytest note how they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("dataset_parser", "t5_training", "topic_sum_api", "tests")
# Notes its arguments and the settings named in NOTE; ends with the code that FAIL gives to a word of them.
RECORDER = """#!{python}
import os, sys
words = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
seen = "".join(f"{{name}}={{os.environ[name]}} " for name in ("WINE_DIR", "CRAWL_KILLS", "DEMO_FULL")
               if name in os.environ)
with open({log!r}, "a") as file:
    file.write(seen + words + chr(10))
word, _, code = os.environ.get("FAIL", "").rpartition("=")
sys.exit(int(code) if word and word in words else 0)
"""
SETUP = "setup_venv.py parser training api tests"
PYTEST = "python -m pytest"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    recorder = RECORDER.format(python=sys.executable, log=str(tmp_path / "calls"))
    for name in ("tests/run.sh", ".ci/run", ".ci/audit"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("setup_venv.py", ".venv/bin/python", "tests/run_scripts/make_wine.sh", "bin/pip-audit"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(recorder)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "dataset_parser").mkdir()
    return tmp_path


def run(tree: Path, line: str, at: str = ".", **settings: str) -> tuple[int, list[str], str]:
    """Exit code, what was called, what was said."""
    path = f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != "WINE_DIR"}
    environment = {**kept, "PATH": path, "HOME": str(tree), "PYTHON": sys.executable, **settings}
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        ["bash", "-c", line], cwd=tree / at, env=environment, capture_output=True, text=True, timeout=60
    )
    calls = (tree / "calls").read_text().splitlines()
    return done.returncode, calls, done.stdout + done.stderr


ALL = f"{PYTEST} --numprocesses 2 --dist loadgroup"
LINES = [
    ("./tests/run.sh", ".", "", ALL),
    ("./tests/run.sh tests/parser", ".", "", f"{PYTEST} tests/parser"),
    ("./tests/run.sh tests/parser -k 2021", ".", "", f"{PYTEST} tests/parser -k 2021"),
    ("./tests/run.sh tests/faults", ".", "", f"{PYTEST} tests/faults"),
    ("CRAWL_KILLS=20 CRAWL_OUTAGE=60 ../tests/run.sh tests/faults/test_crawl_kill.py", "dataset_parser",
     "CRAWL_KILLS=20 ", f"{PYTEST} tests/faults/test_crawl_kill.py"),
    ("DEMO_FULL=1 ./tests/run.sh tests/test_demo.py", ".", "DEMO_FULL=1 ", f"{PYTEST} tests/test_demo.py"),
    ("WINE_DIR=DIR ./tests/run.sh tests/run_scripts", ".", "WINE_DIR=DIR ", f"{PYTEST} tests/run_scripts"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "at", "settings", "called"), LINES, ids=[line[0] for line in LINES])
def test_lines_of_the_documents_reach_pytest_as_they_were_meant(
    line: str, at: str, settings: str, called: str, tree: Path
) -> None:
    code, calls, _ = run(tree, line, at)
    assert (code, calls) == (0, [f"{settings}{SETUP}", f"{settings}{called}"])


@pytest.mark.parametrize(
    ("fail", "code"),
    [("", 0), ("-m pytest=1", 1), ("--include=t5_training/t5sum/*=2", 1),
     ("--include=dataset_parser/gazeta/*=2", 1), ("--include=topic_sum_api/topic_sum/*=2", 1)],
)  # fmt: skip
def test_coverage_asks_ninety_per_cent_of_each_sibling(fail: str, code: int, tree: Path) -> None:
    ended, calls, said = run(tree, "./tests/run.sh --coverage", FAIL=fail)
    packages = ("dataset_parser/gazeta", "t5_training/t5sum", "topic_sum_api/topic_sum")
    reports = [f"python -m coverage report --include={name}/* --fail-under=90" for name in packages]
    assert calls == [
        SETUP, "python -m coverage run -m pytest --numprocesses 2 --dist loadgroup",
        "python -m coverage combine --quiet", *reports,
    ]  # fmt: skip
    assert ended == code
    assert [line for line in said.splitlines() if line.startswith("== ")] == [
        "== dataset_parser", "== t5_training", "== topic_sum_api"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wine", "words"), [("", "WINE_DIR={}/.cache/gazeta-tests/wine "), ("make_wine=1", "")]
)
def test_ci_runs_the_tests_with_and_without_a_wine(wine: str, words: str, tree: Path) -> None:
    code, calls, said = run(tree, ".ci/run", FAIL=wine)
    words = words.format(tree)
    assert code == 0 and calls[1:] == [f"{words}{SETUP}", f"{words}{ALL}"]
    assert calls[0] == f"make_wine.sh {tree}/.cache/gazeta-tests/wine"
    assert ("will be skipped" in said) == bool(wine)


ASK = """
import argparse, runpy, sys
real = argparse.ArgumentParser.parse_args
argparse.ArgumentParser.parse_args = lambda parser: sys.exit(0 if real(parser) else 1)
sys.argv = sys.argv[1:]
sys.path.insert(0, "benchmarks")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_small_run_asks_each_benchmark_for_what_it_knows(tree: Path) -> None:
    """benchmarks/run.sh, and each of its lines up to the moment where the benchmark has read its options."""
    shutil.copytree(ROOT / "benchmarks", tree / "benchmarks")
    (tree.parent / "shared" / "data").mkdir(parents=True, exist_ok=True)
    code, calls, said = run(tree, "benchmarks/run.sh")
    assert (code, calls[0]) == (0, SETUP), said
    lines = [call.split()[1:] for call in calls[1:]]
    assert {Path(line[0]).stem for line in lines} == {
        path.stem for path in (ROOT / "benchmarks").glob("*.py")
    } - {"peers"}
    for line in lines:
        assert line[-2] == "--json"
        done = subprocess.run([sys.executable, "-c", ASK, *line], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    # One that misses its bar is named at the end and stops nothing.
    (tree / "calls").unlink()
    code, again, said = run(tree, "benchmarks/run.sh", FAIL="dataset.py=1")
    assert (code, again) == (1, calls) and "failed or below a bar: dataset" in said


def test_audit_asks_for_every_lock(tree: Path) -> None:
    code, calls, _ = run(tree, ".ci/audit --strict")
    options = "--no-deps --disable-pip --requirement"
    assert code == 0
    assert calls == [f"pip-audit {options} {folder}/requirements.lock --strict" for folder in FOLDERS]


def test_a_script_that_tests_an_old_python_says_so(tree: Path) -> None:
    (tree / "bin/bash").symlink_to(shutil.which("bash") or "bash")
    (tree / "bin/dirname").symlink_to(shutil.which("dirname") or "dirname")
    (tree / "calls").write_text("")
    code, calls, said = run(tree, "./tests/run.sh", PATH=str(tree / "bin"), PYTHON="")
    assert (code, calls, said) == (
        2,
        [],
        "error: no Python 3.11 or newer found; install it from python.org\n",
    )
