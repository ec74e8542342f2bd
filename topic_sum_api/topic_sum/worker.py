"""gunicorn's threaded worker, changed so that clients that send or read slowly hold no thread.

gthread gives a new connection to a thread, which waits for the request. As many clients as there are threads,
each sending a byte per second, then keep everybody else out. Here the worker's event loop collects a request,
head and body, and hands it to a thread when it is complete; and the loop sends the part of an answer that the
connection does not take at once. gunicorn's parser is unchanged; this only decides when it begins to read.

waitress also buffers both ways, but with it 20 of 48 tests of tests/api/test_attacks.py fail: silent
clients keep others out, a slow request has no deadline, a stop loses accepted requests, nothing restarts a
killed process, and its errors have a shape of their own. nginx in front of gthread would be a second
program to run without Docker. So waitress serves only on Windows, and nginx only several copies.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import selectors
import socket
import struct
import time
import uuid
from collections.abc import Callable
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker

from topic_sum.api.messages import language, words
from topic_sum.framing import MOST_HEAD_BYTES, BadChunks, Chunks, Head

log = logging.getLogger("topic_sum.requests")

_CHUNK = 64 * 1024
# After the last answer on a connection the client has so many seconds to close it: a reset could cut the
# answer.
LINGER_SECONDS = 2
MOST_LINGER_BYTES = 1_000_000
# A client has so many seconds to read its answer, from when the connection took no more of it. All unsent
# answers may take so much memory; beyond it the connections that wait longest are closed.
SEND_SECONDS = 60
MOST_UNSENT_BYTES = 64_000_000
# If a thread ever reads from a client, it waits no longer than this.
READ_SECONDS = 20
_LANGUAGE = re.compile(rb"\r\naccept-language:[ \t]*([^\r\n]*)", re.IGNORECASE)
# The error codes of gunicorn's own refusals.
_REFUSALS = {
    408: "body_not_received", 414: "address_too_long", 417: "expectation_failed", 431: "headers_too_large",
    500: "server_error", 501: "length_required", 503: "busy",
}  # fmt: skip


def refusal(status: int, reason: str, head: bytes = b"") -> bytes:
    """An error in the API's shape for a request that reached no view, in the language of its `head`."""
    asked = _LANGUAGE.search(head)
    lang = language(asked.group(1).decode("latin-1") if asked else "")
    code = _REFUSALS.get(status, "bad_request")
    # These are counted and not logged: strangers could fill the disk. Imported in the process that answers.
    from topic_sum.metrics import ERRORS

    ERRORS.labels(code).inc()
    request_id = uuid.uuid4().hex
    if status == 500:
        log.error("error: a request could not be answered", extra={"request_id": request_id})
    body = json.dumps(
        {"error": {"code": code, "message": words(code, lang, request_id=request_id, wait=1), "field": None}},
        ensure_ascii=False,
    ).encode()
    return (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"{'Retry-After: 1' + chr(13) + chr(10) if status == 503 else ''}"
        f"Content-Language: {lang}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class ClientSocket(socket.socket):
    """A client's socket on which no thread waits: the event loop sends what it does not take at once."""

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.unsent = bytearray()

    def sendall(self, data: bytes | bytearray | memoryview, flags: int = 0) -> None:
        left = memoryview(data)
        if not self.unsent:
            with contextlib.suppress(BlockingIOError):
                left = left[self.send(left, flags | socket.MSG_DONTWAIT) :]
        self.unsent += left


class _Written:
    """Takes the error page that gunicorn writes to a client."""

    def __init__(self) -> None:
        self.data = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.data += data


class Connection(TConn):
    """A connection and its bytes that no thread has been given yet."""

    def __init__(self, cfg: object, sock: socket.socket, client: object, server: object):
        super().__init__(cfg, sock, client, server)
        self.received = bytearray()
        self.held = 0  # bytes of requests that no view has answered yet
        self.wanted = 0  # bytes of the whole request, once its head has arrived
        self.chunks: tuple[Head, Chunks] | None = None  # of a body in chunks
        self.rest_unread = False  # the body is refused unread: the connection ends with the answer
        self.receive_until = 0.0
        self.discarded = 0
        self.linger: Callable[[Connection], None] = lambda conn: None

    def whole(self, most_body: int, wanted: Callable[[bytes, str], bool] = lambda *_: True) -> int:
        """How many of the received bytes are one whole request; 0 while a part is missing.

        A head that the parser will refuse, a body that is too long and one that is not `wanted` count as
        whole: they are answered at once. Raises BadChunks.
        """
        if self.chunks:
            return self._whole_chunks(most_body)
        if not self.wanted:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return len(self.received) if len(self.received) > MOST_HEAD_BYTES else 0
            head = Head(bytes(self.received[: end + 2]))
            self.rest_unread = head.length > most_body or head.strange
            if (head.length or head.chunked) and not self.rest_unread:
                self.rest_unread = not wanted(head.raw, self.client[0] if self.client else "")
            if head.continues and not self.rest_unread:
                with contextlib.suppress(OSError):
                    self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if head.chunked and not self.rest_unread:
                del self.received[: end + 4]
                self.chunks = head, Chunks()
                return self._whole_chunks(most_body)
            self.received[: end + 2] = head.raw
            if self.rest_unread:
                # A view that wants the body all the same must not wait for it.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000))
                return len(self.received)
            self.wanted = len(head.raw) + 2 + head.length
        return self.wanted if len(self.received) >= self.wanted else 0

    def _whole_chunks(self, most_body: int) -> int:
        head, chunks = self.chunks
        if not chunks.read(self.received, most_body):
            return 0
        self.chunks = None
        whole = head.with_length(len(chunks.body)) + chunks.body
        # The refusal of a body that is too long ends the connection: its rest would be the next request.
        self.rest_unread = len(chunks.body) > most_body
        self.received[:0] = whole
        return len(whole)

    def init(self) -> None:
        super().init()
        if self.wanted:
            size, self.wanted = self.wanted, 0
            self.parser.unreader.unread(bytes(self.received[:size]))
            del self.received[:size]

    def close(self, graceful: bool = False) -> None:
        # gthread would wait for the client's close on the event loop, and everybody else with it.
        if graceful:
            self.linger(self)
        else:
            super().close()


def _address(conn: Connection) -> str:
    return conn.client[0] if conn.client else ""


class Worker(ThreadWorker):
    """A ThreadWorker whose threads get whole requests."""

    # gunicorn.conf.py sets both from the settings. A client has `receive_seconds` for a request, from its
    # first byte (or from connecting) to its last.
    most_body = 0
    most_unread = 50_000_000  # bytes of all requests that no view has answered yet
    receive_seconds = 20

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        # In the order of their deadlines: every client gets the same time.
        self.receiving: dict[Connection, None] = {}
        self.lingering: dict[Connection, float] = {}
        self.sending: dict[Connection, tuple[float, object]] = {}  # deadline, the request's future
        self.unread = 0

    @staticmethod
    def body_wanted(head: bytes, address: str) -> bool:
        from topic_sum.api.early import body_wanted  # Django is set up in the process that answers only

        return body_wanted(head, address)

    def accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(0.05)  # no descriptor is left: new connections stay in the backlog
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        client = ClientSocket(fileno=client.detach())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", READ_SECONDS, 0))
        conn = Connection(self.cfg, client, address, listener.getsockname())
        conn.linger = self._linger
        self._collect(conn)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """The next request on a connection that was kept begins."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._collect(conn)

    def finish_request(self, conn: Connection, fs: object) -> None:
        if conn.sock.unsent:
            # The next request on this connection waits until this answer is sent.
            self._send_later(conn, fs)
            return
        self._hold(conn, len(conn.received) - conn.held)
        super().finish_request(conn, fs)
        # A client may send its next request before it has this answer: then those bytes have arrived.
        if conn.received and self.keepalived_conns and self.keepalived_conns[-1] is conn:
            self.on_client_socket_readable(conn, conn.sock)

    def handle(self, conn: Connection) -> bool:
        conn.initialized = False  # so that init() feeds the parser this request
        return super().handle(conn)

    def handle_error(self, req: object, client: object, addr: object, exc: Exception) -> None:
        page = _Written()
        super().handle_error(req, page, addr, exc)
        status, _, reason = page.data.partition(b"\r\n")[0].decode("latin-1").partition(" ")[2].partition(" ")
        with contextlib.suppress(OSError):
            client.sendall(refusal(int(status or 400), reason or "Bad Request"))

    def handle_request(self, req: object, conn: Connection) -> bool:
        if conn.rest_unread:
            # gthread would wait here for the rest of the body, to use the connection again. As many clients
            # as there are threads, each announcing a body and sending none, kept everybody out for 20 s.
            req.force_close()
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for conn in list(self.receiving):
            # A worker that stops waits for requests that have begun, not for silent connections.
            if conn.receive_until > now and (self.alive or conn.received or conn.chunks):
                if self.alive:
                    break
                continue
            if conn.received or conn.chunks:
                self._refuse(conn, 408, "Request Timeout")
            else:
                self._drop(conn)
        for conn in [conn for conn, (until, _) in self.sending.items() if until <= now]:
            self._drop(conn)
        for conn in [conn for conn, until in self.lingering.items() if until <= now]:
            self._end(conn)

    def _collect(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        conn.receive_until = time.monotonic() + self.receive_seconds
        self.receiving[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        self._receive(conn, conn.sock)

    def _receive(self, conn: Connection, client: socket.socket) -> None:
        try:
            chunk = client.recv(_CHUNK)
        except BlockingIOError:
            chunk = None
        except OSError:
            chunk = b""
        if chunk == b"":
            self._drop(conn)
            return
        if chunk:
            conn.received += chunk
            self._hold(conn, len(chunk))
            if self.unread > self.most_unread:
                self._make_room()
            if conn not in self.receiving:
                return
        try:
            size = conn.whole(self.most_body, self.body_wanted) if conn.received else 0
        except BadChunks:
            self._refuse(conn, 400, "Bad Request")
            return
        if size:
            conn.wanted = size
            del self.receiving[conn]
            self.poller.unregister(client)
            conn.data_ready = True
            self.enqueue_req(conn)

    def _hold(self, conn: Connection, more: int) -> None:
        conn.held += more
        self.unread += more

    def _make_room(self) -> None:
        """Give up requests that are not whole, of the address that holds most, until a tenth is free."""
        held: dict[str, int] = {}
        for conn in self.receiving:
            held[_address(conn)] = held.get(_address(conn), 0) + conn.held
        for conn in sorted(self.receiving, key=lambda conn: (-held[_address(conn)], -conn.held)):
            if self.unread <= 0.9 * self.most_unread:
                return
            self._refuse(conn, 503, "Service Unavailable")

    def _refuse(self, conn: Connection, status: int, reason: str) -> None:
        """Answer a request that is not whole, and close its connection."""
        head = conn.chunks[0].raw if conn.chunks else bytes(conn.received[:MOST_HEAD_BYTES])
        with contextlib.suppress(OSError):
            conn.sock.send(refusal(status, reason, head))
        self._drop(conn)

    def _send_later(self, conn: Connection, fs: object) -> None:
        try:
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        except (OSError, ValueError, KeyError):
            self._drop(conn)
            return
        self.sending[conn] = (time.monotonic() + SEND_SECONDS, fs)
        while sum(len(other.sock.unsent) for other in self.sending) > MOST_UNSENT_BYTES:
            self._drop(next(iter(self.sending)))

    def _send(self, conn: Connection, client: ClientSocket) -> None:
        try:
            del client.unsent[: client.send(client.unsent[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        if not client.unsent:
            _, fs = self.sending.pop(conn)
            self.poller.unregister(client)
            self.finish_request(conn, fs)

    def _linger(self, conn: Connection) -> None:
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError, KeyError):
            conn.close()
            return
        self.lingering[conn] = time.monotonic() + LINGER_SECONDS

    def _discard(self, conn: Connection, client: socket.socket) -> None:
        try:
            if chunk := client.recv(_CHUNK):
                conn.discarded += len(chunk)
                if conn.discarded < MOST_LINGER_BYTES:
                    return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end(conn)

    def _end(self, conn: Connection) -> None:
        self.lingering.pop(conn, None)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        conn.close()

    def _drop(self, conn: Connection) -> None:
        self.receiving.pop(conn, None)
        self.sending.pop(conn, None)
        self._hold(conn, -conn.held)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
