"""After a model revision is made: publish it, move the tag, and judge any revision on any dataset."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from t5sum import StageError, repository
from t5sum.data import load_rows
from t5sum.describe import columns_of
from t5sum.judge.gate import all_promoted, in_words
from t5sum.judge.report import dataset_figures, write_report
from t5sum.kinds import KINDS, readers_of
from t5sum.pipeline import Stage, with_task
from t5sum.progress import say
from t5sum.repository import PRODUCTION, RECORD
from t5sum.run.directory import read_json, write_json
from t5sum.tasks import read_tasks


def publish(stage: Stage) -> None:
    """One commit to MODEL_REPO. Repeated after a failure, it uploads what is missing."""
    hub = stage.config.hub
    repo = hub.model_repo
    if not hub.upload:
        return
    assert repo

    def work() -> dict[str, Any]:
        at = f"{stage.dataset['repo']} {stage.dataset['revision'][:8]}"
        message = f"Train on {at}: {scores_in_words(stage.run.model, stage.decisions)}"
        revision = repository.publish(stage.run.model, repo, message, hub.private)
        return {"repo": repo, "revision": revision}

    given = {"repo": repo, "settings": stage.fingerprint, "gate": stage.decisions}
    gave = stage.run.once("publish", given, work)
    stage.result.revisions["model"] = {"repo": repo, "revision": gave["revision"]}
    say(f"published: {repo} at {gave['revision'][:8]}")


def scores_in_words(model: Path, decisions: dict[str, dict[str, Any]]) -> str:
    """Each task's score by the metric of its gate, for a commit's message."""
    shown = []
    for name, section in read_tasks(model)["tasks"].items():
        metric = decisions.get(name, {}).get("metric", "")
        if metric in section["metrics"]:
            shown.append(f"{KINDS[section['kind']].metrics[metric]} {section['metrics'][metric]:.4g}")
    return ", ".join(shown) or "no scores"


def publish_again(stage: Stage) -> None:
    """Publish what a finished run left, whatever its records say was uploaded."""
    run = stage.run
    if not (run.model / RECORD).exists():
        raise StageError(f"{run.path} holds no finished model: run python main.py without a command first", 2)
    for step in ("publish", "promote"):
        (run.path / "steps" / f"{step}.json").unlink(missing_ok=True)
    record = read_json(run.model / RECORD)
    stage.dataset = record["dataset"]
    gate = record["gate"]
    stage.decisions = gate if record["format"] > 1 else {"summarize": gate}  # of the first edition
    stage.result.decisions = stage.decisions
    publish(stage)


def promote_if_passed(stage: Stage) -> int:
    """Move the tag if every task passed, and clear away the checkpoints. The stage's exit code."""
    decisions, run = stage.decisions, stage.run
    passed = all_promoted(decisions)
    for name, each in decisions.items():
        say(f"gate: {in_words({name: each})}")
    if not stage.config.hub.upload:
        say(f"done, published nowhere: {run.model}")
        return 0
    published = run.gave("publish")

    def work() -> dict[str, Any]:
        if passed:
            because = f"the gate: {in_words(decisions)}"
            repository.promote(published["repo"], published["revision"], because)
        return {"promoted": passed}

    run.once("promote", published, work)
    for folder in (run.path / "checkpoints", *run.path.glob("*/checkpoints")):
        shutil.rmtree(folder, ignore_errors=True)
    if passed:
        return 0
    revision = published["revision"][:8]
    raise StageError(
        f"the gate refused {published['repo']} {revision}: {in_words(decisions, only_refused=True)}. "
        f"It stays untagged; to serve it all the same: python main.py promote {revision}", 4)  # fmt: skip


def promote(stage: Stage, revision: str, because: str) -> None:
    repo = stage.config.hub.model_repo
    assert repo
    commit = repository.promote(repo, revision, because or "promoted by hand")
    stage.result.revisions["model"] = {"repo": repo, "revision": commit}


def rollback(stage: Stage, because: str) -> None:
    repo = stage.config.hub.model_repo
    assert repo
    commit = repository.rollback(repo, because or "rolled back by hand")
    stage.result.revisions["model"] = {"repo": repo, "revision": commit}


def evaluate_revision(stage: Stage, model: str, dataset: str) -> None:
    """Score any model revision on any dataset revision; the results are JSON files next to the runs."""
    config = stage.config
    repo, name = config.hub.model_repo, config.hub.dataset_repo
    assert repo and name and config.runs_dir
    at = repository.resolve(name, dataset, "dataset")
    commit = repository.resolve(repo, model or PRODUCTION, "model")
    say(f"evaluating {repo} at {commit[:8]} on {name} at {at[:8]}")
    stage.result.revisions |= {
        "dataset": {"repo": name, "revision": at}, "model": {"repo": repo, "revision": commit}
    }  # fmt: skip
    folder = repository.download(repo, commit, "model")
    tasks = [task for task in stage.tasks if with_task(folder, task)]
    if not tasks:
        raise StageError(f"{repo} at {commit[:8]} has no task of the recipe {config.recipe}", 2)
    rows = load_rows(name, at, readers_of(tasks))
    place = Path(config.runs_dir).parent / "evaluations" / f"{commit[:12]}-{at[:12]}"
    found = {}
    for task in tasks:
        task.take(rows, check=False)
        found[task.name] = task.score(folder, place / task.name)
    write_json(place / "evaluation.json", {"tasks": found})
    write_report(
        place / "report.html", f"{repo} {commit[:8]} on {name} {at[:8]}",
        {task.name: (task.task.kind, found[task.name]) for task in tasks if task.task.kind != "classify"},
        dataset=dataset_figures({"test": rows["test"]}, *columns_of(tasks)),
    )  # fmt: skip
    say(f"results: {place / 'evaluation.json'}; report: {place / 'report.html'}")
