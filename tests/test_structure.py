"""The shape of the three siblings: no import runs in a circle or upwards, and no module grows too long."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "gazeta": ROOT / "dataset_parser/gazeta",
    "t5sum": ROOT / "t5_training/t5sum",
    "topic_sum": ROOT / "topic_sum_api/topic_sum",
}
LONGEST_MODULE = 400  # lines
LONGEST_CLASS = 250
# Folders from the ground up: a module imports only from its own folder, from those before it, and from the
# modules that stand beside the folders and import none of them.
FLOORS = {
    "gazeta": ["sites", "crawl", "dataset"],
    "t5sum": ["served", "run", "judge", "generate", "classify", "kinds"],
    "topic_sum": ["inference", "api", "web"],
}


def modules(package: str) -> dict[str, Path]:
    """The dotted name of every module → its file."""
    root = PACKAGES[package]
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the same package that this one imports, also inside functions, for types left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {each if each in known else base for each in names}
    return (found & known.keys()) - {name}


def graph(package: str) -> dict[str, set[str]]:
    known = modules(package)
    return {name: imports(name, path, known) for name, path in known.items()}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A path that leads back to where it began, [] if there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(arrows[name]):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in sorted(arrows))), [])


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_runs_in_a_circle(package: str) -> None:
    arrows = graph(package)
    assert sum(map(len, arrows.values())) > 20
    assert circle(arrows) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_imports_one_that_stands_above_it(package: str) -> None:
    floors = FLOORS[package]

    def floor(name: str) -> str:
        return next((part for part in name.split(".")[1:2] if part in floors), "")

    upwards = [
        f"{name} imports {other}"
        for name, others in graph(package).items()
        for other in others
        if floor(name) and floor(other) and floors.index(floor(other)) > floors.index(floor(name))
    ]
    assert upwards == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_and_no_class_is_too_long(package: str) -> None:
    for name, path in modules(package).items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST_MODULE, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert node.end_lineno - node.lineno < LONGEST_CLASS, f"{name}.{node.name}"
