"""The stage's steps, in the order of main.py: each looks first whether it was done before."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t5sum import StageError, __version__
from t5sum import repository as hub_of
from t5sum.config import HOME, Config, fingerprint, stage_settings, topic_settings, training_settings
from t5sum.progress import say
from t5sum.repository import PRODUCTION, RECORD
from t5sum.run import ranks
from t5sum.run.directory import Run, read_json, write_json

COMPARED_TEXTS = 8  # on which the export must write what the trained model writes
BASE_FILES = ["*.json", "*.model", "*.txt"]
SHOWN = ("dataset", "base", "training", "code", "libraries", "python", "machine", "made")  # in the report
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "sentencepiece", "ctranslate2",
             "scikit-learn", "huggingface_hub", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """A dataset revision."""

    repo: str
    commit: str


@dataclass(frozen=True)
class Base:
    """Where training starts: `folder` is None for a model of our own shape."""

    name: str
    commit: str | None
    folder: Path | None


# ------------------------------------------------------------------------------------------ before


def need_names(config: Config, dataset: bool = True, model: bool = True) -> None:
    """The repositories that a command works with must be named, and a token there."""
    from huggingface_hub import get_token

    from t5sum.run import tracking

    hub_of.quiet_client()
    tracking.check(config.tracking)
    if dataset and not config.hub.dataset_repo:
        raise StageError("DATASET_REPO is not set: the dataset to train on, OWNER/NAME; see .env.example", 2)
    if model and config.hub.upload and not config.hub.model_repo:
        raise StageError(
            "MODEL_REPO is not set: where the model is published, OWNER/NAME; see .env.example", 2
        )
    if model and config.hub.upload and not get_token():
        raise StageError(
            "HF_TOKEN is not set: a write token of the Hub, to publish with; see .env.example", 2
        )


def resolve_dataset(config: Config) -> Dataset:
    repo = config.hub.dataset_repo
    assert repo
    commit = ranks.together(lambda: hub_of.resolve(repo, config.hub.dataset_revision, "dataset"))
    say(f"dataset: {repo} at {commit[:8]}")
    return Dataset(repo, commit)


def run_of(config: Config, dataset: Dataset) -> Run:
    assert config.runs_dir
    return Run(Path(config.runs_dir) / f"{dataset.commit[:12]}-{fingerprint(training_settings(config))}")


def nothing_to_do(config: Config, dataset: Dataset) -> int | None:
    """The exit code when this dataset was trained on with these settings already, with the reason on stdout.

    0 when a model is served, whichever it is; 4 when the gate refused the only one there is.
    """
    if not config.hub.upload:
        return None
    return ranks.together(lambda: look_for_the_same(config, dataset))


def look_for_the_same(config: Config, dataset: Dataset) -> int | None:
    assert config.hub.model_repo
    named = hub_of.revisions(config.hub.model_repo)
    served = named.get(PRODUCTION)
    for commit in dict.fromkeys(filter(None, (served, named.get("main")))):
        record = hub_of.load_record(config.hub.model_repo, commit)
        same = record.get("dataset") == asdict_of(dataset) and record.get("settings") == settings_of(config)
        if not same:
            continue
        made = (
            f"model {config.hub.model_repo} {commit[:8]} was trained on {dataset.repo} {dataset.commit[:8]}"
        )
        if commit == served:
            say(f"nothing to do: {made} with these settings and is in production")
            return 0
        run = run_of(config, dataset)
        if run.left_off("publish", "promote"):
            return None
        verdict = record.get("gate", {})
        serves = f"production stays at {served[:8]}" if served else "no model is in production"
        if verdict.get("promoted"):
            say(f"nothing to do: {made} with these settings; {serves}")
        else:
            say(
                f"nothing to do: {made} with these settings, and the gate refused it "
                f"({verdict.get('reason')}); {serves}"
            )
        return 0 if served else 4
    return None


def asdict_of(dataset: Dataset) -> dict[str, str]:
    return {"repo": dataset.repo, "revision": dataset.commit}


def settings_of(config: Config) -> str:
    return fingerprint(stage_settings(config))


@contextlib.contextmanager
def open_run(config: Config, dataset: Dataset) -> Iterator[Run]:
    """The run of this dataset and these settings, held for this process alone."""
    run = run_of(config, dataset)
    known = run.path.exists()
    others = list(run.path.parent.glob("*/run.json"))
    locks: list[Any] = []
    ranks.together(lambda: locks.append(run.lock()))
    try:
        if ranks.rank() == 0 and not (run.path / "run.json").exists():
            asked = {"dataset": asdict_of(dataset), "settings": training_settings(config), "began": now()}
            write_json(run.path / "run.json", asked)
        if known:
            say(f"run: {run.path}, begun before")
        else:
            say(f"run: {run.path}, new" + (": the dataset or the settings changed" if others else ""))
        yield run
    finally:
        for lock in locks:
            lock.release()


@contextlib.contextmanager
def find_run(config: Config, name: str) -> Iterator[Run]:
    """An existing run by its folder or the folder's name."""
    assert config.runs_dir
    for path in (Path(name), Path(config.runs_dir) / name):
        if (path / "run.json").exists():
            run = Run(path.resolve())
            break
    else:
        known = sorted(path.parent.name for path in Path(config.runs_dir).glob("*/run.json"))
        raise StageError(f"no run {name} in {config.runs_dir}; there are: {', '.join(known) or 'none'}", 2)
    lock = run.lock()
    try:
        yield run
    finally:
        lock.release()


def check_rights(config: Config) -> None:
    """Before hours are spent: may this token publish?"""
    if config.hub.upload:
        assert config.hub.model_repo
        repo, private = config.hub.model_repo, config.hub.private
        ranks.together(lambda: hub_of.may_write(repo, private))


def read_rows(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    from t5sum.data import load_rows

    rows = ranks.first_then_all(lambda: load_rows(dataset.repo, dataset.commit))
    say("rows: " + ", ".join(f"{len(part)} {split}" for split, part in rows.items()))
    return rows


def check_topics(rows: dict[str, Any], config: Config) -> None:
    """What would stop the topic classifier stops the stage before the T5 is trained."""
    from t5sum.classify import topics as topic

    topic.check_topics(rows["train"][::-1], config.topic)


def resolve_base(run: Run, config: Config) -> Base:
    """Where training starts. A run keeps the base commit it began with."""
    return ranks.first_then_all(lambda: load_base(run, config))


def load_base(run: Run, config: Config) -> Base:
    path = run.path / "base.json"
    if path.exists():
        chosen = read_json(path)
    else:
        chosen = choose_base(config)
        write_json(path, chosen)
    name, commit = chosen["name"], chosen["commit"]
    if name == "scratch":
        return Base(name, None, None)
    if commit is None:
        if not Path(name).is_dir():
            raise StageError(f"model.base={name} is no folder any more; this run began with it", 2)
        return Base(name, None, Path(name))
    say(f"base: {name} at {commit[:8]}")
    return Base(name, commit, hub_of.download(name, commit, "model", BASE_FILES + weight_files(name, commit)))


def choose_base(config: Config) -> dict[str, str | None]:
    if config.model.init == "production" and config.hub.model_repo:
        served = hub_of.revisions(config.hub.model_repo).get(PRODUCTION)
        if served:
            return {"name": config.hub.model_repo, "commit": served}
        say("model.init=production, but no model is in production yet: starting from model.base")
    base = config.model.base
    if base == "scratch" or Path(base).is_dir():
        return {"name": base, "commit": None}
    return {"name": base, "commit": hub_of.resolve(base, config.model.revision, "model", cached=True)}


def weight_files(name: str, commit: str) -> list[str]:
    """One form of the weights, not every one that the repository offers."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        snapshot_download(name, revision=commit, local_files_only=True)
        return ["*.safetensors", "pytorch_model*.bin"]  # here already, whichever it is
    with hub_of.hub_errors(f"looking up model {name}"):
        files = HfApi().list_repo_files(name, revision=commit)
    safe = [each for each in files if each.endswith(".safetensors") and "/" not in each]
    return safe or ["pytorch_model*.bin"]


# ------------------------------------------------------------------------------------------ work


def train(run: Run, rows: dict[str, Any], base: Base, config: Config) -> bool:
    """Whether this process goes on with the stage: of several only the first does."""

    def work() -> dict[str, Any]:
        from t5sum.generate.train import train

        gave = train(run, rows, base.folder, config)
        ranks.part()
        return gave

    settings = training_settings(config)
    wanted = ranks.together(lambda: run.finished("train", settings) is None)
    if ranks.rank():
        if wanted:
            work()
        return False
    run.once("train", settings, work)
    return True


def topics(run: Run, rows: dict[str, Any], config: Config) -> None:
    def work() -> dict[str, Any]:
        from t5sum.classify.topics import train_topics

        t5 = None
        if config.topic.t5_rows:  # the summarizer goes on to learn topics; without one, its base
            t5 = run.trained if run.trained.exists() else load_base(run, config).folder
            if t5 is None:
                raise StageError(
                    "topic.t5_rows compares a T5, and there is none yet: run python main.py train first, or "
                    "name one in model.base", 2)  # fmt: skip
        shutil.rmtree(run.path / "topics", ignore_errors=True)
        oldest_first = {split: part[::-1] for split, part in rows.items()}
        return train_topics(oldest_first, config.topic, run.path, say, t5)

    run.once("topics", topic_settings(config), work)


def export(run: Run, rows: dict[str, Any], config: Config) -> None:
    def work() -> dict[str, Any]:
        from t5sum.generate.examples import source_text
        from t5sum.generate.export import export

        texts = [
            source_text(row["text"], row["title"] or "", config.summarize)
            for row in rows["validation"][:COMPARED_TEXTS]
        ]
        return export(run.trained, run.model, config, texts)

    run.once("export", asdict(config.generation), work)


def evaluate(run: Run, rows: dict[str, Any], dataset: Dataset, config: Config) -> None:
    """Score the candidate, and the model in production, on the newest test rows; and let the gate judge."""
    served = None
    if config.hub.upload and config.hub.model_repo:
        served = hub_of.revisions(config.hub.model_repo).get(PRODUCTION)

    def work() -> dict[str, Any]:
        from t5sum.judge.evaluate import LEAD, MODEL, evaluate
        from t5sum.judge.evaluate import PRODUCTION as SERVED
        from t5sum.judge.gate import decide

        lay_topics(run)
        write_tasks(run, asdict_of(dataset), config, {})
        found = evaluate(
            run.model, rows["test"], config.evaluate, memory_dir=run.path / "summaries",
            production_dir=served_files(config, served) if served else None,
        )  # fmt: skip
        decision = decide(found.systems[MODEL], found.systems.get(SERVED), found.systems[LEAD], config.gate)
        keep_evaluation(found, run.path)
        return {"metrics": found.metrics, "gate": decision.as_json(), "served": served}

    given = {name: asdict(getattr(config, name)) for name in ("generation", "evaluate", "gate")}
    run.once("evaluate", {**given, "served": served}, work)


def served_files(config: Config, commit: str) -> Path | None:
    """What the evaluation needs of the model in production."""
    assert config.hub.model_repo
    wanted = ["ct2/*", "tokenizer.json", "tasks.json"]
    folder = hub_of.download(config.hub.model_repo, commit, "model", wanted)
    if not (folder / "ct2" / "model.bin").exists():
        say(f"the model in production ({commit[:8]}) is not one of ours: it is left out of the comparison")
        return None
    return folder


def keep_evaluation(found: Any, folder: Path) -> None:
    """The results in full, and the tables on the screen."""
    from t5sum.judge.report import text_table

    results = found.as_json()
    write_json(folder / "evaluation.json", results)
    write_json(folder / "articles.json", found.by_article())
    say(text_table(results))


def lay_topics(run: Run) -> None:
    """Put the topic classifier into the model's folder."""
    path = run.gave("topics")["tasks"]["path"]
    shutil.rmtree(run.model / "topics", ignore_errors=True)
    (run.model / "topics").mkdir()
    shutil.copy2(run.path / path, run.model / path)


def write_tasks(run: Run, dataset: dict[str, str], config: Config, metrics: dict[str, float]) -> None:
    from t5sum.generate.examples import tasks_json

    topic = read_json(run.path / "steps" / "topics.json")["gave"]["tasks"]
    write_json(
        run.model / "tasks.json", tasks_json(dataset, config.summarize, config.generation, topic, metrics)
    )


def describe(run: Run, rows: dict[str, Any], dataset: Dataset, base: Base, config: Config) -> None:
    """Lay tasks.json, metrics.json, provenance.json, card and report beside the model."""
    from t5sum.card import write_card
    from t5sum.judge.report import dataset_figures, write_report

    judged = run.gave("evaluate")
    topic = run.gave("topics")
    evaluation = read_json(run.path / "evaluation.json")
    lay_topics(run)
    metrics = {**judged["metrics"], **topic_metrics(topic["report"])}
    write_tasks(run, asdict_of(dataset), config, metrics)
    write_json(
        run.model / "metrics.json",
        {"summarize": evaluation, "topic": topic["report"], "gate": judged["gate"]},
    )
    record = provenance(run, dataset, base, config)
    write_json(run.model / RECORD, record)
    write_card(run, record, evaluation, topic, metrics, config)
    log = (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    write_report(
        run.model / "report.html",
        f"{config.hub.model_repo or 'A model'}, trained on {dataset.repo} {dataset.commit[:8]}",
        evaluation, judged["gate"], topic["report"], crawl_report(dataset), dataset_figures(rows),
        [json.loads(line) for line in log], {key: record[key] for key in SHOWN}, record["seconds"],
    )  # fmt: skip
    shutil.copy2(run.model / "report.html", run.path / "report.html")
    say(f"report: {run.path / 'report.html'}")


def track(run: Run, config: Config) -> None:
    """Give the finished model to the tracker, if there is one: its figures, its files, its report."""

    def work() -> dict[str, Any]:
        from t5sum.run.tracking import keep

        figures = {**run.gave("evaluate")["metrics"], **topic_metrics(run.gave("topics")["report"])}
        kept = [run.model, run.path / "loss.png", run.path / "log.jsonl"]
        keep(run, config, {f"test_{name}": value for name, value in figures.items()}, kept)
        return {}

    if config.tracking != "none":
        run.once("track", {"tracking": config.tracking, **run.given("evaluate")}, work)


def crawl_report(dataset: Dataset) -> dict[str, Any] | None:
    """What the parser counted while collecting this dataset revision, if it came from our parser."""
    path = hub_of.download(dataset.repo, dataset.commit, "dataset") / "crawl_report.json"
    return read_json(path) if path.exists() else None


def topic_metrics(report: dict[str, Any]) -> dict[str, float]:
    """The exported topic classifier's figures that go into tasks.json; none when no test row has a topic."""
    chosen = next(each for each in report["candidates"] if each["name"] == report["chosen"])
    names = {"macro_f1": "topic_macro_f1", "accuracy": "topic_accuracy"}
    return {name: chosen["test"][key] for key, name in names.items() if chosen["test"].get(key) is not None}


def provenance(run: Run, dataset: Dataset, base: Base, config: Config) -> dict[str, Any]:
    """Everything that made this model: enough to make it again."""
    seconds = run.seconds()
    return {
        "format": 1,
        "dataset": asdict_of(dataset),
        "base": {"model": base.name, "revision": base.commit},
        "settings": settings_of(config),
        "config": stage_settings(config),
        "gate": run.gave("evaluate")["gate"],
        "training": run.gave("train"),
        "export": run.gave("export"),
        "seconds": {
            name: seconds[name] for name in ("train", "topics", "export", "evaluate") if name in seconds
        },
        "code": {"version": __version__, "git": git_commit()},
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "made": read_json(run.path / "run.json")["began"],
    }


def git_commit() -> str | None:
    """The commit of this code, with a + where files differ from it; None outside a clone."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=HOME, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "."],
            cwd=HOME,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# ------------------------------------------------------------------------------------------ after


def publish(run: Run, dataset: Dataset, config: Config) -> None:
    """One commit to MODEL_REPO. Repeated after a failure, it uploads what is missing."""
    if not config.hub.upload:
        return
    repo = config.hub.model_repo
    assert repo

    def work() -> dict[str, Any]:
        from t5sum.publish import publish

        scores = run.gave("evaluate")["metrics"]
        message = f"Train on {dataset.repo} {dataset.commit[:8]}: ROUGE-L {scores['rougeL']:.1f}"
        return {"repo": repo, "revision": publish(run.model, repo, message, config.hub.private)}

    gave = run.once("publish", {"repo": repo, "settings": settings_of(config), **run.given("evaluate")}, work)
    say(f"published: {repo} at {gave['revision'][:8]}")


def publish_again(run: Run, config: Config) -> None:
    """Publish what a finished run left, whatever its records say was uploaded."""
    if not (run.model / RECORD).exists():
        raise StageError(f"{run.path} holds no finished model: run python main.py without a command first", 2)
    (run.path / "steps" / "publish.json").unlink(missing_ok=True)
    (run.path / "steps" / "promote.json").unlink(missing_ok=True)
    record = read_json(run.model / RECORD)
    dataset = Dataset(record["dataset"]["repo"], record["dataset"]["revision"])
    publish(run, dataset, config)


def promote_if_passed(run: Run, config: Config) -> int:
    """Move the tag if the gate said yes, and clear away the checkpoints. The stage's exit code."""
    gate = run.gave("evaluate")["gate"]
    if not config.hub.upload:
        say(f"gate: {'passed' if gate['promoted'] else 'refused'}, {gate['reason']}")
        say(f"done, published nowhere: {run.model}")
        return 0
    published = run.gave("publish")

    def work() -> dict[str, Any]:
        from t5sum.publish import promote

        if gate["promoted"]:
            promote(published["repo"], published["revision"], f"the gate: {gate['reason']}")
        return {"promoted": gate["promoted"]}

    run.once("promote", published, work)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    say(f"gate: {'passed' if gate['promoted'] else 'refused'}, {gate['reason']}")
    if gate["promoted"]:
        return 0
    raise StageError(
        f"the gate refused {published['repo']} {published['revision'][:8]}: {gate['reason']}. It stays "
        f"untagged; to serve it all the same: python main.py promote {published['revision'][:8]}",
        4,
    )


def evaluate_revision(config: Config, model: str, dataset_revision: str) -> int:
    """Score any model revision on any dataset revision; the results as JSON beside the runs."""
    from t5sum.data import load_rows
    from t5sum.judge.evaluate import evaluate
    from t5sum.judge.report import dataset_figures, write_report

    repo = config.hub.model_repo
    assert repo and config.hub.dataset_repo and config.runs_dir
    dataset = Dataset(
        config.hub.dataset_repo, hub_of.resolve(config.hub.dataset_repo, dataset_revision, "dataset")
    )
    commit = hub_of.resolve(repo, model or PRODUCTION, "model")
    say(f"evaluating {repo} at {commit[:8]} on {dataset.repo} at {dataset.commit[:8]}")
    folder = hub_of.download(repo, commit, "model")
    rows = load_rows(dataset.repo, dataset.commit)["test"]
    place = Path(config.runs_dir).parent / "evaluations" / f"{commit[:12]}-{dataset.commit[:12]}"
    found = evaluate(folder, rows, config.evaluate, memory_dir=place)
    keep_evaluation(found, place)
    title = f"{repo} {commit[:8]} on {dataset.repo} {dataset.commit[:8]}"
    write_report(place / "report.html", title, found.as_json(), dataset=dataset_figures({"test": rows}))
    say(f"results: {place / 'evaluation.json'}; report: {place / 'report.html'}")
    return 0
