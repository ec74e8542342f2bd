"""A stand-in Hugging Face Hub for one machine: the real, unmodified clients push to it and pull from it.

    python demo/hub.py --root DIR --port P --token TOKEN=USER[:read] [--token …] [--verbose]

It answers what huggingface_hub, the `hf` command, datasets and transformers ask of a Hub without Xet (so
set HF_HUB_DISABLE_XET=1): model and dataset repositories with commits, branches, tags and LFS, tokens that
may write or only read, and the error headers those clients look for. Standard library only, loopback only.
Open http://127.0.0.1:P/ to look inside. hub_store.py keeps everything on disk, hub_pages.py draws the pages.

Exit codes: 0 ended by Ctrl+C or SIGTERM, 2 wrong usage, 5 the port is taken, 6 another Hub uses DIR.
"""

from __future__ import annotations

import argparse
import base64
import errno
import hashlib
import hmac
import io
import json
import mimetypes
import os
import re
import secrets
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs, unquote

from hub_pages import address, front_page, repo_page
from hub_store import (
    CHUNK,
    KINDS,
    SHA256,
    Change,
    Entry,
    Hub,
    HubError,
    Repo,
    Tree,
    checked_path,
    described,
    described_folder,
    file_entry,
    goes_through_lfs,
    is_repo_name,
    listing,
    parents,
)

LINE_LIMIT = 64 << 20  # bytes; a line of a commit holds one regular file in base64
JSON_LIMIT = 32 << 20  # bytes; any other request body that is read into memory
NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
NO_TOKEN = "this needs a token, and none was sent: set HF_TOKEN"  # noqa: S105
Value = TypeVar("Value")


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    may_write: bool


class BodyStream(io.RawIOBase):
    """A request body as a file, whether it came with a length or in chunks."""

    def __init__(self, source: BinaryIO, length: int | None) -> None:
        self.source, self.chunked, self.left = source, length is None, length or 0
        self.begun = self.ended = False

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
        if self.begun:
            self.source.readline(3)  # the line end after the chunk before
        self.begun = True
        size = self.source.readline(100).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size):
            raise ConnectionResetError("a chunk of the body has no size")
        self.left = int(size, 16)
        if self.left == 0:
            self.ended = True
            while self.source.readline(10_000).strip():  # trailers
                pass


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


def is_true(text: Any) -> bool:
    return str(text).lower() in ("true", "1")


def field(item: Any, name: str, kind: type[Value], default: Value | None = None) -> Value:
    """`item[name]` of a JSON request; 400 if it is missing (without a default) or of another type."""
    value = item.get(name, default) if isinstance(item, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise HubError(400, f"the request has no {name!r}, or it is not of type {kind.__name__}")
    return value


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as problem:
        raise HubError(400, f"the request holds broken base64: {problem}") from None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    # On POSIX this allows a restart right after a stop; on Windows it would let two servers share the port.
    allow_reuse_address = os.name == "posix"

    hub: Hub  # set once the port is ours; until serve_forever, connections wait in the queue

    def __init__(self, port: int, tokens: dict[str, User], verbose: bool) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.tokens, self.verbose = tokens, verbose
        self.upload_key = secrets.token_bytes(32)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):  # those are clients that left
            traceback.print_exc()


REPO = r"/api/(?P<kind>models|datasets)/(?P<repo_id>[^/]+/[^/]+)"
PAGE = r"/(?!api/)(?P<kind>datasets/)?(?P<repo_id>[^/]+/[^/]+)"
UNKNOWN_NAME = r"/api/(models|datasets)/[^/]+(/(revision|tree)/.*)?|/(datasets/)?[^/]+/(resolve|raw)/.*"
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., None]]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a method of Handler answer a path; the pattern's named groups become its arguments, unquoted."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """One connection. What @route marks answers; the rest reads requests and writes answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "stand-in-hub", ""
    disable_nagle_algorithm = True  # else a small answer waits for the client's delayed ACK
    timeout = 300  # seconds that a connection may be silent

    # Requests and answers

    def dispatch(self) -> None:
        self.body, self.started = self.open_body(), False
        try:
            path, _, query = self.path.partition("?")
            self.query = {name: values[-1] for name, values in parse_qs(query).items()}
            self.user = self.authenticate()
            self.find_route(path)
        except HubError as refusal:
            self.refuse(refusal)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client left; what it sent of this request is dropped
        except OSError as problem:
            self.refuse(self.full_disk(problem) if problem.errno in NO_SPACE else self.bug(problem))
        except Exception as problem:
            self.refuse(self.bug(problem))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def find_route(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for allowed, pattern, function in ROUTES:
            if method == allowed and (match := pattern.fullmatch(path)):
                words = {name: unquote(text or "") for name, text in match.groupdict().items()}
                return function(self, **words)
        if re.fullmatch(UNKNOWN_NAME, path):
            raise HubError(404, f"Repository not found: {path}; names here are USER/NAME", "RepoNotFound")
        raise HubError(404, f"the stand-in Hub does not answer {self.command} {path}")

    def open_body(self) -> io.BufferedReader:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch(
            r"\d{1,15}", length
        ):  # this body cannot be told from the next request: answer, then close
            self.close_connection, length = True, "0"
        return io.BufferedReader(BodyStream(self.rfile, None if chunked else int(length)), 1 << 16)

    def full_disk(self, problem: OSError) -> HubError:
        return HubError(507, self.no_room(problem.strerror or "disk full"))

    def no_room(self, why: str) -> str:
        root = self.server.hub.root
        free = f"{shutil.disk_usage(root).free / 1e6:.0f} MB are free under {root}"
        return f"the Hub cannot write ({why}; {free}): make room and repeat; nothing was changed"

    def bug(self, problem: Exception) -> HubError:
        traceback.print_exc()
        self.close_connection = True
        return HubError(500, f"the stand-in Hub failed: {problem!r}")

    def authenticate(self) -> User | None:
        """The user of the token; None without one; 401 for a token that nobody was given."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            return None
        for known, user in self.server.tokens.items():
            if scheme.lower() == "bearer" and hmac.compare_digest(known.encode(), token.strip().encode()):
                return user
        raise HubError(401, "Invalid credentials in Authorization header")  # the client looks for these words

    def check_may_write(self, owner: str | None = None) -> User:
        """The user, if the token may write (in `owner`'s namespace); 401 or 403 otherwise."""
        if self.user is None:
            raise HubError(401, NO_TOKEN)
        if not self.user.may_write:
            raise HubError(403, f"this token of {self.user.name} may only read; use one that may write")
        if owner is not None and self.user.name != owner:
            raise HubError(403, f"{self.user.name} has no right to write under {owner}/")
        return self.user

    def repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        if write:
            self.check_may_write()  # first: who may not write need not know what is here
        kind = {"": "models", "datasets/": "datasets"}.get(kind, kind)
        repo = self.server.hub.repo(kind, repo_id, self.user and self.user.name)
        if write:
            self.check_may_write(repo.owner)
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
        """This Hub as the client calls it: links in answers must start with the client's HF_ENDPOINT."""
        host = self.headers.get("Host", "")
        known = re.fullmatch(r"[\w.-]+(:\d+)?", host)
        return f"http://{host}" if known else f"http://127.0.0.1:{self.server.server_port}"

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.started = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def answer(self, content: bytes, kind: str, status: int = 200, **headers: str) -> None:
        while self.body.read(CHUNK):  # what is left unread would be taken for the next request
            pass
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.start(status, {"Content-Type": kind, "Content-Length": str(len(content))} | given)
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(value, ensure_ascii=False).encode(), "application/json", status, **headers)

    def answer_page(self, page: str) -> None:
        self.answer(page.encode(), "text/html; charset=utf-8")

    def refuse(self, refusal: HubError) -> None:
        """Headers matter more than the JSON: on a plain http endpoint the clients know an error by them."""
        if self.started:  # a file is half sent: cutting it short is the one way left to tell the client
            self.close_connection = True
            return
        in_a_header = re.sub(r"[^\x20-\x7e]", "?", refusal.message)
        headers = {"X_Error_Message": in_a_header, "X_Error_Code": refusal.code}
        headers["X_Repo_Commit"] = refusal.commit
        if (size := refusal.extra.pop("file_size", None)) is not None:
            headers["Content_Range"] = f"bytes */{size}"
        headers = {name: value for name, value in headers.items() if value}
        try:
            self.answer_json({"error": refusal.message} | refusal.extra, refusal.status, **headers)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.verbose:
            line = re.sub(r"key=\w+", "key=…", format % args)  # whoever has the key may upload
            sys.stderr.write(f"{self.log_date_time_string()} {line}\n")

    # The account, and all repositories

    @route("GET", r"/api/whoami-v2")
    def whoami(self) -> None:
        if self.user is None:
            raise HubError(401, NO_TOKEN)
        name, role = self.user.name, "write" if self.user.may_write else "read"
        about = {"type": "user", "id": name, "name": name, "fullname": name, "isPro": False, "orgs": []}
        token = {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": role}}
        self.answer_json(about | {"auth": token})

    @route("POST", r"/api/validate-yaml")
    def validate_yaml(self) -> None:
        """The real Hub checks a card's YAML. The standard library cannot read YAML, so every card passes."""
        self.answer_json({"errors": [], "warnings": []})

    def named_in_body(self) -> tuple[str, str, dict[str, Any]]:
        """(kind, repo id, the request) of a request that names a repository in its body."""
        user = self.check_may_write()
        asked = self.json_body()
        kind = f"{asked.get('type') or 'model'}s"
        if kind not in KINDS:
            raise HubError(400, f"the stand-in Hub keeps models and datasets, no {kind}")
        owner = field(asked, "organization", str, "") if asked.get("organization") else user.name
        return kind, f"{owner}/{field(asked, 'name', str)}", asked

    @route("POST", r"/api/repos/create")
    def create_repo(self) -> None:
        kind, repo_id, asked = self.named_in_body()
        self.check_may_write(repo_id.split("/")[0])
        private = asked.get("visibility") == "private" or asked.get("private") is True
        url = f"{self.base()}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"
        try:
            self.server.hub.create(kind, repo_id, private)
        except HubError as refusal:
            refusal.extra["url"] = url  # the client reads it from the 409 as well
            raise
        self.answer_json({"url": url, "name": repo_id, "id": repo_id})

    @route("DELETE", r"/api/repos/delete")
    def delete_repo(self) -> None:
        kind, repo_id, _ = self.named_in_body()
        self.server.hub.delete(self.repo(kind, repo_id, write=True))
        self.answer_json({})

    @route("GET", r"/api/(?P<kind>models|datasets)")
    def list_repos(self, kind: str) -> None:
        author, search, limit = (self.query.get(name, "") for name in ("author", "search", "limit"))
        found = [
            self.info(repo, "main", siblings=is_true(self.query.get("full")))
            for repo in self.server.hub.repos(kind, self.user and self.user.name)
            if author in ("", repo.owner) and search.lower() in repo.id.lower()
        ]
        self.answer_json(found[: int(limit)] if limit.isdecimal() else found)

    @route("GET", r"/api/settings/repositories")
    def list_own_repos(self) -> None:
        if self.user is None:
            raise HubError(401, NO_TOKEN)
        items = []
        for kind, word in KINDS.items():
            for repo in self.server.hub.repos(kind, self.user.name):
                if repo.owner == self.user.name:
                    info = self.info(repo, "main", siblings=False)
                    visibility = "private" if info["private"] else "public"
                    item = {"id": repo.id, "type": word, "visibility": visibility}
                    used = {"storage": info["usedStorage"], "storagePercent": 0}
                    items.append(item | used | {"updatedAt": info["lastModified"]})
        self.answer_json(items)

    # One repository: what is in it

    def info(self, repo: Repo, revision: str, siblings: bool = True, sizes: bool = False) -> dict[str, Any]:
        """What the Hub says of a repository at a revision."""
        commit = repo.resolve(revision)
        state, files = repo.state(), repo.tree(commit)
        info: dict[str, Any] = {
            "_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24],
            "id": repo.id,
            "author": repo.owner,
            "sha": commit,
            "lastModified": repo.get_object(commit)["date"],
            "createdAt": state["created"],
            "private": state["private"],
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "usedStorage": sum(entry["size"] for entry in files.values()),
        }
        if repo.kind == "models":
            info["modelId"] = repo.id
        if siblings:
            info["siblings"] = [{"rfilename": path} for path in sorted(files)]
        if siblings and sizes:
            for item in info["siblings"]:
                about = described(item["rfilename"], files[item["rfilename"]])
                item |= {"size": about["size"], "blobId": about["oid"]}
                if lfs := about.get("lfs"):
                    item["lfs"] = lfs | {"sha256": lfs["oid"]}
        return info

    @route("GET", REPO + r"(?:/revision/(?P<revision>[^/]+))?")
    def repo_info(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        self.answer_json(self.info(repo, revision or "main", sizes=is_true(self.query.get("blobs"))))

    @route("GET", REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
    def tree(self, kind: str, repo_id: str, revision: str, folder: str) -> None:
        repo = self.repo(kind, repo_id)
        commit, folder = repo.resolve(revision), folder.strip("/")
        items = listing(repo.tree(commit), folder, is_true(self.query.get("recursive")))
        if folder and not items:
            message = f"Entry not found: {folder} is no folder of {repo.id} at {commit}"
            raise HubError(404, message, "EntryNotFound", commit)
        self.answer_items(repo, commit, items, self.query.get("expand"))

    @route("POST", REPO + r"/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision)
        if "json" in self.headers.get("Content-Type", ""):
            asked = self.json_body()
            paths, expand = field(asked, "paths", list), asked.get("expand")
        else:
            form = parse_qs(self.body.read(JSON_LIMIT).decode("utf-8", "replace"))
            paths, expand = form.get("paths", []), form.get("expand", [""])[-1]
        files = repo.tree(commit)
        folders = {folder for path in files for folder in parents(path)}
        items = [described(path, files[path]) for path in paths if path in files]
        items += [described_folder(path, files) for path in paths if path in folders]
        self.answer_items(repo, commit, items, expand)

    def answer_items(self, repo: Repo, commit: str, items: list[dict[str, Any]], expand: Any) -> None:
        if is_true(expand):
            changes = repo.last_changes(commit, [item["path"] for item in items])
            items = [item | {"lastCommit": changes[item["path"]]} for item in items]
        self.answer_json(items)

    @route("GET", REPO + r"/refs")
    def refs(self, kind: str, repo_id: str) -> None:
        state = self.repo(kind, repo_id).state()
        answer: dict[str, Any] = {"converts": [], "pullRequests": []}
        for words, prefix in (("branches", "refs/heads"), ("tags", "refs/tags")):
            answer[words] = [
                {"name": name, "ref": f"{prefix}/{name}", "targetCommit": commit}
                for name, commit in sorted(state[words].items())
            ]
        self.answer_json(answer)

    @route("GET", REPO + r"/commits/(?P<revision>[^/]+)")
    def commits(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        history = repo.history(repo.resolve(revision))
        kept = ("title", "message", "date")
        self.answer_json([
            {"id": oid, "authors": [{"user": value["author"]}]} | {name: value[name] for name in kept}
            for oid, value in history
        ])  # fmt: skip

    @route("GET", REPO + r"/auth-check(?P<write>/write)?")
    def auth_check(self, kind: str, repo_id: str, write: str) -> None:
        self.repo(kind, repo_id, write=bool(write))
        self.answer_json({})

    @route("GET", REPO + r"/xet-(?:read|write)-token/.*")
    def xet_token(self, kind: str, repo_id: str) -> None:
        raise HubError(404, "the stand-in Hub has no Xet: set HF_HUB_DISABLE_XET=1 for the client")

    @route("GET", PAGE + r"/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
    def download(self, kind: str, repo_id: str, revision: str, path: str) -> None:
        repo = self.repo(kind, repo_id)
        commit = repo.resolve(revision)
        entry = repo.entry(commit, path)
        size, etag = entry["size"], f'"{entry["sha256"] if entry["lfs"] else entry["oid"]}"'
        part = byte_range(self.headers.get("Range"), size)
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
            "Content-Security-Policy": "sandbox",  # a published report may be looked at, not run
        }
        if part:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        with self.server.hub.blobs.open(entry["sha256"]) as file:
            self.start(206 if part else 200, headers)
            file.seek(first)
            left = 0 if self.command == "HEAD" else last - first + 1
            while left and (chunk := file.read(min(left, CHUNK))):
                self.wfile.write(chunk)
                left -= len(chunk)
            self.close_connection |= left > 0  # the file is shorter than it was: let the client notice

    # One repository: changes

    @route("POST", REPO + r"/preupload/(?P<revision>[^/]+)")
    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        """For each file: regular or LFS, and its id now. The client leaves out files whose id is the same."""
        repo = self.repo(kind, repo_id, write=True)
        commit = repo.resolve(revision)
        files, attributes = repo.tree(commit), repo.text(commit, ".gitattributes")
        answers = []
        for asked in field(self.json_body(), "files", list):
            path, size = checked_path(field(asked, "path", str)), field(asked, "size", int)
            lfs = goes_through_lfs(path, size, decoded(field(asked, "sample", str, "")), attributes)
            entry = files.get(path, {})
            same_way = lfs or not entry.get("lfs")
            oid = entry.get("sha256" if lfs else "oid") if same_way else None
            mode = "lfs" if lfs else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer_json({"files": answers})

    @route("POST", REPO + r"/commit/(?P<revision>[^/]+)")
    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        """One JSON object a line: a header, then files and deletions. Contents are kept as they come; nothing
        points at them until the last line was read and the parent was found to be the head."""
        repo = self.repo(kind, repo_id, write=True)
        if self.query.get("create_pr"):
            raise HubError(400, "the stand-in Hub has no pull requests: commit to a branch")
        header: dict[str, Any] = {}
        changes: list[Change] = []
        while line := self.body.readline(LINE_LIMIT + 1):
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
                changes.append(self.parsed_change(key, value))
        title, parent = field(header, "summary", str), header.get("parentCommit")
        author = self.check_may_write(repo.owner).name
        message = field(header, "description", str, "")
        oid = repo.commit(revision, changes, author, title, message, parent)
        url = f"{self.base()}{address(repo)}/commit/{oid}"
        self.answer_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def parsed_change(self, key: str, value: dict[str, Any]) -> Change:
        """One line of a commit → what it does to a tree. A regular file's content is kept on the way."""
        path = field(value, "path", str)
        path = checked_path(path.rstrip("/") if key == "deletedFolder" else path)
        if key in ("file", "lfsFile"):
            entry = self.regular_entry(value) if key == "file" else self.lfs_entry(value)
            return lambda files: files.update({path: entry})
        if key not in ("deletedFile", "deletedFolder"):
            raise HubError(400, f"the stand-in Hub knows no {key!r} in a commit")

        def delete(files: Tree) -> None:
            whole_folder = key == "deletedFolder"
            doomed = [p for p in files if (p.startswith(f"{path}/") if whole_folder else p == path)]
            if not doomed:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for one in doomed:
                del files[one]

        return delete

    def regular_entry(self, value: dict[str, Any]) -> Entry:
        text = field(value, "content", str)
        content = decoded(text) if value.get("encoding") == "base64" else text.encode()
        return file_entry(*self.server.hub.blobs.write(io.BytesIO(content)), content)

    def lfs_entry(self, value: dict[str, Any]) -> Entry:
        oid = field(value, "oid", str)
        size = self.server.hub.blobs.size(oid)
        if size is None or value.get("size", size) != size:
            raise HubError(400, f"the LFS file {oid} of {value['path']} was not uploaded before the commit")
        return file_entry(oid, size)

    @route("POST", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)")
    def create_ref(self, kind: str, repo_id: str, what: str, name: str) -> None:
        """A branch is named in the address and its start in the body; a tag the other way round."""
        repo, asked = self.repo(kind, repo_id, write=True), self.json_body()
        if what == "branch":
            repo.add_ref("branches", name, repo.resolve(field(asked, "startingPoint", str, "main")))
        else:
            repo.add_ref("tags", field(asked, "tag", str), repo.resolve(name))
        self.answer_json({})

    @route("DELETE", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)")
    def delete_ref(self, kind: str, repo_id: str, what: str, name: str) -> None:
        self.repo(kind, repo_id, write=True).remove_ref("branches" if what == "branch" else "tags", name)
        self.answer_json({})

    @route("PUT", REPO + r"/settings")
    def settings(self, kind: str, repo_id: str) -> None:
        repo, asked = self.repo(kind, repo_id, write=True), self.json_body()
        if asked.get("visibility") not in ("public", "private"):
            raise HubError(400, "the stand-in Hub has one setting: visibility, public or private")
        repo.set_private(asked["visibility"] == "private")
        self.answer_json({"private": repo.state()["private"]})

    # LFS

    def signature(self, oid: str, size: int) -> str:
        return hmac.new(self.server.upload_key, f"{oid} {size}".encode(), "sha256").hexdigest()

    @route("POST", PAGE + r"\.git/info/lfs/objects/batch")
    def lfs_batch(self, kind: str, repo_id: str) -> None:
        repo, asked = self.repo(kind, repo_id, write=True), self.json_body()
        if asked.get("operation") != "upload":
            raise HubError(400, "the stand-in Hub takes LFS uploads only; downloads go through /resolve/")
        objects, room = [], shutil.disk_usage(self.server.hub.root).free
        for item in field(asked, "objects", list):
            oid, size = field(item, "oid", str), field(item, "size", int)
            if not SHA256.fullmatch(oid) or size < 0:
                raise HubError(400, f"{oid!r} is not a SHA-256, or {size} is not a size")
            answer: dict[str, Any] = {"oid": oid, "size": size}
            if self.server.hub.blobs.size(oid) == size:
                pass  # it is here: no action tells the client so
            elif (room := room - size) < 0:
                answer["error"] = {"code": 507, "message": self.no_room(f"{size / 1e6:.0f} MB were to come")}
            else:
                # The client sends no token to this address, as if to a bucket: the signature stands for it.
                upload = f"{self.base()}/lfs/{oid}?size={size}&key={self.signature(oid, size)}"
                verify = f"{self.base()}{address(repo)}.git/info/lfs/verify"
                answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(answer)
        self.answer_json({"transfer": "basic", "objects": objects})

    @route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
    def lfs_put(self, oid: str) -> None:
        size, key = self.query.get("size", ""), self.query.get("key", "")
        wanted = self.signature(oid, int(size)) if size.isdecimal() else ""
        if not wanted or not hmac.compare_digest(wanted.encode(), key.encode()):
            raise HubError(403, "this upload address is not valid, or no longer: ask for a new one")
        self.server.hub.blobs.write(self.body, (oid, int(size)))
        self.answer_json({})

    @route("POST", PAGE + r"\.git/info/lfs/verify")
    def lfs_verify(self, kind: str, repo_id: str) -> None:
        self.repo(kind, repo_id, write=True)
        asked = self.json_body()
        oid, size = field(asked, "oid", str), field(asked, "size", int)
        if self.server.hub.blobs.size(oid) != size:
            raise HubError(404, f"the LFS file {oid} of {size} bytes is not here", "EntryNotFound")
        self.answer_json({})

    # Pages for people

    @route("GET", r"/")
    def front_page(self) -> None:
        self.answer_page(front_page(repo for kind in KINDS for repo in self.server.hub.repos(kind, None)))

    @route("GET", PAGE + r"(?:/(?:tree|commit|blob)/(?P<revision>[^/]+)(?:/.*)?)?")
    def repo_page(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self.repo(kind, repo_id)
        self.answer_page(repo_page(repo, repo.resolve(revision or "main")))


def content_type(path: str) -> str:
    guess = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if guess == "text/html":
        return "text/html; charset=utf-8"
    readable = (".md", ".yaml", ".yml", ".jsonl", ".gitattributes")
    return "text/plain; charset=utf-8" if guess.startswith("text/") or path.endswith(readable) else guess


# ---------------------------------------------------------------- command line


def stop(code: int, message: str) -> Any:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        stop(2, f"{message}; see python {sys.argv[0]} --help")


def parse_token(text: str) -> tuple[str, User]:
    """TOKEN=USER or TOKEN=USER:read."""
    token, _, who = text.rpartition("=")
    name, _, right = who.partition(":")
    if not token or right not in ("", "read", "write") or not is_repo_name(name):
        # The text holds a token, so the message does not repeat it.
        raise argparse.ArgumentTypeError("expected TOKEN=USER or TOKEN=USER:read")
    return token, User(name, right != "read")


def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description="A stand-in Hugging Face Hub on loopback.", allow_abbrev=False)
    parser.add_argument("--root", type=Path, required=True, help="folder for everything; made if absent")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--token", type=parse_token, action="append", default=[], metavar="TOKEN=USER[:read]")
    parser.add_argument("--verbose", action="store_true", help="a line on stderr for each request")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        stop(2, f"--port {options.port} is not between 0 and 65535")
    try:
        server = Server(options.port, dict(options.token), options.verbose)
    except OSError as problem:
        stop(5, f"port {options.port} cannot be had ({problem.strerror}): stop what uses it or change --port")
    try:
        server.hub = Hub(options.root.resolve())
    except BlockingIOError:
        stop(6, f"another stand-in Hub is using {options.root}: stop it or give another --root")
    except OSError as problem:
        stop(2, f"--root {options.root} cannot be used: {problem}")

    def end(*_: Any) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for the loop that this very thread runs

    signal.signal(signal.SIGTERM, end)
    # A script that starts us with & has Ctrl+C ignored here, because it ends us itself.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    users = ", ".join(f"{user.name} ({'write' if user.may_write else 'read'})" for _, user in options.token)
    where = f"http://127.0.0.1:{server.server_port}"
    print(f"stand-in Hub on {where}, files in {server.hub.root}, tokens of: {users or 'nobody'}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
