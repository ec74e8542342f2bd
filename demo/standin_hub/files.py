"""Requests that read the files of a repository: listings and downloads."""

from __future__ import annotations

import mimetypes
import re
from typing import Any
from urllib.parse import parse_qs

from standin_hub.server import JSON_LIMIT, PAGE, REPO, Handler, field, is_true, route
from standin_hub.store import CHUNK, Repo
from standin_hub.trees import HubError, described, described_folder, listing, parents


@route("GET", REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
def list_files(request: Handler, repo: Repo, revision: str, folder: str) -> None:
    commit, folder = repo.resolve(revision), folder.strip("/")
    items = listing(repo.tree(commit), folder, is_true(request.query.get("recursive")))
    if folder and not items:
        message = f"Entry not found: {repo.id} has no folder {folder} at {commit}"
        raise HubError(404, message, "EntryNotFound", commit)
    answer_items(request, repo, commit, items, request.query.get("expand"))


@route("POST", REPO + r"/paths-info/(?P<revision>[^/]+)")
def paths_info(request: Handler, repo: Repo, revision: str) -> None:
    commit = repo.resolve(revision)
    if "json" in request.headers.get("Content-Type", ""):
        asked = request.json_body()
        paths, expand = field(asked, "paths", list), asked.get("expand")
    else:
        form = parse_qs(request.body.read(JSON_LIMIT).decode("utf-8", "replace"))
        paths, expand = form.get("paths", []), form.get("expand", [""])[-1]
    files = repo.tree(commit)
    folders = {folder for path in files for folder in parents(path)}
    items = [described(path, files[path]) for path in paths if path in files]
    items += [described_folder(path, files) for path in paths if path in folders]
    answer_items(request, repo, commit, items, expand)


def answer_items(request: Handler, repo: Repo, commit: str, items: list[dict[str, Any]], expand: Any) -> None:
    if is_true(expand):
        changes = repo.last_changes(commit, [item["path"] for item in items])
        items = [item | {"lastCommit": changes[item["path"]]} for item in items]
    request.answer_json(items)


@route("GET", PAGE + r"/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
def download(request: Handler, repo: Repo, revision: str, path: str) -> None:
    commit = repo.resolve(revision)
    entry = repo.entry(commit, path)
    size, etag = entry["size"], f'"{entry["sha256"] if entry["lfs"] else entry["oid"]}"'
    part = byte_range(request.headers.get("Range"), size)
    first, last = part or (0, size - 1)
    headers = {
        "Content-Type": content_type(path),
        "Content-Length": str(last - first + 1),
        "ETag": etag,
        "X-Repo-Commit": commit,
        "X-Linked-Etag": etag,
        "X-Linked-Size": str(size),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",  # browsers show a published report, but run no script of it
    }
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    with request.server.hub.blobs.open(entry["sha256"]) as file:
        request.start(206 if part else 200, headers)
        file.seek(first)
        left = 0 if request.command == "HEAD" else last - first + 1
        while left and (chunk := file.read(min(left, CHUNK))):
            request.wfile.write(chunk)
            left -= len(chunk)
        request.close_connection |= left > 0  # the file on disk became shorter: let the client notice


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for, None for the whole file; 416 if it lies outside."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or (last == "0" and not first):
        raise HubError(416, f"the file has {size} bytes; {header} is outside it", file_size=size)
    return (start, end) if start <= end else None


def content_type(path: str) -> str:
    guess = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if guess == "text/html":
        return "text/html; charset=utf-8"
    readable = (".md", ".yaml", ".yml", ".jsonl", ".gitattributes")
    return "text/plain; charset=utf-8" if guess.startswith("text/") or path.endswith(readable) else guess
