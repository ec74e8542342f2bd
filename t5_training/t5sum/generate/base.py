"""Where the training of a T5 starts: a model of the Hub, a folder, random weights, or the served model."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5sum import StageError, repository
from t5sum.config import Config
from t5sum.progress import say
from t5sum.repository import PRODUCTION
from t5sum.run import ranks
from t5sum.run.directory import read_json, write_json

BASE_FILES = ["*.json", "*.model", "*.txt"]


@dataclass(frozen=True)
class Base:
    """`folder` is None for a model of our own shape with random weights."""

    name: str
    commit: str | None
    folder: Path | None


def resolve_base(kept: Path, config: Config, place: str, name: str) -> Base:
    """The base model, downloaded. kept: a file that makes a run keep the commit it began with.

    name: of the task. place: where its files lie in a model revision, if training continues from production.
    """
    return ranks.first_then_all(lambda: load_base(kept, config, place, name))


def load_base(kept: Path, config: Config, place: str, name: str) -> Base:
    if kept.exists():
        chosen = read_json(kept)
    else:
        chosen = choose_base(config, place, name)
        write_json(kept, chosen)
    name, commit = chosen["name"], chosen["commit"]
    if name == "scratch":
        return Base(name, None, None)
    if commit is None:
        if not Path(name).is_dir():
            raise StageError(f"model.base={name} is no folder any more; this run began with it", 2)
        return Base(name, None, Path(name))
    say(f"base: {name} at {commit[:8]}")
    inside = chosen.get("place", "")
    patterns = [f"{inside}{each}" for each in (*BASE_FILES, *weight_files(name, commit, inside))]
    return Base(name, commit, repository.download(name, commit, "model", patterns) / inside)


def choose_base(config: Config, place: str, name: str) -> dict[str, Any]:
    if config.model.init == "production" and config.hub.model_repo:
        repo = config.hub.model_repo
        served = repository.revisions(repo).get(PRODUCTION)
        if served and f"{place}config.json" in repository.files(repo, served):
            return {
                "name": repo, "commit": served, "place": place, "origin": find_origin(repo, served, name)
            }  # fmt: skip
        say("model.init=production, but no model is in production yet: starting from model.base")
    base = config.model.base
    if base == "scratch" or Path(base).is_dir():
        return {"name": base, "commit": None}
    commit = repository.resolve(base, config.model.revision, "model", cached=True)
    return {"name": base, "commit": commit, "license": repository.licence(base, commit)}


def find_origin(repo: str, commit: str, name: str) -> dict[str, Any] | None:
    """The base that the task of this model revision once started from; None if no record says so."""
    seen = set()
    while commit not in seen:
        seen.add(commit)
        record = repository.load_record(repo, commit)
        about = record.get("tasks", {}).get(name, record)  # in the first edition it stood at the top
        base = about.get("base") or {}
        if base.get("origin") or base.get("model") != repo:
            return base.get("origin") or base or None
        commit = base["revision"]
    return None


def weight_files(name: str, commit: str, inside: str) -> list[str]:
    """One form of the weights, not every one that the repository offers."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        snapshot_download(name, revision=commit, local_files_only=True)
        return ["*.safetensors", "pytorch_model*.bin"]  # here already, whichever it is
    found = [each.removeprefix(inside) for each in repository.files(name, commit) if each.startswith(inside)]
    safe = [each for each in found if each.endswith(".safetensors") and "/" not in each]
    return safe or ["pytorch_model*.bin"]
