"""Starts the API, posts one article to it and prints the answer; then the API stays up until Ctrl+C.

    python demo/show.py [--exit] [--running] [--newest]

With `--newest` the article is the newest test row of the dataset that stage 1 left in ARTIFACTS_DIR: the
model was not trained on it. Without it, and if there is no such row, it is the invented one in article.txt.
`--running` asks an API that is already up (in its container) instead of starting one.
`--exit` stops the API after its answer. If the API fails to start, the exit code is the API's own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
API_FOLDER = HERE.parent / "topic_sum_api"
READY_SECONDS = 180


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exit", action="store_true", help="stop the API after its answer")
    parser.add_argument("--running", action="store_true", help="the API already runs; do not start it")
    parser.add_argument(
        "--newest", action="store_true", help="take the newest test article of stage 1's dataset"
    )
    arguments = parser.parse_args()
    base = f"http://127.0.0.1:{os.environ.get('PORT') or '8000'}"

    api = None if arguments.running else subprocess.Popen([sys.executable, "-m", "topic_sum"], cwd=API_FOLDER)
    try:
        if code := wait_until_ready(base, api):
            return code
        article = (newest_article() if arguments.newest else None) or own_article()
        try:
            print_answer(article, ask(base, article))
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")
            # The server's settings leave this computer out, or only the hash of a key is known here.
            if not any(f'"{code}"' in words for code in ("no_key", "wrong_key", "bad_host")):
                print(f"error: {base} answered {error.code}: {words}", file=sys.stderr)
                return 1
            print("the API is ready, but its API_KEYS or ALLOWED_HOSTS keep this script out: it asks nothing")
        if api is None:
            print(f"\nThe API stays up at {base}/ until: docker compose -f docker-compose.api.yml down")
            return 0
        if arguments.exit:
            return 0
        print(f"\nThe API stays up at {base}/ until Ctrl+C.", flush=True)
        return api.wait()
    except KeyboardInterrupt:
        print("\nstopping the API", flush=True)
        return 0
    finally:
        stop(api)


def wait_until_ready(base: str, api: subprocess.Popen | None) -> int:
    """0 once the API says it is ready; its exit code, or 5, when it does not get there."""
    began = shown = time.monotonic()
    words = "no answer"
    while time.monotonic() - began < READY_SECONDS:
        if api is not None and api.poll() is not None:
            return api.returncode or 1
        try:
            with urllib.request.urlopen(f"{base}/health/ready", timeout=5):  # noqa: S310
                return 0
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace").strip()
        except OSError as error:
            words = str(error)
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"waiting for the API, {shown - began:.0f} s (it is given {READY_SECONDS} s)", flush=True)
        time.sleep(0.1)
    print(f"error: the API at {base} is not ready after {READY_SECONDS} s: {words}", file=sys.stderr)
    return 5


def newest_article() -> dict[str, str] | None:
    import pyarrow.parquet  # only --newest needs it, and runs in .venv

    folder = Path(os.environ.get("ARTIFACTS_DIR") or HERE.parent / "artifacts", "crawl", "dataset", "data")
    columns = ["text", "title", "summary", "date"]
    files = sorted(folder.glob("test*.parquet"))
    rows = [row for file in files for row in pyarrow.parquet.read_table(file, columns=columns).to_pylist()]
    # A page without a lead has the summary as its first paragraph: such a text holds the answer.
    apart = [row for row in rows if row["summary"] not in row["text"]]
    return max(apart or rows, key=lambda row: row["date"], default=None)


def own_article() -> dict[str, str]:
    title, text = (HERE / "article.txt").read_text(encoding="utf-8").split("\n\n", 1)
    return {"title": title, "text": text.strip()}


def ask(base: str, article: dict[str, str]) -> dict:
    body = json.dumps({"text": article["text"], "title": article["title"]}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{base}/api/v1/analyze", data=body, headers={"Content-Type": "application/json"}
    )
    keys = [key.strip() for key in os.environ.get("API_KEYS", "").split(",")]
    if plain := next((key for key in keys if key and not key.startswith("sha256:")), None):
        request.add_header("Authorization", f"Bearer {plain}")
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return json.load(answer)


def print_answer(article: dict[str, str], answer: dict) -> None:
    told = ["", "POST /api/v1/analyze"]

    def show(name: str, words: str) -> None:
        for number, line in enumerate(textwrap.wrap(words, 88) or [""]):
            told.append(f"  {'' if number else name:<9}{line}")

    show("title", article["title"])
    show("text", textwrap.shorten(article["text"], 260, placeholder=" …"))
    if article.get("summary"):
        show("editor", article["summary"])
    told.append("answer")
    show("topic", answer["name"] or "not sure")
    for score in answer["scores"][:4]:
        told.append(f"  {'':<9}{score['score']:>5.0%} {'#' * round(score['score'] * 30):<31}{score['name']}")
    show("summary", answer["summary"])
    show("model", f"{answer['model']['revision'][:12]}, dataset {answer['model']['dataset_revision'][:12]}")
    # At once: the API's log goes to the same place, and its line for this request may come any moment.
    sys.stdout.write("\n".join(told) + "\n")
    sys.stdout.flush()


def stop(api: subprocess.Popen | None) -> None:
    if api is None or api.poll() is not None:
        return
    api.send_signal(signal.SIGTERM)
    try:
        api.wait(timeout=30)
    except subprocess.TimeoutExpired:
        api.kill()


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
