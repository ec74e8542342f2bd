"""Answers "was last night fine?" from what the runs left. Standard library only; reads and changes nothing.

    python status.py [--json] [--runs N]

Prints the newest run of run_mlops.sh or run_mlops.bat stage by stage, what is served, and one line for each
of the N runs before it (10). It reads artifacts/logs, so it also works while a run is active. The exit code
is that of the newest run: 0 if it ended well, is still active, or if there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path

from mlops.runs import LOGS, MADE, RESULTS, duration, kept_result, read_lines

COUNTS = (
    "fetched",
    "rows",
    "added",
    "edited",
    "removed",
)  # of a result, in this order


def load_run(folder: Path) -> dict:
    """One run: its beginning, its stages with exit codes, seconds and results, and its own exit code."""
    plan = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    ended = {line["stage"]: line for line in read_lines(folder / "results.jsonl")}
    stages = []
    for name in plan["stages"]:
        line = ended.get(name, {})
        stages.append(
            {
                "stage": name, "exit_code": line.get("code"), "seconds": line.get("seconds"),
                "result": kept_result(folder, name),
            }
        )  # fmt: skip
    codes = [stage["exit_code"] for stage in stages]
    return {
        "began": datetime.fromtimestamp(plan["began"]).astimezone().isoformat(timespec="seconds"),
        "logs": str(folder),
        "stages": stages,
        "exit_code": next((code for code in codes if code), 0),
        "finished": None not in codes or any(codes),
        "seconds": round(sum(stage["seconds"] or 0 for stage in stages), 1),
    }


def load_runs(logs: Path, count: int) -> list[dict]:
    """The newest `count` runs, newest first. A folder that is no run, or a damaged one, is left out."""
    runs: list[dict] = []
    for folder in sorted((path for path in logs.glob("*") if path.is_dir()), reverse=True):
        try:
            runs.append(load_run(folder))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if len(runs) == count:
            break
    return runs


def served(runs: list[dict]) -> dict:
    """The model that the API last began to serve, with the moment; {} if no run got so far."""
    for run in runs:
        for stage in run["stages"]:
            result = stage["result"]
            if stage["stage"] == "api" and "model" in result.get("revisions", {}):
                return {**result["revisions"]["model"], "since": result.get("began", "")}
    return {}


def in_words(run: dict) -> str:
    if not run["finished"]:
        return "active, or cut off before it ended"
    return RESULTS.get(run["exit_code"], "failed")


def show_stage(stage: dict) -> str:
    result, code = stage["result"], stage["exit_code"]
    if code is None:
        return f"  {stage['stage']:<10}not ended"
    words = RESULTS.get(code, "failed")
    if not code and result.get("outcome") == "nothing to do":
        words = "nothing to do"
    made = result.get("revisions", {}).get(MADE.get(stage["stage"]), {}).get("revision", "")[:8]
    line = f"  {stage['stage']:<10}{words:<24}{duration(stage['seconds']):<14}{made}".rstrip()
    counts = [f"{result['counts'][name]:,} {name}" for name in COUNTS if name in result.get("counts", {})]
    decisions = [
        f"{task} {'promoted' if decision.get('promoted') else 'refused'}"
        for task, decision in result.get("decisions", {}).items()
    ]
    if details := ", ".join(counts + decisions):
        line += f"\n  {'':<10}{details}"
    if code and (reason := result.get("reason")):
        line += f"\n  {'':<10}{reason.get('message', '')}"
    return line


def show(runs: list[dict]) -> str:
    if not runs:
        return "no run yet: start run_mlops.sh or run_mlops.bat"
    newest = runs[0]
    lines = [f"newest run  {newest['began'].replace('T', ' ')}  {in_words(newest)}"]
    lines += map(show_stage, newest["stages"])
    if model := served(runs):
        lines.append(f"serving     {model['repo']} {model['revision'][:8]} since {model['since']}")
    lines.append(f"logs        {newest['logs']}")
    for run in runs[1:]:
        lines.append(
            f"before      {run['began'].replace('T', ' ')}  {duration(run['seconds']):<14}{in_words(run)}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the runs as JSON, newest first")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="earlier runs to list (10)")
    arguments = parser.parse_args()
    runs = load_runs(LOGS, max(0, arguments.runs) + 1)
    if arguments.json:
        print(json.dumps({"runs": runs, "serving": served(runs)}, ensure_ascii=False, indent=1))
    else:
        print(show(runs))
    return runs[0]["exit_code"] if runs else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
