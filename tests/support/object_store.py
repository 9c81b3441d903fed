"""A real S3-compatible server on this machine, and a proxy before it that breaks things."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any, Final, Literal
from unittest import mock

BUCKET: Final = "bucket"
Forwarded = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and content of an answer."""

Fault = Literal["500", "503", "501", "cut-before", "cut-after", "cut-body", "corrupt", "slow"]
"""An answer; a connection that ends before the request is passed on, after it, or in the middle of
the answer; a changed byte in the answer; a wait."""
PASSING: Final[tuple[Fault, ...]] = ("503", "cut-before", "500", "cut-after", "slow", "cut-body")
"""What a store does on a bad day."""
_SLOW_SECONDS: Final = 0.3


@dataclass(frozen=True)
class Request:
    """What a client asks of the store."""

    method: str
    path: str
    """With the query."""
    headers: dict[str, str]


@dataclass
class StoreServer:
    """A store that answers at `endpoint`; tests change `fault`."""

    endpoint: str
    fault: Callable[[Request], Fault | None] = lambda _: None
    drop_headers: frozenset[str] = frozenset()
    """Of requests, in small letters: a store that does not know them."""
    done: list[tuple[Request, Fault | None]] = field(default_factory=list)

    def faults(self) -> list[Fault]:
        """Those that were injected, in order."""
        return [fault for _, fault in self.done if fault is not None]

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def every(number: int) -> Callable[[Request], Fault | None]:
    """Every so many requests something goes wrong, each kind in its turn."""
    kinds, lock, seen = cycle(PASSING), threading.Lock(), 0

    def fault(_: Request) -> Fault | None:
        nonlocal seen
        with lock:
            seen += 1
            return next(kinds) if seen % number == 0 else None

    return fault


@contextmanager
def object_store() -> Iterator[StoreServer]:
    """A store with an empty bucket; this process and its children reach it by their environment."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = moto.get_host_and_port()
    forward(address, "POST", "/moto-api/reset", b"", {})  # what it keeps, it keeps in the process
    try:
        with proxy_before(address) as server, mock.patch.dict(os.environ, server.environment()):
            s3fs.S3FileSystem.clear_instance_cache()
            filesystem().mkdir(BUCKET)
            yield server
    finally:
        moto.stop()


def filesystem() -> Any:
    """The store's, without anything of imig's."""
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


@contextmanager
def proxy_before(
    target: tuple[str, int], *, pass_on: Callable[..., Forwarded] | None = None
) -> Iterator[StoreServer]:
    """The proxy that breaks things before a server; `pass_on` in the place of `forward`."""
    server = StoreServer(endpoint="")
    handler = _handler(server, target, pass_on=pass_on or forward)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    server.endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    try:
        yield server
    finally:
        proxy.shutdown()
        proxy.server_close()


def _handler(
    server: StoreServer, target: tuple[str, int], *, pass_on: Callable[..., Forwarded]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = _read_body(self)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {*server.drop_headers, "expect", "transfer-encoding"}
            }
            request = Request(self.command, self.path, dict(self.headers.items()))
            fault = server.fault(request)
            server.done.append((request, fault))
            if fault == "slow":
                time.sleep(_SLOW_SECONDS)
            if fault in ("500", "501", "503"):
                self._answer(int(fault), _ERRORS[fault].encode(), [])
                return
            if fault == "cut-before":
                self._cut()
                return
            status, names, data = pass_on(target, self.command, self.path, body, headers)
            if fault == "cut-after":
                self._cut()
                return
            if fault == "corrupt" and data:
                middle = len(data) // 2
                data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
                names = [one for one in names if not one[0].lower().startswith("x-amz-checksum")]
            self._answer(status, data, names, half=fault == "cut-body")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def _answer(
            self, status: int, data: bytes, names: list[tuple[str, str]], *, half: bool = False
        ) -> None:
            self.send_response_only(status)
            length = str(len(data))
            for name, value in names:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if half else data)
            if half:
                self._cut()

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


_ERRORS: Final = {
    "500": "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message>"
    "</Error>",
    "501": "<Error><Code>NotImplemented</Code><Message>A header you provided implies "
    "functionality that is not implemented.</Message></Error>",
    "503": "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>"
    "</Error>",
}


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    pieces = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        pieces.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(pieces)


def forward(
    target: tuple[str, int], method: str, path: str, body: bytes, headers: dict[str, str]
) -> Forwarded:
    """What the server itself answers."""
    connection = http.client.HTTPConnection(*target, timeout=60)
    try:
        connection.request(method, path, body=body, headers={**headers, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()
