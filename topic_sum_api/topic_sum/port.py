"""Checks that the port is free before a server takes seconds to find out."""

from __future__ import annotations

import os
import socket


class PortTaken(Exception):
    """Another program listens on the port, or this one is not allowed to."""


def check_port(host: str, port: int) -> None:
    """Raises PortTaken with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name != "nt":  # on Windows this option would let two programs share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it, or set PORT"
            ) from None
