"""The files of a revision besides its models: tasks.json, metrics.json, provenance.json, card and report."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from t5sum import __version__, repository
from t5sum.card import write_card
from t5sum.config import HOME, Config
from t5sum.identity import fingerprint, stage_settings
from t5sum.judge.gate import all_promoted
from t5sum.judge.report import dataset_figures, write_report
from t5sum.kinds import Kind
from t5sum.repository import RECORD
from t5sum.run.directory import Run, read_json, write_json
from t5sum.tasks import FORMAT

SHOWN = ("dataset", "recipe", "tasks", "code", "libraries", "python", "machine", "made")  # in the report
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "sentencepiece", "ctranslate2",
             "scikit-learn", "huggingface_hub", "numpy")  # fmt: skip


def lay_out(run: Run, tasks: list[Kind], dataset: dict[str, str], config: Config) -> None:
    """The model revision's folder made anew: every task's files, and tasks.json without metrics."""
    shutil.rmtree(run.model, ignore_errors=True)
    run.model.mkdir(parents=True)
    for task in tasks:
        task.lay_out(run)
    write_tasks(run, tasks, dataset, config, {})


def write_tasks(
    run: Run, tasks: list[Kind], dataset: dict[str, str], config: Config, metrics: dict[str, dict[str, float]]
) -> None:
    """Everything the API needs to serve this model revision."""
    sections = {
        each.name: {
            "kind": each.task.kind, "source": each.task.source, "target": each.task.target,
            "metrics": metrics.get(each.name, {}), **each.section(run),
        }
        for each in tasks
    }  # fmt: skip
    value = {"format": FORMAT, "recipe": config.recipe, "dataset": dataset, "tasks": sections}
    write_json(run.model / "tasks.json", value)


def describe(
    run: Run, tasks: list[Kind], rows: dict[str, Any], dataset: dict[str, str], config: Config
) -> None:
    """Write tasks.json, metrics.json, provenance.json, card and report."""
    lay_out(run, tasks, dataset, config)
    judged = {each.name: each.run(run).gave("evaluate") for each in tasks}
    figures = {name: each["figures"] for name, each in judged.items()}
    decisions = {name: each["gate"] for name, each in judged.items()}
    write_tasks(run, tasks, dataset, config, {name: each["metrics"] for name, each in judged.items()})
    write_json(run.model / "metrics.json", {"tasks": figures, "gate": decisions})
    record = provenance(run, tasks, dataset, config, decisions)
    write_json(run.model / RECORD, record)
    for each in tasks:
        loss = each.run(run).path / "loss.png"
        if loss.exists():
            shutil.copy2(loss, run.model / each.place / "loss.png")
    write_card(run.model, record, read_json(run.model / "tasks.json"), figures, config)
    write_report(
        run.model / "report.html",
        f"{config.hub.model_repo or 'A model'}, trained on {dataset['repo']} {dataset['revision'][:8]}",
        {each.name: (each.task.kind, figures[each.name]) for each in tasks},
        decisions=decisions,
        losses={each.name: losses(each.run(run).log) for each in tasks},
        dataset=dataset_figures(rows, *columns_of(tasks)),
        crawl=crawl_report(dataset),
        lineage={key: record[key] for key in SHOWN},
        durations=record["seconds"],
    )
    shutil.copy2(run.model / "report.html", run.path / "report.html")


def columns_of(tasks: list[Kind]) -> tuple[list[str], list[str]]:
    """The columns whose texts are measured for the report, and those whose values are counted."""
    texts = [column for each in tasks for column in each.task.template.columns]
    texts += [each.task.target for each in tasks if each.task.kind == "generate"]
    return list(dict.fromkeys(texts)), [each.task.target for each in tasks if each.task.kind == "classify"]


def losses(log: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl; none for a task without."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def crawl_report(dataset: dict[str, str]) -> dict[str, Any] | None:
    """What the parser counted while collecting this dataset revision, if it came from our parser."""
    folder = repository.download(dataset["repo"], dataset["revision"], "dataset")
    path = folder / "crawl_report.json"
    return read_json(path) if path.exists() else None


def provenance(
    run: Run, tasks: list[Kind], dataset: dict[str, str], config: Config, decisions: dict[str, Any]
) -> dict[str, Any]:
    """Everything that made this revision: enough to make it again."""
    settings = stage_settings(config)
    seconds = {
        f"{each.name}: {step}": spent
        for each in tasks
        for step, spent in each.run(run).seconds().items()
        if step in ("train", "export", "evaluate")
    }
    return {
        "format": 2,
        "recipe": config.recipe,
        "dataset": dataset,
        "settings": fingerprint(settings),
        "config": settings,
        "tasks": {each.name: {"kind": each.task.kind, **each.about(run)} for each in tasks},
        "promoted": all_promoted(decisions),
        "gate": decisions,
        "seconds": seconds,
        "code": {"version": __version__, "git": git_commit()},
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "made": read_json(run.path / "run.json")["began"],
    }


def git_commit() -> str | None:
    """The commit of this code, with a + if files differ from it; None outside a clone."""
    answers = []
    for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "."]):
        try:
            done = subprocess.run(
                ["git", *words], cwd=HOME, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        answers.append(done.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")
