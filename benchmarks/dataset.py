"""How fast and how large is the way from the store to a committed revision, and how well are copies found?

    python3.11 benchmarks/dataset.py [--rows 60000] [--parts publish,peers,copies,headlines] [--keep FOLDER]
                                     [--once] [--rounds 3] [--json FILE]

publish    rows of made-up news (full length, 3% edited copies) from the store through cleaning, duplicates,
           splits, tests, card and parquet to one commit on the stand-in Hub, in a process of its own: time,
           peak memory and the share of each part, in several rounds; then the same store again (nothing to
           do), and a night's news on top (1% more rows), once
peers      the same work by others, in this run: datasets' own map and filter for cleaning, datasketch for
           MinHash and LSH, pandas drop_duplicates and a naive comparison of all pairs on a sample; in turns,
           in an environment of their own below artifacts/peers/
copies     recall and precision on edited copies of real articles (../shared/data/tg2019_ru_fulltext.jsonl.gz)
headlines  42,000 real headlines with their leads through the cleaning and the duplicates
           (../shared/data/newsapi_ru_headlines_leads.jsonl.gz)

Machines differ and may be busy: read the ratios, and processor time before time on the clock. Ends with 1
where 60,000 rows or more take longer than 1.5 ms each or 1.5 GB (4 GB from 600,000 on), where recall or
precision is below 0.95, or where more than one of 1,000 other stories is merged.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import Spread, at_home, in_turns, load, python_of, save, table

if __name__ == "__main__":
    at_home("parser")
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT / "dataset_parser"))

ROW_MS, PEAK_MB = 1.5, {60_000: 1500, 600_000: 4000}  # from so many rows on
FOUND, MERGED = 0.95, 0.001
MOST_PEER_ROWS = 20_000  # beyond, datasketch takes minutes
PEERS = ["datasets", "pandas", "datasketch==2.0.0"]
RUBRICS = ("politics", "social", "business", "army", "culture", "science", "sport", "tech", "auto", "style")
_COMMON = (
    "и в не на что с по как из за для от к это его о но он она они был было также до после при году лет время"
    " сообщил заявил рассказал отметил который человек власти города страны июня мая первый новый раз будет"
)
COMMON = _COMMON.split()


# Made-up news


class News:
    """Texts of made-up words with Zipf's frequencies, names and numbers; the same seed gives the same"
    " texts."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        syllables = [
            a + b for a in "бвгдзклмнпрстфхчш" for b in ("а", "о", "у", "ы", "и", "е", "я", "ой", "ем", "ин")
        ]
        made = {
            "".join(syllables[at] for at in self.rng.integers(0, len(syllables), length))
            for length in self.rng.choice([2, 3, 3, 4, 4, 5], 60_000)
        }
        self.words = np.array(COMMON + sorted(made), dtype=object)
        share = 1 / np.arange(3, len(self.words) + 3)
        self.cumulative = np.cumsum(share / share.sum())

    def text(self, words: int) -> str:
        drawn = self.words[np.searchsorted(self.cumulative, self.rng.random(words))]
        kinds = self.rng.random(words)
        told, start = [], True
        for word, kind in zip(drawn.tolist(), kinds.tolist(), strict=True):
            if kind < 0.05:
                word = word.capitalize()
            elif kind > 0.97:
                word = str(int(kind * 1e7) % 900 + 1)
            told.append(word.capitalize() if start else word)
            start = 0.5 < kind < 0.57
            if start:
                told[-1] += ".\n" if kind < 0.515 else "."
        return " ".join(told) + "."

    def rows(self, count: int) -> Iterator[tuple[str, str, str, str, str, str]]:
        """url, title, summary, text, date, rubric; every 33rd is an edited copy of one before it."""
        lengths = np.clip(self.rng.lognormal(5.95, 0.5, count), 60, 3000).astype(int)
        recent: list[str] = []
        for number in range(count):
            day = number * 4700 // count
            date = time.strftime(
                "%Y-%m-%d %H:%M:%S", time.gmtime(1_356_998_400 + day * 86_400 + number % 86_400)
            )
            if number % 33 == 32:
                text = swap_words(random.choice(recent), number)
            else:
                text = self.text(int(lengths[number]))
                recent = [*recent[-200:], text]
            yield (
                f"https://www.gazeta.ru/{RUBRICS[number % 10]}/{date[:10].replace('-', '/')}/{number}.shtml",
                self.text(8).replace("\n", " "),
                self.text(26).replace("\n", " "),
                text,
                date,
                RUBRICS[number % 10],
            )


def swap_words(text: str, seed: int) -> str:
    rng = random.Random(seed)
    told = text.split(" ")
    for at in rng.sample(range(1, len(told) - 1), len(told) // 40):
        told[at] = "слово"
    return " ".join(told)


def fill(store_path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    from gazeta.crawl.store import Store
    from gazeta.sites.base import Article

    with Store(store_path) as store:
        crawl = store.start_crawl("gazeta", {})
        with store.transaction():
            for url, title, summary, text, date, rubric in rows:
                article = Article(
                    url, title, summary, text, date, rubric, summary_origin="lead", site="gazeta"
                )
                store.keep(url, article, crawl)
        store.finish_crawl(crawl, "done", {"crawl": crawl})


# The measured process


def timed(spent: Counter[str], name: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapper(*arguments, **options):
        started, clock = time.process_time(), time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.process_time() - started
            if name == "all":
                spent["clock"] += time.perf_counter() - clock

    return wrapper


def measured() -> None:
    """In a process of its own: publish, and print what it took as one line of JSON."""
    from gazeta import publish, release
    from gazeta.dataset import card, local, selection, spool
    from gazeta.dataset.rules import Cleaner
    from gazeta.repository import Hub

    spent: Counter[str] = Counter()
    for name, home, attribute in (
        ("tidy", Cleaner, "tidy"),
        ("rules", Cleaner, "broken_rule"),
        ("shingles", spool, "shingles"),
        ("MinHash", spool, "signatures"),
        ("LSH", selection, "candidates"),
        ("write parquet", local, "write_dataset"),
        ("read back and test", release, "check"),
        ("card and plots", release, "_finish"),
        ("card and plots", card, "render"),
        ("compare candidates", spool.Spool, "sketches_of"),  # reading and sketching them
        ("commit", Hub, "commit"),
        ("fetch the revision", Hub, "revision"),
        ("all", publish, "publish"),
    ):
        setattr(home, attribute, timed(spent, name, getattr(home, attribute)))
    code = publish.main([])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"code": code, "spent": spent, "peak": peak}))


@contextmanager
def running_hub(folder: Path) -> Iterator[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "demo" / "hub.py"), "--root", str(folder / "hub"), "--port", str(port),
         "--token", "t=demo"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_TOKEN": "t", "HF_HUB_DISABLE_XET": "1"}
    finally:
        process.terminate()
        process.wait()


def run_measured(folder: Path, hub: dict[str, str]) -> dict:
    environment = os.environ | hub | {
        "DATASET_REPO": "demo/bench", "ARTIFACTS_DIR": str(folder), "HF_HOME": str(folder / "hf"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--measured"], env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise SystemExit(f"the publisher ended with {done.returncode}: {done.stderr[-2000:]}")
    print(f"  {lines[0]}" if len(lines) > 1 else f"  {done.stderr.strip()}")
    return json.loads(lines[-1])


def part_publish(rows: int, keep: Path | None, once: bool, rounds: int) -> dict:
    folder = keep or Path(tempfile.mkdtemp(prefix="bench-dataset-"))
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "crawl" / "crawl.sqlite3"
    try:
        with running_hub(folder) as hub:
            night = rows // 100
            started = time.perf_counter()
            if not store.exists():  # a folder kept from an earlier run
                made = store.with_name("making.sqlite3")
                fill(made, News(1).rows(rows))
                made.rename(store)
            size = store.stat().st_size / 1e6
            took = time.perf_counter() - started
            print(f"\n== publish: {rows:,} rows, store of {size:,.0f} MB (made in {took:.0f} s)", flush=True)
            told = {"rows": rows, "store_mb": size, "load_before": os.getloadavg()[0]}
            first = [run_measured(folder, hub), *(published_anew(folder) for _ in range(rounds - 1))]
            clock = Spread.of(each["spent"]["clock"] for each in first)
            peak = Spread.of(each["peak"] for each in first)
            print(
                f"from the store to the first commit, {rounds} rounds: {clock} s on the clock, peak {peak} MB"
            )
            told["first"] = show("the first of them", first[0], rows) | {"clock_s": clock, "peak_mb": peak}
            limit = max((mb for least, mb in PEAK_MB.items() if rows >= least), default=None)
            if limit and (1000 * clock.median > ROW_MS * rows or peak.median > limit):
                told["missed"] = f"publish: asked for {ROW_MS * rows / 1000:.0f} s and {limit} MB"
            if once:
                return told
            told["again"] = show("again, nothing new", run_measured(folder, hub), rows)
            added = News(2).rows(night)
            fill(
                store,
                ((url + "?night", *rest[:3], "2025-11-30 10:00:00", rest[4]) for url, *rest in added),
            )
            more = f"a night's news, {night:,} rows more"
            told["night"] = show(more, run_measured(folder, hub), rows + night)
            return told
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def published_anew(folder: Path) -> dict:
    """The same store to a Hub that has nothing yet, for another round."""
    with tempfile.TemporaryDirectory(dir=folder) as other:
        (Path(other) / "crawl").mkdir()
        shutil.copy(folder / "crawl" / "crawl.sqlite3", Path(other) / "crawl")
        with running_hub(Path(other)) as hub:
            return run_measured(Path(other), hub)


def show(what: str, result: dict, rows: int) -> dict:
    spent = result["spent"]
    total, clock = spent.pop("all"), spent.pop("clock")
    print(
        f"{what}: {total:.1f} s of processor time ({1e6 * total / rows:.0f} µs a row), {clock:.1f} s on the"
        f" clock, peak {result['peak']:,.0f} MB"
    )
    spent["the rest: reading, spooling, digests"] = total - sum(spent.values())
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"    {seconds:7.2f} s  {seconds / total:5.1%}  {name}", flush=True)
    return {"cpu_s": total, "clock_s": clock, "peak_mb": result["peak"], "parts_cpu_s": spent}


# Peers


def part_peers(rows: int, rounds: int) -> dict:
    """In the peers' environment; ours runs there too, so that both have the same numpy."""
    python = python_of("dataset", PEERS, ROOT / "dataset_parser" / "requirements.lock")
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "figures.json"
        command = [str(python), __file__, "--rows", str(rows), "--rounds", str(rounds), "--json", str(told)]
        subprocess.run([*command, "--inside"], check=True)
        return json.loads(told.read_text(encoding="utf-8"))


def against_peers(rows: int, rounds: int) -> dict:
    import pandas as pd
    from datasets import Dataset, disable_caching
    from datasets.utils.logging import disable_progress_bar
    from datasketch import MinHash, MinHashLSH
    from gazeta.dataset import duplicates, words
    from gazeta.dataset.rules import Cleaner

    disable_caching()
    disable_progress_bar()
    count = min(rows, MOST_PEER_ROWS)
    told = [
        dict(zip(("url", "title", "summary", "text", "date", "rubric"), row, strict=True))
        for row in News(3).rows(count)
    ]
    print(f"\n== peers: {count:,} rows, one process each, {rounds} rounds in turns", flush=True)

    cleaner = Cleaner()

    def ours() -> None:
        for row in told:
            cleaner.clean(row)

    def theirs() -> None:
        Dataset.from_list(told).map(cleaner.tidy).filter(lambda row: not cleaner.broken_rule(row))

    work = {"cleaning": compare(rounds, {"ours": ours, "datasets map + filter, same rules": theirs})}

    texts = [row["text"] for row in told]
    hashed = [words.shingles(text) for text in texts]
    signed = duplicates.signatures(hashed)

    def sketch_them() -> None:
        MinHash.bulk(
            hashed, num_perm=duplicates.PERMUTATIONS, scheme="affine32", hashfunc=lambda value: value
        )

    ways = {"ours": lambda: duplicates.signatures(hashed), "datasketch": sketch_them}
    work["MinHash signatures"] = compare(rounds, ways)

    minhashes = MinHash.bulk(
        hashed, num_perm=duplicates.PERMUTATIONS, scheme="affine32", hashfunc=lambda value: value
    )
    pairs: dict[str, set[tuple[int, int]]] = {}

    def sorted_bands() -> None:
        pairs["ours"] = {tuple(pair) for pair in duplicates.candidates(signed).tolist()}

    def tables() -> None:
        index = MinHashLSH(num_perm=duplicates.PERMUTATIONS, params=(duplicates.BANDS, duplicates.ROWS))
        for at, minhash in enumerate(minhashes):
            index.insert(at, minhash)
        pairs["datasketch"] = {
            (at, other)
            for at, minhash in enumerate(minhashes)
            for other in index.query(minhash)
            if at < other
        }

    work["LSH, all candidate pairs"] = compare(rounds, {"ours": sorted_bands, "datasketch": tables})

    sample = range(min(1000, count))
    sets = [set(hashed[at].tolist()) for at in sample]
    found: dict[str, int] = {}

    def by_index() -> None:
        hashed = [words.shingles(texts[at]) for at in sample]
        near_pairs = duplicates.candidates(duplicates.signatures(hashed))
        sketches = lambda numbers: {at: duplicates.sketch(texts[at]) for at in numbers}  # noqa: E731
        found["ours"] = sum(1 for _ in duplicates.same_story_pairs(near_pairs, sketches))

    def by_all_pairs() -> None:
        pd.DataFrame({"text": [texts[at] for at in sample]}).drop_duplicates("text")
        found["all pairs"] = sum(
            len(one & other) >= duplicates.MIN_SIMILARITY * len(one | other)
            for at, one in enumerate(sets)
            for other in sets[at + 1 :]
        )

    work[f"duplicates among {len(sample):,} texts"] = compare(
        rounds, {"ours": by_index, "pandas + all pairs": by_all_pairs}
    )
    counts = {name: len(some) for name, some in pairs.items()}
    table(
        ["processor seconds", "ours", "peer", "", "peer / ours"],
        [
            (what, each["seconds"]["ours"], each["seconds"][peer], peer, ratio)
            for what, each in work.items()
            for peer, ratio in each["ratios"].items()
        ],
    )
    print(f"candidate pairs: {counts}; pairs found: {found}", flush=True)
    return {
        "rows": count,
        "rounds": rounds,
        "work": work,
        "pairs": {"candidates": counts, "duplicates": found},
    }


def compare(rounds: int, ways: dict[str, Callable[[], None]]) -> dict[str, Any]:
    """Processor seconds of each way, in turns, and how many times ours (the first) the others take."""

    def timed(way: Callable[[], None]) -> Callable[[], float]:
        def call() -> float:
            started = time.process_time()
            way()
            return time.process_time() - started

        return call

    seconds = in_turns(rounds, {name: timed(way) for name, way in ways.items()})
    ours, *others = ways
    ratios = {name: Spread.of_ratios(seconds[name], seconds[ours]) for name in others}
    return {"seconds": {name: Spread.of(taken) for name, taken in seconds.items()}, "ratios": ratios}


# Copies of real articles


def typos(text: str, rng: random.Random, share: float) -> str:
    told = text.split(" ")
    for at in range(len(told)):
        if len(told[at]) > 3 and rng.random() < share:
            cut = rng.randrange(1, len(told[at]) - 1)
            told[at] = told[at][:cut] + rng.choice("абвгдежзиклмнопрст") + told[at][cut + rng.randrange(2) :]
    return " ".join(told)


def cut_paragraph(text: str, rng: random.Random) -> str:
    """Without one paragraph; without a fifth of the sentences where there are no paragraphs."""
    parts, glue = text.split("\n"), "\n"
    if len(parts) < 3:
        parts, glue = re.split(r"(?<=[.!?])\s+", text), " "
    for _ in range(max(1, len(parts) // 5)):
        if len(parts) > 1:
            del parts[rng.randrange(len(parts))]
    return glue.join(parts)


def swap_sentences(text: str, rng: random.Random) -> str:
    parts = re.split(r"(?<=[.!?])\s+", text)
    for _ in range(2):
        if len(parts) > 1:
            at = rng.randrange(len(parts) - 1)
            parts[at], parts[at + 1] = parts[at + 1], parts[at]
    return " ".join(parts)


def change_numbers(text: str, rng: random.Random, share: float = 0.25) -> str:
    """A quarter of the numbers, never the only one or most of them; share=1 changes every number."""
    found = list(re.finditer(r"\d+", text))
    chosen = range(len(found)) if share == 1 else rng.sample(range(len(found)), int(share * len(found)))
    for at in sorted(chosen, reverse=True):
        old = found[at]
        new = old[0]
        while new == old[0]:
            new = str(rng.randrange(10 ** len(old[0])))
        text = text[: old.start()] + new + text[old.end() :]
    return text


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "typos in 2% of the words": lambda text, rng: typos(text, rng, 0.02),
    "typos in 5% of the words": lambda text, rng: typos(text, rng, 0.05),
    "a paragraph cut": cut_paragraph,
    "sentences swapped": swap_sentences,
    "a quarter of the numbers changed": change_numbers,
    "all of these (typos in 2%)": lambda text, rng: swap_sentences(
        change_numbers(cut_paragraph(typos(text, rng, 0.02), rng), rng), rng
    ),
}


def part_copies() -> dict:
    from gazeta.dataset import duplicates, words

    path = SHARED / "tg2019_ru_fulltext.jsonl.gz"
    if not path.is_file():
        print(f"\n== copies: skipped, {path.name} is absent")
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [text for line in file if len(text := json.loads(line)["text"]) >= 200]

    def find(both: list[str]) -> set[tuple[int, int]]:
        pairs = duplicates.candidates(duplicates.signatures([words.shingles(text) for text in both]))
        sketches = lambda numbers: {at: duplicates.sketch(both[at]) for at in numbers}  # noqa: E731
        return {(left, right) for left, right, _ in duplicates.same_story_pairs(pairs, sketches)}

    count = len(texts)
    print(f"\n== copies: {count:,} real articles")
    known = find(texts)
    print(f"pairs among the originals themselves (reprints, boilerplate): {len(known)}")
    figures: dict = {"articles": count, "pairs_of_originals": len(known)}
    for name, edit in EDITS.items():
        rng = random.Random(5)
        changed = [(at, copy) for at, text in enumerate(texts) if (copy := edit(text, rng)) != text]
        found = find(texts + [copy for _, copy in changed])
        source = [*range(count), *(at for at, _ in changed)]
        right = sum((at, count + place) in found for place, (at, _) in enumerate(changed))
        wrong = sum(source[left] != source[right_] for left, right_ in found)
        new = sum(
            source[left] != source[right_] and tuple(sorted((source[left], source[right_]))) not in known
            for left, right_ in found
        )
        figures[name] = {"recall": right / len(changed), "precision": right / (right + wrong)}
        print(
            f"  {name:34} {len(changed):5} copies: recall {right / len(changed):.3f},"
            f" precision {right / (right + wrong):.3f} ({right / (right + new):.3f} without pairs of the"
            f" originals)"
        )
    merged = pairs = 0
    for seed in range(3):
        rng = random.Random(seed)
        for text in texts:
            if (other := change_numbers(text, rng, 1)) != text:
                pairs += 1
                merged += bool(duplicates.same_story(duplicates.sketch(text), duplicates.sketch(other)))
    share = 1000 * merged / pairs
    print(f"  every number changed, nothing else: {merged} of {pairs:,} merged ({share:.2f} in 1,000)")
    least = min(min(figures[name].values()) for name in EDITS)
    if least < FOUND or merged > MERGED * pairs:
        figures["missed"] = (
            f"copies: recall or precision {least:.3f}, {merged} of {pairs} other stories merged"
        )
    figures["only numbers changed"] = {"pairs": pairs, "merged": merged}
    return figures


# Real headlines


def part_headlines() -> dict:
    from gazeta.dataset.checks import check
    from gazeta.dataset.local import assemble

    path = SHARED / "newsapi_ru_headlines_leads.jsonl.gz"
    if not path.is_file():
        print(f"\n== headlines: skipped, {path.name} is absent")
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    # There are no full texts: the lead stands for the text, the headline for its summary.
    rows = [
        {
            "text": row["description"] or "",
            "summary": row["title"] or "",
            "title": row["title"] or "",
            "date": (row["published_at"] or "")[:19].replace("T", " "),
            "url": row["url"] or "",
            "rubric": row["topic"] or "",
        }
        for row in found
    ]
    folder = Path(tempfile.mkdtemp(prefix="bench-headlines-"))
    try:
        started = time.perf_counter()
        made = assemble(folder / "made", rows)
        seconds = time.perf_counter() - started
        print(
            f"\n== headlines: {len(rows):,} rows in {seconds:.1f} s, {made.rows:,} kept: {made.split_sizes()}"
        )
        for reason, count in made.from_sources.reasons.most_common():
            example = made.from_sources.examples[reason][0][1][:60]
            print(f"  {count:6,} {reason:26} {example}")
        print(f"  {sum(made.duplicate_kinds.values()):6,} duplicates: {dict(made.duplicate_kinds)}")
        print(f"  rubrics: {dict(Counter(made.facts.labels['rubric']).most_common())}")
        print(f"  dates: {made.dates[0]} to {made.dates[-1]}")
        verdicts = check(made)
        for verdict in verdicts:
            print(f"  {'pass' if verdict.ok else 'FAIL'} {verdict.name}: {verdict.says}")
        return {
            "rows": len(rows), "seconds": seconds, "kept": made.rows,
            "dropped": dict(made.from_sources.reasons), "duplicates": dict(made.duplicate_kinds),
            "tests": {verdict.name: [verdict.ok, verdict.says] for verdict in verdicts},
        }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--parts", default="publish,peers,copies,headlines")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    parser.add_argument("--once", action="store_true", help="publish: only the first commit")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--rounds", type=int, default=3, help="of the parts publish and peers")
    parser.add_argument("--measured", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        measured()
        return 0
    if options.inside:
        options.json.write_text(json.dumps(against_peers(options.rows, options.rounds)), encoding="utf-8")
        return 0
    figures = {"load_before": load()}
    ways = {
        "publish": lambda: part_publish(options.rows, options.keep, options.once, options.rounds),
        "peers": lambda: part_peers(options.rows, options.rounds),
        "copies": part_copies,
        "headlines": part_headlines,
    }
    parts = options.parts.split(",")
    if unknown := set(parts) - set(ways):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for part in ways:
        if part in parts:
            figures[part] = ways[part]()
    save(options.json, figures)
    missed = [figures[part]["missed"] for part in ways if "missed" in figures.get(part, {})]
    print("\nmissed: " + "; ".join(missed) if missed else "\nevery bar is reached")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
