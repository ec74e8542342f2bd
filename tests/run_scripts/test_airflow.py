"""docs/airflow/ read and run by a real Airflow. It wants an environment of its own, so the test is optional:

python3.11 -m venv DIR && DIR/bin/pip install "apache-airflow>=3,<4"
AIRFLOW=DIR/bin/airflow ./tests/run.sh tests/run_scripts/test_airflow.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DOCTOR = "python doctor.py --stages"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, repo_root: Path):
    """Call `airflow` with a database and a folder of DAGs of its own."""
    program = os.environ.get("AIRFLOW") or shutil.which("airflow")
    if not program:
        pytest.skip("no Airflow in AIRFLOW or on the PATH")
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    shutil.copy(repo_root / "docs" / "airflow" / "gazeta_cycle.py", home / "dags")
    text = (home / "dags" / "gazeta_cycle.py").read_text()
    impatient = text.replace('"gazeta_cycle"', '"impatient"').replace('"retries": 2', '"retries": 0')
    assert impatient.count("impatient") == 1 and '"retries": 0' in impatient
    (home / "dags" / "impatient.py").write_text(impatient)
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}  # fmt: skip

    def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *words], env={**os.environ, **settings, **env}, cwd=home,
            capture_output=True, text=True, timeout=180,
        )  # fmt: skip

    made = call("db", "migrate")
    assert made.returncode == 0, made.stderr
    return call


def test_airflow_reads_the_dag_without_a_complaint(airflow) -> None:
    done = airflow("dags", "list-import-errors", "--output", "json", "--local")
    assert done.returncode == 0 and json.loads(done.stdout[done.stdout.rindex("[") :] or "[]") == [], (
        done.stdout
    )


def run_dag(airflow, tree, name: str, rules: str) -> tuple[str, list[str]]:
    """What Airflow said of the run and which commands the stages came to."""
    env = tree.full_environment(rules) | {"GAZETA_HOME": str(tree.root)}
    env["PATH"] += ":/bin:/usr/bin"  # Airflow's own needs
    done = airflow("dags", "test", name, "2026-02-01", **env)
    return done.stdout + done.stderr, [call["words"] for call in tree.calls()]


@pytest.mark.parametrize(("rules", "state"), [("", "success"), ("main.py=4", "skipped")])
def test_stages_run_in_their_order_and_a_model_that_is_no_better_does_not_stop_the_api(
    rules: str, state: str, airflow, new_tree
) -> None:
    words, commands = run_dag(airflow, new_tree("sh", "the project"), "gazeta_cycle", rules)
    assert "state=success, run_type=manual" in words, words[-3000:]
    assert [command for command in commands if command.startswith(DOCTOR)] == [
        f"{DOCTOR} parser", f"{DOCTOR} training", f"{DOCTOR} api"
    ]  # fmt: skip
    assert "t5_training: venv main.py" in commands and commands[-1] == "python demo/show.py --running"
    assert words.count("new_state=success") == (3 if state == "success" else 2)
    assert ("new_state=skipped" in words) == (state == "skipped")


def test_stage_that_fails_stops_those_after_it(airflow, new_tree) -> None:
    words, commands = run_dag(airflow, new_tree("sh", "project"), "impatient", "parser.yml=3")
    assert "state=failed, run_type=manual" in words and "returned a non-zero exit code 3" in words
    assert commands[0] == f"{DOCTOR} parser" and "parser.yml" in commands[-1]
