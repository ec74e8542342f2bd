"""What happens to the Hub itself: killed, stopped, its disk full, its port or folder taken, wrong options."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

REPO = "demo/stream"
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


def commit(hub, *files: tuple[str, bytes], title: str = "Add") -> str:
    """Commit LFS files with as few requests as the protocol allows; returns the commit's id."""
    lines = [{"key": "header", "value": {"summary": title}}]
    for path, content in files:
        oid, size = hashlib.sha256(content).hexdigest(), len(content)
        asked = {"operation": "upload", "objects": [{"oid": oid, "size": size}]}
        batch = hub.send("POST", f"/{REPO}.git/info/lfs/objects/batch", asked).json()
        if "actions" in batch["objects"][0]:
            href = batch["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
            answer = hub.send("PUT", href, content)
            assert answer.status == 200, answer.json()
        lines.append({"key": "lfsFile", "value": {"path": path, "oid": oid, "size": size}})
    body = "".join(json.dumps(line) + "\n" for line in lines)
    answer = hub.send("POST", f"/api/models/{REPO}/commit/main", body)
    assert answer.status == 200, answer.json()
    return answer.json()["commitOid"]


def fetch(hub, revision: str, path: str) -> bytes:
    answer = hub.send("GET", f"/{REPO}/resolve/{revision}/{path}")
    assert answer.status == 200, answer.body
    return answer.body


WRITER = """
import sys
from huggingface_hub import CommitOperationAdd, HfApi

url, token, repo, start = sys.argv[1:]
api = HfApi(endpoint=url, token=token)
for number in range(int(start), 10_000):
    text, large = f"{number}", bytes(f"{number} ", "ascii") * 60_000
    files = [CommitOperationAdd("number.txt", text.encode()), CommitOperationAdd("large.bin", large)]
    print(number, api.create_commit(repo, files, commit_message=text).oid, flush=True)
"""


@POSIX
def test_kill_9_in_a_stream_of_commits_loses_no_commit_and_leaves_no_half_of_one(hub_process, tmp_path):
    hub = hub_process()
    hub.api().create_repo(REPO)
    acknowledged: dict[int, str] = {}
    chance = random.Random(7)
    for _ in range(4):
        log = tmp_path / "acknowledged.txt"
        start = str(max(acknowledged, default=-1) + 1)
        arguments = [sys.executable, "-c", WRITER, hub.url, hub.token, REPO, start]
        with log.open("w") as output:
            writer = subprocess.Popen(arguments, stdout=output, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not log.read_text().count("\n"):  # the first commit of this round is through
            assert time.monotonic() < deadline and writer.poll() is None
            time.sleep(0.01)
        time.sleep(chance.uniform(0.05, 0.6))
        hub.end(signal.SIGKILL)
        writer.kill()
        writer.wait(timeout=20)
        acknowledged |= {int(n): oid for n, oid in re.findall(r"(\d+) (\w{40})\n", log.read_text())}
        hub.start()
        assert list((hub.root / "incoming").iterdir()) == []

        history = hub.api().list_repo_commits(REPO)
        ids = [one.commit_id for one in history]
        assert set(acknowledged.values()) <= set(ids), "a commit that was acknowledged is gone"
        assert ids[-1] != ids[0] and history[-1].title == "initial commit"
        for one in history[:-1]:
            number = one.title
            assert fetch(hub, one.commit_id, "number.txt").decode() == number
            assert fetch(hub, one.commit_id, "large.bin") == f"{number} ".encode() * 60_000
        for path in (hub.root / "blobs").glob("*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert len(acknowledged) >= 4
    assert commit(hub, ("after.bin", b"\0after")) == hub.api().repo_info(REPO).sha


@POSIX
def test_a_damaged_object_is_named_and_not_served(hub_process):
    """The Hub says what its disk lost, and goes on serving the rest."""
    hub = hub_process()
    hub.api().create_repo(REPO)
    good = commit(hub, ("a.bin", b"\0one"))
    bad = commit(hub, ("a.bin", b"\0two"))
    path = hub.root / "repos" / "models" / REPO / "objects" / f"{bad}.json"
    path.write_bytes(path.read_bytes()[:-5])
    answer = hub.send("GET", f"/{REPO}/resolve/main/a.bin")
    assert (answer.status, f"object {bad}" in answer.json()["error"]) == (500, True)
    assert fetch(hub, good, "a.bin") == b"\0one"
    content = hub.root / "blobs" / hashlib.sha256(b"\0one").hexdigest()[:2]
    shutil.rmtree(content)
    answer = hub.send("GET", f"/{REPO}/resolve/{good}/a.bin")
    assert (answer.status, "missing from the Hub's disk" in answer.json()["error"]) == (500, True)


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_is_clean_and_a_start_finds_everything_again(hub_process, name):
    hub = hub_process()
    hub.api().create_repo(REPO)
    sha = commit(hub, ("a.bin", b"\0content"))
    hub.api().create_tag(REPO, tag="v1")
    assert hub.end(getattr(signal, name)) == 0
    hub.start()
    assert hub.api().repo_info(REPO, revision="v1").sha == sha
    assert fetch(hub, "v1", "a.bin") == b"\0content"


@POSIX
def test_a_file_too_large_for_the_disk_is_a_507_and_the_hub_goes_on(hub_process):
    """The system's own limit on a file's size stands for a disk that fills up in the middle of a file."""
    import resource

    limit = 3_000_000
    hub = hub_process(limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    hub.api().create_repo(REPO)
    before = hub.api().repo_info(REPO).sha
    content = os.urandom(limit * 3)
    asked = {
        "operation": "upload",
        "objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}],
    }
    batch = hub.send("POST", f"/{REPO}.git/info/lfs/objects/batch", asked).json()
    answer = hub.send("PUT", batch["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url), content)
    assert (answer.status, "make room" in answer.headers["X-Error-Message"]) == (507, True)
    assert list((hub.root / "incoming").iterdir()) == []
    assert hub.api().repo_info(REPO).sha == before
    commit(hub, ("small.bin", content[:1_000_000]))


def may_mount() -> bool:
    tool = shutil.which("unshare")
    return bool(tool) and subprocess.run([tool, "-rm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs a Linux that lets this user mount a small disk of its own")
def test_a_full_disk_is_a_507_in_words_and_every_commit_before_it_is_whole(hub_process):
    inside = 'mkdir -p "$0" && mount -t tmpfs -o size=6m none "$0" && exec "$@"'

    def through(root: Path) -> list[str]:
        return ["unshare", "-rm", "sh", "-c", inside, str(root)]

    hub = hub_process(prefix_for=through)
    api = hub.api()
    api.create_repo(REPO)
    done = []
    while True:
        text = random.Random(len(done)).randbytes(350_000).hex().encode()  # text comes inside the commit
        operation = CommitOperationAdd(f"{len(done)}.txt", text)
        try:
            done.append((api.create_commit(REPO, [operation], commit_message="Add").oid, text))
        except HfHubHTTPError as refusal:
            assert refusal.response.status_code == 507
            assert "make room and repeat; nothing was changed" in str(refusal)
            break
        assert len(done) < 20, "6 MB never filled up"
    assert len(done) >= 2
    with pytest.raises(
        ValueError, match="make room"
    ):  # how the client reports a file the Hub has no room for
        api.upload_file(path_or_fileobj=os.urandom(20_000_000), path_in_repo="large.bin", repo_id=REPO)
    assert [one.commit_id for one in api.list_repo_commits(REPO)][:-1] == [oid for oid, _ in reversed(done)]
    for number, (oid, text) in enumerate(done):
        assert fetch(hub, oid, f"{number}.txt") == text
    assert commit(hub, ("small.bin", b"\0fits")) == api.repo_info(REPO).sha


def run_hub(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(Path(__file__).resolve().parents[2] / "demo" / "hub.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def one_error_line(done: subprocess.CompletedProcess) -> str:
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_a_taken_port_is_exit_5_in_one_line(hub, tmp_path):
    done = run_hub("--root", str(tmp_path / "other"), "--port", str(hub.port))
    assert done.returncode == 5
    assert f"port {hub.port}" in one_error_line(done)
    assert not (tmp_path / "other").exists()


def test_a_folder_in_use_is_exit_6_in_one_line(hub, free_port):
    done = run_hub("--root", str(hub.root), "--port", str(free_port()))
    assert done.returncode == 6
    assert "another stand-in Hub is using" in one_error_line(done)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--root", "x"],
        ["--root", "x", "--port", "many"],
        ["--root", "x", "--port", "70000"],
        ["--root", "x", "--port", "0", "--unknown"],
        ["--root", "x", "--port", "0", "--token", "secret"],
        ["--root", "x", "--port", "0", "--token", "secret=../up"],
        ["--root", "x", "--port", "0", "--token", "secret=demo:admin"],
    ],
)
def test_wrong_options_are_exit_2_in_one_line_without_the_token(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_hub(*options)
    assert done.returncode == 2
    assert "secret" not in one_error_line(done)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_exit_2_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_hub("--root", str(tmp_path / "file" / "hub"), "--port", "0")
    assert done.returncode == 2
    assert str(tmp_path / "file" / "hub") in one_error_line(done)


def test_the_hub_answers_on_loopback_only_and_is_quiet(hub_process, capfd):
    hub = hub_process()
    hub.send("GET", "/")
    hub.send("GET", "/demo/absent/resolve/main/x")
    hub.send("POST", "/api/repos/create", b"{broken")
    assert capfd.readouterr().err == ""
    listening = (
        subprocess.run(["ss", "-ltn"], capture_output=True, text=True).stdout if shutil.which("ss") else ""
    )
    assert f"0.0.0.0:{hub.port}" not in listening and f"*:{hub.port}" not in listening
