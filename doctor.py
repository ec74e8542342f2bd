"""Checks, in a few seconds, what would otherwise fail hours later. Standard library only.

    python doctor.py [--json] [--stages parser,training,api] [--no-docker] [--small]

By hand it reads .env, as the run scripts do; the environment wins over it. Prints a line for each check;
every failure comes with its fix. Exit code: 0 all well (warnings do not count), 2 a setting or a program
is missing or wrong, 5 a service or Docker is unreachable or a port is taken.
Values of secrets are never printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable

from mlops.checks import (
    Check,
    check_disk,
    check_gpu,
    check_memory,
    check_names,
    check_python,
    check_setting,
    failed,
)
from mlops.services import check_api_port, check_docker, check_hub, check_sources
from mlops.settings import ROOT, WrongSetting, user_settings

STAGES = ("parser", "training", "api")
ALL_SECONDS = 4  # for the slow checks, side by side, all together
# Estimates for ai-forever/ruT5-base: .venv, dataset, base model, checkpoints with optimizer states.
DISK_GB = {"small": 4, "parser": 2, "training": 25, "api": 2}
MEMORY_GB = {"small": 2, "parser": 1, "training": 8, "api": 2}


def run_checks(stages: list[str], docker: bool, small: bool) -> list[Check]:
    """All checks that these stages need, in a lasting order; the slow ones run side by side."""
    port = os.environ.get("PORT", "").strip() or "8000"
    artifacts = ROOT / (os.environ.get("ARTIFACTS_DIR", "").strip() or "artifacts")
    checks = [check_python()]
    checks.append(
        check_disk(artifacts, DISK_GB["small"] if small else max(DISK_GB[stage] for stage in stages))
    )
    checks.append(check_memory(2 if small else max(MEMORY_GB[stage] for stage in stages)))

    checks.extend(check_names())
    publishes = "parser" in stages or "training" in stages
    if publishes:
        checks.append(check_setting("HF_TOKEN", "a token with the right Write, from huggingface.co"))
        checks.append(check_setting("DATASET_REPO", "the dataset's repository, as user/name"))
    if "training" in stages or "api" in stages:
        checks.append(check_setting("MODEL_REPO", "the model's repository, as user/name"))

    slow: dict[str, Callable[[], Iterable[Check]]] = {}
    if "api" in stages:
        slow[f"port {port}"] = lambda: [check_api_port(port, docker)]
    if docker and ("parser" in stages or "api" in stages):
        slow["Docker"] = check_docker
    slow["Hub"] = lambda: check_hub(needs_token=publishes)
    if "parser" in stages:
        slow["site"] = lambda: [check_sources()]
    if "training" in stages:
        slow["GPU"] = lambda: [check_gpu()]
    return checks + side_by_side(slow)


def side_by_side(slow: dict[str, Callable[[], Iterable[Check]]]) -> list[Check]:
    """The findings of all checks in ALL_SECONDS: who is late (a name service that hangs, say) has failed."""
    found: dict[str, list[Check]] = {}
    bugs: list[BaseException] = []

    def check(name: str) -> None:
        try:
            found[name] = list(slow[name]())
        except BaseException as bug:
            bugs.append(bug)

    # Daemons: nobody waits for one that hangs.
    threads = [threading.Thread(target=check, args=(name,), daemon=True) for name in slow]
    deadline = time.monotonic() + ALL_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if bugs:
        raise bugs[0]
    late = f"no answer within {ALL_SECONDS} s"
    return [
        each
        for name in slow
        for each in found.get(name) or [failed(name, late, "check the network and try again", 5)]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages will run")
    parser.add_argument("--no-docker", action="store_true", help="stages 1 and 3 run in .venv")
    parser.add_argument("--small", action="store_true", help="a small model: less disk and memory will do")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and failures")
    arguments = parser.parse_args()
    stages = [stage for stage in arguments.stages.split(",") if stage]
    if unknown := [stage for stage in stages if stage not in STAGES]:
        print(f"error: no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}", file=sys.stderr)
        return 2

    if "MLOPS_RUN" not in os.environ:  # by hand: stage.py has not read the settings for us
        try:
            os.environ.update(user_settings())
        except WrongSetting as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    checks = run_checks(stages, docker=not arguments.no_docker, small=arguments.small)
    failures = [check for check in checks if check.state == "failed"]
    if arguments.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], ensure_ascii=False, indent=1))
    else:
        for check in checks:
            if arguments.quiet and check.state != "failed":
                continue
            stream = sys.stderr if check.state == "failed" else sys.stdout
            state = "error" if check.state == "failed" else check.state
            print(
                f"{state}: {check.name}: {check.words}" + (f"; {check.fix}" if check.fix else ""), file=stream
            )
    return failures[0].code if failures else 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
