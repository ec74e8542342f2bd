"""What the dataset's tests share: a good article to bend, invented news, stores, the publisher to run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import gazeta.publish
import gazeta.settings
import pytest
from gazeta.crawl.store import Store
from gazeta.dataset.schema import Row
from gazeta.sites.base import Article
from huggingface_hub import constants
from hypothesis import settings as hypothesis_settings

# A busy machine is no failure: what these properties claim is not how fast they are.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")

ROOT = Path(__file__).resolve().parents[2]

GOOD: Row = {
    "text": "В Зареченске закончили ремонт моста через реку Быструю. Движение по нему откроют в пятницу"
    " утром.\n"
    "Рабочие заменили опоры и уложили новый асфальт, рассказал инженер Семен Ладейкин. По его словам, мост"
    " выдержит и тяжелые грузовики.\n"
    "Жители ждали открытия почти год: объезд занимал около сорока минут. Автобусы вернутся на прежний путь"
    " со следующей недели, а ночью движение будут закрывать для проверки.",
    "summary": "Мост в центре Зареченска снова открывают после года ремонта, автобусы пойдут прежней"
    " дорогой.",
    "title": "В Зареченске открывают мост через Быструю",
    "date": "2024-05-17 09:30:00",
    "url": "https://www.gazeta.ru/social/2024/05/17/18800001.shtml",
    "rubric": "social",
    "summary_origin": "lead",
    "fetched_at": "2024-05-18 06:00:00",
}


@pytest.fixture(scope="session")
def good() -> Row:
    """An article that breaks no rule."""
    return GOOD


@pytest.fixture(scope="session")
def invented() -> Callable[[int], list[Row]]:
    """The first `count` of the demo's invented articles, as rows."""
    sys.path.insert(0, str(ROOT / "demo"))
    from news import generate

    def rows(count: int) -> list[Row]:
        return [
            {
                "text": "\n".join(told["paragraphs"]),
                "summary": told["summary"],
                "title": told["title"],
                "date": told["date"],
                "url": f"https://www.gazeta.ru/{told['rubric']}/{told['date'][:4]}/{number}.shtml",
                "rubric": told["rubric"],
                "summary_origin": "lead",
                "fetched_at": "2026-01-01 00:00:00",
            }
            for number, told in enumerate(generate(count))
        ]

    return rows


def keep_all(path: Path, rows: Iterable[Row]) -> None:
    with Store(path) as store:
        crawl = store.start_crawl("gazeta", {"limit": "10"})
        with store.transaction():
            for row in rows:
                fields = ("url", "title", "summary", "text", "date", "rubric")
                article = Article(*(row[name] for name in fields), summary_origin="lead", site="gazeta")
                store.keep(row["url"], article, crawl)
        store.finish_crawl(crawl, "done", {"crawl": crawl, "fetched": 10, "kept": 10})


@pytest.fixture
def fill() -> Callable[[Path, Iterable[Row]], None]:
    """Put rows into the store of an artifacts folder, as a crawl would."""

    def into(artifacts: Path, rows: Iterable[Row]) -> None:
        keep_all(artifacts / "crawl" / "crawl.sqlite3", rows)

    return into


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m gazeta.publish` (or another module) as a user would. `set` overrides the environment."""

    def run(
        hub, artifacts: Path, *arguments: str, module: str = "gazeta.publish", **set: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "ARTIFACTS_DIR": str(artifacts),
            "DATASET_REPO": "demo/news",
            "OMP_NUM_THREADS": "1",
            **hub.environment(tmp_path / "hf"),
            **set,
        }
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT / "dataset_parser",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def run_publish(tmp_path: Path, monkeypatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same in this process, which saves three seconds of imports: its settings are set, not read."""

    def run(hub, artifacts: Path, *arguments: str, **set: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
            patch.setenv("HF_TOKEN", set.get("HF_TOKEN", hub.token))
            patch.setattr(gazeta.settings, "HF_ENDPOINT", set.get("HF_ENDPOINT", hub.url))
            patch.setattr(gazeta.settings, "DATASET_REPO", set.get("DATASET_REPO", "demo/news"))
            patch.setattr(gazeta.settings, "ARTIFACTS_DIR", artifacts)
            patch.setattr(gazeta.settings, "CRAWL_DIR", artifacts / "crawl")
            for name in ("RECIPE", "SOURCE_FILE"):
                patch.setattr(gazeta.settings, name, set.get(name, getattr(gazeta.settings, name)))
            patch.setattr(gazeta.settings, "STORE_PATH", artifacts / "crawl" / "crawl.sqlite3")
            said, told = StringIO(), StringIO()
            with redirect_stdout(said), redirect_stderr(told):
                code = gazeta.publish.main(arguments)
        return subprocess.CompletedProcess(list(arguments), code, said.getvalue(), told.getvalue())

    return run
