"""A copy of the run scripts in a folder of its own; the programs on its PATH note how they are called."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMPILER = "x86_64-w64-mingw32-gcc"
FOLDERS = ("dataset_parser", "t5_training", "topic_sum_api", "demo", "bin")
NEEDS = ("bash", "cat", "dirname", "mkdir", "sleep")  # all that run_mlops.sh may count on besides Python


@dataclass
class Outcome:
    code: int
    out: str
    err: str
    calls: list[dict] = field(default_factory=list)

    def commands(self) -> list[str]:
        """What was started, in order and in words that are the same for both scripts."""
        return [call["words"] for call in self.calls]


class Tree:
    """The run scripts in a folder of any name; `bin` is what is on the PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "calls.jsonl"
        for name in FOLDERS:
            (root / name).mkdir(parents=True)
        (root / "recipes").mkdir()
        shutil.copytree(ROOT / "mlops", root / "mlops", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("run_mlops.sh", "run_mlops.bat", "stage.py", "demo/demo.env", "recipes/gazeta.yaml"):
            shutil.copy(ROOT / name, root / name)
        for name in ("doctor.py", "setup_venv.py", "demo/services.py", "demo/show.py"):
            shutil.copy(HERE / "recorder.py", root / name)

    def environment(self, **extra: str) -> dict[str, str]:
        return {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ} | extra

    def calls(self) -> list[dict]:
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            if words := self.words(call):
                if "/artifacts/results/" in words:
                    continue  # stage.py asks a container for its result; test_stage.py looks at that
                found.append(call | {"words": words})
        return found

    def words(self, call: dict) -> str:
        program, cwd = (self.as_posix(call[key]) for key in ("program", "cwd"))
        argv = [self.as_posix(word) for word in call["argv"]]
        if argv[:1] == ["-c"] or argv[:1] == ["stage.py"]:
            return ""  # the search for Python, and what the real stage.py does
        name = program.relative_to(self.root).as_posix()
        if name.endswith(".py"):
            name = f"python {name}"
        name = {"bin/docker": "docker", "bin/docker.exe": "docker", "bin/python.exe": "python",
                ".venv/bin/python": "venv", ".venv/Scripts/python.exe": "venv"}.get(name, name)  # fmt: skip
        folder = cwd.relative_to(self.root).as_posix()
        return " ".join(([] if folder == "." else [f"{folder}:"]) + [name, *map(str, argv)])

    @staticmethod
    def as_posix(word: str) -> Path | str:
        r"""Z:\tmp\a of Wine → /tmp/a; everything else as it is."""
        if word[:2].upper() == "Z:":
            return Path("/", *PureWindowsPath(word).parts[1:])
        return Path(word) if word.startswith("/") else word

    @staticmethod
    def windows_path(path: Path) -> str:
        return "Z:" + str(path).replace("/", "\\")

    def run(self, *arguments: str, rules: str = "", env: dict[str, str] | None = None) -> Outcome:
        self.log.unlink(missing_ok=True)
        done = subprocess.run(
            self.command(*arguments), cwd=self.cwd(), env=self.full_environment(rules, env or {}),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        )  # fmt: skip
        out, err = (words.decode("utf-8").replace("\r\n", "\n") for words in (done.stdout, done.stderr))
        return Outcome(done.returncode, out, err, self.calls())


class PosixTree(Tree):
    name = "run_mlops.sh"
    docker = "bin/docker"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / ".venv" / "bin").mkdir(parents=True)
        for name in NEEDS:
            (root / "bin" / name).symlink_to(shutil.which(name) or name)
        self.python("python3")
        self.recorder(root / ".venv" / "bin" / "python")
        self.recorder(root / "bin" / "docker")

    def python(self, name: str) -> None:
        (self.root / "bin" / name).symlink_to(sys.executable)

    def old_python(self) -> None:
        self.no_python()
        old = self.root / "bin" / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)

    def no_python(self) -> None:
        (self.root / "bin" / "python3").unlink()

    def real_python(self) -> None:
        """It is one."""

    def recorder(self, path: Path) -> None:
        path.write_text(f"#!{sys.executable} -IS\n" + (HERE / "recorder.py").read_text(encoding="utf-8"))
        path.chmod(0o755)

    def cwd(self) -> Path:
        return self.root.parent

    def command(self, *arguments: str) -> list[str]:
        return [str(self.root / "run_mlops.sh"), *arguments]

    def full_environment(self, rules: str = "", env: dict[str, str] | None = None) -> dict[str, str]:
        return self.environment(
            PATH=str(self.root / "bin"), SHIM_LOG=str(self.log), SHIM_RULES=rules, **(env or {})
        )


class WindowsTree(Tree):
    name = "run_mlops.bat"
    docker = "bin/docker.exe"

    def __init__(self, root: Path, wine: Path, shim: Path) -> None:
        super().__init__(root)
        self.wine, self.shim = wine, shim
        self.path = [root / "bin"]
        (root / ".venv" / "Scripts").mkdir(parents=True)
        for name in (".venv/Scripts/python.exe", "bin/python.exe", "bin/docker.exe"):
            shutil.copy(shim, root / name)

    def python(self, name: str) -> None:
        shutil.copy(self.shim, self.root / "bin" / f"{name}.exe")

    def old_python(self) -> None:
        """The shim is too old by the rule "version_info=1" of the test."""

    def no_python(self) -> None:
        (self.root / "bin" / "python.exe").unlink()

    def real_python(self) -> None:
        """A Windows Python in place of the shim; the one in .venv stays a shim."""
        folder = Path(os.environ.get("WINPYTHON_DIR") or self.wine.parent / "python")
        if not (folder / "python.exe").exists():
            pytest.skip("no Windows Python in WINPYTHON_DIR or WINE_DIR/python; make_wine.sh installs one")
        self.no_python()
        self.path.append(folder)

    def cwd(self) -> Path:
        return self.root

    def command(self, *arguments: str) -> list[str]:
        # By its name alone: cmd /c strips quotes around a path, which is not what is tested here.
        return [str(self.wine), "cmd", "/c", "run_mlops.bat", *arguments]

    def full_environment(self, rules: str = "", env: dict[str, str] | None = None) -> dict[str, str]:
        own = self.environment(
            PATH=os.environ["PATH"], WINEPATH=";".join(map(self.windows_path, self.path)), WINEDEBUG="-all",
            SHIM_LOG=self.windows_path(self.log), SHIM_RULES=rules,
        )  # fmt: skip
        return own | (env or {})


@pytest.fixture(scope="session")
def wine() -> Path:
    """A Wine of version 10 or newer: older ones have a cmd.exe that is wrong about &&, || and goto."""
    if folder := os.environ.get("WINE_DIR"):
        found, server = Path(folder) / "wine", Path(folder) / "wineserver"
    else:
        found, server = (Path(shutil.which(name) or f"/no {name}") for name in ("wine", "wineserver"))
    why = "run_mlops.bat is not tested here: "
    if not found.exists():
        pytest.skip(f"{why}no Wine in WINE_DIR or on the PATH; tests/run_scripts/make_wine.sh DIR makes one")
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/tmp"}
    version = subprocess.run([found, "--version"], stdout=subprocess.PIPE, text=True, **quiet).stdout
    if not version.startswith("wine-") or int(version[5:].split(".")[0]) < 10:
        pytest.skip(f"{why}{version.strip() or found} is too old; it takes Wine 10")
    # The server must start with its output on /dev/null, or it inherits the pipes of the first test and
    # holds them open. It goes by itself, a minute after its last client.
    quiet["stdout"] = subprocess.DEVNULL
    subprocess.run([server, "-p60"], **quiet)
    subprocess.run([found, "cmd", "/c", "exit"], check=True, timeout=120, **quiet)
    return found


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which(COMPILER):
        pytest.skip(f"run_mlops.bat is not tested here: no {COMPILER} (apt install gcc-mingw-w64-x86-64)")
    made = tmp_path_factory.mktemp("shim") / "shim.exe"
    options = ["-O2", "-s", "-municode", "-Wno-deprecated-declarations"]
    subprocess.run([COMPILER, *options, "-o", made, HERE / "shim.c"], check=True)
    return made


@pytest.fixture
def new_tree(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], Tree]:
    """Make a tree for one of the twins ("sh" or "bat") in a folder of the given name."""

    def make(kind: str, name: str) -> Tree:
        if kind == "sh":
            return PosixTree(tmp_path / name)
        wine, shim = request.getfixturevalue("wine"), request.getfixturevalue("shim")
        return WindowsTree(tmp_path / name, wine, shim)

    return make


@pytest.fixture(params=["sh", "bat"])
def make_tree(request: pytest.FixtureRequest, new_tree: Callable[[str, str], Tree]) -> Callable[[str], Tree]:
    """Make a tree in a folder of the given name: once for each of the twins."""
    return functools.partial(new_tree, request.param)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Notes the whole addresses it is asked for, as only a proxy is, and has none of them."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[http.server.HTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    made.asked = []
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def posix_tree(tmp_path: Path) -> PosixTree:
    return PosixTree(tmp_path / "project")


@pytest.fixture
def windows_tree(tmp_path: Path, wine: Path, shim: Path) -> WindowsTree:
    return WindowsTree(tmp_path / "windows" / "project", wine, shim)


@pytest.fixture
def holder(windows_tree: WindowsTree) -> Iterator[Callable[[Path], None]]:
    """Keep a file open as Windows' cmd.exe keeps the target of 9>FILE: Wine's own cmd.exe shares it."""
    holding = []

    def hold(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        child = subprocess.Popen(
            [windows_tree.wine, windows_tree.windows_path(windows_tree.shim), "hold",
             windows_tree.windows_path(path)],
            env=windows_tree.full_environment(), stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        )  # fmt: skip
        holding.append(child)
        assert child.stdout is not None and child.stdout.readline().strip() == b"held"

    yield hold
    for child in holding:
        child.communicate(
            timeout=30
        )  # its stdin ends, and so does it: a kill would only reach Wine's wrapper
