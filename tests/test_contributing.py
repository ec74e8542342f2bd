"""What CONTRIBUTING.md says a change takes, done as a contributor would."""

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


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def publish(hub, repo_root: Path, tmp_path: Path) -> Callable[[Path], str]:
    def run(recipe: Path) -> str:
        environment = {
            "PATH": os.environ["PATH"], "ARTIFACTS_DIR": str(tmp_path / "artifacts"), "DATASET_REPO": REPO,
            "OMP_NUM_THREADS": "1", **hub.environment(tmp_path / "hf"), "RECIPE": str(recipe),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "gazeta.publish"],
            cwd=repo_root / "dataset_parser",
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_column_takes_one_line_of_the_recipe(hub, repo_root, publish, tmp_path: Path) -> None:
    sys.path.insert(0, str(repo_root / "demo"))
    from news import generate

    artifacts = tmp_path / "artifacts"
    with Store(artifacts / "crawl" / "crawl.sqlite3") as store:
        crawl = store.start_crawl("gazeta", {"limit": "60"})
        with store.transaction():
            for number, told in enumerate(generate(60)):
                url = f"https://www.gazeta.ru/{told['rubric']}/{told['date'][:4]}/{number}.shtml"
                article = Article(
                    url, told["title"], told["summary"], "\n".join(told["paragraphs"]), told["date"],
                    told["rubric"], subtitle=f"Подзаголовок {number}" if number % 2 else "", site="gazeta",
                )  # fmt: skip
                store.keep(url, article, crawl)
        store.finish_crawl(crawl, "done", {"crawl": crawl, "fetched": 60, "kept": 60})
    recipe = repo_root / "recipes" / "gazeta.yaml"
    assert "published 60 rows" in publish(recipe)

    mine = tmp_path / "gazeta.yaml"
    text = recipe.read_text(encoding="utf-8")
    last = "  rubric: {type: label, required: true}\n"
    assert text.count(last) == 1
    mine.write_text(text.replace(last, f"{last}  subtitle: {{type: line}}\n"), encoding="utf-8")
    said = publish(mine)
    assert "published 60 rows" in said and "0 added" in said
    assert "nothing to do" in publish(mine)

    from datasets import load_dataset
    from huggingface_hub import HfApi, snapshot_download

    head = HfApi(endpoint=hub.url).dataset_info(REPO).sha
    folder = snapshot_download(
        REPO, repo_type="dataset", revision=head, endpoint=hub.url, cache_dir=tmp_path / "reader"
    )
    card = Path(folder, "README.md").read_text(encoding="utf-8")
    assert (
        "name: subtitle" in card and "| `subtitle` | line | the subheading, one line; may be empty |" in card
    )
    splits = load_dataset(folder, cache_dir=str(tmp_path / "loaded"))
    found = {row["url"].split("/")[-1]: row["subtitle"] for part in splits.values() for row in part}
    assert len(found) == 60
    assert found == {
        f"{number}.shtml": f"Подзаголовок {number}" if number % 2 else "" for number in range(60)
    }


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
