"""The stand-in Hub's HTTP server: reads requests, checks tokens, finds the route, writes answers.

The routes are functions in repositories.py, files.py, commits.py and lfs.py, marked with @route.
"""

from __future__ import annotations

import base64
import errno
import hmac
import io
import json
import os
import re
import secrets
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs, unquote

from standin_hub.store import CHUNK, Hub, Repo
from standin_hub.trees import HubError

JSON_LIMIT = 32 << 20  # bytes; a request body that is read into memory
NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
REPO = r"/api/(?P<kind>models|datasets)/(?P<repo_id>[^/]+/[^/]+)"
PAGE = r"/(?!api/)(?P<kind>datasets/)?(?P<repo_id>[^/]+/[^/]+)"
UNKNOWN_NAME = r"/api/(models|datasets)/[^/]+(/(revision|tree)/.*)?|/(datasets/)?[^/]+/(resolve|raw)/.*"
Route = Callable[..., None]
ROUTES: list[tuple[str, re.Pattern[str], bool, Route]] = []
Value = TypeVar("Value")


def route(method: str, pattern: str, write: bool = False) -> Callable[[Route], Route]:
    """Let a function answer a path.

    It gets the Handler and the pattern's named groups, unquoted. REPO and PAGE become one argument `repo`,
    after the check that the user may see it and, with `write`, change it.
    """

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), write, function))
        return function

    return register


@dataclass(frozen=True)
class User:
    """The owner of a token."""

    name: str
    may_write: bool


class BodyStream(io.RawIOBase):
    """A request body as a file, whether it comes with a length or in chunks."""

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
            self.source.readline(3)  # the line end after the previous chunk
        self.begun = True
        size = self.source.readline(100).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size):
            raise ConnectionResetError("a chunk of the body has no size")
        self.left = int(size, 16)
        if self.left == 0:
            self.ended = True
            while self.source.readline(10_000).strip():  # trailers
                pass


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
        raise HubError(400, f"the request contains broken base64: {problem}") from None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    # On POSIX this allows a restart right after a stop; on Windows it would let two servers share the port.
    allow_reuse_address = os.name == "posix"

    hub: Hub  # set after the port is bound; until serve_forever, connections wait in the queue

    def __init__(self, port: int, tokens: dict[str, User], verbose: bool) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.tokens, self.verbose = tokens, verbose
        self.upload_key = secrets.token_bytes(32)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):  # those are clients that left
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """One connection: the routes read its requests and write their answers through these methods."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "stand-in-hub", ""
    disable_nagle_algorithm = True  # else a small answer waits for the client's delayed ACK
    timeout = 300  # seconds that a connection may be silent

    # Requests

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
            self.close_connection = True  # the client left; the part of the request that arrived is dropped
        except OSError as problem:
            full = problem.errno in NO_SPACE
            self.refuse(HubError(507, self.no_room(str(problem.strerror))) if full else self.bug(problem))
        except Exception as problem:
            self.refuse(self.bug(problem))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def find_route(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for allowed, pattern, write, function in ROUTES:
            if method == allowed and (match := pattern.fullmatch(path)):
                found: dict[str, Any] = {name: unquote(text) for name, text in match.groupdict("").items()}
                if "repo_id" in found:
                    found["repo"] = self.repo(found.pop("kind"), found.pop("repo_id"), write)
                return function(self, **found)
        if re.fullmatch(UNKNOWN_NAME, path):
            raise HubError(404, f"Repository not found: {path}; names here are USER/NAME", "RepoNotFound")
        raise HubError(404, f"the stand-in Hub does not answer {self.command} {path}")

    def open_body(self) -> io.BufferedReader:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"\d{1,15}", length):  # nobody knows where the next request begins: close
            self.close_connection, length = True, "0"
        return io.BufferedReader(BodyStream(self.rfile, None if chunked else int(length)), 1 << 16)

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
        """This Hub's address as the client writes it: links in answers must begin with its HF_ENDPOINT."""
        host = self.headers.get("Host", "")
        known = re.fullmatch(r"[\w.-]+(:\d+)?", host)
        return f"http://{host}" if known else f"http://127.0.0.1:{self.server.server_port}"

    # Rights

    def authenticate(self) -> User | None:
        """The user of the token; None without a token; 401 for an unknown token."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            return None
        for known, user in self.server.tokens.items():
            if scheme.lower() == "bearer" and hmac.compare_digest(known.encode(), token.strip().encode()):
                return user
        raise HubError(401, "Invalid credentials in Authorization header")  # the client looks for this text

    def known_user(self) -> User:
        if self.user is None:
            raise HubError(401, "this request needs a token, but has none: set HF_TOKEN")
        return self.user

    def check_may_write(self, owner: str | None = None) -> User:
        """The user, if the token may write (in `owner`'s namespace); 401 or 403 otherwise."""
        user = self.known_user()
        if not user.may_write:
            raise HubError(403, f"this token of {user.name} may only read; use one that may write")
        if owner is not None and user.name != owner:
            raise HubError(403, f"{user.name} has no right to write under {owner}/")
        return user

    def repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        if write:
            self.check_may_write()  # first, so that a read token cannot find out what exists
        kind = {"": "models", "datasets/": "datasets"}.get(kind, kind)
        repo = self.server.hub.repo(kind, repo_id, self.user and self.user.name)
        if write:
            self.check_may_write(repo.owner)
        return repo

    # Answers

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.started = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def answer(self, content: bytes, kind: str, status: int = 200, **headers: str) -> None:
        while self.body.read(CHUNK):  # an unread rest would be mistaken for the next request
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
        """Send an error. Over plain HTTP the clients recognize it by its headers, not by the JSON."""
        if self.started:  # half of a file is sent, so only closing the connection can signal the error
            self.close_connection = True
            return
        in_a_header = re.sub(r"[^\x20-\x7e]", "?", refusal.message)
        headers = {"X_Error_Code": refusal.code, "X_Repo_Commit": refusal.commit}
        if (size := refusal.extra.pop("file_size", None)) is not None:
            headers["Content_Range"] = f"bytes */{size}"
        headers = {"X_Error_Message": in_a_header} | {name: value for name, value in headers.items() if value}
        try:
            self.answer_json({"error": refusal.message} | refusal.extra, refusal.status, **headers)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def no_room(self, why: str) -> str:
        root = self.server.hub.root
        free = f"{shutil.disk_usage(root).free / 1e6:.0f} MB are free under {root}"
        return f"the Hub cannot write ({why}; {free}): make room and repeat; nothing was changed"

    def bug(self, problem: Exception) -> HubError:
        traceback.print_exc()
        self.close_connection = True
        return HubError(500, f"the stand-in Hub failed: {problem!r}")

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.verbose:
            line = re.sub(r"key=\w+", "key=…", format % args)  # the key gives the right to upload
            sys.stderr.write(f"{self.log_date_time_string()} {line}\n")
