"""Brings the Hub up to date: the dataset is assembled, tested, described, and committed if it changed.

The commit is made on top of the revision that the dataset was made from. If someone else committed in
between, the dataset is made again on top of theirs. If the Hub cannot be reached, the finished dataset waits
in ARTIFACTS_DIR/crawl/dataset, and the next run publishes it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gazeta import StageError, settings
from gazeta.crawl.store import Store
from gazeta.dataset import card
from gazeta.dataset.checks import Verdict, check
from gazeta.dataset.files import FileReport, file_name, read_file
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.plots import draw, plots_of
from gazeta.dataset.schema import LINEAGE_FACTS, Row
from gazeta.dataset.shards import Revision
from gazeta.progress import say, watched
from gazeta.recipe import GAZETA, Recipe
from gazeta.repository import Hub, HubProblem, Stale
from gazeta.result import NOTHING_TO_DO, Result

TRIES = 5  # how often to begin again if others commit in between
DESCRIPTION = "crawl_report.json has the crawl and the cleaning, lineage/ the origins of the rows."
WAITING = "unpublished.json"  # is in the dataset's folder while it is not on the Hub


class Refused(StageError):
    """Nothing can be published from what there is."""

    exit_code = 3


def dataset_folder() -> Path:
    """Where the last finished dataset is."""
    return settings.CRAWL_DIR / "dataset"


def waiting() -> bool:
    """Whether a finished dataset of an earlier run waits for the Hub."""
    return (dataset_folder() / WAITING).is_file()


def _unpublished(repo: str, recipe: Recipe) -> Revision | None:
    """The dataset that waits, if it was made for this repository by this recipe."""
    try:
        marker = json.loads((dataset_folder() / WAITING).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if (marker.get("repo"), marker.get("recipe", GAZETA.name)) != (repo, recipe.name):
        return None
    return Revision.in_folder("the dataset that waits to be published", dataset_folder(), recipe.schema)


# What is published


def rows_of(store: Store, recipe: Recipe, files: list[FileReport]) -> Iterator[Row]:
    """The rows of all sources of a recipe. A report per file is added to `files`."""
    names = (*recipe.schema.names, *LINEAGE_FACTS)
    for site in recipe.sites:
        total = store.count() if len(recipe.sites) == 1 else 0
        for article in watched(store.articles(site), f"articles of {site}", total):
            yield {name: getattr(article, name, "") for name in names}
    for source in recipe.files:
        report = FileReport(file_name(source.file))
        files.append(report)
        yield from read_file(source, recipe.schema, report)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _report(
    dataset: Dataset, verdicts: Sequence[Verdict], crawl: dict[str, Any], files: Iterable[FileReport]
) -> dict[str, Any]:
    sources, changes = dataset.from_sources, dataset.changes
    drops: dict[str, dict[str, Any]] = {}
    for reason, count in sources.reasons.most_common():
        examples = [{"url": key, "title": title} for key, title in sources.examples[reason]]
        drops[reason] = {"count": count, "examples": examples}
    return {
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "code": card.fingerprint(),
        "recipe": dataset.recipe.name,
        "site": settings.SITE_URL if dataset.recipe.sites else "",
        "user_agent": settings.USER_AGENT,
        "crawl_delay": settings.CRAWL_DELAY,
        "files": [{"name": file.name, "rows": file.rows, "lines_left_out": dict(file.bad)} for file in files],
        "made_from": dataset.before.name if dataset.before else "",
        "rows": dataset.split_sizes(),
        "store": {"articles": sources.read, "dropped": drops},
        "published_rows_dropped": dict(dataset.from_before.reasons),
        "duplicates": dict(dataset.duplicate_kinds),
        "added": len(changes.added),
        "edited": len(changes.edited),
        "moved": changes.moved,
        "removed": [{"url": key, "why": why} for key, why in changes.removed],
        "tests": [{"test": one.name, "passed": one.ok, "says": one.says} for one in verdicts],
        "crawl": crawl,
    }


def _refuse_unfit(dataset: Dataset, verdicts: Sequence[Verdict], accepted: Sequence[str]) -> None:
    sources = dataset.from_sources
    if not dataset.rows:
        line = (
            f"there are no articles: the store {settings.STORE_PATH} is empty and so is"
            f" {settings.DATASET_REPO}; run `python -m gazeta` first"
        )
        for reason, count in sources.reasons.most_common(1):
            line = f"all {sources.read:,} collected rows were dropped, most for: {reason} ({count:,})"
        raise Refused(line, code="no_rows")
    failed = [verdict for verdict in verdicts if not verdict.ok and verdict.name not in accepted]
    if failed:
        said = "; ".join(f"{verdict.name}: {verdict.says}" for verdict in failed)
        line = f"the dataset failed its tests and is not published: {said}"
        if all(verdict.acceptable for verdict in failed):
            options = " ".join(f'--accept "{verdict.name}"' for verdict in failed)
            line += f"; if this is meant, run `python -m gazeta.publish {options}`"
        raise Refused(line, code="data_tests_failed")


def _finish(dataset: Dataset, readme: str, report: dict[str, Any], parent: str) -> None:
    """Complete the folder and put it in place of the last one; from here on it waits for the Hub."""
    (dataset.folder / "README.md").write_text(readme, encoding="utf-8")
    draw(dataset)
    _write_json(dataset.folder / "crawl_report.json", report)
    marker = {
        "repo": settings.DATASET_REPO, "recipe": dataset.recipe.name, "parent": parent, "rows": dataset.rows,
    }  # fmt: skip
    _write_json(dataset.folder / WAITING, marker)
    shutil.rmtree(dataset_folder(), ignore_errors=True)
    dataset.folder = dataset.folder.rename(dataset_folder())


def _message(dataset: Dataset) -> str:
    counts = {**_counts(dataset), "moved": dataset.changes.moved}
    verbs = {"added": "add", "edited": "edit", "removed": "remove", "moved": "move"}
    parts = [f"{verb} {counts[name]:,}" for name, verb in verbs.items() if counts[name]]
    what = f"{', '.join(parts)} rows" if parts else "update the lineage"
    last = f", up to {dataset.dates[-1][:10]}" if dataset.dates[-1] else ""
    return f"{what[0].upper()}{what[1:]}: {dataset.rows:,} in all{last}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _counts(dataset: Dataset) -> dict[str, int]:
    return {
        "collected": dataset.from_sources.read,
        "dropped_rows": dataset.from_sources.dropped,
        "duplicates": dataset.duplicate_kinds.total(),
        "rows": dataset.rows,
        "added": len(dataset.changes.added),
        "edited": len(dataset.changes.edited),
        "removed": len(dataset.changes.removed),
    }


def publish(
    store: Store,
    target: Hub,
    recipe: Recipe,
    outcome: Result,
    accepted: Sequence[str] = (),
    tokenizer: Path | None = None,
) -> str:
    """Bring the Hub up to date; one line for people. `outcome` gets the revision and the counts.

    Raises Refused, NotOurDataset, BadFile, Unreachable, HubProblem (the finished dataset waits then),
    OSError.
    """
    started = time.monotonic()
    crawl = store.last_report() if recipe.sites else {}
    absent: HubProblem | None = None
    try:
        target.check_token()
        if target.head() is None:
            target.create()
    except HubProblem as problem:
        absent = problem  # the dataset is made all the same, and kept
    for _ in range(TRIES):
        before, parent = None, ""
        unpublished = _unpublished(target.repo, recipe)
        if absent is None:
            try:
                # The one place where the branch becomes a commit; all that follows is based on the commit.
                parent = target.head() or ""
                before = target.revision(parent, recipe.schema)
            except HubProblem as problem:
                absent = problem
        made = dataset_folder().with_name("dataset.new")
        files: list[FileReport] = []
        try:
            dataset = assemble(made, rows_of(store, recipe, files), before, unpublished, recipe)
            verdicts = check(dataset) if dataset.rows else []
            report = _report(dataset, verdicts, crawl, files)
            _write_json(settings.CRAWL_DIR / "publish_report.json", report)
            if absent is not None and not dataset.rows:
                raise absent
            _refuse_unfit(dataset, verdicts, accepted)
            deleted = sorted(path for path in (before.files if before else {}) if not (made / path).is_file())
            if absent is None and not dataset.changed and not deleted:
                (dataset_folder() / WAITING).unlink(missing_ok=True)
                target.tag(dataset.tag, parent)  # in case the run that committed was stopped before it
                outcome.published(target.repo, parent, _counts(dataset))
                outcome.outcome = NOTHING_TO_DO
                return _nothing_to_do(dataset, target, parent)
            _finish(dataset, card.render(dataset, verdicts, crawl, tokenizer, files), report, parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        if absent is not None:
            raise absent
        paths = [*dataset.changed, "README.md", "crawl_report.json", *plots_of(dataset).values()]
        size = sum((dataset.folder / path).stat().st_size for path in paths)
        say(f"committing {_plural(len(paths), 'file')}, {size / 1e6:,.1f} MB, to {target.repo}")
        description = f"Made on top of {parent}. {DESCRIPTION}"
        try:
            sha = target.commit(parent, dataset.folder, paths, deleted, _message(dataset), description)
        except Stale:
            say(f"someone committed to {target.repo} in between; making the dataset again on top of theirs")
            continue
        (dataset_folder() / WAITING).unlink()
        target.tag(dataset.tag, sha)
        counts = _counts(dataset)
        changes = ", ".join(f"{counts[name]:,} {name}" for name in ("added", "edited", "removed"))
        outcome.published(target.repo, sha, counts)
        return (
            f"published {dataset.rows:,} rows to {target.repo} as {sha[:10]}: {changes};"
            f" {_plural(len(dataset.changed), 'shard')} uploaded, {time.monotonic() - started:.0f} s"
        )
    raise HubProblem(f"others committed to {target.repo} {TRIES} times in between; run again later", 5)


def _nothing_to_do(dataset: Dataset, target: Hub, sha: str) -> str:
    what, place = ("article", "store") if dataset.recipe.sites else ("row", "files")
    return (
        f"nothing to do: {target.repo} at {sha[:10]} has all that is fit of"
        f" {_plural(dataset.from_sources.read, what)} in the {place} ({_plural(dataset.rows, 'row')}); no"
        " commit made"
    )


def kept() -> str:
    """What to add to a reason for a failure: whether a finished dataset waits."""
    return (
        f"; the finished dataset is kept in {dataset_folder()}, and the next run publishes it"
        if waiting()
        else ""
    )
