"""run_mlops.bat with the real stage.py in a real Windows Python, both under Wine: seconds each, so few."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def tree(windows_tree):
    """A tree whose python.exe on the PATH is a real one; .venv's stays the shim."""
    windows_tree.real_python()
    return windows_tree


def run(tree, *options: str, rules: str = "", **env: str):
    return tree.run(*options, rules=rules, env=env)


@pytest.mark.parametrize("name", ["Новости & (1)", "it's 50 !done!"])
def test_folder_of_any_name_with_a_real_python(name: str, new_tree) -> None:
    tree = new_tree("bat", name)
    tree.real_python()
    (tree.root / ".env").write_text("NOTE=Привет\n", encoding="utf-8")
    outcome = run(tree, "--only", "training", WINE_LOCALE="ru_RU.UTF-8")
    assert outcome.code == 0, outcome.err
    assert outcome.commands()[-1] == "t5_training: venv main.py"
    assert outcome.calls[0]["env"]["NOTE"] == "Привет"
    assert {path.stem for path in tree.root.glob("artifacts/logs/*/*.log")} == {
        "checks",
        "packages",
        "training",
    }


def test_settings_logs_and_table_on_a_russian_windows(tree) -> None:
    (tree.root / ".env").write_bytes("NOTE=Привет, мир → (1) & !\r\n# слово\r\nMODEL_REPO='a/b'\r\n".encode())
    outcome = run(tree, "--from", "training", "--no-docker", rules="main.py=4", WINE_LOCALE="ru_RU.UTF-8")
    assert outcome.code == 4, outcome.err
    assert outcome.commands() == [
        "python doctor.py --stages training,api --no-docker",
        "python setup_venv.py training api",
        "t5_training: venv main.py",
    ]
    assert outcome.calls[0]["env"]["NOTE"] == "Привет, мир → (1) & !"
    assert outcome.calls[0]["env"]["MODEL_REPO"] == "a/b"
    assert "training    not promoted (exit code 4)" in outcome.out
    assert "api         not started" in outcome.out
    (log,) = tree.root.glob("artifacts/logs/*/training.log")
    assert "exit code 4 after" in log.read_text(encoding="utf-8")


def test_words_of_a_stage_come_through_in_russian(tree) -> None:
    (tree.root / "doctor.py").write_text(
        "import sys\nprint('Проверка →')\nsys.exit('ошибка')\n", encoding="utf-8"
    )
    outcome = run(tree, WINE_LOCALE="ru_RU.UTF-8")
    assert outcome.code == 1
    assert "Проверка →\n" in outcome.out and "ошибка\n" in outcome.err
    (log,) = tree.root.glob("artifacts/logs/*/checks.log")
    assert "Проверка →\n" in log.read_text(encoding="utf-8")


def test_stand_ins_start_and_stop_on_windows(tree, repo_root: Path) -> None:
    """services.py knows its own processes by number and time of birth there."""
    shutil.copy(repo_root / "demo" / "services.py", tree.root / "demo" / "services.py")
    server = (
        "import http.server, sys\nport = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "http.server.HTTPServer(('127.0.0.1', port), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    (tree.root / "demo" / "hub.py").write_text(server)
    (tree.root / "robots.txt").write_text("")
    outcome = run(tree, "--quick", "--only", "parser", rules="-m gazeta=3")
    if "is taken" in outcome.err:
        pytest.skip("port 8801 is taken on this computer: a demo runs")
    assert outcome.code == 3, outcome.err
    assert "stand-in hub at http://127.0.0.1:8801/" in outcome.out
    assert not (tree.root / "artifacts" / "quick" / "services.json").exists()
    assert json.loads((tree.root / "calls.jsonl").read_text().splitlines()[-1])["argv"][:2] == [
        "-m",
        "gazeta",
    ]
