"""A site is added by a parser module, a spider and its fixtures: here is one, in second/, and it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gazeta.store import Store

SECOND = Path(__file__).parent / "second"
CASES = sorted(path.stem for path in (SECOND / "pages").glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_a_page_of_the_second_outlet_gives_what_is_written_beside_it(name: str, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(SECOND))
    import vestnik

    expected = json.loads((SECOND / "pages" / f"{name}.json").read_text(encoding="utf-8"))
    article = vestnik.parse_article((SECOND / "pages" / f"{name}.html").read_bytes(), expected["url"])
    assert {name: getattr(article, name) for name in expected["article"]} == expected["article"]


def test_two_outlets_share_one_store_and_one_schema(
    start: Callable, crawl: Callable, repo_root: Path
) -> None:
    first = start("--articles", "15", "--no-awkward")
    second = start("--articles", "60", "--no-awkward", "--outlet", "second")
    done = crawl(first.url)
    assert done.code == 0
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "scrapy",
            "crawl",
            "vestnik",
            "-s",
            "SPIDER_MODULES=gazeta.spiders,vestnik_spider",
        ],
        cwd=repo_root / "dataset_parser",
        env={
            **os.environ,
            "SITE_URL": second.url,
            "CRAWL_DELAY": "0",
            "ARTIFACTS_DIR": str(done.folder),
            "PYTHONPATH": str(SECOND),
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
    stories = second.told("articles.json")
    for story in stories:
        row = rows[second.url + story["path"]]
        assert (row.site, row.title, row.text) == ("vestnik", story["title"], story["text"])
        assert row.date == story["date"] and row.rubric == story["rubric"].replace("lifestyle", "style")
    assert len(rows) == 15 + len(stories)
