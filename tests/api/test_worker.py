"""What waits for a client that does not read: the worker's loop on a pair of sockets, without a server."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from gunicorn.config import Config
from topic_sum import worker
from topic_sum.worker import ClientSocket, Connection, Worker

MORE_THAN_A_SOCKET_HOLDS = 16_000_000
pytestmark = pytest.mark.timeout(60)  # a thread that waits for its client would wait without end


@pytest.fixture
def loop() -> Iterator[Worker]:
    made = Worker(0, os.getppid(), [], None, 30, Config(), None)
    made.poller = selectors.DefaultSelector()
    yield made
    made.poller.close()
    made.tmp.close()


def test_refusals_that_no_view_sees_are_counted_and_a_bug_is_logged_with_the_number_told(caplog):
    from topic_sum.metrics import ERRORS

    def counted(code):
        return ERRORS.labels(code)._value.get()

    codes = {408: "body_not_received", 431: "headers_too_large", 501: "length_required", 500: "server_error"}
    before = {code: counted(code) for code in codes.values()}
    answers = {status: worker.refusal(status, "No") for status in codes}
    assert {code: counted(code) - before[code] for code in before} == dict.fromkeys(before, 1)
    [line] = caplog.records
    assert line.request_id.encode() in answers[500]
    assert line.request_id.encode() not in answers[501]


@contextlib.contextmanager
def client_of(loop: Worker) -> Iterator[tuple[Connection, socket.socket]]:
    """A connection of the worker and the client's end of it."""
    ours, theirs = socket.socketpair()
    loop.nr_conns += 1
    conn = Connection(loop.cfg, ClientSocket(fileno=ours.detach()), ("127.0.0.1", 1), ("127.0.0.1", 2))
    conn.sock.setblocking(True)  # as gthread leaves it for the thread that answers
    with theirs:
        yield conn, theirs
    conn.sock.close()


def answered() -> Future:
    """How a request ends whose connection is not kept."""
    done: Future = Future()
    done.set_result(False)
    return done


def test_what_a_client_does_not_take_is_sent_by_the_loop_in_order(loop: Worker) -> None:
    answer = os.urandom(MORE_THAN_A_SOCKET_HOLDS)
    with client_of(loop) as (conn, theirs):
        conn.sock.sendall(answer[:9_000_000])  # returns though nobody reads
        assert conn.sock.unsent
        conn.sock.sendall(answer[9_000_000:])
        loop.finish_request(conn, answered())
        assert loop.nr_conns == 1, "it was closed before its answer was sent"
        theirs.setblocking(False)
        received = bytearray()
        while loop.sending:
            with contextlib.suppress(BlockingIOError):
                while chunk := theirs.recv(1_000_000):
                    received += chunk
            loop.wait_for_and_dispatch_events(1)
        with contextlib.suppress(BlockingIOError):
            while chunk := theirs.recv(1_000_000):
                received += chunk
    assert received == answer
    assert loop.nr_conns == 0


def test_who_waits_longest_is_given_up_when_too_much_is_unsent(loop: Worker, monkeypatch) -> None:
    """Else clients that read nothing fill the memory."""
    with client_of(loop) as (first, _), client_of(loop) as (second, _), client_of(loop) as (third, _):
        for conn in (first, second, third):
            conn.sock.sendall(bytes(MORE_THAN_A_SOCKET_HOLDS))
        monkeypatch.setattr(worker, "MOST_UNSENT_BYTES", len(second.sock.unsent) + len(third.sock.unsent))
        for conn in (first, second, third):
            loop.finish_request(conn, answered())
        assert list(loop.sending) == [second, third]
        assert loop.nr_conns == 2


def test_who_does_not_read_in_time_is_given_up(loop: Worker, monkeypatch) -> None:
    with client_of(loop) as (patient, _), client_of(loop) as (late, _):
        for conn, seconds in ((late, 0), (patient, 60)):
            monkeypatch.setattr(worker, "SEND_SECONDS", seconds)
            conn.sock.sendall(bytes(MORE_THAN_A_SOCKET_HOLDS))
            loop.finish_request(conn, answered())
        loop.murder_pending()
        assert list(loop.sending) == [patient]
        assert loop.nr_conns == 1
