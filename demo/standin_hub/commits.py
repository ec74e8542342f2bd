"""Requests about commits: how each file is to be uploaded, the commit itself, and the history."""

from __future__ import annotations

import io
import json
from typing import Any

from standin_hub.pages import address
from standin_hub.server import REPO, Handler, decoded, field, route
from standin_hub.store import Repo
from standin_hub.trees import Change, Entry, HubError, Tree, checked_path, file_entry, goes_through_lfs

LINE_LIMIT = 64 << 20  # bytes; a line of a commit holds one regular file in base64


@route("POST", r"/api/validate-yaml")
def validate_yaml(request: Handler) -> None:
    """The real Hub checks a card's YAML. The standard library cannot read YAML, so every card passes."""
    request.answer_json({"errors": [], "warnings": []})


@route("POST", REPO + r"/preupload/(?P<revision>[^/]+)", write=True)
def preupload(request: Handler, repo: Repo, revision: str) -> None:
    """For each file: regular or LFS, and its current id. The client skips files whose id is the same."""
    commit = repo.resolve(revision)
    files, attributes = repo.tree(commit), repo.text(commit, ".gitattributes")
    answers = []
    for asked in field(request.json_body(), "files", list):
        path, size = checked_path(field(asked, "path", str)), field(asked, "size", int)
        lfs = goes_through_lfs(path, size, decoded(field(asked, "sample", str, "")), attributes)
        entry = files.get(path, {})
        same_way = lfs or not entry.get("lfs")
        oid = entry.get("sha256" if lfs else "oid") if same_way else None
        mode = "lfs" if lfs else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    request.answer_json({"files": answers})


@route("POST", REPO + r"/commit/(?P<revision>[^/]+)", write=True)
def commit(request: Handler, repo: Repo, revision: str) -> None:
    """One JSON object per line: a header, then files and deletions.

    Contents are stored as they arrive. Nothing refers to them until the last line is read and the parent
    turns out to be the head.
    """
    if request.query.get("create_pr"):
        raise HubError(400, "the stand-in Hub has no pull requests: commit to a branch")
    header: dict[str, Any] = {}
    changes: list[Change] = []
    while line := request.body.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            raise HubError(413, f"a line of the commit has more than {LINE_LIMIT} bytes: use LFS")
        try:
            item = json.loads(line)
        except ValueError as problem:
            raise HubError(400, f"line {len(changes) + 2} of the commit is not JSON: {problem}") from None
        key, value = field(item, "key", str), field(item, "value", dict)
        if key == "header":
            header = value
        else:
            changes.append(parsed_change(request, key, value))
    title, parent = field(header, "summary", str), header.get("parentCommit")
    author = request.check_may_write(repo.owner).name
    message = field(header, "description", str, "")
    oid = repo.commit(revision, changes, author, title, message, parent)
    url = f"{request.base()}{address(repo)}/commit/{oid}"
    request.answer_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


def parsed_change(request: Handler, key: str, value: dict[str, Any]) -> Change:
    """One line of a commit → what it does to a tree. The content of a regular file is stored on the way."""
    path = field(value, "path", str)
    path = checked_path(path.rstrip("/") if key == "deletedFolder" else path)
    if key in ("file", "lfsFile"):
        entry = regular_entry(request, value) if key == "file" else lfs_entry(request, value)
        return lambda files: files.update({path: entry})
    if key not in ("deletedFile", "deletedFolder"):
        raise HubError(400, f"the stand-in Hub does not know {key!r} in a commit")

    def delete(files: Tree) -> None:
        whole_folder = key == "deletedFolder"
        doomed = [p for p in files if (p.startswith(f"{path}/") if whole_folder else p == path)]
        if not doomed:
            raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for one in doomed:
            del files[one]

    return delete


def regular_entry(request: Handler, value: dict[str, Any]) -> Entry:
    text = field(value, "content", str)
    content = decoded(text) if value.get("encoding") == "base64" else text.encode()
    return file_entry(*request.server.hub.blobs.write(io.BytesIO(content)), content)


def lfs_entry(request: Handler, value: dict[str, Any]) -> Entry:
    oid = field(value, "oid", str)
    size = request.server.hub.blobs.size(oid)
    if size is None or value.get("size", size) != size:
        raise HubError(400, f"the LFS file {oid} of {value['path']} was not uploaded before the commit")
    return file_entry(oid, size)


@route("GET", REPO + r"/commits/(?P<revision>[^/]+)")
def list_commits(request: Handler, repo: Repo, revision: str) -> None:
    history = repo.history(repo.resolve(revision))
    kept = ("title", "message", "date")
    request.answer_json([
        {"id": oid, "authors": [{"user": value["author"]}]} | {name: value[name] for name in kept}
        for oid, value in history
    ])  # fmt: skip
