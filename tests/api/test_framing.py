"""Bodies in chunks, and bodies that do not come: what is read of them, and how much is held."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from topic_sum.framing import MOST_CHUNKS, BadChunks, Chunks, Head


def head(lines, version="1.1"):
    return Head("\r\n".join([f"POST /api/v1/topic HTTP/{version}", "Host: a", *lines, ""]).encode())


def chunked(body, size=7, end=b"0\r\n\r\n"):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"000;a=b\r\nX: y\r\nZ: t\r\n\r\n"])
def test_chunks_are_the_body_however_they_arrive(step, end):
    body, chunks, received = bytes(range(256)) * 3, Chunks(), bytearray()
    raw = chunked(body, 11, end) + b"GET /next"
    done = False
    for at in range(0, len(raw), step):
        received += raw[at : at + step]
        if not done:
            done = chunks.read(received, 10_000)
    assert done and bytes(chunks.body) == body and bytes(received) == b"GET /next"


@pytest.mark.parametrize("raw", [
    b"5\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"5\r\nhellooo\r\n", b"0x5\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"\r\nhello\r\n", b"5 5\r\nhello\r\n", b"g\r\n", b"5;" + b"a" * 2000, b"0\r\n" + b"X: y\r\n" * 3000,
    b"123456789\r\n", b"1\r\na\r\n" * (MOST_CHUNKS + 1), b"5\r\nhello\r0\r\n\r\n", b"+5\r\nhello\r\n",
])  # fmt: skip
def test_what_is_no_chunk_is_refused(raw):
    with pytest.raises(BadChunks):
        Chunks().read(bytearray(raw), 10_000_000)


@pytest.mark.parametrize("raw", [b"7fffffff\r\n", b"5\r\nhello\r\n" * 30, b"65\r\n"])
def test_a_body_in_chunks_is_no_longer_than_one_with_a_length(raw):
    chunks = Chunks()
    assert chunks.read(bytearray(raw), 100)
    assert 100 < len(chunks.body) <= 110


@pytest.mark.parametrize(("lines", "version", "is_chunked", "strange"), [
    (["Transfer-Encoding: chunked"], "1.1", True, False),
    (["transfer-encoding:CHUNKED "], "1.1", True, False),
    (["Transfer-Encoding: chunked"], "1.0", False, True),
    (["Transfer-Encoding: chunked", "Content-Length: 5"], "1.1", False, True),
    (["Content-Length: 5", "Transfer-Encoding: chunked"], "1.1", False, True),
    (["Content-Length : 5", "Transfer-Encoding: chunked"], "1.1", False, True),
    (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "1.1", False, True),
    (["Transfer-Encoding: chunked", "Transfer-Encoding : x"], "1.1", False, True),
    (["Transfer-Encoding: gzip, chunked"], "1.1", False, True),
    (["Transfer-Encoding: \x0bchunked"], "1.1", False, True),
    (["Transfer-Encoding: xchunked"], "1.1", False, True),
    (["Content-Length: 5"], "1.1", False, False),
])  # fmt: skip
def test_only_one_plain_coding_is_taken(lines, version, is_chunked, strange):
    found = head(lines, version)
    assert (found.chunked, found.strange) == (is_chunked, strange)
    if is_chunked:
        assert b"ncoding" not in found.with_length(5) and b"Content-Length: 5\r\n\r\n" in found.with_length(5)


def test_100_continue_is_for_clients_of_http_1_1():
    assert head(["Content-Length: 5", "Expect: 100-continue"]).continues
    assert not head(["Content-Length: 5", "Expect: 100-continue"], "1.0").continues


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def asked(lines, path="/api/v1/topic", method="POST"):
    start = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*start, "", ""]).encode()


def answers(connection):
    connection.settimeout(20)
    raw = b""
    while chunk := connection.recv(65536):
        raw += chunk
    return raw


def test_a_body_in_chunks_is_answered_as_one_with_a_length(api, text):
    body = json.dumps({"text": text("sport"), "top_k": 1}, ensure_ascii=False).encode()
    expected = api.post("/api/v1/topic", body, Content_Type="application/json").json
    with connect(api) as connection:
        for size in (3, 64, 100_000):
            connection.sendall(asked(["Transfer-Encoding: chunked"]) + chunked(body, size))
        connection.sendall(asked(["Transfer-Encoding: chunked", "Connection: close"]))
        for at in range(0, len(raw := chunked(body, 50)), 100):
            connection.sendall(raw[at : at + 100])
        got = answers(connection)
    bodies = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in got.split(b"HTTP/1.1 ")[1:]]
    assert len(bodies) == 4
    assert all(one["scores"] == expected["scores"] for one in bodies)


@pytest.mark.parametrize(("raw", "status"), [
    (b"zz\r\n", b"400"), (b"3000000\r\n", b"413"), (b"ffff\r\n" + b" " * 65535 + b"\r\n", b"408"),
])  # fmt: skip
def test_a_wrong_body_in_chunks_is_refused_in_the_one_shape(api, raw, status):
    with connect(api) as connection:
        connection.sendall(asked(["Transfer-Encoding: chunked"]) + raw)
        got = answers(connection)
    assert got.split()[1] == status and b"onnection: close" in got
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"]


@pytest.mark.parametrize(("path", "lines", "status", "code"), [
    ("/api/v1/nothing", [], b"404", "not_found"),
    ("/nothing", ["Transfer-Encoding: chunked"], b"404", "not_found"),
    ("/api/v1/model", [], b"405", "method_not_allowed"), ("/", [], b"405", "method_not_allowed"),
])  # fmt: skip
def test_a_body_that_nobody_reads_is_not_waited_for(api, path, lines, status, code):
    began = time.monotonic()
    with connect(api) as connection:
        connection.sendall(asked(lines or ["Content-Length: 2000000"], path) + b"5\r\nhe")
        got = answers(connection)
    assert got.split()[1] == status and code.encode() in got
    assert time.monotonic() - began < 5


@pytest.fixture(scope="module")
def guarded(model_hub, published, tmp_path_factory, free_port, start):
    server = start(
        tmp_path_factory.mktemp("held"), free_port(), model_hub.url,
        API_KEYS="a-key-of-the-tests-long-enough", RATE_LIMIT="20/hour",
    )  # fmt: skip
    yield server
    server.stop()


@pytest.mark.parametrize("key", [[], ["Authorization: Bearer wrong"], ["Authorization: Basic YTpi"]])
def test_without_a_right_key_no_body_is_read(guarded, key):
    with connect(guarded) as connection:
        connection.sendall(asked(["Content-Length: 2000000", "Expect: 100-continue", *key]))
        got = answers(connection)
    assert got.split()[1] == b"401"


def test_over_the_limit_no_body_is_read(guarded):
    key = "Authorization: Bearer a-key-of-the-tests-long-enough"
    named = {"Authorization": key.partition(": ")[2]}
    while guarded.get("/api/v1/model", **named).status == 200:
        pass
    with connect(guarded) as connection:
        connection.sendall(asked(["Content-Length: 2000000", key]))
        got = answers(connection)
    assert got.split()[1] == b"429" and b"retry-after" in got.lower()


def resident(server):
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in children)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read in /proc")
def test_bodies_that_stop_before_their_last_byte_hold_little_memory(serve, text):
    """Half of them in chunks. Beyond the bound they get a 503 and others are answered."""
    server = serve(MAX_UNREAD_BYTES="20000000", MAX_BODY_BYTES="2400000")
    server.post("/api/v1/analyze", {"text": text("sport")})
    before, holders = resident(server), []
    part = b" " * 2_000_000

    def hold(number):
        connection = connect(server)
        holders.append(connection)
        in_chunks = [asked(["Transfer-Encoding: chunked"]), b"1f0000\r\n"]
        try:
            for piece in in_chunks if number % 2 else [asked(["Content-Length: 2390000"])]:
                connection.sendall(piece)
            connection.sendall(part)
        except OSError:
            pass

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert server.get("/health/ready").status == 200
        slowest = max(slowest, time.monotonic() - began)
    grown = resident(server) - before
    assert server.post("/api/v1/topic", {"text": text("sport", seed=3)}).status == 200
    for connection in holders:
        connection.close()
    print(f"grown by {grown / 1e6:.0f} MB, the slowest probe {slowest:.2f} s")
    assert grown < 70_000_000
    assert slowest < 3
    assert 'code="busy"' in server.get("/api/v1/metrics").raw.decode()
