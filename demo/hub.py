"""A stand-in Hugging Face Hub for one machine: the real, unmodified clients push to it and pull from it.

    python demo/hub.py --root DIR --port P --token TOKEN=USER[:read] [--token ...] [--verbose]

It answers what huggingface_hub, the `hf` command, datasets and transformers ask of a Hub without Xet:
model and dataset repositories with commits, branches, tags, LFS, write and read tokens, and the error
headers those clients look for. Standard library only, loopback only. Open http://127.0.0.1:P/ to look inside.

On disk, under DIR (nothing there is ever named after a path that a client sent, except checked repo names):

    blobs/ab/abcd…                     file contents, named by their SHA-256, shared by all repositories
    repos/models/USER/NAME/            one repository; datasets/ likewise
        objects/<sha1>.json            commits and trees, named by the SHA-1 of their own bytes
        state.json                     branches, tags, visibility: the one file that ever changes
    incoming/                          half-received files; emptied at every start

Every file is written beside its place, fsynced, and renamed into it; state.json goes last. So a commit is
there wholly or not at all, whatever moment the process is killed at.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import errno
import fnmatch
import hashlib
import hmac
import html
import io
import json
import mimetypes
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlsplit

CHUNK = 1 << 20
KINDS = {"models": "model", "datasets": "dataset"}
REGULAR_LIMIT = 5 << 20  # bytes; a file above this goes through LFS, whatever is in it
LINE_LIMIT = 64 << 20  # bytes; one line of a commit holds one regular file in base64
JSON_LIMIT = 32 << 20  # bytes; every other request body that is read into memory
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
RESERVED_USERS = {"api", "datasets", "models", "spaces", "lfs"}
# What a new repository starts with, as on the real Hub; it decides what goes through LFS.
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in (
        "*.7z *.arrow *.bin *.bz2 *.ckpt *.gz *.h5 *.joblib *.model *.msgpack *.npy *.npz *.onnx *.parquet "
        "*.pickle *.pkl *.pt *.pth *.safetensors *.skops *.sqlite3 *.tar *.tar.* *.tgz *.xz *.zip *.zst"
    ).split()
)

Entry = dict[str, Any]  # one file of a tree: size (bytes), sha256, oid (git's SHA-1 for it), lfs (bool)
Tree = dict[str, Entry]  # path → entry


class HubError(Exception):
    """A request the Hub turns down: HTTP status, what to tell the client, and the client's error code if any."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.commit, self.extra = status, message, code, commit, extra


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    may_write: bool


# ---------------------------------------------------------------- storage


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (Windows has no such call and needs none here)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, content: bytes, incoming: Path) -> None:
    """Put `content` at `path` wholly or not at all, and durably."""
    handle, name = tempfile.mkstemp(dir=incoming)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def git_oid(content: bytes) -> str:
    """The id git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The small text git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Blobs:
    """File contents by SHA-256. A blob is complete the moment it has its name, and never changes."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        self.folder, self.incoming = folder, incoming

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes, or None if it is not here."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str) -> bytes:
        return self.path(sha256).read_bytes()

    def write(self, source: BinaryIO, expected: tuple[str, int] | None = None) -> tuple[str, int]:
        """Store everything `source` gives, a chunk at a time; returns (sha256, size in bytes).

        With `expected` (sha256, size), anything else is refused with 400 and nothing is kept.
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
                raise HubError(400, f"the upload is not the file it was announced as: {expected[1]} bytes with "
                                    f"SHA-256 {expected[0]} were expected, {found[0]} came")  # fmt: skip
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
    """One repository: immutable commits and trees, and state.json that names the heads. Callers hold Hub.lock
    around anything that reads the state in order to change it."""

    def __init__(self, folder: Path, kind: str, repo_id: str, hub: Hub) -> None:
        self.folder, self.kind, self.id, self.hub = folder, kind, repo_id, hub
        self.owner = repo_id.split("/")[0]

    # Objects and state -----------------------------------------------------------------------------------

    def put_object(self, value: dict[str, Any]) -> str:
        content = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
        oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        path = self.folder / "objects" / f"{oid}.json"
        if not path.exists():
            write_atomically(path, content, self.hub.incoming)
        return oid

    def get_object(self, oid: str) -> dict[str, Any]:
        content = (self.folder / "objects" / f"{oid}.json").read_bytes()
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != oid:
            raise HubError(500, f"object {oid} of {self.id} is damaged on the Hub's disk")
        return json.loads(content)

    def state(self) -> dict[str, Any]:
        with self.hub.lock:  # Windows cannot replace a file that another thread is reading
            return json.loads((self.folder / "state.json").read_bytes())

    def save_state(self, state: dict[str, Any]) -> None:
        write_atomically(self.folder / "state.json", json.dumps(state, indent=1).encode(), self.hub.incoming)

    # Reading ----------------------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or a full commit id stands for. 404 RevisionNotFound otherwise."""
        state = self.state()
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for refs in (state["branches"], state["tags"]):
            if short in refs:
                return refs[short]
        known = SHA1.fullmatch(revision) and (self.folder / "objects" / f"{revision}.json").exists()
        if known and "tree" in self.get_object(revision):
            return revision
        raise HubError(404, f"Invalid rev id: {revision} is no branch, tag or commit of {self.id}",
                       "RevisionNotFound")  # fmt: skip

    def tree(self, commit: str) -> Tree:
        return self.get_object(self.get_object(commit)["tree"])["files"]

    def history(self, commit: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(commit id, commit) from `commit` back to the first one."""
        oid: str | None = commit
        while oid:
            value = self.get_object(oid)
            yield oid, value
            oid = value["parent"]

    def entry(self, commit: str, path: str) -> Entry:
        entry = self.tree(commit).get(path)
        if entry is None:
            raise HubError(404, f"Entry not found: {path} is not in {self.id} at {commit}", "EntryNotFound", commit)
        return entry

    def last_changes(self, commit: str, paths: Iterable[str]) -> dict[str, dict[str, str]]:
        """For each file or folder, the commit that last changed it, as the client wants to see it."""
        waiting, found = set(paths), {}
        chain = list(self.history(commit))
        for number, (oid, value) in enumerate(chain):
            if not waiting:
                break
            new = self.get_object(value["tree"])["files"]
            old = self.get_object(chain[number + 1][1]["tree"])["files"] if number + 1 < len(chain) else {}
            changed = {path for path in new.keys() | old.keys() if new.get(path) != old.get(path)}
            changed |= {folder for path in changed for folder in parents(path)}
            for path in waiting & changed:
                found[path] = {"id": oid, "title": value["title"], "date": value["date"]}
            waiting -= changed
        return found

    # Writing ----------------------------------------------------------------------------------------------

    def write_commit(self, parent: str | None, files: Tree, author: str, title: str, message: str = "") -> str:
        return self.put_object({
            "tree": self.put_object({"files": files}), "parent": parent, "author": author,
            "title": title, "message": message, "date": now(),
        })  # fmt: skip

    def commit(self, branch: str, author: str, header: dict[str, Any], changes: list[Callable[[Tree], None]]) -> str:
        """Apply `changes` to the head of `branch` in one commit; returns its id.

        404 if there is no such branch, 412 if `header` names a parentCommit that is no longer the head. Changes
        that leave the tree as it was make no commit: the head is returned.
        """
        with self.hub.lock:
            state = self.state()
            branch = branch.removeprefix("refs/heads/")
            head = state["branches"].get(branch)
            if head is None:
                raise HubError(404, f"Invalid rev id: {branch} is no branch of {self.id}, and commits go to branches",
                               "RevisionNotFound")  # fmt: skip
            wanted = header.get("parentCommit")
            if wanted and wanted != head:
                raise HubError(412, f"A commit has happened since. Please refresh and try again: {branch} is at "
                                    f"{head}, not at the parentCommit {wanted}")  # fmt: skip
            before = self.tree(head)
            files = dict(before)
            for change in changes:
                change(files)
            for path in files:
                if clash := next((folder for folder in parents(path) if folder in files), None):
                    raise HubError(400, f"{clash} would be a file and a folder at once (of {path})")
            if files == before:
                return head
            oid = self.write_commit(head, files, author, str(header.get("summary") or "Update"),
                                    str(header.get("description") or ""))  # fmt: skip
            state["branches"][branch] = oid
            self.save_state(state)
            return oid

    def add_ref(self, kind: str, name: str, commit: str) -> None:
        """Create a branch or a tag; `kind` is "branches" or "tags". 409 if it is there."""
        if not re.fullmatch(r"[A-Za-z0-9_][\w.+/-]{0,199}", name) or re.search(r"\.\.|//|/$|\.$|\.lock$|/\.", name):
            raise HubError(400, f"{name!r} is not a name that git allows for a branch or a tag")
        if SHA1.fullmatch(name) or name.startswith("refs/"):
            raise HubError(400, f"{name!r} would be mistaken for a commit or a full ref")
        with self.hub.lock:
            state = self.state()
            if name in state[kind]:
                raise HubError(409, f"Reference already exists: {name} is there in {self.id}")
            state[kind][name] = commit
            self.save_state(state)

    def remove_ref(self, kind: str, name: str) -> None:
        with self.hub.lock:
            state = self.state()
            if name not in state[kind]:
                raise HubError(404, f"Reference not found: {name} is not in {self.id}", "RevisionNotFound")
            if kind == "branches" and name == "main":
                raise HubError(403, "the branch main cannot be deleted")
            del state[kind][name]
            self.save_state(state)

    def set_private(self, private: bool) -> None:
        with self.hub.lock:
            self.save_state(self.state() | {"private": private})


class Hub:
    """All repositories under one folder. One process at a time owns the folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.incoming = root, root / "incoming"
        self.lock = threading.RLock()  # around every change of a state.json, and every read of one
        for folder in (self.incoming, root / "blobs", *(root / "repos" / kind for kind in KINDS)):
            folder.mkdir(parents=True, exist_ok=True)
        self.owner_file = (root / "lock").open("a")
        take_ownership(self.owner_file)
        for leftover in self.incoming.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self.blobs = Blobs(root / "blobs", self.incoming)

    def repo(self, kind: str, repo_id: str, user: User | None) -> Repo:
        """A repository `user` may see; 404 RepoNotFound if there is none."""
        owner, _, name = repo_id.partition("/")
        folder = self.root / "repos" / kind / owner / name
        if is_repo_name(owner) and is_repo_name(name) and (folder / "state.json").is_file():
            repo = Repo(folder, kind, repo_id, self)
            if not repo.state()["private"] or (user and user.name == owner):
                return repo
        raise HubError(404, f"Repository not found: there is no {KINDS[kind]} {repo_id} here", "RepoNotFound")

    def repos(self, kind: str, user: User | None) -> list[Repo]:
        """Every repository of `kind` that `user` may see, by name."""
        found = []
        for state in sorted((self.root / "repos" / kind).glob("*/*/state.json")):
            try:
                found.append(self.repo(kind, f"{state.parent.parent.name}/{state.parent.name}", user))
            except HubError:  # private, or deleted since the listing
                continue
        return found

    def create(self, kind: str, repo_id: str, user: User, private: bool) -> Repo:
        """Make a repository with its first commit, so that main has a revision. Raises FileExistsError."""
        owner, _, name = repo_id.partition("/")
        if not is_repo_name(owner) or not is_repo_name(name):
            raise HubError(400, f"{repo_id!r} is not a name for a repository: USER/NAME of Latin letters, digits, "
                                "'-', '_' and '.', 96 at most, no '--' or '..'")  # fmt: skip
        place = self.root / "repos" / kind / owner / name
        with self.lock:
            if place.exists():
                raise FileExistsError(place)
            place.parent.mkdir(exist_ok=True)
            draft = Repo(Path(tempfile.mkdtemp(dir=self.incoming)), kind, repo_id, self)
            try:
                (draft.folder / "objects").mkdir()
                content = GITATTRIBUTES.encode()
                sha256, size = self.blobs.write(io.BytesIO(content))
                files = {".gitattributes": file_entry(sha256, size, content)}
                first = draft.write_commit(None, files, user.name, "initial commit")
                state = {"created": now(), "private": private, "branches": {"main": first}, "tags": {}}
                draft.save_state(state)
                draft.folder.chmod(0o755)
                draft.folder.replace(place)
            except BaseException:
                shutil.rmtree(draft.folder, ignore_errors=True)
                raise
            sync_folder(place.parent)
        return Repo(place, kind, repo_id, self)

    def delete(self, repo: Repo) -> None:
        """Remove a repository. Its files' contents stay in blobs/, which other repositories may share."""
        with self.lock:
            doomed = self.incoming / secrets.token_hex(8)
            repo.folder.replace(doomed)  # one rename: it is gone at once and as a whole
            shutil.rmtree(doomed)


def take_ownership(file: Any) -> None:
    """Lock `file` for this process; the system lets go of it when the process ends, however it ends."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


# ---------------------------------------------------------------- small pure functions


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parents(path: str) -> list[str]:
    """The folders above `path`: "a/b/c" → ["a", "a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def is_repo_name(name: str) -> bool:
    """Safe as a folder on every system, and a name the real Hub would take."""
    bad = "--" in name or ".." in name or name.endswith((".", "-", ".git")) or name in RESERVED_USERS
    return bool(SAFE_NAME.fullmatch(name)) and not bad


def checked_path(path: Any) -> str:
    """A file's path inside a repository. It never becomes a path on this disk, but it does on the client's."""
    text = str(path or "")
    bad_part = any(part in ("", ".", "..", ".git") for part in text.split("/"))
    if bad_part or "\\" in text or re.search(r"[\x00-\x1f\x7f]", text) or re.match(r"[A-Za-z]:", text):
        raise HubError(400, f"{text!r} is not a path inside a repository")
    return text


def file_entry(sha256: str, size: int, content: bytes | None = None) -> Entry:
    """Tree entry of a regular file (with its content) or of an LFS file (without)."""
    oid = git_oid(lfs_pointer(sha256, size) if content is None else content)
    return {"size": size, "sha256": sha256, "oid": oid, "lfs": content is None}


def goes_through_lfs(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """Whether a file of `size` bytes that starts with `sample` is kept in LFS, given the .gitattributes text."""
    if size == 0:
        return False
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line.split()]
    name = path.rsplit("/", 1)[-1]
    if size > REGULAR_LIMIT or any(fnmatch.fnmatch(path if "/" in p else name, p) for p in patterns):
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as problem:
        return problem.start < len(sample) - 3  # else the sample's end cuts a letter in two
    return b"\0" in sample


def described(path: str, entry: Entry) -> dict[str, Any]:
    """One file as tree and paths-info answer it."""
    item: dict[str, Any] = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if entry["lfs"]:
        pointer = lfs_pointer(entry["sha256"], entry["size"])
        item["lfs"] = {"oid": entry["sha256"], "size": entry["size"], "pointerSize": len(pointer)}
    return item


def listing(files: Tree, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders inside `folder` ("" is the top), sorted by path."""
    prefix = f"{folder}/" if folder else ""
    inside = {path: entry for path, entry in files.items() if path.startswith(prefix)}
    items = {}
    for path, entry in inside.items():
        if recursive or "/" not in path[len(prefix):]:  # fmt: skip
            items[path] = described(path, entry)
        for above in parents(path):
            if above.startswith(prefix) and (recursive or "/" not in above[len(prefix):]):  # fmt: skip
                items.setdefault(above, folder_item(above, files))
    return [items[path] for path in sorted(items)]


def folder_item(path: str, files: Tree) -> dict[str, Any]:
    below = sorted((p, e["oid"]) for p, e in files.items() if p.startswith(f"{path}/"))
    oid = hashlib.sha1(json.dumps(below).encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for; None means the whole file. 416 if it is out of it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or (not first and int(last) == 0):
        raise HubError(416, f"the file has {size} bytes; {header} is outside it", range_of=size)
    return (start, end) if start <= end else None


# ---------------------------------------------------------------- HTTP


class BodyStream(io.RawIOBase):
    """A request body as a file, whether it came with a length or in chunks."""

    def __init__(self, source: BinaryIO, length: int | None) -> None:
        self.source, self.chunked, self.left = source, length is None, length or 0
        self.first_chunk, self.ended = True, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left == 0 and self.chunked and not self.ended:
            self.next_chunk()
        if self.left == 0:
            return 0
        data = self.source.read1(min(self.left, len(buffer)))  # type: ignore[attr-defined]
        if not data:
            raise ConnectionResetError("the client closed the connection in the middle of a body")
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)

    def next_chunk(self) -> None:
        if not self.first_chunk:
            self.source.readline(3)  # the line end after the previous chunk
        self.first_chunk = False
        try:
            self.left = int(self.source.readline(100).split(b";")[0], 16)
        except ValueError:
            raise ConnectionResetError("a chunk of the body has no size") from None
        if self.left == 0:
            self.ended = True
            while self.source.readline(10_000).strip():  # trailers
                pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # On POSIX this allows a restart right after a stop; on Windows it would let two servers share the port.
    allow_reuse_address = os.name == "posix"

    def __init__(self, port: int, hub: Hub, tokens: dict[str, User], verbose: bool) -> None:
        self.hub, self.tokens, self.verbose = hub, tokens, verbose
        self.upload_key = secrets.token_bytes(32)
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            traceback.print_exc()


REPO = r"/api/(?P<kind>models|datasets)/(?P<repo_id>[^/]+/[^/]+)"
PAGE = r"/(?P<kind>datasets/)?(?P<repo_id>[^/]+/[^/]+)"
ROUTES: list[tuple[str, re.Pattern[str], str]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a handler's method; the pattern's named groups become its arguments, unquoted."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """One connection. Methods marked with @route answer; the rest reads requests and writes answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "stand-in-hub", ""
    disable_nagle_algorithm = True  # else each small answer waits for the client's delayed ACK
    timeout = 300  # seconds a connection may be silent

    # Requests and answers ---------------------------------------------------------------------------------

    def dispatch(self) -> None:
        self.body = self.open_body()
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        try:
            try:
                self.user = self.authenticate()
                self.find_route(url.path)
            except OSError as problem:
                if problem.errno not in NO_SPACE:
                    raise
                free = shutil.disk_usage(self.server.hub.root).free
                raise HubError(507, f"the Hub's disk is full ({free / 1e6:.0f} MB free under {self.server.hub.root}, "
                                    f"{problem.strerror}): make room and repeat; nothing was changed") from None  # fmt: skip
        except HubError as refusal:
            self.refuse(refusal)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client went away; what it sent so far is dropped
        except Exception as bug:
            traceback.print_exc()
            self.close_connection = True
            self.refuse(HubError(500, f"the stand-in Hub failed: {bug!r}"))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def find_route(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for allowed, pattern, name in ROUTES:
            if method == allowed and (match := pattern.fullmatch(path)):
                return getattr(self, name)(**{k: unquote(v or "") for k, v in match.groupdict().items()})
        if re.match(r"/api/(models|datasets)/[^/]+(/revision/.*|/tree/.*)?$|/(datasets/)?[^/]+/(resolve|raw)/", path):
            raise HubError(404, f"Repository not found: {path}; names here are USER/NAME", "RepoNotFound")
        raise HubError(404, f"the stand-in Hub does not answer {self.command} {path}")

    def open_body(self) -> io.BufferedReader:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length", "0")
        # A body with no readable length cannot be told from the next request: answer, then close.
        self.close_connection |= not length.isdigit()
        size = int(length) if length.isdigit() else 0
        return io.BufferedReader(BodyStream(self.rfile, None if chunked else size), CHUNK)

    def authenticate(self) -> User | None:
        """The user of the token; None without one; 401 for a token nobody was given."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            return None
        for known, user in self.server.tokens.items():
            if scheme.lower() == "bearer" and hmac.compare_digest(known.encode(), token.strip().encode()):
                return user
        raise HubError(401, "Invalid credentials in Authorization header")

    def writer(self, owner: str) -> User:
        """The user, if the token may write in `owner`'s namespace; 401 or 403 otherwise."""
        if self.user is None:
            raise HubError(401, "this needs a token, and none was sent: set HF_TOKEN")
        if not self.user.may_write:
            raise HubError(403, f"the token of {self.user.name} may only read; use one that may write")
        if self.user.name != owner:
            raise HubError(403, f"{self.user.name} has no right to write under {owner}/")
        return self.user

    def repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        kind = {"": "models", "datasets/": "datasets"}.get(kind, kind)
        if write and self.user is None:
            self.writer("")
        repo = self.server.hub.repo(kind, repo_id, self.user)
        if write:
            self.writer(repo.owner)
        return repo

    def json_body(self) -> dict[str, Any]:
        content = self.body.read(JSON_LIMIT + 1)
        if len(content) > JSON_LIMIT:
            raise HubError(413, f"the request has more than {JSON_LIMIT} bytes")
        try:
            value = json.loads(content or b"{}")
        except ValueError as problem:
            raise HubError(400, f"the request is not JSON: {problem}") from None
        if not isinstance(value, dict):
            raise HubError(400, "the request is not a JSON object")
        return value

    def base(self) -> str:
        """This Hub's address as the client knows it: its links must start with the client's HF_ENDPOINT."""
        host = self.headers.get("Host", "")
        known = re.fullmatch(r"[\w.-]+(:\d+)?", host)
        return f"http://{host}" if known else f"http://127.0.0.1:{self.server.server_port}"

    def link(self, repo: Repo) -> str:
        return f"{self.base()}/{'datasets/' if repo.kind == 'datasets' else ''}{repo.id}"

    def answer(self, content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        while self.body.read(CHUNK):  # what was not read would be taken for the next request
            pass
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(json.dumps(value, ensure_ascii=False).encode(), "application/json", status, headers)

    def answer_page(self, title: str, body: str) -> None:
        page = PAGE_FRAME.format(title=html.escape(title), body=body)
        self.answer(page.encode(), "text/html; charset=utf-8")

    def refuse(self, refusal: HubError) -> None:
        """Headers first: on a plain http endpoint the clients know an error by them alone."""
        plain = re.sub(r"[\x00-\x1f\x7f]", " ", refusal.message).encode("latin-1", "replace").decode("latin-1")
        headers = {"X-Error-Message": plain}
        if refusal.code:
            headers["X-Error-Code"] = refusal.code
        if refusal.commit:
            headers["X-Repo-Commit"] = refusal.commit
        if size := refusal.extra.pop("range_of", None):
            headers["Content-Range"] = f"bytes */{size}"
        try:
            self.answer_json({"error": refusal.message, **refusal.extra}, refusal.status, headers)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.verbose:
            sys.stderr.write(f"{self.log_date_time_string()} {format % args}\n")

    # The account and the list of repositories ---------------------------------------------------------------

    @route("GET", r"/api/whoami-v2")
    def whoami(self) -> None:
        if self.user is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        name, role = self.user.name, "write" if self.user.may_write else "read"
        self.answer_json({
            "type": "user", "id": hashlib.sha256(name.encode()).hexdigest()[:24], "name": name, "fullname": name,
            "isPro": False, "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": role}},
        })  # fmt: skip

    @route("POST", r"/api/validate-yaml")
    def validate_yaml(self) -> None:
        """The real Hub checks a card's YAML against its own schema; this one has no YAML parser and takes all."""
        self.answer_json({"errors": [], "warnings": []})

    @route("POST", r"/api/repos/create")
    def create_repo(self) -> None:
        repo_id, kind, asked = self.asked_repo()
        user = self.writer(repo_id.split("/")[0])
        private = asked.get("visibility") == "private" or asked.get("private") is True
        url = f"{self.base()}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"
        try:
            repo = self.server.hub.create(kind, repo_id, user, private)
        except FileExistsError:
            raise HubError(409, f"You already created this {KINDS[kind]} repo", url=url) from None
        self.answer_json({"url": url, "name": repo.id, "id": repo.id})

    @route("DELETE", r"/api/repos/delete")
    def delete_repo(self) -> None:
        repo_id, kind, _ = self.asked_repo()
        self.server.hub.delete(self.repo(kind, repo_id, write=True))
        self.answer_json({})

    def asked_repo(self) -> tuple[str, str, dict[str, Any]]:
        """(repo id, kind, the whole request) of a request that names a repository in its body."""
        asked = self.json_body()
        kind = f"{asked.get('type') or 'model'}s"
        if kind not in KINDS:
            raise HubError(400, f"the stand-in Hub keeps models and datasets, not {kind}")
        owner = asked.get("organization") or (self.user.name if self.user else "")
        return f"{owner}/{asked.get('name')}", kind, asked

    @route("GET", r"/api/(?P<kind>models|datasets)")
    def list_repos(self, kind: str) -> None:
        author, search = self.query.get("author"), self.query.get("search", "").lower()
        found = [repo for repo in self.server.hub.repos(kind, self.user)
                 if (not author or repo.owner == author) and search in repo.id.lower()]  # fmt: skip
        full = self.query.get("full", "").lower() == "true"
        items = [self.info(repo, repo.resolve("main"), siblings=full) for repo in found]
        limit = self.query.get("limit", "")
        self.answer_json(items[: int(limit)] if limit.isdigit() else items)

    @route("GET", r"/api/settings/repositories")
    def list_own_repos(self) -> None:
        if self.user is None:
            raise HubError(401, "this needs a token, and none was sent: set HF_TOKEN")
        items = []
        for kind in KINDS:
            for repo in self.server.hub.repos(kind, self.user):
                info = self.info(repo, repo.resolve("main"), siblings=False)
                if repo.owner == self.user.name:
                    items.append({"id": repo.id, "type": KINDS[kind], "updatedAt": info["lastModified"],
                                  "visibility": "private" if info["private"] else "public",
                                  "storage": info["usedStorage"], "storagePercent": 0})  # fmt: skip
        self.answer_json(items)

    # One repository: what is in it ----------------------------------------------------------------------------

    def info(self, repo: Repo, commit: str, siblings: bool = True, blobs: bool = False) -> dict[str, Any]:
        """What the Hub says of a repository at a commit."""
        state, files = repo.state(), repo.tree(commit)
        info: dict[str, Any] = {
            "_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24], "id": repo.id, "author": repo.owner,
            "sha": commit, "lastModified": repo.get_object(commit)["date"], "createdAt": state["created"],
            "private": state["private"], "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
            "usedStorage": sum(entry["size"] for entry in files.values()),
        }  # fmt: skip
        if repo.kind == "models":
            info["modelId"] = repo.id
        if siblings:
            info["siblings"] = [{"rfilename": path} for path in sorted(files)]
            for item in info["siblings"] if blobs else ():
                entry = files[item["rfilename"]]
                item |= {"size": entry["size"], "blobId": entry["oid"]}
                if entry["lfs"]:
                    lfs = described("", entry)["lfs"]
                    item["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        return info

    @route("GET", REPO + r"(?:/revision/(?P<revision>[^/]+))?")
    def repo_info(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        blobs = self.query.get("blobs", "").lower() in ("true", "1")
        self.answer_json(self.info(repo, repo.resolve(revision or "main"), blobs=blobs))

    @route("GET", REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
    def tree(self, kind: str, repo_id: str, revision: str, folder: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision)
        folder = folder.strip("/")
        items = listing(repo.tree(commit), folder, self.query.get("recursive", "").lower() in ("true", "1"))
        if folder and not items:
            raise HubError(404, f"Entry not found: {folder} is no folder of {repo.id} at {commit}", "EntryNotFound",
                           commit)  # fmt: skip
        self.answer_items(repo, commit, items, self.query.get("expand", ""))

    @route("POST", REPO + r"/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision)
        if "json" in self.headers.get("Content-Type", ""):
            asked = self.json_body()
            paths, expand = asked.get("paths") or [], str(asked.get("expand", ""))
        else:
            form = parse_qs(self.body.read(JSON_LIMIT).decode("utf-8", "replace"))
            paths, expand = form.get("paths", []), form.get("expand", [""])[-1]
        files = repo.tree(commit)
        folders = {folder for path in files for folder in parents(path)}
        items = [described(path, files[path]) if path in files else folder_item(path, files)
                 for path in paths if path in files or path in folders]  # fmt: skip
        self.answer_items(repo, commit, items, expand)

    def answer_items(self, repo: Repo, commit: str, items: list[dict[str, Any]], expand: str) -> None:
        if expand.lower() in ("true", "1"):
            changes = repo.last_changes(commit, [item["path"] for item in items])
            for item in items:
                item["lastCommit"] = changes[item["path"]]
        self.answer_json(items)

    @route("GET", REPO + r"/refs")
    def refs(self, kind: str, repo_id: str) -> None:
        state = self.repo(kind, repo_id).state()
        named = {word: [{"name": name, "ref": f"refs/{ref}/{name}", "targetCommit": commit}
                        for name, commit in sorted(state[word].items())]
                 for word, ref in (("branches", "heads"), ("tags", "tags"))}  # fmt: skip
        self.answer_json({**named, "converts": [], "pullRequests": []})

    @route("GET", REPO + r"/commits/(?P<revision>[^/]+)")
    def commits(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        self.answer_json([
            {"id": oid, "title": value["title"], "message": value["message"], "date": value["date"],
             "authors": [{"user": value["author"]}]}
            for oid, value in repo.history(repo.resolve(revision))
        ])  # fmt: skip

    @route("GET", REPO + r"/auth-check(?P<write>/write)?")
    def auth_check(self, kind: str, repo_id: str, write: str) -> None:
        self.repo(kind, repo_id, write=bool(write))
        self.answer_json({})

    @route("GET", PAGE + r"/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
    def download(self, kind: str, repo_id: str, revision: str, path: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision)
        entry = repo.entry(commit, path)
        size = entry["size"]
        part = byte_range(self.headers.get("Range"), size)
        first, last = part or (0, size - 1)
        etag = entry["sha256"] if entry["lfs"] else entry["oid"]
        kind_of_file = mimetypes.guess_type(path)[0] or "application/octet-stream"
        if kind_of_file.startswith("text/") or path.endswith((".md", ".yaml", ".jsonl")):
            kind_of_file = "text/html; charset=utf-8" if path.endswith(".html") else "text/plain; charset=utf-8"
        with self.server.hub.blobs.path(entry["sha256"]).open("rb") as file:
            self.send_response(206 if part else 200)
            for name, value in {
                "Content-Type": kind_of_file, "Content-Length": str(last - first + 1), "ETag": f'"{etag}"',
                "X-Repo-Commit": commit, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size),
                "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox",  # a published report may be looked at, not run
            }.items():  # fmt: skip
                self.send_header(name, value)
            if part:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if self.command == "HEAD":
                return
            file.seek(first)
            left = last - first + 1
            while left > 0 and (chunk := file.read(min(left, CHUNK))):
                self.wfile.write(chunk)
                left -= len(chunk)

    # One repository: changes ------------------------------------------------------------------------------------

    @route("POST", REPO + r"/preupload/(?P<revision>[^/]+)")
    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        """Regular or LFS for each file, and its present id: the client leaves out a file whose id is the same."""
        repo = self.repo(kind, repo_id, write=True)
        files = repo.tree(repo.resolve(revision))
        attributes = files.get(".gitattributes")
        patterns = self.server.hub.blobs.read(attributes["sha256"]).decode("utf-8", "replace") if attributes else ""
        answers = []
        for asked in self.json_body().get("files") or []:
            path, size = checked_path(asked.get("path")), int(asked.get("size") or 0)
            sample = base64.b64decode(asked.get("sample") or "")
            lfs = goes_through_lfs(path, size, sample, patterns)
            entry = files.get(path)
            oid = None if entry is None else entry["sha256"] if lfs else None if entry["lfs"] else entry["oid"]
            answers.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False,
                            "oid": oid})  # fmt: skip
        self.answer_json({"files": answers})

    @route("POST", REPO + r"/commit/(?P<revision>[^/]+)")
    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        """One JSON object a line: a header, then files and deletions. Contents are stored as they come; nothing
        points at them until the last line has been read."""
        repo = self.repo(kind, repo_id, write=True)
        if self.query.get("create_pr"):
            raise HubError(400, "the stand-in Hub has no pull requests: commit to a branch")
        header: dict[str, Any] = {}
        changes: list[Callable[[Tree], None]] = []
        while line := self.body.readline(LINE_LIMIT + 1):
            if len(line) > LINE_LIMIT:
                raise HubError(413, f"a line of the commit has more than {LINE_LIMIT} bytes: use LFS for large files")
            if line.strip():
                try:
                    item = json.loads(line)
                    key, value = item["key"], item["value"]
                    if key == "header":
                        header = dict(value)
                    else:
                        changes.append(self.parse_change(key, value))
                except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as problem:
                    raise HubError(400, f"line {len(changes) + 1} of the commit cannot be read: {problem!r}") from None
        if not header.get("summary"):
            raise HubError(400, "the commit has no header with a summary")
        oid = repo.commit(revision, self.user.name if self.user else "", header, changes)
        url = f"{self.link(repo)}/commit/{oid}"
        self.answer_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def parse_change(self, key: str, value: dict[str, Any]) -> Callable[[Tree], None]:
        """One line of a commit → what it does to a tree. A regular file's content is stored on the way."""
        path = checked_path(str(value["path"]).rstrip("/") if key == "deletedFolder" else value["path"])
        if key in ("file", "lfsFile"):
            entry = self.regular_entry(value) if key == "file" else self.lfs_entry(value)
            return lambda files: files.update({path: entry})
        if key == "deletedFile":
            gone = lambda files: [path] if path in files else []  # noqa: E731
        elif key == "deletedFolder":
            gone = lambda files: [p for p in files if p.startswith(f"{path}/")]  # noqa: E731
        else:
            raise HubError(400, f"the stand-in Hub knows no {key!r} in a commit")

        def delete(files: Tree) -> None:
            doomed = gone(files)
            if not doomed:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for one in doomed:
                del files[one]

        return delete

    def regular_entry(self, value: dict[str, Any]) -> Entry:
        text = value["content"]
        content = base64.b64decode(text, validate=True) if value.get("encoding") == "base64" else text.encode()
        return file_entry(*self.server.hub.blobs.write(io.BytesIO(content)), content)

    def lfs_entry(self, value: dict[str, Any]) -> Entry:
        oid = str(value["oid"])
        size = self.server.hub.blobs.size(oid) if SHA256.fullmatch(oid) else None
        if size is None or value.get("size", size) != size:
            raise HubError(400, f"the LFS file {oid} of {value['path']} was not uploaded before the commit")
        return file_entry(oid, size)

    @route("POST", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)")
    def create_ref(self, kind: str, repo_id: str, what: str, name: str) -> None:
        """A branch is named in the address and starts at a revision in the body; a tag the other way round."""
        repo = self.repo(kind, repo_id, write=True)
        asked = self.json_body()
        if what == "branch":
            repo.add_ref("branches", name, repo.resolve(asked.get("startingPoint") or "main"))
        else:
            repo.add_ref("tags", str(asked.get("tag") or ""), repo.resolve(name))
        self.answer_json({})

    @route("DELETE", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)")
    def delete_ref(self, kind: str, repo_id: str, what: str, name: str) -> None:
        self.repo(kind, repo_id, write=True).remove_ref("branches" if what == "branch" else "tags", name)
        self.answer_json({})

    @route("PUT", REPO + r"/settings")
    def settings(self, kind: str, repo_id: str) -> None:
        repo = self.repo(kind, repo_id, write=True)
        asked = self.json_body()
        if asked.get("visibility") in ("public", "private"):
            repo.set_private(asked["visibility"] == "private")
        self.answer_json({"private": repo.state()["private"]})

    # LFS ------------------------------------------------------------------------------------------------------

    def upload_signature(self, oid: str, size: int) -> str:
        return hmac.new(self.server.upload_key, f"{oid} {size}".encode(), "sha256").hexdigest()

    @route("POST", PAGE + r"\.git/info/lfs/objects/batch")
    def lfs_batch(self, kind: str, repo_id: str) -> None:
        repo = self.repo(kind, repo_id, write=True)
        asked = self.json_body()
        if asked.get("operation") != "upload":
            raise HubError(400, "the stand-in Hub takes LFS uploads; downloads go through /resolve/")
        objects = []
        for item in asked.get("objects") or []:
            oid, size = str(item.get("oid")), int(item.get("size") or 0)
            if not SHA256.fullmatch(oid) or size < 0:
                raise HubError(400, f"{oid!r} is not a SHA-256, or its size {size} is below zero")
            answer: dict[str, Any] = {"oid": oid, "size": size}
            if self.server.hub.blobs.size(oid) != size:
                # The client sends no token to this address, as with a bucket: the signature stands for it.
                key = self.upload_signature(oid, size)
                answer["actions"] = {
                    "upload": {"href": f"{self.base()}/lfs/{oid}?size={size}&key={key}"},
                    "verify": {"href": f"{self.link(repo)}.git/info/lfs/verify"},
                }
            objects.append(answer)
        self.answer_json({"transfer": "basic", "objects": objects})

    @route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
    def lfs_put(self, oid: str) -> None:
        size = self.query.get("size", "")
        key = self.query.get("key", "")
        if not size.isdigit() or not hmac.compare_digest(self.upload_signature(oid, int(size)).encode(), key.encode()):
            raise HubError(403, "this upload address is not, or no longer, valid: ask for a new one")
        self.server.hub.blobs.write(self.body, (oid, int(size)))
        self.answer_json({})

    @route("POST", PAGE + r"\.git/info/lfs/verify")
    def lfs_verify(self, kind: str, repo_id: str) -> None:
        self.repo(kind, repo_id, write=True)
        asked = self.json_body()
        oid = str(asked.get("oid"))
        if not SHA256.fullmatch(oid) or self.server.hub.blobs.size(oid) != asked.get("size"):
            raise HubError(404, f"the LFS file {oid} of {asked.get('size')} bytes is not here", "EntryNotFound")
        self.answer_json({})

    # Pages for people -------------------------------------------------------------------------------------------

    @route("GET", r"/")
    def front_page(self) -> None:
        parts = []
        for kind, word in KINDS.items():
            repos = self.server.hub.repos(kind, None)
            parts.append(f"<h2>{word.title()}s</h2>" + ("" if repos else "<p>None yet.</p>"))
            parts += [self.repo_section(repo, repo.resolve("main")) for repo in repos]
        self.answer_page("Stand-in Hub", "".join(parts))

    @route("GET", PAGE + r"(?:/(?:tree|commit|blob)/(?P<revision>[^/]+).*)?")
    def repo_page(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision or "main")
        link = html.escape(self.link(repo))
        files = "".join(
            f'<tr><td><a href="{link}/resolve/{commit}/{html.escape(quote(path))}">{html.escape(path)}</a>'
            f"<td class=n>{entry['size']:,}<td>{'LFS' if entry['lfs'] else ''}"
            for path, entry in sorted(repo.tree(commit).items())
        )
        history = "".join(
            f'<tr><td><a href="{link}/tree/{oid}"><code>{oid[:10]}</code></a><td>{html.escape(value["date"])}'
            f"<td>{html.escape(value['author'])}<td>{html.escape(value['title'])}"
            for oid, value in repo.history(commit)
        )
        body = (f'<p><a href="/">All repositories</a>{self.repo_section(repo, commit)}'
                f"<h3>Files, bytes</h3><table>{files}</table><h3>History</h3><table>{history}</table>")  # fmt: skip
        self.answer_page(repo.id, body)

    def repo_section(self, repo: Repo, commit: str) -> str:
        """Name, revisions and the card's text of one repository, as HTML."""
        state, link = repo.state(), html.escape(self.link(repo))
        names = [*state["branches"].items(), *((f"tag {name}", oid) for name, oid in state["tags"].items())]
        revisions = "".join(
            f'<li>{html.escape(name)} → <a href="{link}/tree/{oid}"><code>{oid[:10]}</code></a> '
            f"{html.escape(repo.get_object(oid)['date'])}"
            for name, oid in names
        )
        files = repo.tree(commit)
        size = sum(entry["size"] for entry in files.values())
        card = ""
        if "README.md" in files:
            text = self.server.hub.blobs.read(files["README.md"]["sha256"]).decode("utf-8", "replace")
            card = f"<details open><summary>Card</summary><pre>{html.escape(text)}</pre></details>"
        return (f'<section><h3><a href="{link}">{html.escape(repo.id)}</a></h3><p>{len(files)} files, '
                f"{size / 1e6:.1f} MB at <code>{commit[:10]}</code><ul>{revisions}</ul>{card}</section>")  # fmt: skip


PAGE_FRAME = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
section{{border:1px solid #ddd;border-radius:6px;padding:0 1rem 1rem;margin:1rem 0}}
pre{{background:#f6f6f6;padding:1rem;overflow:auto;white-space:pre-wrap}}
td{{padding:.1rem 1rem .1rem 0;vertical-align:top}}.n{{text-align:right}}</style>
<h1>{title}</h1>{body}
"""


# ---------------------------------------------------------------- command line


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        stop(2, f"{message}; see python {sys.argv[0]} --help")


def stop(code: int, message: str) -> Any:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def parse_token(text: str) -> tuple[str, User]:
    """TOKEN=USER or TOKEN=USER:read."""
    token, _, who = text.rpartition("=")
    name, _, right = who.partition(":")
    if not token or right not in ("", "read", "write") or not is_repo_name(name):
        # The text holds a token, so it is not repeated in the message.
        raise argparse.ArgumentTypeError("expected TOKEN=USER or TOKEN=USER:read, USER of letters, digits, - _ .")
    return token, User(name, right != "read")


def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description="A stand-in Hugging Face Hub on loopback.", allow_abbrev=False)
    parser.add_argument("--root", type=Path, required=True, help="folder that keeps everything; made if absent")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--token", type=parse_token, action="append", default=[], metavar="TOKEN=USER[:read]",
                        help="a token and whose it is; may be given again")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="a line on stderr for each request")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        stop(2, f"--port {options.port} is not between 0 and 65535")
    try:
        hub = Hub(options.root.resolve())
    except BlockingIOError:
        stop(6, f"another stand-in Hub is using {options.root}; stop it or give another --root")
    except OSError as problem:
        stop(2, f"--root {options.root} cannot be used: {problem}")
    try:
        server = Server(options.port, hub, dict(options.token), options.verbose)
    except OSError as problem:
        stop(5, f"port {options.port} on 127.0.0.1 cannot be had ({problem.strerror}); "
                "stop what is using it or give another --port")  # fmt: skip

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    users = ", ".join(f"{user.name} ({'write' if user.may_write else 'read'})" for _, user in options.token)
    address = f"http://127.0.0.1:{server.server_port}"
    print(f"stand-in Hub on {address}, files in {hub.root}, tokens: {users or 'none'}", flush=True)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
