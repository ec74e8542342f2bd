"""The stand-in Hub's disk: contents, commits, trees, branches and tags. No HTTP here; see server.py.

Nothing under the root is named after what a client sent, except repositories, whose names are checked:

    blobs/ab/abcd…                 contents of files, named by their SHA-256, shared by all repositories
    repos/models/USER/NAME/        one repository; datasets/ likewise
        objects/<sha1>.json        commits and trees, named by the SHA-1 of their own bytes
        state.json                 branches, tags, visibility: the one file that ever changes
    incoming/                      half-received files; emptied at every start
    lock                           held by the one process that uses the folder

Every file is written in incoming/, fsynced and renamed into its place, and state.json goes last. So a
commit exists completely or not at all, whenever the process is killed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from standin_hub.trees import (
    SHA1,
    SHA256,
    Change,
    Entry,
    HubError,
    Tree,
    checked_ref,
    file_entry,
    is_repo_name,
    parents,
    sha1,
)

CHUNK = 1 << 20  # bytes read or written at once
KINDS = {"models": "model", "datasets": "dataset"}
# A new repository starts with this .gitattributes, as on the real Hub; it decides what goes through LFS.
LFS_PATTERNS = """*.7z *.arrow *.bin *.bz2 *.ckpt *.gz *.h5 *.joblib *.model *.msgpack *.npy *.npz
    *.onnx *.parquet *.pickle *.pkl *.pt *.pth *.safetensors *.skops *.sqlite3 *.tar *.tar.* *.tgz
    *.xz *.zip *.zst"""
GITATTRIBUTES = re.sub(r"(\S+)\s*", r"\1 filter=lfs diff=lfs merge=lfs -text\n", LFS_PATTERNS).encode()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut. Windows has no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def take_ownership(lock_file: Path) -> BinaryIO:
    """Lock the file for this process. The system releases the lock when the process ends, however it ends.

    Raises BlockingIOError if another process holds the lock.
    """
    file = lock_file.open("ab")
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as problem:
        file.close()
        raise BlockingIOError(problem.errno, str(problem)) from None
    return file


class Blobs:
    """Contents of files by SHA-256. A blob gets its name once it is complete, and never changes."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        self.folder, self.incoming = folder, incoming

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """The size in bytes; None if the blob is not here or `sha256` is not a SHA-256."""
        if not SHA256.fullmatch(sha256) or not self.path(sha256).is_file():
            return None
        return self.path(sha256).stat().st_size

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise HubError(500, f"the content {sha256} is missing from the Hub's disk") from None

    def write(self, source: BinaryIO, expected: tuple[str, int] | None = None) -> tuple[str, int]:
        """Store everything that `source` yields, chunk by chunk; returns (sha256, bytes).

        With `expected` (sha256, bytes), other contents are refused with 400 and nothing is stored.
        """
        if expected and shutil.disk_usage(self.folder).free < expected[1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        digest, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self.incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if expected and size > expected[1]:
                        break
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            found = digest.hexdigest(), size
            if expected and found != expected:
                wanted = f"{expected[1]} bytes with SHA-256 {expected[0]}"
                came = "more" if size > expected[1] else f"{size} bytes with {found[0]}"
                raise HubError(400, f"this is not the file that was announced: {wanted}; received {came}")
            place = self.path(found[0])
            if not place.parent.is_dir():
                place.parent.mkdir(exist_ok=True)
                sync_folder(self.folder)
            if not place.exists():
                Path(name).replace(place)
                sync_folder(place.parent)
            return found
        finally:
            Path(name).unlink(missing_ok=True)


class Repo:
    """One repository: commits and trees that never change, and a state.json that names the heads."""

    def __init__(self, folder: Path, kind: str, repo_id: str, hub: Hub) -> None:
        self.folder, self.kind, self.id, self.hub = folder, kind, repo_id, hub
        self.owner = repo_id.split("/")[0]

    # Objects and state

    def put(self, path: Path, content: bytes) -> None:
        """Write a file of this repository durably, and completely or not at all."""
        handle, name = tempfile.mkstemp(dir=self.hub.incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
        sync_folder(path.parent)

    def put_object(self, value: dict[str, Any]) -> str:
        content = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
        oid = sha1(content)
        path = self.object_path(oid)
        if not path.exists():
            self.put(path, content)
        return oid

    def object_path(self, oid: str) -> Path:
        return self.folder / "objects" / f"{oid}.json"

    def get_object(self, oid: str) -> dict[str, Any]:
        content = self.read(self.object_path(oid))
        if sha1(content) != oid:
            raise HubError(500, f"object {oid} of {self.id} is damaged on the Hub's disk")
        return json.loads(content)

    def read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if self.folder.exists():
                raise HubError(500, f"{path.name} of {self.id} is missing from the Hub's disk") from None
            raise HubError(404, f"Repository not found: {self.id} was deleted", "RepoNotFound") from None

    def state(self) -> dict[str, Any]:
        """`{"created", "private", "branches": {name: commit}, "tags": {name: commit}}`"""
        with self.hub.lock:  # Windows cannot replace a file while another thread reads it
            return json.loads(self.read(self.folder / "state.json"))

    def save_state(self, state: dict[str, Any]) -> None:
        self.put(self.folder / "state.json", json.dumps(state, indent=1).encode())

    # Reading

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or a full commit id stands for; 404 RevisionNotFound otherwise."""
        state = self.state()
        for refs, prefix in (("branches", "refs/heads/"), ("tags", "refs/tags/")):
            if commit := state[refs].get(revision) or state[refs].get(revision.removeprefix(prefix)):
                return commit
        known = SHA1.fullmatch(revision) and self.object_path(revision).exists()
        if known and "tree" in self.get_object(revision):
            return revision
        message = f"Invalid rev id: {self.id} has no branch, tag or commit {revision}"
        raise HubError(404, message, "RevisionNotFound")

    def tree(self, commit: str) -> Tree:
        return self.get_object(self.get_object(commit)["tree"])["files"]

    def entry(self, commit: str, path: str) -> Entry:
        entry = self.tree(commit).get(path)
        if entry is None:
            message = f"Entry not found: {path} is not in {self.id} at {commit}"
            raise HubError(404, message, "EntryNotFound", commit)
        return entry

    def text(self, commit: str, path: str) -> str:
        """The contents of a text file; "" if it does not exist."""
        entry = self.tree(commit).get(path)
        if entry is None:
            return ""
        with self.hub.blobs.open(entry["sha256"]) as file:
            return file.read().decode("utf-8", "replace")

    def history(self, commit: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(commit id, commit) from `commit` back to the first one."""
        oid: str | None = commit
        while oid:
            value = self.get_object(oid)
            yield oid, value
            oid = value["parent"]

    def last_changes(self, commit: str, paths: Iterable[str]) -> dict[str, dict[str, str]]:
        """For each file or folder, the commit that last changed it."""
        waiting, found = set(paths), {}
        for oid, value in self.history(commit):
            if not waiting:
                break
            new, old = self.tree(oid), self.tree(value["parent"]) if value["parent"] else {}
            changed = {path for path in new.keys() | old.keys() if new.get(path) != old.get(path)}
            changed |= {folder for path in changed for folder in parents(path)}
            for path in waiting & changed:
                found[path] = {"id": oid, "title": value["title"], "date": value["date"]}
            waiting -= changed
        return found

    # Writing

    def put_commit(self, parent: str | None, files: Tree, author: str, title: str, message: str = "") -> str:
        value = {"parent": parent, "tree": self.put_object({"files": files}), "author": author, "date": now()}
        return self.put_object(value | {"title": title, "message": message})

    def commit(
        self, branch: str, changes: list[Change], author: str, title: str, message: str, parent: str | None
    ) -> str:
        """Apply `changes` to the head of `branch` in one commit; returns its id.

        404 if there is no such branch, 412 if `parent` is given and is no longer the head. If the changes
        leave the tree as it was, there is no commit and the head is returned.
        """
        with self.hub.lock:
            state = self.state()
            branch = branch.removeprefix("refs/heads/")
            head = state["branches"].get(branch)
            if head is None:
                text = f"Invalid rev id: {self.id} has no branch {branch}, and a commit needs a branch"
                raise HubError(404, text, "RevisionNotFound")
            if parent and parent != head:
                text = f"{branch} is at {head}, no longer at the parentCommit {parent}"
                raise HubError(412, f"A commit has happened since. Please refresh and try again: {text}")
            before = self.tree(head)
            files = dict(before)
            for change in changes:
                change(files)
            if clash := next((p for path in files for p in parents(path) if p in files), None):
                raise HubError(400, f"{clash} would be a file and a folder at once")
            if files == before:
                return head
            state["branches"][branch] = self.put_commit(head, files, author, title, message)
            self.save_state(state)
            return state["branches"][branch]

    def add_ref(self, refs: str, name: str, commit: str) -> None:
        """Make a branch or a tag (`refs` is "branches" or "tags"); 409 if it exists."""
        checked_ref(name)
        with self.hub.lock:
            state = self.state()
            if name in state[refs]:
                raise HubError(409, f"Reference already exists: {self.id} has {name}")
            state[refs][name] = commit
            self.save_state(state)

    def remove_ref(self, refs: str, name: str) -> None:
        with self.hub.lock:
            state = self.state()
            if name not in state[refs]:
                raise HubError(404, f"Reference not found: {self.id} has no {name}", "RevisionNotFound")
            if refs == "branches" and name == "main":
                raise HubError(403, "the branch main cannot be deleted")
            del state[refs][name]
            self.save_state(state)

    def set_private(self, private: bool) -> None:
        with self.hub.lock:
            self.save_state(self.state() | {"private": private})


class Hub:
    """All repositories under one folder, which one process at a time owns."""

    def __init__(self, root: Path) -> None:
        self.root, self.incoming = root, root / "incoming"
        self.lock = threading.RLock()  # held for every change and every read of a state.json
        root.mkdir(parents=True, exist_ok=True)
        self.owned = take_ownership(root / "lock")
        for folder in (self.incoming, root / "blobs", *(root / "repos" / kind for kind in KINDS)):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.incoming.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self.blobs = Blobs(root / "blobs", self.incoming)

    def repo(self, kind: str, repo_id: str, reader: str | None) -> Repo:
        """The repository, if the user named `reader` may see it; 404 RepoNotFound otherwise."""
        owner, _, name = repo_id.partition("/")
        folder = self.root / "repos" / kind / owner / name
        if is_repo_name(owner) and is_repo_name(name) and (folder / "state.json").is_file():
            repo = Repo(folder, kind, repo_id, self)
            if reader == owner or not repo.state()["private"]:
                return repo
        message = f"Repository not found: this Hub has no {KINDS[kind]} {repo_id}"
        raise HubError(404, message, "RepoNotFound")

    def repos(self, kind: str, reader: str | None) -> list[Repo]:
        """Every repository of `kind` that `reader` may see, sorted by name."""
        found = []
        for state in sorted((self.root / "repos" / kind).glob("*/*/state.json")):
            try:
                found.append(self.repo(kind, f"{state.parts[-3]}/{state.parts[-2]}", reader))
            except HubError:  # private, or deleted since the listing
                continue
        return found

    def create(self, kind: str, repo_id: str, private: bool) -> Repo:
        """Make a repository with a first commit, so that main has a revision; 409 if it exists."""
        owner, _, name = repo_id.partition("/")
        if not is_repo_name(owner) or not is_repo_name(name):
            rule = "USER/NAME of Latin letters, digits, '-', '_' and '.', each up to 96 long, no '--' or '..'"
            raise HubError(400, f"{repo_id!r} is not a name for a repository: {rule}")
        place = self.root / "repos" / kind / owner / name
        with self.lock:
            if place.exists():
                raise HubError(409, f"You already created this {KINDS[kind]} repo")
            draft = Repo(Path(tempfile.mkdtemp(dir=self.incoming)), kind, repo_id, self)
            try:
                (draft.folder / "objects").mkdir()
                first_file = file_entry(*self.blobs.write(io.BytesIO(GITATTRIBUTES)), GITATTRIBUTES)
                first = draft.put_commit(None, {".gitattributes": first_file}, owner, "initial commit")
                heads = {"branches": {"main": first}, "tags": {}}
                draft.save_state({"created": now(), "private": private} | heads)
                place.parent.mkdir(exist_ok=True)
                draft.folder.replace(place)  # one rename, so nobody sees half a repository
            except BaseException:
                shutil.rmtree(draft.folder, ignore_errors=True)
                raise
            sync_folder(place.parent)
            sync_folder(place.parent.parent)
        return Repo(place, kind, repo_id, self)

    def delete(self, repo: Repo) -> None:
        """Remove a repository. Its contents stay in blobs/, because other repositories may share them."""
        with self.lock:
            doomed = self.incoming / secrets.token_hex(8)
            repo.folder.replace(doomed)
            sync_folder(repo.folder.parent)
        shutil.rmtree(doomed)
