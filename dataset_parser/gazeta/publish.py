"""Publish the dataset: `python -m gazeta.publish [--accept TEST] [--check] [--tokenizer FILE]`.

Merges the store and the files of the recipe with the dataset on the Hub, cleans, deduplicates, splits, tests
the result and makes one commit to DATASET_REPO; release.py has the steps. Without changes no commit is made.

Exit codes: 0 published or nothing to do, 1 the disk is full, 2 a setting, the recipe, the token or the
repository's name is wrong, 3 no rows or the data failed its tests, 5 the Hub or a file's server is
unreachable, 6 another run is active.
"""

from __future__ import annotations

import argparse
import errno
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gazeta import StageError, result, settings
from gazeta.crawl.store import Store
from gazeta.dataset.checks import acceptable
from gazeta.recipe import Recipe
from gazeta.release import kept, publish
from gazeta.repository import HubProblem, from_settings
from gazeta.result import Result


def publish_recipe(
    recipe: Recipe, outcome: Result, accepted: Sequence[str] = (), tokenizer: Path | None = None
) -> None:
    """Publish by a recipe and note in `outcome` what was done."""
    try:
        target = from_settings()
        with Store(settings.STORE_PATH) as store:
            line = publish(store, target, recipe, outcome, accepted, tokenizer)
    except HubProblem as problem:
        raise HubProblem(f"{problem}{kept()}", problem.exit_code) from problem
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_disk_full(error):
            raise
        why = f"the disk with {settings.CRAWL_DIR} is full; free some space and run again, nothing is lost"
        raise StageError(why + kept(), 1, "disk_full") from None
    print(line)


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)
    return "full" in str(error)


def _options(recipe: Recipe, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gazeta.publish", description=__doc__.split("\n", 1)[0])
    tests = acceptable(recipe)
    parser.add_argument(
        "--accept", action="append", default=[], choices=tests, metavar="TEST",
        help=f"publish although this test on the data fails: {', '.join(tests)}",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="only check that the Hub answers and takes the token"
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="a tokenizer.json; the card then has lengths in tokens, too"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    def work(recipe: Recipe, outcome: Result) -> None:
        options = _options(recipe, arguments)
        if options.check:
            outcome.recorded = False
            target = from_settings()
            target.check_token()
            print(f"{target.repo} on {target.endpoint}: the Hub answers and takes the token")
        else:
            publish_recipe(recipe, outcome, options.accept, options.tokenizer)

    return result.recorded(work)


if __name__ == "__main__":
    raise SystemExit(main())
