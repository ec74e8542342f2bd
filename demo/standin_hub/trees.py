"""Names, paths and file trees of the stand-in Hub as plain values: no disk and no HTTP here."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

REGULAR_LIMIT = 5 << 20  # bytes; a larger file goes through LFS, whatever it contains
SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
RESERVED_USERS = {"api", "datasets", "models", "spaces", "lfs"}

Entry = dict[str, Any]  # one file of a tree: size (bytes), sha256, oid (git's SHA-1 for it), lfs (bool)
Tree = dict[str, Entry]  # path → entry
Change = Callable[[Tree], None]  # what one line of a commit does to a tree


class HubError(Exception):
    """A refused request: HTTP status, the message for the client, and its error code if it has one.

    The answer also names `commit`, because the client caches that a file is absent there. `extra` goes into
    the JSON.
    """

    def __init__(self, status: int, message: str, code: str = "", commit: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.commit, self.extra = status, message, code, commit, extra


def is_repo_name(name: str) -> bool:
    """Whether `name` is safe as a folder on every system and the real Hub would accept it."""
    bad = "--" in name or ".." in name or name.endswith((".", "-", ".git")) or name in RESERVED_USERS
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)  # on Windows
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name)) and not bad and not device


def checked_path(path: str) -> str:
    """A file's path inside a repository. It never becomes a path on this disk, but it does on a client's."""
    bad_part = any(part in ("", ".", "..", ".git") for part in path.split("/"))
    if bad_part or "\\" in path or re.search(r"[\x00-\x1f\x7f]", path) or re.match(r"[A-Za-z]:", path):
        raise HubError(400, f"{path!r} is not a path inside a repository")
    return path


def checked_ref(name: str) -> str:
    """The name of a new branch or tag."""
    if not re.fullmatch(r"\w[\w.+/-]{0,199}", name) or re.search(r"\.\.|//|/\.|/$|\.$|\.lock$", name):
        raise HubError(400, f"git does not allow the name {name!r} for a branch or a tag")
    if SHA1.fullmatch(name) or name.startswith("refs/"):
        raise HubError(400, f"{name!r} would be mistaken for a commit or for a full ref")
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
    """Whether these .gitattributes put a file of `size` bytes that begins with `sample` into LFS."""
    if size == 0:
        return False
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line.split()]
    name = path.rsplit("/", 1)[-1]
    if size > REGULAR_LIMIT or any(fnmatch.fnmatchcase(path if "/" in p else name, p) for p in patterns):
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as problem:
        return problem.start < len(sample) - 3  # nearer the end, the sample only cuts a letter in two
    return b"\0" in sample


def described(path: str, entry: Entry) -> dict[str, Any]:
    """One file in the form that the clients expect."""
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
