"""Stage 1: `python -m gazeta [since=… until=… rubrics=… limit=…]` crawls, then publishes.

Whether the Hub will take the dataset is asked first, as a crawl takes hours: a Hub that is down does not stop
it, a wrong setting does. Ends with the first exit code that is not 0; what was collected stays for the next
run. A finished dataset that the Hub did not take last time is published without a crawl.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from gazeta import settings
from gazeta.crawl.plan import BadArgument, parse_arguments
from gazeta.sites import gazeta as pages

# Spiders, in the order in which they crawl. The dataset is published when all of them ended well.
SITES = ("gazeta",)
ROOT = Path(__file__).resolve().parent.parent


def run(command: list[str], stderr: IO[str] | int | None = None) -> tuple[int, str]:
    """Run a step; its exit code, and what it said to `stderr` if that is a pipe.

    Signals that ask us to stop are passed on: `docker stop` must reach the crawl.
    """
    step = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stderr=stderr, encoding="utf-8", errors="replace"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # Ctrl+C reaches the step by itself; we only must not die before it.
        signal.signal(number, lambda got, _: step.send_signal(got) if got == signal.SIGTERM else None)
    _, words = step.communicate()
    code = step.returncode
    return (code if code >= 0 else 128 - code), words or ""


def check_hub() -> int:
    """0 when a crawl is worth its hours: the Hub takes what it brings, or is only down at the moment."""
    code, words = run(["gazeta.publish", "--check"], stderr=subprocess.PIPE)
    if code == 5:
        words = words.rstrip().removeprefix("error: ")
        print(f"warning: {words}; crawling all the same, it may be back by then", file=sys.stderr)
        return 0
    print(words, end="", file=sys.stderr)
    return code


def main(arguments: list[str]) -> int:
    try:
        parse_arguments(dict(argument.split("=", 1) for argument in arguments), pages.RUBRICS)
    except BadArgument as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if (settings.CRAWL_DIR / "dataset" / "unpublished.json").is_file():
        print("a finished dataset waits for the Hub: publishing it without a crawl", file=sys.stderr)
        return run(["gazeta.publish"])[0]
    if code := check_hub():
        return code
    options = [part for argument in arguments for part in ("-a", argument)]
    # Another address stands in for the first site; the others would be fetched for real.
    for site in SITES if settings.SITE_URL == settings.GAZETA_URL else SITES[:1]:
        code, _ = run(["scrapy", "crawl", site, *options])
        if code:
            return code
    return run(["gazeta.publish"])[0]


if __name__ == "__main__":
    if any("=" not in argument for argument in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        raise SystemExit(0 if set(sys.argv[1:]) <= {"-h", "--help"} else 2)
    try:
        raise SystemExit(main(sys.argv[1:]))
    except OSError as error:
        if not (line := settings.wrong_folder(error)):
            raise
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None
