"""Starts the API, posts one article to it and prints the answer; then the API runs until Ctrl+C.

    python demo/show.py [--exit] [--running] [--newest]

With `--newest` it posts the newest test row of the dataset that stage 1 left in ARTIFACTS_DIR, on which the
model was not trained. Otherwise, or if there is no such row, it posts the invented article in article.txt.
`--running` uses an API that already runs (in its container) instead of starting one.
`--exit` stops the API after its answer. If the API fails to start, the exit code is that of the API.
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
    parser.add_argument("--running", action="store_true", help="use an API that already runs")
    parser.add_argument(
        "--newest", action="store_true", help="post the newest test article of stage 1's dataset"
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
            problem = error.read().decode(errors="replace")
            # The API refuses this computer, or this script knows only the hash of a key.
            if not any(f'"{code}"' in problem for code in ("no_key", "wrong_key", "bad_host")):
                print(f"error: {base} answered {error.code}: {problem}", file=sys.stderr)
                return 1
            print(
                "the API is ready, but its API_KEYS or ALLOWED_HOSTS keep this script out: it posts nothing"
            )
        if api is None:
            print(f"\nThe API runs at {base}/; stop it with: docker compose -f docker-compose.api.yml down")
            return 0
        if arguments.exit:
            return 0
        print(f"\nThe API runs at {base}/ until Ctrl+C.", flush=True)
        return api.wait()
    except KeyboardInterrupt:
        print("\nstopping the API", flush=True)
        return 0
    finally:
        stop(api)


def wait_until_ready(base: str, api: subprocess.Popen | None) -> int:
    """0 once the API is ready; its exit code if it ends first; 5 if it never becomes ready."""
    began = shown = time.monotonic()
    problem = "no answer"
    while time.monotonic() - began < READY_SECONDS:
        if api is not None and api.poll() is not None:
            return api.returncode or 1
        try:
            with urllib.request.urlopen(f"{base}/health/ready", timeout=5):  # noqa: S310
                return 0
        except urllib.error.HTTPError as error:
            problem = error.read().decode(errors="replace").strip()
        except OSError as error:
            problem = str(error)
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"waiting for the API, {shown - began:.0f} s (limit {READY_SECONDS} s)", flush=True)
        time.sleep(0.1)
    print(f"error: the API at {base} is not ready after {READY_SECONDS} s: {problem}", file=sys.stderr)
    return 5


def newest_article() -> dict[str, str] | None:
    import pyarrow.parquet  # only --newest needs it, which runs in .venv

    folder = Path(os.environ.get("ARTIFACTS_DIR") or HERE.parent / "artifacts", "crawl", "dataset", "data")
    columns = ["text", "title", "summary", "date"]
    files = sorted(folder.glob("test*.parquet"))
    rows = [row for file in files for row in pyarrow.parquet.read_table(file, columns=columns).to_pylist()]
    # If a page has no lead, its first paragraph is the summary, so the text contains the answer.
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
    lines = ["", "POST /api/v1/analyze"]

    def show(name: str, text: str) -> None:
        for number, line in enumerate(textwrap.wrap(text, 88) or [""]):
            lines.append(f"  {'' if number else name:<9}{line}")

    show("title", article["title"])
    show("text", textwrap.shorten(article["text"], 260, placeholder=" …"))
    if article.get("summary"):
        show("editor", article["summary"])
    lines.append("answer")
    show("topic", answer["name"] or "not sure")
    for score in answer["scores"][:4]:
        lines.append(f"  {'':<9}{score['score']:>5.0%} {'#' * round(score['score'] * 30):<31}{score['name']}")
    show("summary", answer["summary"])
    show("model", f"{answer['model']['revision'][:12]}, dataset {answer['model']['dataset_revision'][:12]}")
    # One write: the API logs to the same terminal, and its line for this request may come at any moment.
    sys.stdout.write("\n".join(lines) + "\n")
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
