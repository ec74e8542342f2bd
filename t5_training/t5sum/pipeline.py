"""The stage's steps, in the order of main.py. Each looks first whether it was done before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t5sum import StageError, repository
from t5sum.config import Config
from t5sum.data import Rows, load_rows
from t5sum.describe import describe, lay_out
from t5sum.identity import fingerprint, stage_settings, training_settings
from t5sum.judge.gate import in_words
from t5sum.kinds import Kind, make_tasks, readers_of
from t5sum.progress import say
from t5sum.repository import PRODUCTION
from t5sum.run import ranks, tracking
from t5sum.run.directory import Run, write_json
from t5sum.run.result import Result, now
from t5sum.tasks import named_files, read_tasks


class Stage:
    """One call of main.py: what was asked for, and what the steps so far have found."""

    dataset: dict[str, str]  # repo and revision
    run: Run
    rows: Rows
    decisions: dict[str, dict[str, Any]]  # the gate's, by task

    def __init__(self, config: Config, result: Result, t5: bool = True) -> None:
        """t5: whether the generate tasks take part."""
        self.config, self.result = config, result
        self.tasks = [task for task in make_tasks(config) if t5 or not task.needs_t5]

    # ------------------------------------------------------------------------------------ before

    def need_names(self, dataset: bool = True, model: bool = True) -> None:
        """The repositories that a command works with must be named, and a token there."""
        from huggingface_hub import get_token

        hub = self.config.hub
        repository.quiet_client()
        tracking.check(self.config.tracking)
        if dataset and not hub.dataset_repo:
            raise StageError(
                "DATASET_REPO is not set: the dataset to train on, OWNER/NAME; see .env.example", 2
            )
        if model and hub.upload and not hub.model_repo:
            raise StageError(
                "MODEL_REPO is not set: where the model is published, OWNER/NAME; see .env.example", 2
            )
        if model and hub.upload and not get_token():
            raise StageError(
                "HF_TOKEN is not set: a write token of the Hub, to publish with; see .env.example", 2
            )

    def join(self) -> None:
        """Meet the other processes, if several train."""
        if any(task.needs_t5 for task in self.tasks):
            ranks.join(self.config.train.device)

    def resolve_dataset(self) -> None:
        repo, name = self.config.hub.dataset_repo, self.config.hub.dataset_revision
        assert repo
        commit = ranks.together(lambda: repository.resolve(repo, name, "dataset"))
        say(f"dataset: {repo} at {commit[:8]}")
        self.dataset = {"repo": repo, "revision": commit}
        self.result.revisions["dataset"] = self.dataset

    def nothing_to_do(self) -> int | None:
        """The exit code when this dataset was trained on with these settings already; the reason is printed.

        0 when a model is served, whichever it is; 4 when the gate refused the only one there is.
        """
        return ranks.together(self.look_for_the_same) if self.config.hub.upload else None

    def look_for_the_same(self) -> int | None:
        repo, dataset = self.config.hub.model_repo, self.dataset
        assert repo
        named = repository.revisions(repo)
        served = named.get(PRODUCTION)
        for commit in dict.fromkeys(filter(None, (served, named.get("main")))):
            record = repository.load_record(repo, commit)
            if record.get("dataset") != dataset or record.get("settings") != self.fingerprint:
                continue
            made = f"model {repo} {commit[:8]} was trained on {dataset['repo']} {dataset['revision'][:8]}"
            self.result.outcome = "nothing to do"
            self.result.revisions["model"] = {"repo": repo, "revision": served or commit}
            self.result.decisions = record.get("gate", {})
            if commit == served:
                say(f"nothing to do: {made} with these settings and is in production")
                return 0
            if self.own_run().left_off("publish", "promote"):
                self.result.outcome = ""
                return None
            serves = f"production stays at {served[:8]}" if served else "no model is in production"
            if record.get("promoted"):
                say(f"nothing to do: {made} with these settings; {serves}")
            else:
                why = in_words(record.get("gate", {}), only_refused=True)
                say(f"nothing to do: {made} with these settings, and the gate refused it ({why}); {serves}")
            return 0 if served else 4
        return None

    @property
    def fingerprint(self) -> str:
        return fingerprint(stage_settings(self.config))

    def own_run(self) -> Run:
        assert self.config.runs_dir
        name = f"{self.dataset['revision'][:12]}-{fingerprint(training_settings(self.config))}"
        return Run(Path(self.config.runs_dir) / name)

    @contextlib.contextmanager
    def open_run(self) -> Iterator[None]:
        """The run of this dataset and these settings, held for this process alone."""
        self.run = run = self.own_run()
        known = run.path.exists()
        others = list(run.path.parent.glob("*/run.json"))
        locks: list[Any] = []
        ranks.together(lambda: locks.append(run.lock()))
        try:
            if ranks.rank() == 0 and not (run.path / "run.json").exists():
                settings = training_settings(self.config)
                asked = {"dataset": self.dataset, "settings": settings, "began": now()}
                write_json(run.path / "run.json", asked)
            if known:
                say(f"run: {run.path}, begun before")
            else:
                say(f"run: {run.path}, new" + (": the dataset or the settings changed" if others else ""))
            yield
        finally:
            for lock in locks:
                lock.release()

    @contextlib.contextmanager
    def find_run(self, name: str) -> Iterator[None]:
        """An existing run by its folder or the folder's name."""
        folder = Path(self.config.runs_dir or "")
        for path in (Path(name), folder / name):
            if (path / "run.json").exists():
                self.run = Run(path.resolve())
                break
        else:
            known = sorted(path.parent.name for path in folder.glob("*/run.json"))
            raise StageError(f"no run {name} in {folder}; there are: {', '.join(known) or 'none'}", 2)
        lock = self.run.lock()
        try:
            yield
        finally:
            lock.release()

    def check_rights(self) -> None:
        """Before hours are spent: may this token publish?"""
        if self.config.hub.upload:
            repo, private = self.config.hub.model_repo, self.config.hub.private
            assert repo
            ranks.together(lambda: repository.may_write(repo, private))

    def read_rows(self) -> None:
        """The rows of the dataset; each task keeps those that it can use, and checks them."""
        repo, commit = self.dataset["repo"], self.dataset["revision"]
        readers = readers_of(self.tasks)
        self.rows = ranks.first_then_all(lambda: load_rows(repo, commit, readers))
        say("rows: " + ", ".join(f"{len(part)} {split}" for split, part in self.rows.items()))
        self.result.counts |= {f"{split}_rows": len(part) for split, part in self.rows.items()}
        for task in self.tasks:
            task.take(self.rows)
            if left_out := sum(task.left_out.values()):
                where = ", ".join(f"{count} {split}" for split, count in task.left_out.items() if count)
                say(f"{task.name}: {left_out} rows left out, with an empty target or source ({where})")
            self.result.counts[f"{task.name}_left_out"] = left_out

    # ------------------------------------------------------------------------------------ work

    def train(self) -> bool:
        """Whether this process continues with the stage: of several only the first does."""
        for task in self.tasks:
            if task.needs_t5:
                task.train(self.run)
        ranks.part()
        if ranks.rank():
            return False
        for task in self.tasks:
            if not task.needs_t5:
                task.train(self.run)
        return True

    def export(self) -> None:
        for task in self.tasks:
            task.export(self.run)

    def evaluate(self) -> None:
        """Judge every task against the model in production, on the newest test rows."""
        served = None
        if self.config.hub.upload and self.config.hub.model_repo:
            served = repository.revisions(self.config.hub.model_repo).get(PRODUCTION)
        folders = {task.name: task.run(self.run) for task in self.tasks}
        given = {
            task.name: {**task.settings(), "trained": folders[task.name].given("train"), "served": served}
            for task in self.tasks
        }
        production = None
        if any(folders[name].finished("evaluate", given[name]) is None for name in folders):
            lay_out(self.run, self.tasks, self.dataset, self.config)
            production = self.served_files(served) if served else None
        for task in self.tasks:
            theirs = with_task(production, task)
            if production and not theirs:
                task.absent = "production has no such task"
            folders[task.name].once(
                "evaluate", given[task.name], lambda task=task, theirs=theirs: judge(task, self.run, theirs)
            )
        self.decisions = {name: folder.gave("evaluate")["gate"] for name, folder in folders.items()}
        self.result.decisions = self.decisions

    def served_files(self, commit: str) -> Path | None:
        """What the evaluation needs of the model in production; None if that is not one of ours."""
        repo = self.config.hub.model_repo
        assert repo
        folder = repository.download(repo, commit, "model", ["tasks.json"])
        if not (folder / "tasks.json").exists():
            say(
                f"the model in production ({commit[:8]}) is not one of ours: it is left out of the comparison"
            )
            return None
        return repository.download(repo, commit, "model", ["tasks.json", *named_files(folder)])

    def describe(self) -> None:
        """Write card, report and records."""
        describe(self.run, self.tasks, self.rows, self.dataset, self.config)
        say(f"report: {self.run.path / 'report.html'}")

    def track(self) -> None:
        """Give the finished model to the tracker, if there is one: its figures, its files, its report."""
        if self.config.tracking == "none":
            return
        metrics = {task.name: task.run(self.run).gave("evaluate")["metrics"] for task in self.tasks}

        def work() -> dict[str, Any]:
            figures = {
                f"test_{task}_{name}": value for task in metrics for name, value in metrics[task].items()
            }
            logs = [path for task in self.tasks if (path := task.run(self.run).log).exists()]
            pictures = [path for log in logs if (path := log.with_name("loss.png")).exists()]
            tracking.keep(self.run, self.config, figures, [self.run.model, *pictures, *logs])
            return {}

        self.run.once("track", {"tracking": self.config.tracking, "metrics": metrics}, work)


def judge(task: Kind, run: Run, production: Path | None) -> dict[str, Any]:
    found = task.evaluate(run, production)
    return {"metrics": found.metrics, "figures": found.figures, "gate": found.decision.as_json()}


def with_task(production: Path | None, task: Kind) -> Path | None:
    """The files in production, if they have this task: another kind or target makes it another task."""
    if production is None:
        return None
    section = read_tasks(production)["tasks"].get(task.name, {})
    same = (section.get("kind"), section.get("target")) == (task.task.kind, task.task.target)
    return production if same else None
