"""The model whose behaviour is tested: a model revision's folder, named by the variable MODEL_DIR.

MODEL_DIR=artifacts/demo/runs/RUN/model ./tests/run.sh tests/model
"""

from __future__ import annotations

import json
import os
import sys
from itertools import islice
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_dir() -> Path:
    given = os.environ.get("MODEL_DIR")
    if not given:
        pytest.skip("no model to test: set MODEL_DIR to a model revision's folder")
    folder = Path(given) if Path(given).is_absolute() else ROOT / given
    if not (folder / "tasks.json").exists():
        pytest.fail(f"MODEL_DIR={given} holds no tasks.json: it is no model revision's folder")
    return folder


@pytest.fixture(scope="session")
def news() -> list[dict]:
    """Rows like the model's own: MODEL_NEWS, a file of JSON lines with text and title; else invented news."""
    given = os.environ.get("MODEL_NEWS")
    if given:
        with Path(given).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in islice(lines, 200)]
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        from news import generate
    finally:
        sys.path.remove(str(ROOT / "demo"))
    # Another seed than the demo's own: articles that the model has not seen.
    articles = islice(generate(200, seed=1), 200)
    return [{"text": " ".join(each["paragraphs"]), "title": each["title"]} for each in articles]
