"""The stand-in Hub's disk: contents, commits, trees, branches and tags. No HTTP here; hub.py speaks it.

Under the root, where nothing is named after what a client sent, except checked names of repositories:

    blobs/ab/abcd…                 contents of files, named by their SHA-256, shared by all repositories
    repos/models/USER/NAME/        one repository; datasets/ likewise
        objects/<sha1>.json        commits and trees, named by the SHA-1 of their own bytes
        state.json                 branches, tags, visibility: the one file that ever changes
    incoming/                      half-received files; emptied at every start
    lock                           held by the one process that uses the folder

Every file is written in incoming/, fsynced and renamed into its place, and state.json goes last. So a
commit is there wholly or not at all, whatever moment the process is killed at.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20
KINDS = {"models": "model", "datasets": "dataset"}
REGULAR_LIMIT = 5 << 20  # bytes; a file above this goes through LFS, whatever is in it
SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
RESERVED_USERS = {"api", "datasets", "models", "spaces", "lfs"}
# What a new repository starts with, as on the real Hub; it decides what goes through LFS.
LFS_PATTERNS = """*.7z *.arrow *.bin *.bz2 *.ckpt *.gz *.h5 *.joblib *.model *.msgpack *.npy *.npz
    *.onnx *.parquet *.pickle *.pkl *.pt *.pth *.safetensors *.skops *.sqlite3 *.tar *.tar.* *.tgz
    *.xz *.zip *.zst"""
GITATTRIBUTES = re.sub(r"(\S+)\s*", r"\1 filter=lfs diff=lfs merge=lfs -text\n", LFS_PATTERNS).encode()

Entry = dict[str, Any]  # one file of a tree: size (bytes), sha256, oid (git's SHA-1 for it), lfs (bool)
Tree = dict[str, Entry]  # path → entry
Change = Callable[[Tree], None]  # one line of a commit, done to a tree


class HubError(Exception):
    """A request turned down: HTTP status, the message for the client, and its error code if it has one.

    `commit` is told to the client too (it caches that a file is absent there); `extra` goes into the JSON.
    """

    def __init__(self, status: int, message: str, code: str = "", commit: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.commit, self.extra = status, message, code, commit, extra


# ---------------------------------------------------------------- names, paths, ids


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_repo_name(name: str) -> bool:
    """Whether `name` is safe as a folder on every system and one that the real Hub would take."""
    bad = "--" in name or ".." in name or name.endswith((".", "-", ".git")) or name in RESERVED_USERS
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)  # on Windows
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name)) and not bad and not device


def checked_path(path: str) -> str:
    """A file's path inside a repository. It never becomes a path on this disk, but does on a client's."""
    bad_part = any(part in ("", ".", "..", ".git") for part in path.split("/"))
    if bad_part or "\\" in path or re.search(r"[\x00-\x1f\x7f]", path) or re.match(r"[A-Za-z]:", path):
        raise HubError(400, f"{path!r} is not a path inside a repository")
    return path


def checked_ref(name: str) -> str:
    """The name of a new branch or tag."""
    if not re.fullmatch(r"\w[\w.+/-]{0,199}", name) or re.search(r"\.\.|//|/\.|/$|\.$|\.lock$", name):
        raise HubError(400, f"{name!r} is not a name that git allows for a branch or a tag")
    if SHA1.fullmatch(name) or name.startswith("refs/"):
        raise HubError(400, f"{name!r} would be taken for a commit or for a full ref")
    return name


def parents(path: str) -> list[str]:
    """The folders above `path`: "a/b/c" → ["a", "a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The small text that git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def file_entry(sha256: str, size: int, content: bytes | None = None) -> Entry:
    """Tree entry of a regular file (with its content) or of an LFS file (without)."""
    in_git = lfs_pointer(sha256, size) if content is None else content
    oid = sha1(b"blob %d\0" % len(in_git) + in_git)
    return {"size": size, "sha256": sha256, "oid": oid, "lfs": content is None}


def goes_through_lfs(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """Whether a file of `size` bytes that begins with `sample` is kept in LFS under these .gitattributes."""
    if size == 0:
        return False
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line.split()]
    name = path.rsplit("/", 1)[-1]
    if size > REGULAR_LIMIT or any(fnmatch.fnmatchcase(path if "/" in p else name, p) for p in patterns):
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as problem:
        return problem.start < len(sample) - 3  # nearer the end, it is only a letter cut in two
    return b"\0" in sample


# ---------------------------------------------------------------- trees as the clients see them


def described(path: str, entry: Entry) -> dict[str, Any]:
    """One file, as the client wants it described."""
    item: dict[str, Any] = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if entry["lfs"]:
        pointer_size = len(lfs_pointer(entry["sha256"], entry["size"]))
        item["lfs"] = {"oid": entry["sha256"], "size": entry["size"], "pointerSize": pointer_size}
    return item


def described_folder(path: str, files: Tree) -> dict[str, Any]:
    below = sorted((p, entry["oid"]) for p, entry in files.items() if p.startswith(f"{path}/"))
    return {"type": "directory", "oid": sha1(json.dumps(below).encode()), "size": 0, "path": path}


def listing(files: Tree, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders inside `folder` ("" is the top), sorted by path."""
    prefix = f"{folder}/" if folder else ""
    inside = {path for path in files if path.startswith(prefix)}
    inside |= {above for path in inside for above in parents(path) if above.startswith(prefix)}
    return [
        described(path, files[path]) if path in files else described_folder(path, files)
        for path in sorted(inside)
        if recursive or "/" not in path.removeprefix(prefix)
    ]


# ---------------------------------------------------------------- the disk


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (Windows has no such call)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def take_ownership(lock_file: Path) -> BinaryIO:
    """Lock the file for this process. The system lets go of it when the process ends, however it ends.

    Raises BlockingIOError if another process has it.
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
    """Contents of files by SHA-256. A blob is complete the moment it has its name, and never changes."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        self.folder, self.incoming = folder, incoming

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes, or None if it is not here (or is no SHA-256)."""
        if not SHA256.fullmatch(sha256) or not self.path(sha256).is_file():
            return None
        return self.path(sha256).stat().st_size

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise HubError(500, f"the content {sha256} is missing from the Hub's disk") from None

    def write(self, source: BinaryIO, expected: tuple[str, int] | None = None) -> tuple[str, int]:
        """Keep all that `source` gives, a chunk at a time; returns (sha256, bytes).

        With `expected` (sha256, bytes), anything else is turned down with 400 and nothing is kept.
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
                came = "more came" if size > expected[1] else f"{size} bytes with {found[0]} came"
                raise HubError(400, f"this is not the file that was announced: {wanted} expected, {came}")
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
    """One repository: commits and trees that never change, and state.json that names the heads."""

    def __init__(self, folder: Path, kind: str, repo_id: str, hub: Hub) -> None:
        self.folder, self.kind, self.id, self.hub = folder, kind, repo_id, hub
        self.owner = repo_id.split("/")[0]

    # Objects and state

    def put(self, path: Path, content: bytes) -> None:
        """Write a file of this repository wholly or not at all, and durably."""
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
        for words, prefix in (("branches", "refs/heads/"), ("tags", "refs/tags/")):
            if commit := state[words].get(revision) or state[words].get(revision.removeprefix(prefix)):
                return commit
        known = SHA1.fullmatch(revision) and self.object_path(revision).exists()
        if known and "tree" in self.get_object(revision):
            return revision
        message = f"Invalid rev id: {revision} is no branch, tag or commit of {self.id}"
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
        """A text file; "" if it is not there."""
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

        404 if there is no such branch, 412 if `parent` is given and is no longer the head. Changes that leave
        the tree as it was make no commit: the head is returned.
        """
        with self.hub.lock:
            state = self.state()
            branch = branch.removeprefix("refs/heads/")
            head = state["branches"].get(branch)
            if head is None:
                text = f"Invalid rev id: {branch} is no branch of {self.id}, and a commit goes to a branch"
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

    def add_ref(self, words: str, name: str, commit: str) -> None:
        """Make a branch or a tag (`words` is "branches" or "tags"); 409 if it is there."""
        checked_ref(name)
        with self.hub.lock:
            state = self.state()
            if name in state[words]:
                raise HubError(409, f"Reference already exists: {name} is there in {self.id}")
            state[words][name] = commit
            self.save_state(state)

    def remove_ref(self, words: str, name: str) -> None:
        with self.hub.lock:
            state = self.state()
            if name not in state[words]:
                raise HubError(404, f"Reference not found: {name} is not in {self.id}", "RevisionNotFound")
            if words == "branches" and name == "main":
                raise HubError(403, "the branch main cannot be deleted")
            del state[words][name]
            self.save_state(state)

    def set_private(self, private: bool) -> None:
        with self.hub.lock:
            self.save_state(self.state() | {"private": private})


class Hub:
    """All repositories under one folder, which one process at a time owns."""

    def __init__(self, root: Path) -> None:
        self.root, self.incoming = root, root / "incoming"
        self.lock = threading.RLock()  # around every change of a state.json and every read of one
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
        message = f"Repository not found: there is no {KINDS[kind]} {repo_id} here"
        raise HubError(404, message, "RepoNotFound")

    def repos(self, kind: str, reader: str | None) -> list[Repo]:
        """Every repository of `kind` that `reader` may see, by name."""
        found = []
        for state in sorted((self.root / "repos" / kind).glob("*/*/state.json")):
            try:
                found.append(self.repo(kind, f"{state.parts[-3]}/{state.parts[-2]}", reader))
            except HubError:  # not for this reader, or deleted since the listing
                continue
        return found

    def create(self, kind: str, repo_id: str, private: bool) -> Repo:
        """Make a repository with a first commit, so that main has a revision; 409 if it is there."""
        owner, _, name = repo_id.partition("/")
        if not is_repo_name(owner) or not is_repo_name(name):
            rule = "USER/NAME of Latin letters, digits, '-', '_' and '.', each 96 at most, no '--' or '..'"
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
                draft.folder.replace(place)  # one rename: it is there at once and as a whole
            except BaseException:
                shutil.rmtree(draft.folder, ignore_errors=True)
                raise
            sync_folder(place.parent)
            sync_folder(place.parent.parent)
        return Repo(place, kind, repo_id, self)

    def delete(self, repo: Repo) -> None:
        """Remove a repository. Its contents stay in blobs/, which other repositories may share."""
        with self.lock:
            doomed = self.incoming / secrets.token_hex(8)
            repo.folder.replace(doomed)
            sync_folder(repo.folder.parent)
        shutil.rmtree(doomed)
