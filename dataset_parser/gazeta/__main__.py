"""Stage 1: `python -m gazeta [since=… until=… rubrics=… limit=…]` crawls, then publishes.

Ends with the first exit code that is not 0; what was collected stays for the next run. A finished dataset
that the Hub did not take last time is published without a crawl.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from gazeta import settings

ROOT = Path(__file__).resolve().parent.parent


def run(command: list[str]) -> int:
    """Run a step, passing on the signals that ask us to stop: `docker stop` must reach the crawl."""
    step = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Ctrl+C reaches the step by itself; we only must not die before it.
        signal.signal(number, lambda got, _: step.send_signal(got) if got == signal.SIGTERM else None)
    code = step.wait()
    return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> int:
    if (settings.CRAWL_DIR / "dataset" / "unpublished.json").is_file():
        print("a finished dataset waits for the Hub: publishing it without a crawl", file=sys.stderr)
        return run(["gazeta.publish"])
    options = [part for argument in arguments for part in ("-a", argument)]
    code = run(["scrapy", "crawl", "gazeta", *options])
    return code or run(["gazeta.publish"])


if __name__ == "__main__":
    if any("=" not in argument for argument in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        raise SystemExit(0 if set(sys.argv[1:]) <= {"-h", "--help"} else 2)
    raise SystemExit(main(sys.argv[1:]))
