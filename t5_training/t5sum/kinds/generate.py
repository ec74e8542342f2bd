"""Text in, text out: a T5 that is fine-tuned, exported to CTranslate2 in int8, and judged against lead-1."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from t5sum.config import GenerateTask
from t5sum.generate.base import Base, resolve_base
from t5sum.generate.evaluate import LEAD, MODEL, PRODUCTION, Evaluation, evaluate
from t5sum.generate.predict import Export
from t5sum.identity import t5_settings
from t5sum.judge.gate import Measure, decide
from t5sum.judge.metrics import BY_ARTICLE, METRICS
from t5sum.judge.report import text_table
from t5sum.judge.scoring import SystemScores
from t5sum.kinds.base import Judged, Kind
from t5sum.progress import say
from t5sum.run import ranks
from t5sum.run.directory import Run, read_json, write_json
from t5sum.sources import prompt

COMPARED_TEXTS = 8  # on which the export must write what the trained model writes


class Generate(Kind):
    task: GenerateTask
    metrics: ClassVar = METRICS
    judged_by: ClassVar = BY_ARTICLE
    needs_t5: ClassVar = True

    @property
    def place(self) -> str:
        """The first one lies at the root of the revision, so that from_pretrained(repo) finds it."""
        return "" if self.name == next(iter(self.config.of_kind("generate"))) else f"{self.name}/"

    def base(self, run: Run) -> Base:
        return resolve_base(self.run(run).path / "base.json", self.config, self.place, self.name)

    def train(self, run: Run) -> None:
        """Of several processes all train; what was done before is done by none."""
        here, settings = self.run(run), t5_settings(self.config, self.task)
        base = self.base(run)

        def work() -> dict[str, Any]:
            from t5sum.generate.train import train

            if len(self.config.of_kind("generate")) > 1:
                say(f"{self.name}: training its T5")
            return train(here, self.rows, base.folder, self.config, self.task)

        wanted = ranks.together(lambda: here.finished("train", settings) is None)
        if ranks.rank() == 0:
            here.once("train", settings, work)
        elif wanted:
            work()

    def export(self, run: Run) -> None:
        here = self.run(run)

        def work() -> dict[str, Any]:
            from t5sum.generate.export import export

            texts = [prompt(row, self.task.template) for row in self.rows["validation"][:COMPARED_TEXTS]]
            return export(here.trained, here.export, self.task, texts)

        here.once("export", asdict(self.task.generation), work)

    def section(self, run: Run) -> dict[str, Any]:
        return {
            "engine": "ct2",
            "model": f"{self.place}ct2",
            "tokenizer": f"{self.place}tokenizer.json",
            "eos": self.run(run).gave("export").get("eos", "</s>"),
            "compute_type": "int8",
            "source_max_tokens": self.task.source_max_tokens,
            "generation": asdict(self.task.generation),
        }

    def settings(self) -> dict[str, Any]:
        given = ("generation", "gate", "metrics")
        return {name: asdict(self.task)[name] for name in given} | {"evaluate": asdict(self.config.evaluate)}

    def evaluate(self, run: Run, production: Path | None) -> Judged:
        here = self.run(run).path
        served_now = self.served(production) if production else None
        found = evaluate(
            Export.of(run.model, self.name),
            self.rows["test"],
            self.config.evaluate,
            served_now,
            here / "made",
        )
        figures = keep(found, here)
        served = found.systems.get(PRODUCTION)
        decision = decide(
            Measure(METRICS[self.task.gate.metric].rstrip("*")), self.columns_of(found.systems[MODEL]),
            self.columns_of(found.systems[LEAD]), self.columns_of(served) if served else None,
            self.task.gate, LEAD, self.veto(found.systems[MODEL].predictions), self.absent,
        )  # fmt: skip
        return Judged(self.chosen(found.metrics), figures, decision)

    def score(self, folder: Path, kept: Path) -> dict[str, Any]:
        export = Export.of(folder, self.name)
        return keep(evaluate(export, self.rows["test"], self.config.evaluate, memory_dir=kept), kept)

    def served(self, production: Path) -> Export | None:
        """The task in production, if its files are ours."""
        export = Export.of(production, self.name)
        if (export.engine / "model.bin").exists():
            return export
        say("the model in production is not one of ours: it is left out of the comparison")
        return None

    def columns_of(self, system: SystemScores) -> Any:
        return system.per_article[self.task.gate.metric][:, None]

    def veto(self, predictions: list[str]) -> str:
        """Why these outputs forbid serving whatever their score; empty if they do not."""
        newest = predictions[: self.task.gate.newest]
        empty, allowed = sum(not text.strip() for text in newest) / len(newest), self.task.gate.max_empty
        return f"{empty:.1%} of the outputs are empty, {allowed:.1%} are allowed" if empty > allowed else ""

    def about(self, run: Run) -> dict[str, Any]:
        here = self.run(run)
        base = read_json(here.path / "base.json")
        return {
            "base": {
                "model": base["name"],
                "revision": base["commit"],
                **{key: base[key] for key in ("license", "origin") if base.get(key)},
            },
            "training": here.gave("train"),
            "export": here.gave("export"),
        }


def keep(found: Evaluation, folder: Path) -> dict[str, Any]:
    """The results in full as files, the tables on the screen."""
    figures = found.as_json()
    write_json(folder / "evaluation.json", figures)
    write_json(folder / "articles.json", found.by_article())
    say(text_table(figures))
    return figures
