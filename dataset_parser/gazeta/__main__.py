"""Stage 1: `python -m gazeta [since=… until=… rubrics=… limit=…]` collects by the recipe, then publishes.

The sites of the recipe are crawled first. Before that the Hub is asked whether it takes the dataset, as a
crawl takes hours: a Hub that is down does not stop it, a wrong setting does. Files are read while the dataset
is made. Ends with the first exit code that is not 0; what was collected stays for the next run. A finished
dataset that the Hub did not take last time is published without a crawl.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from gazeta import StageError, result, settings
from gazeta.crawl.plan import BadArgument, parse_arguments
from gazeta.publish import publish_recipe
from gazeta.recipe import BadRecipe, Recipe
from gazeta.release import waiting
from gazeta.repository import HubProblem, from_settings
from gazeta.result import CODES, Result, StepFailed, Terminated
from gazeta.sites import load_sites
from gazeta.values import suggestion

ROOT = Path(__file__).resolve().parent.parent

COUNTED = ("found", "fetched", "kept", "updated", "dropped", "failed")  # of the report, for the result


def run_crawl(site: str, arguments: list[str]) -> int:
    """Crawl a site in a separate process, because Scrapy can run only once per process. Its exit code.

    Signals that ask us to stop are passed on: `docker stop` must reach the crawl.
    """
    options = [part for argument in arguments for part in ("-a", argument)]
    step = subprocess.Popen([sys.executable, "-m", "scrapy", "crawl", site, *options], cwd=ROOT)
    terminated = False

    def stop(*_: object) -> None:
        nonlocal terminated
        terminated = True
        step.send_signal(signal.SIGTERM)

    # Ctrl+C reaches the crawl by itself; we only must not end before it.
    before = [
        (number, signal.signal(number, handler))
        for number, handler in ((signal.SIGTERM, stop), (signal.SIGINT, lambda *_: None))
    ]
    try:
        code = step.wait()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if terminated:
        raise Terminated
    return code if code >= 0 else 128 - code


def crawl(site: str, arguments: list[str], outcome: Result) -> None:
    """Crawl a site and note its counts. Raises StepFailed."""
    before = _report()
    code = run_crawl(site, arguments)
    report = _report()
    report = {} if report == before else report  # a crawl that could not begin leaves the old one
    for name in COUNTED:
        if isinstance(report.get(name), int):
            outcome.counts[name] = outcome.counts.get(name, 0) + report[name]
    if code:
        why = report.get("error") or "; ".join(report.get("alarm", []))
        reason = report.get("error_code") or CODES.get(code, CODES[1])
        raise StepFailed(why or f"the crawl of {site} ended with {code}", code, reason)


def _report() -> dict[str, Any]:
    """What the last crawl did: it leaves this file when it ends."""
    try:
        return json.loads((settings.CRAWL_DIR / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def check_hub() -> None:
    """Raises HubProblem if the Hub would refuse what a crawl brings. One that is down may be back by then."""
    try:
        from_settings().check_token()
    except HubProblem as problem:
        if problem.exit_code != 5:
            raise
        print(f"warning: {problem}; crawling all the same, it may be back by then", file=sys.stderr)


def check_arguments(recipe: Recipe, arguments: list[str]) -> None:
    """Raises StageError for an argument or a site that the crawl would not know."""
    given = dict(argument.split("=", 1) for argument in arguments)
    known = load_sites()
    for site in recipe.sites:
        if site not in known:
            raise BadRecipe(f"recipe {recipe.name}: no site {site}; {suggestion(site, known)}")
        try:
            parse_arguments(given, known[site].rubrics)
        except BadArgument as error:
            raise StageError(str(error), 2, "wrong_argument") from None
    if given and not recipe.sites:
        print(f"recipe {recipe.name} crawls no site: {' '.join(arguments)} is ignored", file=sys.stderr)


def main(arguments: list[str]) -> int:
    def work(recipe: Recipe, outcome: Result) -> None:
        check_arguments(recipe, arguments)
        if waiting():
            print("a finished dataset waits for the Hub: publishing it without a crawl", file=sys.stderr)
        elif recipe.sites:
            check_hub()
            # SITE_URL replaces the first site only; the others would be fetched for real.
            stands_in = settings.SITE_URL != settings.GAZETA_URL
            for site in recipe.sites[:1] if stands_in else recipe.sites:
                crawl(site, arguments, outcome)
        publish_recipe(recipe, outcome)

    return result.recorded(work)


if __name__ == "__main__":
    if any("=" not in argument for argument in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        raise SystemExit(0 if set(sys.argv[1:]) <= {"-h", "--help"} else 2)
    raise SystemExit(main(sys.argv[1:]))
