"""Ports for servers of tests."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One on which nothing listens right now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
