"""Another site is one file in sites/ and its fixtures: here is one, in second/, and it works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from gazeta.crawl.store import Store

SECOND = Path(__file__).parent / "second"


def test_two_outlets_share_one_store_one_schema_and_one_dataset(
    start: Callable, crawl: Callable, repo_root: Path, hub, tmp_path: Path
) -> None:
    first = start("--articles", "15", "--no-awkward")
    second = start("--articles", "60", "--no-awkward", "--outlet", "second", "--seed", "7")  # other news
    done = crawl(first.url)
    assert done.code == 0
    stage = tmp_path / "stage"
    shutil.copytree(repo_root / "dataset_parser", stage, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SECOND / "vestnik.py", stage / "gazeta" / "sites")
    process = subprocess.run(
        [sys.executable, "-m", "scrapy", "crawl", "vestnik"],
        cwd=stage,
        env={
            **os.environ,
            "SITE_URL": second.url,
            "CRAWL_DELAY": "0",
            "ARTIFACTS_DIR": str(done.folder),
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=200,
    )
    assert process.returncode == 0, process.stderr
    with Store(done.folder / "crawl" / "crawl.sqlite3") as store:
        rows = {article.url: article for article in store.articles()}
        assert len(list(store.articles("gazeta"))) == 15
    stories = second.facts("articles.json")
    for story in stories:
        row = rows[second.url + story["path"]]
        assert (row.site, row.title, row.text) == ("vestnik", story["title"], story["text"])
        assert row.date == story["date"] and row.rubric == story["rubric"].replace("lifestyle", "style")
    assert len(rows) == 15 + len(stories)

    recipe = tmp_path / "both.yaml"
    recipe.write_text("sources: [{site: gazeta}, {site: vestnik}]")
    published = subprocess.run(
        [sys.executable, "-m", "gazeta.publish"],
        cwd=repo_root / "dataset_parser",
        env=os.environ
        | hub.environment(tmp_path / "hf")
        | {"ARTIFACTS_DIR": str(done.folder), "DATASET_REPO": "demo/news", "RECIPE": str(recipe)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert published.returncode == 0, published.stderr
    shards = sorted((done.folder / "crawl" / "dataset" / "data").glob("*.parquet"))
    urls = [url for shard in shards for url in pq.read_table(shard).column("url").to_pylist()]
    assert Counter(url.split("/")[2] for url in urls) == Counter(
        {first.url.split("/")[2]: 15, second.url.split("/")[2]: 60}
    )
