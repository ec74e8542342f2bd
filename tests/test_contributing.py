"""What CONTRIBUTING.md says a change takes, done to a copy of the code as a contributor would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gazeta.crawl.store import Store
from gazeta.sites.base import Article

REPO = "demo/news"


@pytest.fixture
def copied(repo_root: Path, tmp_path: Path) -> Path:
    """The stage's folder, to be changed."""
    return shutil.copytree(
        repo_root / "dataset_parser",
        tmp_path / "dataset_parser",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def publish(hub, tmp_path: Path) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        environment = {
            "PATH": os.environ["PATH"], "ARTIFACTS_DIR": str(tmp_path / "artifacts"), "DATASET_REPO": REPO,
            "OMP_NUM_THREADS": "1", **hub.environment(tmp_path / "hf"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "gazeta.publish"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_column_takes_the_three_changes_it_says(hub, repo_root, copied, publish, tmp_path: Path) -> None:
    sys.path.insert(0, str(repo_root / "demo"))
    from news import generate

    artifacts = tmp_path / "artifacts"
    with Store(artifacts / "crawl" / "crawl.sqlite3") as store:
        crawl = store.start_crawl("gazeta", {"limit": "60"})
        with store.transaction():
            for number, told in enumerate(generate(60)):
                url = f"https://www.gazeta.ru/{told['rubric']}/{told['date'][:4]}/{number}.shtml"
                text = "\n".join(told["paragraphs"])
                era = f"эпоха {number}" if number % 2 else ""
                article = Article(
                    url, told["title"], told["summary"], text, told["date"], told["rubric"], era=era
                )
                store.keep(url, article, crawl)
        store.finish_crawl(crawl, "done", {"crawl": crawl, "fetched": 60, "kept": 60})
    assert "published 60 rows" in publish(repo_root / "dataset_parser")

    # Beside whatever was added before, so that this holds once a column was really added.
    rules = copied / "gazeta" / "dataset" / "rules.py"
    change(rules, 'DATE_FORMAT = "', 'COLUMNS = (*COLUMNS, "era")\nDATE_FORMAT = "')
    change(rules, "    summary_origin: str\n", "    era: str\n    summary_origin: str\n")
    change(rules, '    summary_origin: str = ""', '    era: str = ""\n    summary_origin: str = ""')
    change(
        rules,
        "        summary_origin=article.summary_origin,\n",
        "        summary_origin=article.summary_origin,\n        era=tidy_line(article.era),\n",
    )
    said = publish(copied)
    assert "published 60 rows" in said and "0 added" in said
    assert "nothing to do" in publish(copied)

    from datasets import load_dataset
    from huggingface_hub import HfApi, snapshot_download

    head = HfApi(endpoint=hub.url).dataset_info(REPO).sha
    folder = snapshot_download(
        REPO, repo_type="dataset", revision=head, endpoint=hub.url, cache_dir=tmp_path / "reader"
    )
    card = Path(folder, "README.md").read_text(encoding="utf-8")
    assert "name: era" in card and "the first six are never empty" in card
    splits = load_dataset(folder, cache_dir=str(tmp_path / "loaded"))
    eras = {row["url"].split("/")[-1]: row["era"] for part in splits.values() for row in part}
    assert len(eras) == 60
    assert eras == {f"{number}.shtml": f"эпоха {number}" if number % 2 else "" for number in range(60)}


def test_a_metric_takes_one_module_and_the_gate_can_judge_by_it(repo_root: Path, tmp_path: Path) -> None:
    stage = shutil.copytree(
        repo_root / "t5_training", tmp_path / "t5_training", ignore=shutil.ignore_patterns("__pycache__")
    )
    metrics = stage / "t5sum" / "judge" / "metrics.py"
    change(metrics, '    "rougeL": "ROUGE-L",\n', '    "rougeL": "ROUGE-L",\n    "same": "same",\n')
    change(metrics, 'BY_ARTICLE = ("rouge1",', 'BY_ARTICLE = ("same", "rouge1",')
    change(metrics, '        "meteor": meteor(', '        "same": 100.0 * same,\n        "meteor": meteor(')
    code = """
import os
from t5sum.kinds import make_tasks
from t5sum.load import load_config
from t5sum.metrics import score

assert score(["а б", "в"], ["а б", "г"])["same"] == 50.0
[summarize, _] = make_tasks(load_config(["tasks.summarize.gate.metric=same"], os.environ))
assert summarize.metrics["same"] == "same"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=stage, capture_output=True, text=True,
        env={**os.environ, "RECIPES_DIR": str(repo_root / "recipes")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
