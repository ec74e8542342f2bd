"""The cycle as a DAG for Airflow 3, for teams that need more than one machine's scheduler.

Copy this file into the DAGs folder. The worker needs the project, with its .env, in GAZETA_HOME (default
/srv/gazeta). Each task runs one stage with run_mlops.sh, which checks the settings, installs packages, runs
the stage, keeps its log and returns its exit code.
"""

from __future__ import annotations

import os
import shlex
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SCRIPT = Path(os.environ.get("GAZETA_HOME", "/srv/gazeta")) / "run_mlops.sh"


def stage(name: str, **options: object) -> BashOperator:
    # exec: if somebody stops the task, the script itself gets the signal, and the stage saves what it has.
    command = f"exec {shlex.quote(str(SCRIPT))} --only {name}"
    return BashOperator(task_id=name, bash_command=command, append_env=True, **options)


with DAG(
    dag_id="gazeta_cycle",
    description="Collect news, train, serve",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # the next night makes up for a missed one: the collector takes everything new
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=20)},  # if the site or the Hub is down
    tags=["gazeta"],
):
    parser = stage("parser")
    # 4: the new model was no better. Airflow shows the task as skipped, and the API keeps the old model.
    training = stage("training", skip_on_exit_code=4)
    api = stage("api", trigger_rule="none_failed")
    parser >> training >> api
