"""Publish what the store holds: `python -m gazeta.publish [--accept TEST] [--check] [--tokenizer FILE]`.

Merges the store with the dataset on the Hub, cleans, deduplicates, splits, tests the result and makes one
commit to DATASET_REPO on top of the revision it was made from. When someone else committed in between, it is
made again on top of theirs. Nothing new: no commit.

When the Hub cannot be reached the finished dataset waits in ARTIFACTS_DIR/crawl/dataset, and the next run
publishes it, with or without the store.

Exit codes: 0 published or nothing to do, 1 the disk is full, 2 a setting, the token or the repository's name
is wrong, 3 no articles or the data failed its tests, 5 the Hub is not there, 6 another run is active.
"""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gazeta import repository as hub
from gazeta import settings
from gazeta.crawl.store import Store, StoreBusy
from gazeta.dataset import card
from gazeta.dataset.checks import Verdict, check
from gazeta.dataset.local import Dataset, assemble
from gazeta.dataset.shards import NotOurDataset, Revision
from gazeta.progress import say
from gazeta.repository import Hub, HubProblem, Stale

TRIES = 5  # how often to begin again when others commit in between
WAITING = "unpublished.json"  # stands in the dataset's folder while it is not on the Hub
ACCEPTABLE = (
    "rows", "dropped", "language", "text length", "summary length", "added text length", "rubrics"
)  # fmt: skip


class Refused(Exception):
    """Nothing can be published from what is there; the text says why."""


def dataset_folder() -> Path:
    """Where the last finished dataset lies."""
    return settings.CRAWL_DIR / "dataset"


def waiting() -> bool:
    """A finished dataset of an earlier run waits for the Hub."""
    return (dataset_folder() / WAITING).is_file()


def _unpublished(repo: str) -> Revision | None:
    """The dataset that waits, when it was made for this repository."""
    try:
        marker = json.loads((dataset_folder() / WAITING).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if marker.get("repo") != repo:
        return None
    return Revision.in_folder("the dataset that waits to be published", dataset_folder())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _report(dataset: Dataset, verdicts: Sequence[Verdict], crawl: dict[str, Any]) -> dict[str, Any]:
    drops = {
        reason: {
            "count": count,
            "examples": [{"url": url, "title": title} for url, title in dataset.from_store.examples[reason]],
        }
        for reason, count in dataset.from_store.reasons.most_common()
    }
    return {
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "code": card.fingerprint(),
        "site": settings.SITE_URL,
        "user_agent": settings.USER_AGENT,
        "crawl_delay": settings.CRAWL_DELAY,
        "made_from": dataset.before.name if dataset.before else "",
        "rows": dataset.split_sizes(),
        "store": {"articles": dataset.from_store.read, "dropped": drops},
        "published_rows_dropped": dict(dataset.from_before.reasons),
        "duplicates": dict(dataset.duplicate_kinds),
        "added": len(dataset.changes.added),
        "edited": len(dataset.changes.edited),
        "moved": dataset.changes.moved,
        "removed": [{"url": url, "why": why} for url, why in dataset.changes.removed],
        "tests": [{"test": verdict.name, "passed": verdict.ok, "says": verdict.says} for verdict in verdicts],
        "crawl": crawl,
    }


def _refuse_unfit(dataset: Dataset, verdicts: Sequence[Verdict], accepted: Sequence[str]) -> None:
    store = dataset.from_store
    if not dataset.rows:
        if not store.read:
            raise Refused(
                f"there are no articles: the store {settings.STORE_PATH} is empty and so is"
                f" {settings.DATASET_REPO}; run `scrapy crawl gazeta` first"
            )
        reason, count = store.reasons.most_common(1)[0]
        raise Refused(
            f"all {store.read:,} articles of the store were dropped, most for: {reason} ({count:,})"
        )
    failed = [verdict for verdict in verdicts if not verdict.ok and verdict.name not in accepted]
    if failed:
        told = "; ".join(f"{verdict.name}: {verdict.says}" for verdict in failed)
        options = " ".join(f'--accept "{verdict.name}"' for verdict in failed)
        advice = (
            f"; if this is meant, run `python -m gazeta.publish {options}`"
            if all(verdict.acceptable for verdict in failed)
            else ""
        )
        raise Refused(f"the dataset failed its tests and is not published: {told}{advice}")


def _finish(dataset: Dataset, readme: str, report: dict[str, Any], parent: str) -> None:
    """Complete the folder and put it in place of the last one; from here on it waits for the Hub."""
    (dataset.folder / "README.md").write_text(readme, encoding="utf-8")
    card.draw(dataset)
    _write_json(dataset.folder / "crawl_report.json", report)
    _write_json(
        dataset.folder / WAITING, {"repo": settings.DATASET_REPO, "parent": parent, "rows": dataset.rows}
    )
    shutil.rmtree(dataset_folder(), ignore_errors=True)
    dataset.folder = dataset.folder.rename(dataset_folder())


def _message(dataset: Dataset) -> str:
    parts = [
        f"{verb} {count:,}"
        for verb, count in (
            ("add", len(dataset.changes.added)),
            ("edit", len(dataset.changes.edited)),
            ("remove", len(dataset.changes.removed)),
            ("move", dataset.changes.moved),
        )
        if count
    ]
    what = f"{', '.join(parts)} rows" if parts else "update the lineage"
    return f"{what[0].upper()}{what[1:]}: {dataset.rows:,} in all, up to {dataset.dates[-1][:10]}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def publish(store: Store, target: Hub, accepted: Sequence[str] = (), tokenizer: Path | None = None) -> str:
    """Bring the Hub up to date; the line that says what was done.

    Raises Refused, NotOurDataset, HubProblem (the finished dataset waits then), OSError.
    """
    started = time.monotonic()
    crawl = store.last_report()
    unpublished = _unpublished(target.repo)
    count = store.count()
    absent: HubProblem | None = None
    try:
        target.check_token()
        if target.head() is None:
            target.create()
    except HubProblem as problem:
        absent = problem  # the dataset is made all the same, and kept
    for _ in range(TRIES):
        before, parent = None, ""
        if absent is None:
            try:
                # The one place where the branch becomes a commit; all that follows stands on the commit.
                parent = target.head() or ""
                before = target.revision(parent)
            except HubProblem as problem:
                absent = problem
        made = dataset_folder().with_name("dataset.new")
        try:
            dataset = assemble(made, store.articles(), count, before, unpublished)
            verdicts = check(dataset) if dataset.rows else []
            report = _report(dataset, verdicts, crawl)
            _write_json(settings.CRAWL_DIR / "publish_report.json", report)
            if absent is not None and not dataset.rows:
                raise absent
            _refuse_unfit(dataset, verdicts, accepted)
            deleted = sorted(path for path in (before.files if before else {}) if not (made / path).is_file())
            if absent is None and not dataset.changed and not deleted:
                (dataset_folder() / WAITING).unlink(missing_ok=True)
                target.tag(dataset.tag, parent)  # in case the run that committed did not come to it
                return (
                    f"nothing to do: {target.repo} at {parent[:10]} has all that is fit of"
                    f" {_plural(dataset.from_store.read, 'article')} in the store"
                    f" ({_plural(dataset.rows, 'row')}); no commit made"
                )
            _finish(dataset, card.render(dataset, verdicts, report["crawl"], tokenizer), report, parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        if absent is not None:
            raise absent
        paths = [*dataset.changed, "README.md", "crawl_report.json", *card.PLOTS]
        size = sum((dataset.folder / path).stat().st_size for path in paths)
        say(f"committing {_plural(len(paths), 'file')}, {size / 1e6:,.1f} MB, to {target.repo}")
        description = (
            f"Made on top of {parent}. The crawl and the cleaning are told in crawl_report.json,"
            " the rows' origins in lineage/."
        )
        try:
            sha = target.commit(parent, dataset.folder, paths, deleted, _message(dataset), description)
        except Stale:
            say(f"someone committed to {target.repo} in between; making the dataset again on top of theirs")
            unpublished = _unpublished(target.repo)
            continue
        (dataset_folder() / WAITING).unlink()
        target.tag(dataset.tag, sha)
        return (
            f"published {dataset.rows:,} rows to {target.repo} as {sha[:10]}:"
            f" {len(dataset.changes.added):,} added, {len(dataset.changes.edited):,} edited,"
            f" {len(dataset.changes.removed):,} removed; {_plural(len(dataset.changed), 'shard')} uploaded,"
            f" {time.monotonic() - started:.0f} s"
        )
    raise HubProblem(f"others committed to {target.repo} {TRIES} times in between; run again later", 5)


def _kept() -> str:
    return (
        f"; the finished dataset is kept in {dataset_folder()}, and the next run publishes it"
        if waiting()
        else ""
    )


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def _fail(line: str, exit_code: int) -> int:
    print(f"error: {line}", file=sys.stderr)
    return exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gazeta.publish", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--accept", action="append", default=[], choices=ACCEPTABLE, metavar="TEST",
        help=f"publish although this test on the data fails: {', '.join(ACCEPTABLE)}",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only see whether the Hub and the token are fit")
    parser.add_argument(
        "--tokenizer", type=Path, help="a tokenizer.json to give lengths in tokens in the card"
    )
    options = parser.parse_args(arguments)
    try:
        target = hub.from_settings()
        if options.check:
            target.check_token()
            print(f"{target.repo} on {target.endpoint}: the Hub answers and takes the token")
            return 0
        with Store(settings.STORE_PATH) as store:
            print(publish(store, target, options.accept, options.tokenizer))
        return 0
    except HubProblem as problem:
        return _fail(f"{problem}{_kept()}", problem.exit_code)
    except StoreBusy as busy:
        return _fail(str(busy), 6)
    except (Refused, NotOurDataset) as refused:
        return _fail(str(refused), 3)
    except ValueError as error:
        return _fail(str(error), 2)
    except (OSError, sqlite3.OperationalError) as error:
        if line := settings.wrong_folder(error):
            return _fail(line, 2)
        if not _is_disk_full(error):
            raise
        line = f"the disk with {settings.CRAWL_DIR} is full; free some space and run again, nothing is lost"
        return _fail(line + _kept(), 1)
    except KeyboardInterrupt:
        return _fail("stopped; nothing is lost, run again to publish", 130)


if __name__ == "__main__":
    raise SystemExit(main())
