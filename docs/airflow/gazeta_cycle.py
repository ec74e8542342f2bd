"""The cycle as an Airflow DAG (Airflow 3), for teams that have outgrown one machine's scheduler.

Copy it into the DAGs folder. The worker has the project, with its .env, in GAZETA_HOME (default /srv/gazeta).
Each task is the stage as run_mlops.sh starts it alone: checks, packages, the stage, its logs, its exit code.
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
    # exec: when somebody stops the task, the script itself is told, and the stage saves what it has.
    command = f"exec {shlex.quote(str(SCRIPT))} --only {name}"
    return BashOperator(task_id=name, bash_command=command, append_env=True, **options)


with DAG(
    dag_id="gazeta_cycle",
    description="Collect news, train, serve",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # a missed night is made up for by the next: the collector takes all that is new
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=20)},  # the site or the Hub was away
    tags=["gazeta"],
):
    parser = stage("parser")
    # 4: the new model was no better. The task is shown as skipped, and the API goes on with the old one.
    training = stage("training", skip_on_exit_code=4)
    api = stage("api", trigger_rule="none_failed")
    parser >> training >> api
