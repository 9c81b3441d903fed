"""The HTTP client of an endpoint: a request has a time and an answer has a size, as a whole.

The time-outs of HTTP libraries count from one byte to the next: a server that sends one a second is
waited for for ever, and an answer without an end is kept in memory. Here both are bounded where the
bytes come in, whatever they are: TLS, headers, comments that keep a connection alive, bodies.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import openai

from imig.endpoint.errors import AnswerTooLarge, DeadlinePassed, Redirected, Unanswered
from imig.endpoint.key import hide_key, hide_key_in_body, hide_key_in_logs

MAX_BODY: Final = 8 << 20
"""Bytes of an answer, decoded. The longest that is asked for has 32,768 tokens: below 0.5 MB of
text, below 4 MB where every character is written as an escape of six."""
MAX_HEAD: Final = 256 << 10
"""Bytes of all that comes before a body; servers of the web take 8 to 64 KiB for headers."""
MAX_RECEIVED: Final = MAX_BODY + (2 << 20)
"""Bytes of an answer on the wire: with headers, and the lengths of chunks."""
MAX_HOPS: Final = 3
"""Redirections of one request."""
_WRITTEN: Final = 1 << 16
"""Bytes that are sent before the clock is looked at."""
_NOT_KEPT: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that do not hold for a body that has been read and decoded."""


class BoundedClient(openai.DefaultHttpxClient):
    """The client library's HTTP client, proxies of the environment included, with bounds.

    A body is read before it is given back, and has no key in it any more.

    Parameters
    ----------
    key:
        What is hidden wherever the server repeats it.
    seconds:
        From the beginning of a request to the end of its answer, redirections included; a request
        that is sent with a time-out of its own has that.
    """

    def __init__(self, *, key: str | None, seconds: float) -> None:
        # No compression is asked for: answers are small, and it has been used to blow up readers.
        super().__init__(timeout=seconds, headers={"Accept-Encoding": "identity"})
        self._key = key
        self._seconds = seconds
        hide_key_in_logs(key)
        for transport in (self._transport, *self._mounts.values()):
            pool: Any = getattr(transport, "_pool", None)  # None: no proxy for these addresses
            if pool is not None:
                # The libraries have no other place for it; they fail here when that moves.
                pool._network_backend = _Backend(pool._network_backend)

    def send(self, request: Any, **options: Any) -> Any:
        """As `httpx.Client.send`; raises Unanswered as well."""
        options |= {"stream": True, "follow_redirects": False}
        timeouts: Mapping[str, Any] = request.extensions.get("timeout") or {}
        seconds = timeouts.get("read") or self._seconds
        started = time.monotonic()
        with _allowed(started + seconds) as allowance:
            for _ in range(MAX_HOPS + 1):
                allowance.begin(MAX_HEAD)
                response = super().send(request, **options)
                allowance.begin(MAX_RECEIVED)
                try:
                    if response.next_request is None:
                        body = _read(response)
                        break
                    _require_same_server(request.url, response.next_request.url)
                    request = response.next_request
                finally:
                    response.close()
            else:
                raise Unanswered(f"it redirects a request more than {MAX_HOPS} times")
        answer = type(response)(
            response.status_code,
            headers=[
                (name, hide_key(value, self._key))
                for name, value in response.headers.multi_items()
                if name.lower() not in _NOT_KEPT
            ],
            content=hide_key_in_body(_one_choice(body), self._key),
            request=response.request,
        )
        answer.elapsed = timedelta(seconds=time.monotonic() - started)
        return answer


def _require_same_server(there: Any, to: Any) -> None:
    """Raise Redirected unless it is the same server, or its own https."""
    upgraded = (there.scheme, to.scheme) == ("http", "https") and to.port in (None, 443)
    if there.host == to.host and (
        (there.scheme, there.port) == (to.scheme, to.port) or (upgraded and there.port is None)
    ):
        return
    port = "" if to.port is None else f":{to.port}"
    raise Redirected(f"it redirects to another server, {to.scheme}://{to.host}{port}")


def _read(response: Any) -> bytes:
    """The whole body, decoded. Raises AnswerTooLarge, and Unanswered for unknown encodings."""
    named = response.headers.get("content-encoding", "").lower()
    encodings = [one.strip() for one in named.split(",") if one.strip() not in ("", "identity")]
    if len(encodings) > 1 or any(one not in ("gzip", "x-gzip", "deflate") for one in encodings):
        raise Unanswered(f"its answer is compressed ({named[:80]}), which was not asked for")
    inflate = zlib.decompressobj(wbits=47) if encodings else None  # 47: gzip or zlib, as it begins
    body = bytearray()
    for chunk in response.iter_raw():
        try:
            body += chunk if inflate is None else inflate.decompress(chunk, MAX_BODY + 1)
        except zlib.error as error:
            raise Unanswered(f"its answer is not {named}: {error}") from None
        if len(body) > MAX_BODY:
            raise AnswerTooLarge(f"its answer has more than {MAX_BODY >> 20} MiB")
    return bytes(body)


def _one_choice(body: bytes) -> bytes:
    """A completion with the choice that is read: one was asked for, and each costs memory."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or len(choices) < 2:
        return body
    return json.dumps({**value, "choices": choices[:1]}).encode()


@dataclass
class _Allowance:
    """Of the request that a thread has under way."""

    deadline: float
    """Of `time.monotonic`."""
    most: int = MAX_HEAD
    """Bytes."""
    received: int = 0

    def begin(self, most: int) -> None:
        """Count anew."""
        self.most, self.received = most, 0

    def seconds(self, timeout: float | None) -> float:
        """What is left. Raises DeadlinePassed when it is nothing."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed("its answer did not come to an end")
        return left if timeout is None else min(left, timeout)

    def receive(self, data: bytes) -> bytes:
        self.received += len(data)
        if self.received > self.most:
            raise AnswerTooLarge(f"its answer has more than {self.most >> 10} KiB on the wire")
        return data


class _Current(threading.local):
    allowance: _Allowance | None = None


_CURRENT: Final = _Current()


@contextmanager
def _allowed(deadline: float) -> Iterator[_Allowance]:
    """The thread's reads and writes stop at that time."""
    _CURRENT.allowance = allowance = _Allowance(deadline)
    try:
        yield allowance
    finally:
        _CURRENT.allowance = None


def _allowance() -> _Allowance:
    assert _CURRENT.allowance is not None, "bytes flow within `BoundedClient.send` alone"
    return _CURRENT.allowance


class _Backend:
    """A network backend of the HTTP library whose streams keep to the thread's allowance."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **options: Any
    ) -> _Stream:
        seconds = _allowance().seconds(timeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout=seconds, **options))


class _Stream:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        allowance = _allowance()
        data: bytes = self._inner.read(max_bytes, timeout=allowance.seconds(timeout))
        return allowance.receive(data)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN):
            part = buffer[start : start + _WRITTEN]
            self._inner.write(part, timeout=_allowance().seconds(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        seconds = _allowance().seconds(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, seconds))
