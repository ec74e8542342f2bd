"""The model card: model_card.md filled with what this run found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from t5sum.config import Config, parsed
from t5sum.judge.metrics import METRICS
from t5sum.judge.values import ERRORS
from t5sum.repository import endpoint

TEMPLATE = Path(__file__).with_name("model_card.md")
# Kind → the Hub's names of the task that it is.
ON_THE_HUB = {
    "generate": "text2text-generation", "classify": "text-classification", "regress": "text-classification",
}  # fmt: skip


def render_card(
    repo: str, record: dict[str, Any], tasks: dict[str, Any], figures: dict[str, Any], config: Config
) -> str:
    """The card's text. record, tasks: provenance.json and tasks.json. figures: by task, of metrics.json."""
    from jinja2 import Environment, StrictUndefined

    sections = tasks["tasks"]
    shown = []
    for name, section in sections.items():
        about = record["tasks"][name]
        start = about.get("base", {"model": "scratch", "revision": None})
        base = start.get("origin", start)  # of a task that continued from the served model: where that began
        weights = "a small T5 with weights of its own"
        if base["model"] != "scratch":
            weights = f"a T5 that started from {base['model']}"
        planned = about.get("training", {}).get("plan", asdict(config.train))
        shown.append(
            {
                "name": name,
                "effective_batch": planned["effective_batch"],
                **section,
                **about,
                "columns": parsed(section["source"]).columns,
                "figures": figures[name],
                "gate": record["gate"][name],
                "on_the_hub": "summarization" if name == "summarize" else ON_THE_HUB[section["kind"]],
                "base_model": base["model"] if base.get("revision") and base["model"] != repo else None,
                "license": base.get("license"),
                "origin": weights,
                "folder": section.get("tokenizer", "").removesuffix("tokenizer.json").rstrip("/"),
            }
        )
    page = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        repo=repo,
        endpoint=endpoint(),
        dataset=record["dataset"],
        tasks=shown,
        base=next((each["base_model"] for each in shown if each["base_model"]), None),
        columns=METRICS,
        errors={name: label for name, (label, _) in ERRORS.items()},
        lr=f"{config.train.lr:g}",
    )


def write_card(
    folder: Path, record: dict[str, Any], tasks: dict[str, Any], figures: dict[str, Any], config: Config
) -> None:
    card = render_card(config.hub.model_repo or "unpublished", record, tasks, figures, config)
    (folder / "README.md").write_text(card, encoding="utf-8")
