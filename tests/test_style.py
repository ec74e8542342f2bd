"""What the linters say, of every language in the repository. The linters come with tests/requirements.txt."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent


def lint(*command: str | Path) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_passes_ruff() -> None:
    lint(PROGRAMS / "ruff", "check", "--output-format", "concise", ".")


def test_python_is_formatted() -> None:
    lint(PROGRAMS / "ruff", "format", "--check", ".")


def test_shell_scripts_pass_shellcheck() -> None:
    scripts = [path for path in tracked() if path.endswith(".sh") or path.startswith(".ci/")]
    assert "run_mlops.sh" in scripts and "tests/run.sh" in scripts
    lint(PROGRAMS / "shellcheck", *scripts)


def test_batch_file_passes_blinter() -> None:
    rules = ROOT / "tests" / "run_scripts" / "blinter.ini"
    lint(PROGRAMS / "blinter", "run_mlops.bat", "--config", rules, "--fail-on", "style")


@pytest.mark.parametrize("dockerfile", ["dataset_parser/Dockerfile", "topic_sum_api/Dockerfile"])
def test_dockerfiles_pass_hadolint(dockerfile: str) -> None:
    lint(PROGRAMS / "hadolint", "--failure-threshold", "warning", dockerfile)


@pytest.mark.parametrize("compose", ["docker-compose.parser.yml", "docker-compose.api.yml"])
def test_compose_files_are_valid_with_an_empty_environment(compose: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("compose")
    assert spec and spec.submodule_search_locations
    # The binary itself: the package's wrapper loses its exit code.
    binary = Path(spec.submodule_search_locations[0]) / "docker-compose"
    done = subprocess.run(
        [binary, "--project-directory", ROOT, "-f", ROOT / compose, "config", "--quiet"],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_batch_files_have_windows_line_ends_and_shell_scripts_have_not() -> None:
    for name in tracked():
        if name.endswith((".bat", ".sh")):
            text = (ROOT / name).read_bytes()
            lines = text.count(b"\n")
            assert text.count(b"\r\n") == (lines if name.endswith(".bat") else 0), name


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
