"""The stand-in site's HTTP server: requests in, the Responses of a Site out."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from outlet.routes import Site


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive. Headers and body leave in one write, so that no answer waits for an ACK."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "stand-in", ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120
    site: Site

    def do_GET(self) -> None:
        host, agent, cookie = (self.headers.get(name, "") for name in ("Host", "User-Agent", "Cookie"))
        answer = self.site.respond(self.path, host, agent, cookie)
        self.send_response(answer.status)
        if answer.content_type and (answer.body or answer.stream):
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers:
            self.send_header(name, value)
        chunked = answer.stream is not None and answer.length is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.stream is not None:
            for block in answer.stream():
                self.wfile.write(b"%X\r\n%b\r\n" % (len(block), block) if chunked else block)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        elif answer.cut:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: /_stand-in/stats.json counts the requests."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    # On Windows the option would let a second program take a port that is in use.
    allow_reuse_address = os.name != "nt"

    def server_bind(self) -> None:
        """Like the base class, but without a DNS query for the name of 127.0.0.1."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up; any other exception is a bug and keeps its traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
