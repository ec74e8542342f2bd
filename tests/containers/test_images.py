"""What the two images hold, and what they must not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tarfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(2000)  # the first of them builds both images
STAGES = ("parser", "api")
FOLDERS = {"parser": "dataset_parser", "api": "topic_sum_api"}


def inspect(docker, stage: str) -> dict:
    return json.loads(docker.said("image", "inspect", f"gazeta-{stage}"))[0]


@pytest.mark.parametrize("stage", STAGES)
def test_image_says_what_it_is(stage: str, images, repo_root: Path) -> None:
    # The cycle's tests build from a copy that is no git checkout, under the same name.
    done = images.compose(stage, "build", seconds=900, REVISION="0123abc")
    assert done.returncode == 0, done.stderr[-3000:]
    page = (repo_root / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`docker (image inspect gazeta-api [^`]+)`", page)
    labels = json.loads(images.said(*shlex.split(line.replace("gazeta-api", f"gazeta-{stage}"))))
    name = "org.opencontainers.image."
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels[f"{name}version"])
    assert labels[f"{name}revision"] == "0123abc"
    assert labels[f"{name}licenses"] == "MIT" and labels[f"{name}title"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_secret_is_in_the_image(stage: str, images) -> None:
    token = "write-token-that-nobody-may-see"
    history = images.said("history", "--no-trunc", f"gazeta-{stage}")
    assert token not in history + json.dumps(inspect(images, stage))
    seen = images.said("run", "--rm", "--network", "none", f"gazeta-{stage}", "env")
    assert "HF_TOKEN" not in seen and token not in seen


@pytest.mark.parametrize("stage", STAGES)
def test_no_file_of_any_layer_holds_the_token(stage: str, images, tmp_path: Path) -> None:
    """Saved as `docker save` does, every layer unpacked: what a later layer deletes is looked at too."""
    token = b"write-token-that-nobody-may-see"
    saved = tmp_path / "image.tar"
    images.said("save", "--output", str(saved), f"gazeta-{stage}")
    looked_at = 0
    with tarfile.open(saved) as image:
        for blob in filter(None, map(image.extractfile, image)):
            if not tarfile.is_tarfile(blob):  # a manifest or a configuration
                blob.seek(0)
                assert token not in blob.read(), blob.name
                continue
            blob.seek(0)
            with tarfile.open(fileobj=blob) as layer:
                for file in filter(tarfile.TarInfo.isreg, layer):
                    looked_at += 1
                    assert token not in layer.extractfile(file).read(), file.name
    assert looked_at > 1000


@pytest.mark.parametrize("stage", STAGES)
def test_container_is_nobody_in_particular_and_can_write_only_its_volume(stage: str, images) -> None:
    script = (
        "id -u; touch /app/x 2>&1; touch /venv/x 2>&1; touch /artifacts/x /tmp/x && echo writes; "
        "cat /proc/self/status | grep -E '^(CapEff|NoNewPrivs)'"
    )
    done = images.compose(stage, "run", "--rm", "--no-deps", "-T", stage, "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert lines[0] == "10001"
    assert sum("Read-only file system" in line for line in lines) == 2
    assert "writes" in lines
    assert "CapEff:\t0000000000000000" in lines and "NoNewPrivs:\t1" in lines


@pytest.mark.parametrize("stage", STAGES)
def test_image_holds_no_tools_of_its_making(stage: str, images) -> None:
    looked = (
        "import importlib.util as u; print([n for n in ('torch', 'transformers', 'pip') if u.find_spec(n)])"
    )
    assert images.said("run", "--rm", "--network", "none", f"gazeta-{stage}", "python", "-c", looked) == "[]"
    done = images.run("run", "--rm", "--network", "none", f"gazeta-{stage}", "sh", "-c", "command -v gcc cc")
    assert done.returncode != 0 and done.stdout == ""


@pytest.mark.parametrize("stage", STAGES)
def test_changed_code_does_not_install_the_dependencies_again(
    stage: str, images, repo_root: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    shutil.copytree(repo_root / FOLDERS[stage], context, ignore=shutil.ignore_patterns("__pycache__"))
    package = context / {"parser": "gazeta", "api": "topic_sum"}[stage] / "__init__.py"
    change = f"\n# changed {time.time_ns()}\n"  # as no build before: the engine keeps its cache
    package.write_text(package.read_text(encoding="utf-8") + change, encoding="utf-8")
    done = images.run(
        "build", "--progress", "plain", "--tag", f"mlops-test-{stage}", str(context), seconds=300
    )
    try:
        assert done.returncode == 0, done.stderr[-2000:]
        steps = dict(re.findall(r"^#(\d+) \[([^\]]+)\]", done.stderr, re.MULTILINE))
        done_before = set(re.findall(r"^#(\d+) CACHED", done.stderr, re.MULTILINE))
        again = {steps[number] for number in steps if number not in done_before}
        assert any(steps[number].startswith("wheels 3/3") for number in done_before), done.stderr
        assert any(name.startswith("stage-1") for name in again)  # the code's own layer was made anew
    finally:
        images.run("image", "rm", f"mlops-test-{stage}")


def test_lines_that_free_room_are_known_to_docker(images, repo_root: Path) -> None:
    """Of this engine's own they take nothing here: what is older than ten years, what has a label of ours."""
    page = (repo_root / "docs" / "operations.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| Docker's build cache .*", page, re.MULTILINE)
    for line, own in zip(
        re.findall(r"`docker ([^`]+)`", row), ("until=87600h", "label=mlops-test-nothing"), strict=True
    ):
        assert "reclaimed" in images.said(*line.split(), "--force", "--filter", own) or "builder" in line
    assert images.said("image", "inspect", "gazeta-api")
