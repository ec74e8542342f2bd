"""What the operations page says of a new version of this software, and of packages from the index."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shell(line: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-ec", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A repository with this .gitignore, which somebody has cloned to `mine`, and a version after it."""
    who = "git -c user.name=T -c user.email=t@localhost -c commit.gpgsign=false"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"))
    (theirs / "VERSION").write_text("old")
    shell(f"git init -q -b main && git add . && {who} commit -qm old && git tag v1", theirs)
    shell("git clone -q theirs mine", tmp_path)
    (theirs / "VERSION").write_text("new")
    shell(f"{who} commit -qam new", theirs)
    return tmp_path / "mine"


def test_a_new_version_leaves_settings_and_artifacts_and_the_old_one_comes_back(published: Path) -> None:
    (published / ".env").write_text("HF_TOKEN=hf_invented\n")
    (published / "artifacts/crawl").mkdir(parents=True)
    (published / "artifacts/crawl/store.sqlite").write_text("rows")
    shell("chmod 600 .env", published)
    for line, version in (("git pull", "new"), ("git checkout v1", "old"), ("git checkout main", "new")):
        shell(line, published)
        assert (published / "VERSION").read_text() == version
        assert (published / ".env").stat().st_mode & 0o777 == 0o600
        assert (published / "artifacts/crawl/store.sqlite").read_text() == "rows"
        assert shell("git status --porcelain", published) == "", "nothing of the user's is git's"


def pip(*words: str, python: Path | str = sys.executable) -> str:
    done = subprocess.run(
        [str(python), "-m", "pip", *words, "--disable-pip-version-check"], capture_output=True, text=True
    )
    told = done.stdout + done.stderr
    if done.returncode and re.search(r"(?i)connection|resolve host|timed out|network", told):
        pytest.skip("no package index answers here")
    assert done.returncode == 0, told
    return told


@pytest.mark.parametrize("tracker", ["mlflow-skinny sqlalchemy alembic", "tensorboard", "trackio"])
def test_a_tracker_changes_nothing_that_is_pinned(tracker: str) -> None:
    """The lines of t5_training/README.md, `pip install …`, up to the moment where pip would unpack."""
    assert f"pip install {tracker}" in (ROOT / "t5_training/README.md").read_text(encoding="utf-8")
    told = pip("install", "--dry-run", *tracker.split())
    [would] = re.findall(r"Would install (.*)", told) or [""]
    new = {name.rpartition("-")[0].lower().replace("_", "-"): name for name in would.split()}
    assert would or "already satisfied" in told
    pinned = {
        line.split("==")[0] for line in (ROOT / "t5_training/requirements.lock").read_text().splitlines()
    }
    said = {"pillow"} if tracker == "trackio" else set()  # by that page
    # Authorities' certificates have a date as version; a tracker's newest release may ask for newer ones.
    assert (new.keys() & pinned) - {"certifi"} == said


def test_torch_for_a_card_installs_by_the_line_of_the_page_and_stays(tmp_path: Path) -> None:
    """From an index that stands in for torch's own and has a wheel with nothing in it."""
    page = (ROOT / "t5_training/README.md").read_text(encoding="utf-8")
    [line] = re.findall(r"python\.exe (-m pip install torch==\S+ --index-url \S+)\n", page)
    [version] = re.findall(r"torch==(\S+)", line)
    index = tmp_path / "index"
    (index / "torch").mkdir(parents=True)
    about = f"torch-{version}.dist-info"
    with zipfile.ZipFile(index / "torch" / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=index)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = re.sub(r"https://\S+", f"http://127.0.0.1:{server.server_port}", line)
        # Of this index alone: whatever pip is told here by its settings.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        done = subprocess.run(
            [python, *own.split()], capture_output=True, text=True,
            env={**kept, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        )  # fmt: skip
        server.shutdown()
    assert f"Successfully installed torch-{version}" in done.stdout, done.stdout + done.stderr
    # What the lock asks for is this torch, too: the next run of the cycle leaves it.
    [pinned] = re.findall(r"^torch==\S+", (ROOT / "t5_training/requirements.lock").read_text(), re.M)
    told = pip("install", "--dry-run", "--no-index", pinned, python=python)
    assert f"already satisfied: {pinned}" in told and "Would install" not in told


def test_the_audit_installs(tmp_path: Path) -> None:
    told = pip("install", "--dry-run", "pip-audit")
    assert "Would install" in told or "already satisfied" in told


def test_uv_makes_a_lock_with_hashes_that_pip_takes(tmp_path: Path) -> None:
    """docs/dependencies.md: for who wants them. As in the API's folder."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip("install", "--quiet", "uv", python=python)
    lock = (ROOT / "topic_sum_api/requirements.lock").read_text(encoding="utf-8")
    (tmp_path / "requirements.lock").write_text(lock)
    shell(
        "PATH=$PWD/venv/bin:$PATH; "
        "uv pip compile requirements.lock --no-deps --generate-hashes --output-file hashed.lock",
        tmp_path,
    )
    hashed = (tmp_path / "hashed.lock").read_text(encoding="utf-8")
    here = [line for line in lock.splitlines() if "==" in line and ";" not in line]
    assert len(here) > 20
    for pin in here:
        assert re.search(rf"^{re.escape(pin)} \\\n +--hash=sha256:[0-9a-f]{{64}}", hashed, re.M), pin
    one = next(pin for pin in here if pin.startswith("sqlparse"))
    digest = re.search(rf"^{re.escape(one)} \\\n +--hash=(\S+)", hashed, re.M)
    for good in (True, False):
        wanted = digest[1] if good else "sha256:" + "0" * 64
        (tmp_path / "one.lock").write_text(f"{one} --hash={wanted}\n")
        done = subprocess.run(
            [python, "-m", "pip", "download", "--no-deps", "--require-hashes", "-r", "one.lock", "-d", "."],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode == 0) == good, done.stderr
