"""The benchmarks run, at sizes that measure nothing, and write what they found with its spread."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("crawl.py --articles 30 --rounds 1", ("speed", "ratio", "pages_per_s")),
        ("dataset.py --rows 300 --rounds 2 --parts publish --once", ("publish", "first", "clock_s")),
        ("evaluate.py metrics --articles 12 --rounds 1", ("metrics", "model, lead-1", "seconds")),
    ],
)
def test_a_benchmark_writes_medians_with_their_spread(
    line: str, found: tuple[str, ...], tmp_path: Path
) -> None:
    script, *options = line.split()
    told = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options, "--json", str(told)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # 1: below a bar, which a size like this may be
    figures = json.loads(told.read_text(encoding="utf-8"))
    assert {"date", "processor", "cores", "versions"} <= figures["machine"].keys()
    for name in found:
        figures = figures[name]
    median, least, greatest = figures
    assert 0 < least <= median <= greatest


@pytest.mark.parametrize(
    ("script", "small"),
    [
        ("crawl", "--articles 30 --rounds 1 --grow 30,40"),
        ("dataset", "--rows 300 --rounds 1 --once --parts publish"),
    ],
)
def test_the_lines_of_the_collectors_page_run(script: str, small: str, tmp_path: Path) -> None:
    """As they stand there but for their sizes; the peers of --peers come from the index, and stay there."""
    page = (ROOT / "dataset_parser/README.md").read_text(encoding="utf-8")
    [line] = re.findall(rf"^python (\.\./benchmarks/{script}\.py .*)$", page, re.M)
    command = [sys.executable, *line.replace("--peers ", "").split(), *small.split()]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "figures")], cwd=ROOT / "dataset_parser", capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert json.loads((tmp_path / "figures").read_text(encoding="utf-8"))["machine"]


@pytest.mark.parametrize("script", ["crawl", "dataset", "evaluate", "serve", "topics", "train"])
def test_a_benchmark_says_what_it_measures(script: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


def test_rounds_take_turns_and_ratios_are_those_of_a_round() -> None:
    # By its file: a path to the folder would hide the package `evaluate` behind evaluate.py for all tests.
    spec = importlib.util.spec_from_file_location("peers", ROOT / "benchmarks" / "peers.py")
    assert spec and spec.loader
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)
    Spread, in_turns = peers.Spread, peers.in_turns

    order: list[str] = []
    found = in_turns(
        3, {name: lambda name=name: order.append(name) or len(order) for name in ("ours", "peer")}
    )
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert found == {"ours": [1, 4, 5], "peer": [2, 3, 6]}
    assert Spread.of_ratios([2, 9, 4], [1, 3, 4]) == (2, 1, 3)
    assert str(Spread(1.234, 1.2, 1.3)) == "1.23 (1.20 to 1.30)"
