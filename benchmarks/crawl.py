"""How fast and how large is the crawl? Against a bare Scrapy spider on the same pages, in the same run.

    python3.11 benchmarks/crawl.py [--articles 2000] [--rounds 3] [--peers] [--grow 5000,20000] [--json FILE]

Both crawlers fetch the same pages of the stand-in site on loopback, with politeness off, in turns. The bare
one is given the addresses, downloads each page and extracts its title; ours finds the pages, parses every
field and commits each article to disk. It prints the pages per second of both and their ratio, as the median
of the rounds with the least and the greatest, and the same for processor time. It ends with 1 if ours is
below 0.8.

--peers  compares parsing alone, in one process with the pages in memory: ours; fundus with the one parser it
         has for a Russian newspaper, and with selectors for the layouts since 2015 added in its own way (it
         has no Gazeta.ru, so Kommersant's parser finds little here: look at its speed); and newspaper4k,
         which reads any site. It prints pages per processor second, ratios, and for each field on how many
         pages a value was found and on how many it is right. Each peer is installed once, from the package
         index, into an environment of its own below artifacts/.
--grow   measures our peak memory at growing sizes, memory by quarters of each crawl, and the rerun over known
         articles with 100 new ones.

The site runs on the same machine and takes its share of the processors: read the ratio, not the speeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

from peers import Spread, at_home, in_turns, load, python_of, save, table

ROOT = Path(__file__).resolve().parent.parent
# fundus 0.5.7 imports a name that curl_cffi 0.14 and later lack, and does not say so in its requirements.
PEERS = {"fundus": ["fundus==0.5.7", "curl_cffi==0.13.0"], "newspaper4k": ["newspaper4k==0.9.6"]}
FIELDS = ("title", "text", "date", "summary", "rubric")
NEW = 100  # articles of the rerun
LEAST = 0.8  # of a bare spider's pages per second

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

FUNDUS = """
def read(page):
    found = parser.parse(page["html"], error_handling="suppress")
    body = found["body"]
    return {"title": found["title"], "text": str(body) if body else "",
            "date": str(found["publishing_date"] or ""),
            "summary": " ".join(map(str, body.summary)) if body else ""}
"""
# Each reads pages.jsonl (url, charset, html), writes found.jsonl, and prints the processor seconds that
# parsing took. Peers are given decoded text, which saves them a step that ours takes itself.
READERS = {
    "this": """
from gazeta.pages import parse_article
def read(page):
    kind = "text/html; charset=" + page["charset"]
    article = parse_article(page["html"].encode(page["charset"]), page["url"], kind)
    return {name: getattr(article, name) for name in ("title", "text", "date", "summary", "rubric")}
""",
    "fundus, Kommersant": FUNDUS
    + """
from fundus.publishers.ru.kommersant import KommersantParser
parser = KommersantParser()()
""",
    "fundus, selectors added": FUNDUS
    + """
from lxml.etree import XPath
from fundus.parser import ArticleBody, BaseParser, ParserProxy, attribute
from fundus.parser.utility import (
    extract_article_body_with_selector, generic_date_parsing, generic_nodes_to_text)
class GazetaParser(ParserProxy):
    class V1(BaseParser):
        _paragraphs = XPath("//*[@itemprop='articleBody']//p")
        _lead = XPath("//*[@itemprop='description' or contains(@class, 'b_article-intro')"
                      " or contains(concat(' ', @class, ' '), ' intro ')]")
        _title = XPath("//*[@itemprop='headline' or contains(@class, 'headline')]")
        _date = XPath("//time[@itemprop='datePublished']/@datetime")
        @attribute
        def body(self) -> ArticleBody:
            return extract_article_body_with_selector(
                self.precomputed.doc, paragraph_selector=self._paragraphs, summary_selector=self._lead)
        @attribute
        def title(self) -> str:
            return generic_nodes_to_text(self._title(self.precomputed.doc))[0]
        @attribute
        def publishing_date(self) -> str:
            return generic_date_parsing(self._date(self.precomputed.doc)[0])
        @attribute
        def topics(self) -> list:
            return []
parser = GazetaParser()()
""",
    "newspaper4k": """
from newspaper import Article
def read(page):
    article = Article(page["url"], language="ru", fetch_images=False)
    article.download(input_html=page["html"])
    article.parse()
    return {"title": article.title, "text": article.text, "date": str(article.publish_date or ""),
            "summary": article.meta_description}
""",
}
READER = """
import json, sys, time
{imports}
pages = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
for page in pages[:20]:
    read(page)
started = time.process_time()
found = []
for page in pages:
    try:
        found.append(read(page))
    except Exception as error:
        found.append({{"error": repr(error)}})
took = time.process_time() - started
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for row in found:
        out.write(json.dumps(row, ensure_ascii=False) + "\\n")
print(took)
"""


class Site:
    def __init__(self, *arguments: str):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "demo" / "site.py"), "--port", "0", "--no-awkward", *arguments],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[2].rstrip("/")

    def facts(self, name: str) -> list | dict:
        with urllib.request.urlopen(f"{self.url}/_stand-in/{name}", timeout=300) as answer:  # noqa: S310
            return json.load(answer)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


class Watch(threading.Thread):
    """Notes a process's memory while it runs, on systems with /proc."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.path = Path(f"/proc/{pid}/statm")
        self.seen: list[float] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                pages = int(self.path.read_text().split()[1])
            except (OSError, IndexError):
                return
            self.seen.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
            time.sleep(0.5)

    def quarters(self) -> list[int]:
        """MB at the end of each quarter of the run, [] for a run too short to tell."""
        seen = [size for size in self.seen if size]
        return [round(seen[len(seen) * turn // 4 - 1]) for turn in range(1, 5)] if len(seen) > 8 else []


def timed(command: list[str], cwd: Path, **environment: str) -> tuple[float, float, float, list[int]]:
    """(wall seconds, CPU seconds, peak MB, MB by quarters) of a command that must end well."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    watch = Watch(process.pid)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    wall = time.monotonic() - started
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, watch.quarters()


def bare(site: Site, work: Path) -> tuple[float, float, float, list[int]]:
    spider, urls = work / "bare.py", work / "urls.txt"
    spider.write_text(BARE)
    urls.write_text("\n".join(site.url + story["path"] for story in site.facts("articles.json")))
    return timed(
        [sys.executable, "-m", "scrapy", "runspider", "-L", "ERROR", str(spider), "-a", f"urls={urls}"], work
    )


def ours(site: Site, folder: Path) -> tuple[float, float, float, list[int]]:
    return timed(
        [sys.executable, "-m", "scrapy", "crawl", "gazeta"],
        ROOT / "dataset_parser",
        SITE_URL=site.url,
        CRAWL_DELAY="0",
        ARTIFACTS_DIR=str(folder),
    )


def speed(articles: int, rounds: int, work: Path) -> dict:
    with Site("--articles", str(articles)) as site:

        def fresh() -> tuple[float, float, float, list[int]]:
            shutil.rmtree(work / "speed", ignore_errors=True)
            return ours(site, work / "speed")

        results = in_turns(rounds, {"ours": fresh, "a bare spider": lambda: bare(site, work)})
    figures: dict = {"articles": articles, "rounds": rounds}
    for name, runs in results.items():
        walls, cpus, peaks, _ = zip(*runs, strict=True)
        figures[name] = {
            "pages_per_s": Spread.of(articles / wall for wall in walls),
            "cpu_ms_a_page": Spread.of(1000 * cpu / articles for cpu in cpus),
            "peak_mb": Spread.of(peaks),
        }
    mine, other = (figures[name] for name in results)
    # A round of both, one after the other, is what is compared.
    figures["ratio"] = {
        what: Spread.of_ratios(*([run[at] for run in results[name]] for name in ("a bare spider", "ours")))
        for at, what in enumerate(("pages_per_s", "pages_per_cpu_s"))
    }
    print(f"{articles} pages, {rounds} rounds in turns")
    table(
        ["", *results, "ours / bare", "asked"],
        [
            ("pages/s", mine["pages_per_s"], other["pages_per_s"], figures["ratio"]["pages_per_s"], LEAST),
            ("processor ms a page", mine["cpu_ms_a_page"], other["cpu_ms_a_page"],
             f"{figures['ratio']['pages_per_cpu_s']} of the pages", ""),
            ("peak MB", mine["peak_mb"], other["peak_mb"], "", ""),
        ],
    )  # fmt: skip
    return figures


# Peers that parse


def peer_python(peer: str) -> Path:
    return python_of(peer, PEERS[peer], locks=())  # fundus wants an lxml and others older than ours


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def right(name: str, found: str, story: dict[str, str]) -> bool:
    """The same words; for a text 95% of them (F1), with the lead or without; for a date the same day."""
    if name == "date":
        return found[:10] == story["date"][:10]
    one = words(found)
    if name != "text":
        return one == words(story[name])
    return any(
        2 * (one & other).total() >= 0.95 * (one.total() + other.total())
        for other in (words(story["text"]), words(f"{story['summary']} {story['text']}"))
    )


def parsers(articles: int, rounds: int, work: Path) -> dict:
    pages, stories = [], []
    with Site("--articles", str(articles)) as site:
        stories = site.facts("articles.json")
        for story in stories:
            with urllib.request.urlopen(site.url + story["path"], timeout=60) as answer:  # noqa: S310
                charset = answer.headers.get_content_charset() or "utf-8"
                html = answer.read().decode(charset)
            pages.append({"url": site.url + story["path"], "charset": charset, "html": html})
    (work / "pages.jsonl").write_text("".join(json.dumps(page, ensure_ascii=False) + "\n" for page in pages))
    found: dict[str, list[dict]] = {}

    def read(name: str) -> float:
        """Pages per processor second; what was read goes into `found`."""
        python = Path(sys.executable) if name == "this" else peer_python(name.partition(",")[0])
        program, out = work / "reader.py", work / "found.jsonl"
        program.write_text(READER.format(imports=READERS[name]))
        done = subprocess.run(
            [str(python), str(program), str(work / "pages.jsonl"), str(out)],
            cwd=ROOT / "dataset_parser",
            env=os.environ | ({"PYTHONPATH": str(ROOT / "dataset_parser")} if name == "this" else {}),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"error: {name} ended with {done.returncode}: {done.stderr[-2000:]}")
        found[name] = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        return len(pages) / float(done.stdout)

    for name in READERS:
        if name != "this":
            peer_python(name.partition(",")[0])  # installed before anything is timed
    speeds = in_turns(rounds, {name: functools.partial(read, name) for name in READERS})
    figures: dict = {}
    lines = []
    for name, rows in found.items():
        fields = {
            field: {
                "found": sum(bool(row.get(field)) for row in rows) / len(rows),
                "right": sum(right(field, row.get(field) or "", story)
                             for row, story in zip(rows, stories, strict=True)) / len(rows),
            }
            for field in FIELDS
        }  # fmt: skip
        figures[name] = {
            "pages_per_cpu_s": Spread.of(speeds[name]),
            "ours_over_it": Spread.of_ratios(speeds["this"], speeds[name]),
            "fields": fields,
            "errors": sum("error" in row for row in rows),
        }
        shares = (f"{of['found']:.0%}/{of['right']:.0%}" for of in fields.values())
        lines.append((name, figures[name]["pages_per_cpu_s"], figures[name]["ours_over_it"], *shares))
    print(f"{len(pages)} pages, parsing alone, {rounds} rounds in turns; found/right, by field")
    table(["", "pages a processor second", "ours / it", *FIELDS], lines)
    return figures


# Growth


def grow(sizes: list[int], work: Path) -> list[dict]:
    figures = []
    for size in sizes:
        folder = work / f"grow-{size}"
        with Site("--articles", str(size)) as site:
            port = site.url.rpartition(":")[2]
            wall, _, memory, quarters = ours(site, folder)
            first = {"seconds": wall, "peak_mb": memory, "mb_by_quarters": quarters}
            print(
                f"{size} articles: {size / wall:.0f} pages/s, peak {memory:.0f} MB, by quarters {quarters}",
                flush=True,
            )
        with Site("--articles", str(size), "--new", str(NEW), "--port", port) as site:
            wall, _, memory, _ = ours(site, folder)
            asked = site.facts("stats.json")["paths"]
            pages = sum(count for path, count in asked.items() if path.endswith(".shtml"))
            other = sum(asked.values()) - pages
            print(
                f"{size} known and {NEW} new: {pages} articles and {other} other pages"
                f" asked for in {wall:.1f} s, peak {memory:.0f} MB",
                flush=True,
            )
        rerun = {"articles_asked": pages, "other_pages_asked": other, "seconds": wall, "peak_mb": memory}
        store = (folder / "crawl" / "crawl.sqlite3").stat().st_size / 1e6
        figures.append({"articles": size, "first": first, "rerun": rerun, "store_mb": store})
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--articles", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="compare parsers, too")
    parser.add_argument("--grow", default="", help="sizes, such as 5000,60000")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    chosen = parser.parse_args()
    figures: dict = {"load_before": load()}
    with tempfile.TemporaryDirectory() as work:
        if chosen.rounds:
            figures["speed"] = speed(chosen.articles, chosen.rounds, Path(work))
        if chosen.peers:
            figures["parsers"] = parsers(chosen.articles, chosen.rounds or 1, Path(work))
        if chosen.grow:
            figures["grow"] = grow([int(size) for size in chosen.grow.split(",")], Path(work))
    save(chosen.json, figures)
    return int("speed" in figures and figures["speed"]["ratio"]["pages_per_s"].median < LEAST)


if __name__ == "__main__":
    at_home("parser")
    sys.exit(main())
