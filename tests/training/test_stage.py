"""`python main.py` as a user runs it, against the stand-in Hub."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from huggingface_hub import HfApi, snapshot_download
from t5sum.judge.metrics import METRICS

MODEL = "demo/t5"
FILES = {
    ".gitattributes", "README.md", "config.json", "ct2/config.json", "ct2/model.bin",
    "ct2/shared_vocabulary.json", "generation_config.json", "loss.png", "metrics.json", "model.safetensors",
    "provenance.json", "report.html", "tasks.json", "tokenizer.json", "tokenizer_config.json",
    "topic/model.safetensors",
}  # fmt: skip


def tags(hub: Any) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in HfApi(endpoint=hub.url).list_repo_refs(MODEL).tags}


def commits(hub: Any) -> list[str]:
    return [each.commit_id for each in HfApi(endpoint=hub.url).list_repo_commits(MODEL)]


def files(hub: Any, revision: str, tmp_path: Path) -> Path:
    return Path(snapshot_download(MODEL, revision=revision, endpoint=hub.url, cache_dir=tmp_path / "cache"))


def errors(done: Any) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_one_command_makes_a_served_model(served, cycle, hub, tmp_path: Path) -> None:
    assert "Traceback" not in cycle.whole.stderr
    assert "\r" not in cycle.whole.stdout + cycle.whole.stderr
    revision = tags(hub)["production"]
    assert commits(hub)[0] == revision
    assert len(commits(hub)) == 2, "the repository's first commit and ours"
    folder = files(hub, "production", tmp_path)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES

    tasks = json.loads((folder / "tasks.json").read_text())
    assert tasks["dataset"] == {"repo": "demo/news", "revision": cycle.dataset}
    assert (tasks["format"], tasks["recipe"], list(tasks["tasks"])) == (2, "gazeta", ["summarize", "topic"])
    summarize, topic = tasks["tasks"].values()
    assert (summarize["kind"], summarize["source"], summarize["target"]) == (
        "generate", "summarize: {text}", "summary",
    )  # fmt: skip
    assert (summarize["source_max_tokens"], summarize["generation"]["beam_size"]) == (64, 2)
    assert {label["label"] for label in topic["labels"]} == {"politics", "culture", "sport"}
    assert set(summarize["metrics"]) == set(METRICS) and set(topic["metrics"]) == {"macro_f1", "accuracy"}
    found = json.loads((folder / "metrics.json").read_text())
    assert list(found["tasks"]) == list(found["gate"]) == ["summarize", "topic"]
    record = json.loads((folder / "provenance.json").read_text())
    assert (record["dataset"]["revision"], record["recipe"]) == (cycle.dataset, "gazeta")
    assert record["config"]["training"]["tasks"]["summarize"]["train"]["lr"] == 0.01
    assert record["tasks"]["summarize"]["training"]["steps"] == 8
    assert record["promoted"] is True
    assert {name: each["promoted"] for name, each in record["gate"].items()} == {
        "summarize": True, "topic": True,
    }  # fmt: skip
    assert record["libraries"]["torch"]
    card = (folder / "README.md").read_text()
    assert "production" in card and "lead-1" in card and cycle.dataset[:8] in card
    for name in ("provenance.json", "metrics.json", "tasks.json", "README.md", "report.html"):
        assert str(cycle.folder) not in (folder / name).read_text(), "nothing of this machine is published"


def test_training_alone_publishes_nothing_and_the_whole_stage_goes_on_from_there(served, cycle) -> None:
    assert "published" not in cycle.train.stdout
    assert "train: done before, kept" in cycle.whole.stdout
    [run] = served.runs()
    assert not (run / "summarize" / "checkpoints").exists(), "what is published needs no checkpoints any more"


def test_the_second_run_has_nothing_to_do_and_loads_no_torch(served, hub, tiny) -> None:
    before = commits(hub)
    words = served.command(*tiny)[1:]
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)"
    )
    home = Path(words[0]).parent
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=home, env={**served.environment, "PYTHONPATH": str(home)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("nothing to do: model demo/t5")
    assert commits(hub) == before


def test_settings_of_serving_keep_the_training(served, hub, tiny, tmp_path: Path) -> None:
    first = tags(hub)["production"]
    done = served(*tiny, "tasks.summarize.generation.length_penalty=1.01")
    assert done.returncode == 0, done.stderr
    assert "train: done before, kept" in done.stdout
    assert "summaries by the model in production" not in done.stderr
    assert tags(hub) == {"production": commits(hub)[0], "previous": first}
    tasks = json.loads((files(hub, "production", tmp_path) / "tasks.json").read_text())
    assert tasks["tasks"]["summarize"]["generation"]["length_penalty"] == 1.01
    found = json.loads((files(hub, "production", tmp_path) / "metrics.json").read_text())
    assert "production" in found["tasks"]["summarize"]["systems"], "it is judged beside the served model"
    assert found["gate"]["topic"]["production"] == found["gate"]["topic"]["candidate"]


def test_new_rows_train_again_from_the_model_in_production(served, hub, tiny, rows, publish) -> None:
    first = tags(hub)["production"]
    more = rows(70)
    publish({"train": more[:50], "validation": more[50:58], "test": more[58:]})
    done = served(*tiny, "model.init=production")
    assert done.returncode == 0, done.stderr
    assert "50 train" in done.stdout
    assert "new: the dataset or the settings changed" in done.stdout
    assert f"base: {MODEL} at {first[:8]}" in done.stdout
    assert len(served.runs()) == 2


def strict(tiny: tuple[str, ...]) -> list[str]:
    """Settings under which the tiny model does not pass: it must reach the lead."""
    return [*tiny, "tasks.summarize.gate.margin=0"]


def test_a_refused_model_is_published_but_not_served(served, hub, tiny) -> None:
    good = tags(hub)["production"]
    refused = served(*strict(tiny))
    assert refused.returncode == 4
    [line] = errors(refused)
    worse = commits(hub)[0]
    assert f"the gate refused {MODEL} {worse[:8]}: summarize refused, ROUGE-L" in line
    assert "topic" not in line, "only what was refused is named"
    assert re.search("^gate: topic passed, macro-F1", refused.stdout, re.M)
    assert "python main.py promote" in line
    assert tags(hub) == {"production": good}

    again = served(*strict(tiny))
    assert again.returncode == 0, "a model is served, so the cycle may go on"
    assert "nothing to do" in again.stdout and "refused it" in again.stdout
    assert commits(hub)[0] == worse

    assert served("promote", worse, "because=to see").returncode == 0
    assert tags(hub) == {"production": worse, "previous": good}
    assert served("rollback").returncode == 0
    assert tags(hub) == {"production": good, "previous": worse}
    assert served("rollback").returncode == 0
    assert tags(hub) == {"production": worse, "previous": good}


def test_a_first_model_that_is_refused_leaves_nothing_to_serve(served, hub, tiny) -> None:
    HfApi(endpoint=hub.url, token=hub.token).delete_tag(MODEL, tag="production")
    assert served("rollback").returncode == 2
    assert served(*strict(tiny)).returncode == 4
    assert tags(hub) == {}
    again = served(*strict(tiny))
    assert again.returncode == 4
    assert "no model is in production" in again.stdout


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["trane"], {}, 2, "unknown command trane; there are train"),
        (["promote"], {}, 2, "promote takes one REV after it"),
        (["--fast"], {}, 2, "unknown option --fast"),
        (["train.lrr=1"], {}, 2, "train.lrr is not a setting"),
        (["topic.min_rows=3"], {}, 2, "topic.min_rows is now tasks.topic.min_rows"),
        (["gate.metric=luck"], {}, 2, "gate.metric is now tasks.summarize.gate.metric"),
        (["tasks.summarize.gate.metric=luck"], {}, 2, "one of rouge1, rouge2, rougeL, meteor"),
        ([], {"RECIPE": "absent"}, 2, "recipes in that folder: gazeta"),
        (["config=absent.yaml"], {}, 2, "there is no such file"),
        (["--model=x"], {}, 2, "belongs after evaluate"),
        ([], {"DATASET_REPO": ""}, 2, "DATASET_REPO is not set"),
        ([], {"MODEL_REPO": ""}, 2, "MODEL_REPO is not set"),
        ([], {"HF_TOKEN": ""}, 2, "HF_TOKEN is not set"),
        ([], {"HF_TOKEN": "wrong"}, 2, "does not accept the token"),
        ([], {"DATASET_REPO": "demo/absent"}, 2, "no such repository"),
        ([], {"DATASET_REPO": "no spaces/here"}, 2, "looking up dataset"),
        ([], {"MODEL_REPO": "somebody/t5"}, 2, "who may write to demo"),
        (["hub.dataset_revision=v9"], {}, 2, "v9"),
        ([], {"HF_ENDPOINT": "http://127.0.0.1:9"}, 5, "does not answer"),
        (["upload", "absent"], {}, 2, "no run absent"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(stage, dataset, words, environment, code, said) -> None:
    done = stage(*words, **environment)
    assert done.returncode == code, done.stderr
    [line] = errors(done)
    assert said in line
    assert "Traceback" not in done.stderr
    assert stage.runs() == [], "nothing was begun"


def test_a_read_token_is_refused_before_training(stage, hub, dataset, tiny) -> None:
    done = stage(*tiny, HF_TOKEN=hub.read_token)
    assert done.returncode == 2
    assert "may only read" in errors(done)[0]
    assert stage.runs() == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda row: row.pop("summary"), "no column summary"),
        (lambda row: row.update(text=None), "task summarize: no train nor validation nor test row has text"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_code_3(stage, tiny, rows, publish, spoil, said) -> None:
    made = rows(12)
    for row in made:
        spoil(row)
    publish({"train": made[:6], "validation": made[6:9], "test": made[9:]})
    done = stage(*tiny)
    assert done.returncode == 3, done.stderr
    assert said in errors(done)[0]


def test_a_dataset_without_a_split_is_code_3(stage, tiny, rows, publish) -> None:
    publish({"train": rows(6)})
    done = stage(*tiny)
    assert done.returncode == 3, done.stderr
    assert "no rows in validation, test" in errors(done)[0]


def test_too_few_rows_a_topic_are_said_before_anything_is_trained(stage, dataset, tiny) -> None:
    done = stage(*tiny, "tasks.topic.min_rows=1000")
    assert done.returncode == 3, done.stderr
    [line] = errors(done)
    assert "task topic needs at least two labels with 1000 training rows each; found: " in line
    [run] = stage.runs()
    assert not (run / "summarize" / "checkpoints").exists() and not (run / "summarize" / "trained").exists()


def test_topics_alone_need_no_model(stage, dataset, tiny) -> None:
    done = stage("train-topics", *tiny)
    assert done.returncode == 0, done.stderr
    [run] = stage.runs()
    assert (run / "topic" / "export" / "model.safetensors").exists()
    assert not (run / "summarize").exists()


def test_any_pair_of_revisions_can_be_evaluated(served, cycle, tiny) -> None:
    done = served("evaluate", "--model", "main", "--dataset", cycle.dataset, *tiny)
    assert done.returncode == 0, done.stderr
    [found] = (served.artifacts / "evaluations").glob("*/evaluation.json")
    tasks = json.loads(found.read_text())["tasks"]
    assert set(tasks["summarize"]["metrics"]) == set(METRICS)
    assert set(tasks["topic"]["metrics"]) == {"macro_f1", "accuracy"}
    assert (found.parent / "report.html").exists()
    assert "lead-1" in done.stdout


def test_a_run_can_be_published_again_by_hand(served, hub, tiny) -> None:
    before = commits(hub)
    [run] = served.runs()
    done = served("upload", run.name, *tiny)
    assert done.returncode == 0, done.stderr
    assert commits(hub) == before, "the same files make no new commit"
    HfApi(endpoint=hub.url, token=hub.token).delete_repo(MODEL)
    assert served("upload", str(run), *tiny).returncode == 0
    assert tags(hub)["production"] == commits(hub)[0]


def test_a_model_without_a_file_that_its_tasks_name_is_not_published(served, hub, tiny) -> None:
    before = commits(hub)
    [run] = served.runs()
    topics = run / "model" / "topic" / "model.safetensors"
    topics.rename(topics.with_suffix(".away"))
    done = served("upload", str(run), *tiny)
    topics.with_suffix(".away").rename(topics)
    assert (done.returncode, commits(hub)) == (1, before)
    assert errors(done)[0].endswith(
        "model lacks topic/model.safetensors, which its tasks.json names: not published"
    )


def test_two_runs_do_not_work_in_one_directory(served, tiny) -> None:
    [run] = served.runs()
    with FileLock(run / "lock"):
        done = served("train", *tiny)
    assert done.returncode == 6
    assert "another run works in" in errors(done)[0]


def test_help_names_every_command(stage) -> None:
    done = stage("--help")
    assert done.returncode == 0
    for word in (
        "train-topics",
        "evaluate",
        "promote REV",
        "rollback",
        "upload RUN",
        "--smoke",
        "Exit codes",
    ):
        assert word in done.stdout


def test_smoke_with_a_tracker_has_its_record_or_says_how_to_install_it(stage, rows, publish) -> None:
    articles = rows(150)
    publish({"train": articles[:110], "validation": articles[110:130], "test": articles[130:]})
    done = stage("--smoke", "tracking=mlflow")
    if importlib.util.find_spec("mlflow"):
        assert done.returncode == 0, done.stderr
        assert "tracking: mlflow has the run, mlflow ui --backend-store-uri sqlite:///" in done.stdout
    else:
        assert done.returncode == 2
        assert "-m pip install mlflow-skinny sqlalchemy alembic" in done.stderr


def test_smoke_does_everything_once_and_publishes_nothing(stage, rows, publish, hub) -> None:
    articles = rows(150)
    publish({"train": articles[:110], "validation": articles[110:130], "test": articles[130:]})
    done = stage("--smoke")
    assert done.returncode == 0, done.stderr
    for word in ("best checkpoint", "topic: ", "export: int8", "gate:", "published nowhere"):
        assert word in done.stdout
    assert not HfApi(endpoint=hub.url).repo_exists(MODEL)
