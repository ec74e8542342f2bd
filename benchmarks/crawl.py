"""How fast and how large is the crawl? Against a bare Scrapy spider on the same pages, in the same run.

    python benchmarks/crawl.py [--articles 2000] [--rounds 3] [--grow 5000,20000]

Both crawlers fetch the same pages of the stand-in site on loopback, with politeness off, in turns. The bare
one is given the addresses, downloads each page and extracts its title; ours finds the pages, parses every
field and commits each article to disk. Printed: pages per second of both and their ratio (median of the
rounds), the same for processor time, then with --grow our peak memory at growing sizes and the rerun over
known articles with 100 new ones.
The site runs on the same machine and takes its share of the processors: read the ratio, not the speeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = """
import sys
import scrapy

class Bare(scrapy.Spider):
    name = "bare"
    custom_settings = {"CONCURRENT_REQUESTS": 8, "CONCURRENT_REQUESTS_PER_DOMAIN": 8, "DOWNLOAD_DELAY": 0,
                       "LOG_LEVEL": "ERROR", "ROBOTSTXT_OBEY": False, "TELNETCONSOLE_ENABLED": False,
                       "REMOTE_CONTROL_ENABLED": False}
    async def start(self):
        with open(self.urls) as urls:
            for url in urls:
                yield scrapy.Request(url.strip(), dont_filter=True)
    def parse(self, response):
        yield {"title": response.css("title::text").get()}
"""


class Site:
    def __init__(self, *arguments: str):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "demo" / "site.py"), "--port", "0", "--no-awkward", *arguments],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[2].rstrip("/")

    def told(self, name: str) -> list | dict:
        with urllib.request.urlopen(f"{self.url}/_stand-in/{name}", timeout=300) as answer:  # noqa: S310
            return json.load(answer)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def timed(command: list[str], cwd: Path, **environment: str) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak memory in MB) of a command that must end well."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def bare(site: Site, work: Path) -> tuple[float, float, float]:
    spider, urls = work / "bare.py", work / "urls.txt"
    spider.write_text(BARE)
    urls.write_text("\n".join(site.url + story["path"] for story in site.told("articles.json")))
    return timed([sys.executable, "-m", "scrapy", "runspider", str(spider), "-a", f"urls={urls}"], work)


def ours(site: Site, folder: Path) -> tuple[float, float, float]:
    return timed(
        [sys.executable, "-m", "scrapy", "crawl", "gazeta"],
        ROOT / "dataset_parser",
        SITE_URL=site.url,
        CRAWL_DELAY="0",
        ARTIFACTS_DIR=str(folder),
    )


def speed(articles: int, rounds: int, work: Path) -> None:
    results: dict[str, list[tuple[float, float, float]]] = {"bare": [], "ours": []}
    with Site("--articles", str(articles)) as site:
        for turn in range(rounds):
            for name in ("bare", "ours") if turn % 2 else ("ours", "bare"):
                shutil.rmtree(work / "speed", ignore_errors=True)
                results[name].append(bare(site, work) if name == "bare" else ours(site, work / "speed"))
    for name, runs in results.items():
        wall, cpu, memory = (statistics.median(run[at] for run in runs) for at in range(3))
        a_page = cpu / articles * 1000
        print(f"{name}: {articles / wall:.0f} pages/s, {a_page:.2f} ms of CPU a page, {memory:.0f} MB")
    for at, what in enumerate(("its pages per second", "its pages per CPU second")):
        ratios = sorted(b[at] / o[at] for b, o in zip(results["bare"], results["ours"], strict=True))
        print(f"ours / bare: {statistics.median(ratios):.2f} of {what} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def grow(sizes: list[int], work: Path) -> None:
    for size in sizes:
        folder = work / f"grow-{size}"
        with Site("--articles", str(size)) as site:
            port = site.url.rpartition(":")[2]
            wall, _, memory = ours(site, folder)
            print(f"{size} articles: {size / wall:.0f} pages/s, peak {memory:.0f} MB", flush=True)
        with Site("--articles", str(size), "--new", "100", "--port", port) as site:
            wall, _, memory = ours(site, folder)
            asked = site.told("stats.json")["paths"]
            pages = sum(count for path, count in asked.items() if path.endswith(".shtml"))
            print(
                f"{size} known and 100 new: {pages} articles and {sum(asked.values()) - pages} other pages"
                f" asked for in {wall:.1f} s, peak {memory:.0f} MB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--articles", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--grow", default="", help="sizes, such as 5000,60000")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if chosen.rounds:
            speed(chosen.articles, chosen.rounds, Path(work))
        grow([int(size) for size in chosen.grow.split(",") if size], Path(work))


if __name__ == "__main__":
    main()
