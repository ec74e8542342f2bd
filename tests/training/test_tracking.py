"""Tracking by choice: what the tracker is told, and that it cannot stop a training."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import signal
import sqlite3
import subprocess
import sysconfig
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from t5sum import StageError
from t5sum.config import Config
from t5sum.load import load_config
from t5sum.run import tracking
from t5sum.run.directory import Run
from t5sum.run.tracking import PACKAGES, TRACKERS, check, keep, tracked


class Told:
    """A tracker that remembers, and fails when it is told to."""

    def __init__(self, folder: Path, group: str, title: str, settings: dict[str, Any], name: str | None):
        self.name, self.known = name or f"{title} 1", name
        self.settings, self.figures, self.files, self.ended = settings, [], [], ""
        self.locked = False

    def log(self, step: int, figures: dict[str, float]) -> None:
        if self.locked:
            raise sqlite3.OperationalError("database is locked")
        self.figures += [(step, *pair) for pair in figures.items()]

    def keep(self, files: list[Path]) -> None:
        self.files = files

    def end(self, status: str) -> None:
        self.ended = status


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> Config:
    monkeypatch.setitem(TRACKERS, "mlflow", Told)
    monkeypatch.setitem(PACKAGES, "mlflow", {})
    return load_config(["tracking=mlflow"], {"ARTIFACTS_DIR": str(tmp_path), "MODEL_REPO": "demo/t5"})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "abc")
    run.path.mkdir(parents=True)
    return run


def test_nothing_is_tracked_unless_asked_for(run, tmp_path: Path) -> None:
    with tracked(run, load_config([], {"ARTIFACTS_DIR": str(tmp_path)}), run.path / "log.jsonl") as following:
        assert following is None


def test_a_tracker_that_is_not_installed_is_named_with_its_command(monkeypatch) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        StageError, match="-m pip install mlflow-skinny sqlalchemy alembic; or leave"
    ) as raised:
        check("mlflow")
    assert raised.value.code == 2
    check("none")


def test_settings_and_figures_go_to_the_tracker(run, config) -> None:
    with tracked(run, config, run.path / "log.jsonl") as following:
        following.log({"step": 10, "time": "2026-01-01", "loss": 2.5, "learning_rate": 1e-4})
        following.log({"step": 10, "eval_loss": 2.25})
    told = following.tracker
    assert told.settings["train.lr"] == config.train.lr and told.settings["model.scratch.d_kv"] == 64
    assert told.figures == [(10, "loss", 2.5), (10, "learning_rate", 1e-4), (10, "eval_loss", 2.25)]
    assert told.ended == "FINISHED"


def test_steps_that_a_resumed_training_repeats_are_told_once(run, config) -> None:
    with pytest.raises(KeyboardInterrupt), tracked(run, config, run.path / "log.jsonl") as following:
        following.log({"step": 10, "loss": 2.5})
        following.log({"step": 20, "loss": 2.0})
        raise KeyboardInterrupt
    assert following.tracker.ended == "KILLED"
    with tracked(run, config, run.path / "log.jsonl") as again:
        for step, loss in ((20, 2.0), (30, 1.5)):
            again.log({"step": step, "loss": loss})
    assert again.tracker.known == following.tracker.name, "the same run goes on"
    assert again.tracker.figures == [(30, "loss", 1.5)]


def test_a_tracker_chosen_later_is_told_what_the_log_holds(run, config) -> None:
    lines = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
    (run.path / "log.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "lo'
    )
    with tracked(run, config, run.path / "log.jsonl") as following:
        pass
    assert following.tracker.figures == [(1, "loss", 3.0), (2, "loss", 2.0)]


def test_a_tracker_that_fails_is_told_later_and_stops_nothing(run, config, capsys) -> None:
    with tracked(run, config, run.path / "log.jsonl") as following:
        following.tracker.locked = True
        following.log({"step": 1, "loss": 3.0})
        assert "tracking: mlflow did not take it (database is locked); going on" in capsys.readouterr().out
        following.tracker.locked = False
        following.log({"step": 2, "loss": 2.0})
    assert following.tracker.figures == [(1, "loss", 3.0), (2, "loss", 2.0)]


def test_the_model_is_kept_with_its_figures(run, config, capsys, monkeypatch) -> None:
    made = []
    monkeypatch.setitem(TRACKERS, "mlflow", lambda *given: made.append(Told(*given)) or made[-1])
    with tracked(run, config, run.path / "log.jsonl") as following:
        following.log({"step": 7, "loss": 3.0})
    keep(run, config, {"test_summarize_rougeL": 20.5}, [run.model])
    assert made[-1].figures == [(7, "test_summarize_rougeL", 20.5)] and made[-1].files == [run.model]
    said = capsys.readouterr().out
    assert f"mlflow ui --backend-store-uri sqlite:///{run.path.parent.parent}/tracking/mlflow.db" in said


# ------------------------------------------------------------------ the real ones, out of the package index

# What they would tell their makers.
QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "GRADIO_ANALYTICS_ENABLED": "False"}


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Makes an environment and installs packages from the index; `beside` this one it sees this one's."""

    def make(name: str, install: str, beside: bool) -> Path:
        folder = tmp_path / name
        venv.create(folder, with_pip=True)
        [site] = folder.glob("lib/python*/site-packages")
        if beside:
            (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
        done = in_shell(f"python -m {install} --disable-pip-version-check", folder)
        words = done.stdout + done.stderr
        if done.returncode and re.search(r"(?i)connection|resolve host|timed out|network", words):
            pytest.skip("no package index answers here")
        assert done.returncode == 0, words
        return folder

    return make


def in_shell(line: str, place: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=600, **options
    )


def line_of(page: Path, kind: str, column: int) -> str:
    """What the page's table has for a tracker: how it is installed (2), how its record is looked at (3)."""
    [row] = re.findall(rf"^\| `tracking={kind}` .*", page.read_text(encoding="utf-8"), re.M)
    return row.split("|")[column].strip().strip("`")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_a_tracker_has_the_whole_stage_and_shows_it_by_the_lines_of_the_page(
    kind: str, stage, dataset, tiny, place, free_port, wait_for, monkeypatch, repo_root: Path
) -> None:
    page = repo_root / "t5_training/README.md"
    folder = place("venv", line_of(page, kind, 2), beside=True)
    stage.python = str(folder / "bin/python")
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    stage.environment |= QUIET
    stopped = stage("train", *tiny, f"tracking={kind}")
    assert stopped.returncode == 0, stopped.stderr
    done = stage(*tiny, f"tracking={kind}")
    assert done.returncode == 0, done.stderr
    assert f"tracking: {kind} has the run" in done.stdout
    [run] = stage.runs()
    losses = [
        (line["step"], line["loss"])
        for line in map(json.loads, (run / "summarize" / "log.jsonl").read_text().splitlines())
        if "loss" in line
    ]
    tasks = json.loads((run / "model" / "tasks.json").read_text())["tasks"]
    rouge = tasks["summarize"]["metrics"]["rougeL"]
    found = read(kind, stage.python, stage.artifacts / "tracking", run)
    assert dict(found["loss"]) == pytest.approx(dict(losses)) and len(found["loss"]) == len(losses)
    assert found["rougeL"] == pytest.approx(rouge)
    assert found["lr"] == "0.01"

    # mlflow's pages come with the full package, which the page sends to an environment of its own.
    viewer = place("viewer", "pip install mlflow", beside=False) if kind == "mlflow" else folder
    port = free_port()
    there = stage.artifacts.parent / "t5_training"  # the page's line is one for the folder of the stage
    there.mkdir()
    line = f"{line_of(page, kind, 3)}{'' if kind == 'trackio' else f' --port {port}'}"
    with (stage.artifacts / "viewer.log").open("w") as log:
        viewing = subprocess.Popen(
            ["bash", "-c", f"exec env {line}"], cwd=there, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": f"{viewer / 'bin'}{os.pathsep}{os.environ['PATH']}",
                 "GRADIO_SERVER_PORT": str(port), "BROWSER": "true"},
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, viewing, seconds=120)
            assert shown(kind, url, run), Path(log.name).read_text()
        except (OSError, RuntimeError):
            raise AssertionError(Path(log.name).read_text()) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(viewing.pid, signal.SIGKILL)
            viewing.wait()


def read(kind: str, python: str, folder: Path, run: Path) -> dict[str, Any]:
    """What the tracker's own Python finds: these tests' process would keep its modules and their warnings."""
    reader = {"mlflow": read_mlflow, "tensorboard": read_tensorboard, "trackio": read_trackio}[kind]
    script = "\n".join([
        "from __future__ import annotations", "import json, sqlite3, sys", "from pathlib import Path",
        inspect.getsource(reader),
        f"print(json.dumps({reader.__name__}(Path(sys.argv[1]), Path(sys.argv[2]))))",
    ])  # fmt: skip
    done = subprocess.run([python, "-c", script, str(folder), str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def shown(kind: str, url: str, run: Path) -> bool:
    """Whether the tracker's pages know the run."""
    match kind:
        case "tensorboard":
            return run.name in ask(f"{url}/data/runs")
        case "mlflow":
            found = ask(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 10})
            [experiment] = [each for each in found["experiments"] if each["name"] == "demo/t5"]
            ids = {"experiment_ids": [experiment["experiment_id"]]}
            runs = ask(f"{url}/api/2.0/mlflow/runs/search", ids)["runs"]
            return [each["info"]["run_name"] for each in runs] == [run.name]
    runs = ask(f"{url}/api/get_runs_for_project", {"project": "demo-t5"})["data"]
    return [each["name"] for each in runs] == [run.name]


def ask(url: str, body: dict | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def read_mlflow(folder: Path, run: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    [experiment] = [each for each in client.search_experiments() if each.name == "demo/t5"]
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == run.name
    kept = Path(client.download_artifacts(found.info.run_id, "model"))
    weights = "model.safetensors"
    assert (kept / weights).read_bytes() == (run / "model" / weights).read_bytes()
    assert {"loss.png", "log.jsonl", "model"} <= {f.path for f in client.list_artifacts(found.info.run_id)}
    history = client.get_metric_history(found.info.run_id, "loss")
    return {
        "loss": [(each.step, each.value) for each in history],
        "rougeL": found.data.metrics["test_summarize_rougeL"],
        "lr": found.data.params["train.lr"],
    }


def read_tensorboard(folder: Path, run: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard" / run.name))
    events.Reload()
    [text] = events.Tensors("settings/text_summary")
    settings = text.tensor_proto.string_val[0].decode()
    [line] = [line for line in settings.splitlines() if "train.lr:" in line]
    [last] = events.Scalars("test_summarize_rougeL")
    return {
        "loss": [(each.step, each.value) for each in events.Scalars("loss")],
        "rougeL": last.value,
        "lr": line.split()[-1],
    }


def read_trackio(folder: Path, run: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "trackio" / "demo-t5.db") as base:
        rows = base.execute("select step, metrics from metrics where run_name = ? order by id", [run.name])
        lines = [(step, json.loads(text)) for step, text in rows]
        [config] = base.execute("select config from configs where run_name = ?", [run.name]).fetchone()
    return {
        "loss": [(step, line["loss"]) for step, line in lines if "loss" in line],
        "rougeL": [line["test_summarize_rougeL"] for _, line in lines if "test_summarize_rougeL" in line][-1],
        "lr": str(json.loads(config)["train.lr"]),
    }
