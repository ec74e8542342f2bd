"""The recipe of this server. The API serves every model; the recipe only says what to expect of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from topic_sum.inference.model import Model

log = logging.getLogger("topic_sum")


@dataclass(frozen=True)
class Recipe:
    """Its name, None if there is no recipe here, and the kind of each of its tasks."""

    name: str | None = None
    tasks: dict[str, str] = field(default_factory=dict)

    def difference(self, model: Model) -> str | None:
        """One line on how `model` differs from what this recipe makes; None if it does not."""
        if self.name is None:
            return None
        if model.recipe not in (None, self.name):
            return f"the model was made by the recipe {model.recipe}, this server has {self.name}"
        served = {name: task.kind for name, task in model.tasks.items()}
        lacks = [name for name, kind in self.tasks.items() if served.get(name) != kind]
        if lacks:
            return f"the model lacks {', '.join(lacks)}, which the recipe {self.name} has; train it again"
        return None


def read_recipe(named: str, folder: Path) -> Recipe:
    """RECIPE is a name in RECIPES_DIR or a path ending in .yaml. Without such a file nothing is expected."""
    path = Path(named) if named.endswith(".yaml") else folder / f"{named}.yaml"
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        tasks = {name: str(task["kind"]) for name, task in (recipe.get("tasks") or {}).items()}
        return Recipe(str(recipe["name"]), tasks)
    except FileNotFoundError:
        return Recipe()
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        log.warning("the recipe %s cannot be read (%s): nothing is expected of the model", path, error)
        return Recipe()
