"""Which bytes of a connection are one request: its head, and a body with a length or in chunks."""

from __future__ import annotations

import re

# A longer head is handed over as it is: the parser refuses it.
MOST_HEAD_BYTES = 64 * 1024
# Bounds of a body in chunks, beside its size: what names the chunks, and how many there are.
_MOST_LINE_BYTES = 1024
_MOST_TRAILER_BYTES = 8 * 1024
MOST_CHUNKS = 50_000
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n)", re.IGNORECASE)
_ANY_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*(?=\r\n)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")


class BadChunks(Exception):
    """The body is not made of chunks as the standard has them."""


class Head:
    """The head of a request without its Expect, and how its body comes."""

    def __init__(self, raw: bytes):
        """`raw` ends before the empty line, with the end of the last line."""
        new = raw.split(b"\r\n", 1)[0].endswith(b" HTTP/1.1")
        expects = _EXPECT.search(raw)
        if expects:
            # The client waits for permission to send its body. It is given here and not by the parser.
            raw = raw[: expects.start()] + raw[expects.end() :]
        self.continues = bool(expects) and new  # HTTP/1.0 knows no 100 Continue
        coded = len(_CODING.findall(raw))
        chunked = _CHUNKED.search(raw)
        # Two codings, or a coding beside a length, could hide a request in a body: the parser refuses them.
        self.chunked = new and coded == 1 and bool(chunked) and not _ANY_LENGTH.search(raw)
        self.strange = coded > 0 and not self.chunked
        if self.chunked:
            raw = raw[: chunked.start()] + raw[chunked.end() :]
        length = _LENGTH.search(raw)
        # Leading zeros are allowed and mean nothing; a number of more than 18 digits is too large anyway.
        self.length = int(length.group(1).lstrip(b"0")[:18] or 0) if length else 0
        self.raw = raw

    def with_length(self, length: int) -> bytes:
        """The head of a body in chunks as that of a body with this length, with the empty line."""
        return self.raw + b"Content-Length: %d\r\n\r\n" % length


class Chunks:
    """Reads a body in chunks as it arrives."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._left = -1  # bytes of this chunk that are missing; -1: its size is not known yet
        self._count = 0
        self._ending = False  # the last chunk came, trailers may follow

    def read(self, received: bytearray, most: int) -> bool:
        """Take what is whole off `received`; True once that was all, or more than `most` bytes.

        Raises BadChunks.
        """
        at = 0
        try:
            while len(self.body) <= most:
                if self._left >= 0:
                    taken = received[at : at + self._left]
                    self.body += taken
                    at += len(taken)
                    self._left -= len(taken)
                    if self._left or len(received) < at + 2:
                        return False
                    if received[at : at + 2] != b"\r\n":
                        raise BadChunks("a chunk is longer than it says")
                    at += 2
                    self._left = -1
                end = received.find(b"\r\n", at, at + _MOST_LINE_BYTES)
                if end < 0:
                    if len(received) - at >= _MOST_LINE_BYTES:
                        raise BadChunks("a line is too long")
                    return False
                line = bytes(received[at:end])
                at = end + 2
                if self._ending:
                    self._count += len(line)
                    if not line:
                        return True
                    if self._count > _MOST_TRAILER_BYTES:
                        raise BadChunks("the trailers are too long")
                    continue
                size = _SIZE.fullmatch(line)
                self._count += 1
                if not size or self._count > MOST_CHUNKS:
                    raise BadChunks("a chunk has no size, or there are too many")
                self._left = int(size[1], 16)
                if not self._left:
                    self._left, self._count, self._ending = -1, 0, True
                elif len(self.body) + self._left > most:
                    self.body += bytes(most + 1 - len(self.body))  # too long, whatever still comes
        finally:
            del received[:at]
        return True
