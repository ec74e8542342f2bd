"""setup_venv.py: makes .venv once, installs when a lock changed, mends what is broken. No network."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("setup_venv_under_test", ROOT / "setup_venv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    locks = {part: tmp_path / f"{part}.lock" for part in ("parser", "api")}
    for lock in locks.values():
        lock.write_text("# empty\n")
    folder = tmp_path / ".venv"
    monkeypatch.setattr(module, "LOCKS", locks)
    monkeypatch.setattr(module, "VENV", folder)
    monkeypatch.setattr(module, "STAMP", folder / "installed.json")
    monkeypatch.setattr(module, "PYTHON", folder / module.PYTHON.relative_to(module.ROOT / ".venv"))
    return module


@pytest.fixture
def made(setup, monkeypatch: pytest.MonkeyPatch):
    """A .venv that is there already: a link to this Python stands for it, as making one takes seconds."""
    setup.PYTHON.parent.mkdir(parents=True)
    setup.PYTHON.symlink_to(sys.executable)
    calls: list[list[str]] = []
    monkeypatch.setattr(setup, "install", lambda locks: calls.append([lock.stem for lock in locks]) or 0)
    monkeypatch.setattr(setup, "starts", lambda python: python.exists())
    setup.calls = calls
    return setup


def test_broken_environment_is_made_again_and_a_second_call_does_nothing(
    setup, capfd: pytest.CaptureFixture[str]
) -> None:
    setup.PYTHON.parent.mkdir(parents=True)
    setup.PYTHON.write_text("no program")
    setup.STAMP.write_text(json.dumps({part: setup.digest(lock) for part, lock in setup.LOCKS.items()}))
    assert setup.main(["parser", "api"]) == 0
    out = capfd.readouterr().out
    assert out.startswith(".venv does not start any more: making it again\n") and "installed in" in out
    assert setup.starts(setup.PYTHON)
    assert set(json.loads(setup.STAMP.read_text())) == {"parser", "api"}

    assert setup.main(["parser", "api"]) == 0
    assert capfd.readouterr().out == ""


def test_the_command_makes_an_environment_and_installs_what_is_locked(tmp_path: Path) -> None:
    """The README's line in a copy whose locks name three packages made here."""
    line = next(
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        if "setup_venv.py parser training api" in line
    )  # fmt: skip
    shutil.copy(ROOT / "setup_venv.py", tmp_path)
    for folder in ("dataset_parser", "t5_training", "topic_sum_api"):
        note = f"{folder}-1.0.dist-info"
        with zipfile.ZipFile(tmp_path / f"{folder}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{folder}_package.py", "")
            wheel.writestr(f"{note}/METADATA", f"Metadata-Version: 2.1\nName: {folder}\nVersion: 1.0\n")
            wheel.writestr(f"{note}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{note}/RECORD", "")
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.lock").write_text(f"{folder}==1.0\n")
    command = line.partition("#")[0].replace("python3.11", shlex.quote(sys.executable))
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    for expected in ("making .venv\n", ""):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(expected) and bool(done.stdout) == bool(expected)
    look = "import dataset_parser_package, t5_training_package, topic_sum_api_package"
    subprocess.run([tmp_path / ".venv/bin/python", "-c", look], check=True)


def test_changed_lock_is_installed_once_together_with_the_others_asked_for(made) -> None:
    assert made.main(["parser", "api"]) == 0
    made.LOCKS["api"].write_text("# changed\n")
    assert made.main(["parser", "api"]) == 0
    assert made.main(["parser", "api"]) == 0
    assert made.calls == [["parser", "api"], ["parser", "api"]]


def test_failed_installation_is_not_remembered(made, monkeypatch) -> None:
    monkeypatch.setattr(made, "install", lambda locks: 1)
    assert made.main(["parser"]) == 1
    assert not made.STAMP.exists()


def test_damaged_note_means_that_all_is_installed_again(made) -> None:
    made.main(["parser"])
    made.STAMP.write_text('{"pars')
    assert made.main(["parser"]) == 0
    assert made.calls == [["parser"], ["parser"]]


def test_pips_own_words_are_shown_when_it_fails(setup, tmp_path: Path, monkeypatch, capfd) -> None:
    lock = tmp_path / "wrong.lock"
    lock.write_text("this is no requirement!\n")
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    assert setup.install([lock]) == 1
    err = capfd.readouterr().err
    assert "Invalid requirement" in err
    assert err.splitlines()[-1].startswith("error: installing the requirements failed")


def test_progress_counts_only_what_is_for_this_system_and_says_one_number(setup, capsys) -> None:
    pins = Counter({"numpy": 4, "colorama": 2, "zope-interface": 1})  # numpy: of two locks, for two Pythons
    progress = setup.Progress(pins)
    ignored = ["numpy", "numpy", "colorama", "colorama"]
    for line in [f"Ignoring {name}: markers 'x' don't match your environment\n" for name in ignored]:
        progress.see(line)
    assert capsys.readouterr().out == ""
    for line in ("Collecting numpy==2.4.6 (from -r a.lock (line 1))\n", "Collecting zope.interface==8.1\n"):
        progress.see(line)
        progress.shown = -100.0
    progress.see("Installing collected packages: numpy, zope.interface\n")
    assert capsys.readouterr().out.splitlines() == [
        "installing: 1 of 2 packages downloaded",
        "installing: 2 of 2 packages downloaded",
        "installing: writing 2 packages to .venv, about a minute",
    ]


def test_pip_asks_the_proxy(setup, proxy, tmp_path: Path, monkeypatch, capfd) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("no-such-package-of-ours==1.0\n")
    for name in [name for name in os.environ if name.upper().startswith("PIP_") or "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    settings = {"HTTP_PROXY": proxy.url, "PIP_INDEX_URL": "http://index.invalid/simple",
                "PIP_TRUSTED_HOST": "index.invalid", "PIP_CONFIG_FILE": os.devnull,
                "PIP_RETRIES": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    assert setup.install([lock]) == 1
    assert proxy.asked == ["http://index.invalid/simple/no-such-package-of-ours/"]
    assert "No matching distribution found" in capfd.readouterr().err


@pytest.mark.parametrize("parts", [[], ["cooking"]])
def test_wrong_part_is_2(parts: list[str], setup, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(parts) == 2
    assert capsys.readouterr().err.startswith("error: setup_venv.py knows the parts parser, api")


def test_old_python_is_2(setup, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(setup, "OLDEST", (99, 0))
    assert setup.main(["parser"]) == 2
    assert "too old" in capsys.readouterr().err
