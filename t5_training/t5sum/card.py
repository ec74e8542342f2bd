"""The model card: model_card.md filled with what this run found. And its figures and report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from t5sum.config import Config
from t5sum.judge.metrics import METRICS
from t5sum.repository import endpoint
from t5sum.run.directory import Run

TEMPLATE = Path(__file__).with_name("model_card.md")


def render_card(
    repo: str, record: dict[str, Any], evaluation: dict[str, Any], topic: dict[str, Any],
    metrics: dict[str, float], config: Config,
) -> str:  # fmt: skip
    """The card's text. record and evaluation: the JSON files; topic: what the topics step gave."""
    from jinja2 import Environment, StrictUndefined

    base = record["base"]["model"]
    scratch = base == "scratch"
    page = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        repo=repo,
        base=None if scratch or record["base"]["revision"] is None else base,
        origin="A small T5 with weights of its own" if scratch else f"A T5 that started from {base}",
        endpoint=endpoint(),
        dataset=record["dataset"],
        metrics=metrics,
        rows=evaluation["rows"],
        confidence=evaluation["confidence"],
        columns=METRICS,
        systems={name: system["scores"] for name, system in evaluation["systems"].items()},
        traits=evaluation["systems"]["model"]["traits"],
        reference_traits=evaluation["reference"]["traits"],
        topic={
            "chosen": topic["report"]["chosen"],
            "names": [each["name"] for each in topic["tasks"]["labels"]],
            "macro_f1": metrics.get("topic_macro_f1"),
        },
        gate=record["gate"],
        prefix=config.summarize.prefix,
        source_max_tokens=config.summarize.source_max_tokens,
        training=record["training"],
        effective_batch=config.train.effective_batch,
        lr=f"{config.train.lr:g}",
    )


def write_card(
    run: Run, record: dict[str, Any], evaluation: dict[str, Any], topic: dict[str, Any],
    metrics: dict[str, float], config: Config,
) -> None:  # fmt: skip
    """README.md and the loss curve into the model's folder."""
    repo = config.hub.model_repo or "unpublished"
    card = render_card(repo, record, evaluation, topic, metrics, config)
    (run.model / "README.md").write_text(card, encoding="utf-8")
    shutil.copy2(run.path / "loss.png", run.model / "loss.png")
