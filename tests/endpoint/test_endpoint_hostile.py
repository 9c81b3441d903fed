"""Servers that hold a request for ever, answer without an end, or repeat the key: real sockets."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import resource
import socket
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from support.chat_server import Fault, Said, chat_server, completion, first_then
from support.endpoints import KEY, ask, endpoint, raised

from imig.endpoint import client as endpoint_client
from imig.endpoint.client import MAX_BODY, BoundedClient
from imig.endpoint.endpoint import Endpoint
from imig.endpoint.errors import AnswerTooLarge
from imig.endpoint.key import HIDDEN, hide_key, hide_key_in_body
from imig.errors import DataError, ImigError, UsageError

GOOD = json.dumps(completion('{"a": 1}', {"model": "some-model", "messages": []})).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MORE_MEMORY = 1 << 29
"""Bytes that this process may take above what it has had, at most."""

Answer = Callable[[socket.socket, threading.Event], None]
"""What is done with a connection whose request has been read; the event: the test is over."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def raw_server(answer: Answer) -> Iterator[str]:
    """The base URL of a server that answers every connection in a thread of its own."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        # The client hangs up on most of these.
        with connection, suppress(OSError):
            connection.settimeout(30)
            answer(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)


def says(data: bytes) -> Answer:
    """These bytes, and the connection is closed."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(data)

    return answer


def drips(before: bytes, drop: bytes) -> Answer:
    """A little again and again, faster than any time-out between two bytes."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(before)
        while not over.wait(0.02):
            connection.sendall(drop)

    return answer


def floods(before: bytes, wave: bytes) -> Answer:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(before)
        while not over.is_set():
            connection.sendall(wave)

    return answer


def never_answers(_: socket.socket, over: threading.Event) -> None:
    over.wait(30)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Answer] = {
    "never-reads": never_answers,
    "status-line": drips(b"", b"H"),
    "headers": drips(HEAD, b"X-A: b\r\n"),
    "half-header": drips(HEAD + b"X-A: ", b"b"),
    "body": drips(HEAD + b"Content-Length: 900000\r\n\r\n", b" "),
    "body-without-length": drips(HEAD + b"\r\n", b" "),
    "chunks": drips(CHUNKED, b"1\r\n \r\n"),
    "length-of-a-chunk": drips(CHUNKED + b"1", b"0"),
    "keep-alive-comments": drips(CHUNKED, b"10\r\n: keep-alive\r\n\r\n\r\n"),
    "trailers": drips(CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "continue": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "error-page": drips(b"HTTP/1.1 500 No\r\nContent-Length: 900000\r\n\r\n", b" "),
    "redirect": drips(b"HTTP/1.1 307 No\r\nLocation: /v1/x\r\nContent-Length: 9\r\n", b"X: b\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_request_has_a_time_as_a_whole(name: str) -> None:
    with raw_server(SLOW[name]) as url:
        error = raised(endpoint(url, timeout_seconds=0.1, max_retries=0), DataError)
        if name == "length-of-a-chunk":  # refused before its time is over
            assert "chunk" in error.message or "no answer within" in error.message
        else:
            assert "no answer within 0.1 s" in error.message
        assert "agree.endpoint.max_retries" in error.cure


def test_an_answer_that_comes_to_its_end_too_late_is_none() -> None:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        data = whole(GOOD)
        for start in range(0, len(data), 4):
            connection.sendall(data[start : start + 4])
            over.wait(0.02)

    with raw_server(answer) as url:
        error = raised(endpoint(url, timeout_seconds=0.3, max_retries=0), DataError)
        assert "no answer within 0.3 s" in error.message


def test_tls_that_hangs_ends_in_time() -> None:
    with raw_server(never_answers) as url:
        url = url.replace("http:", "https:")
        error = raised(endpoint(url, timeout_seconds=0.1, max_retries=0), DataError)
        assert "no answer within 0.1 s" in error.message


def gzipped(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data)
    return data


def whole(body: bytes, *headers: bytes) -> bytes:
    lines = [b"Content-Length: %d" % len(body), *headers]
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


BOMB = b"[" + b" " * (12 << 20) + b"]"
WAVE = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
LARGE: dict[str, tuple[Answer, str]] = {
    "body": (floods(HEAD + b"\r\n", b" " * 65536), "more than 8 MiB"),
    "chunks": (floods(CHUNKED, WAVE), "more than 8 MiB"),
    "announced": (floods(HEAD + b"Content-Length: 99999999999\r\n\r\n", b" " * 65536), "8 MiB"),
    "headers": (floods(HEAD, b"X-A: " + b"b" * 60000 + b"\r\n"), "Receive buffer too long"),
    "one-header": (floods(HEAD + b"X-A: ", b"b" * 65536), "Receive buffer too long"),
    "continue": (floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000), "more than 256 KiB"),
    "continue-and-good": (
        says(b"HTTP/1.1 100 Continue\r\n\r\n" * 12_000 + whole(GOOD)), "more than 256 KiB",
    ),
    "trailers": (floods(CHUNKED + b"0\r\n", b"X: " + b"b" * 60000 + b"\r\n"), "too long"),
    "error-page": (floods(b"HTTP/1.1 500 No\r\n\r\n<html>", b" " * 65536), "more than 8 MiB"),
    "gzip": (says(whole(gzipped(BOMB), b"Content-Encoding: gzip")), "more than 8 MiB"),
    "deflate": (says(whole(zlib.compress(BOMB), b"Content-Encoding: deflate")), "more than 8 MiB"),
    "gzip-twice": (
        says(whole(gzipped(BOMB, 2), b"Content-Encoding: gzip, gzip")), "which was not asked for",
    ),
    "brotli": (says(whole(b"\x1b", b"Content-Encoding: br")), "compressed (br), which was not"),
    "zstd": (says(whole(b"(\xb5/\xfd", b"Content-Encoding: zstd")), "compressed (zstd)"),
    "no-gzip": (says(whole(b"{}", b"Content-Encoding: gzip")), "its answer is not gzip"),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_an_answer_has_a_size(name: str) -> None:
    answer, reason = LARGE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw_server(answer) as url:
        error = raised(endpoint(url, timeout_seconds=20.0, max_retries=0), DataError)
    assert reason in error.message
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < MORE_MEMORY


def test_what_is_packed_is_not_unpacked_beyond_the_bound() -> None:
    """However much of it comes at once."""

    class Response:
        headers: ClassVar = {"content-encoding": "gzip"}

        def iter_raw(self) -> Iterator[bytes]:
            yield bomb

    bomb = gzip.compress(bytes(8 * MAX_BODY), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLarge):
            endpoint_client._read(Response())
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BODY
    finally:
        tracemalloc.stop()


def plain(status: bytes, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def chosen(choices: Any) -> bytes:
    return whole(json.dumps({"choices": choices}).encode())


def contents(content: Any) -> bytes:
    return chosen([{"index": 0, "finish_reason": "stop", "message": {"content": content}}])


ODD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Server disconnected"),
    "no-http": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "illegal"),
    "zeros": (bytes(300), "illegal"),
    "page": (whole(b"<html><title>Hi</title>").replace(b"application/json", b"text/html"), "'Hi'"),
    "no-json": (whole(b"{"), "no sense in the answer"),
    "empty": (whole(b""), "no sense in the answer"),
    "no-utf-8": (whole(b'{"choices": "\xff\xfe"}'), "no sense in the answer"),
    "deep": (whole(b"[" * 100_000), "no sense in the answer"),
    "deep-objects": (whole(b'{"choices": ' * 50_000), "no sense in the answer"),
    "list": (whole(b"[1]"), "no sense in the answer"),
    "number": (whole(b"1"), "no sense in the answer"),
    "null": (whole(b"null"), "no sense in the answer"),
    "long-number": (whole(b'{"choices": ' + b"9" * 10_000 + b"}"), "no sense in the answer"),
    "no-choices": (chosen([]), "no choices"),
    "choices-null": (chosen(None), "no choices"),
    "choices-object": (chosen({"a": 1}), "no choices"),
    "choices-text": (chosen("x"), "no choices"),
    "choices-of-null": (chosen([None]), "no choices"),
    "choices-nested": (chosen([[[[]]]]), "no choices"),
    "message-null": (chosen([{"message": None}]), "no choices"),
    "message-text": (chosen([{"message": "x"}]), ""),
    "content-null": (contents(None), ""),
    "content-number": (contents(3), ""),
    "content-nested": (contents([[[["a"]]], {"text": [{"text": ["b"]}]}]), ""),
    "many-choices": (chosen([{"message": {"content": "a"}}] * 100_000), ""),
    "usage-odd": (whole(b'{"choices": [{"message": {"content": "a"}}], "usage": "many"}'), ""),
    "tokens-odd": (
        whole(b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": "x"}}'), "",
    ),
    "too-short": (HEAD + b"Content-Length: 900\r\n\r\n" + GOOD[:40], "peer closed connection"),
    "cut-chunk": (CHUNKED + b"ffff\r\n" + GOOD[:40], "incomplete"),
    "no-chunk": (CHUNKED + b"zz\r\n", "illegal chunk header"),
    "length-odd": (HEAD + b"Content-Length: -1\r\n\r\n" + GOOD, "bad Content-Length"),
    "length-twice": (
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + GOOD, "conflicting",
    ),
    "header-odd": (HEAD + b"A\x00 b\r\n\r\n", "illegal header line"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ""),
    "999": (plain(b"999 Odd", b"{}"), "HTTP 999"),
    "redirect-to-itself": (plain(b"307 x", b"", b"Location: /v1/x"), "redirects a request more"),
    "redirect-nowhere": (plain(b"307 x"), "HTTP 307"),
    "redirect-odd": (plain(b"307 x", b"", b"Location: http://[::"), "HTTP 307"),
    "error-list": (plain(b"400 x", b"[" * 50_000), ""),
    "error-text": (plain(b"500 x", b"\xff\xfe\x00"), "HTTP 500"),
    "retry-after-odd": (plain(b"429 x", b"{}", b"Retry-After: inf"), ""),
    "retry-after-nan": (plain(b"429 x", b"{}", b"Retry-After: nan"), ""),
}  # fmt: skip


def outcome(client: Endpoint) -> str:
    """The answer, or what is wrong with it."""
    try:
        return ask(client)
    except ImigError as error:
        return error.message


@pytest.mark.parametrize("name", ODD)
def test_answers_of_other_shapes(name: str) -> None:
    data, reason = ODD[name]
    with raw_server(says(data)) as url:
        client = endpoint(url, timeout_seconds=20.0, max_retries=0, max_tokens=50)
        assert reason in outcome(client)


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"1.1", b"1.0") + b"\r\n" + GOOD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + whole(GOOD),
        whole(gzipped(GOOD), b"Content-Encoding: gzip"),
        whole(gzipped(GOOD), b"Content-Encoding: X-GZIP"),
        whole(zlib.compress(GOOD), b"Content-Encoding: deflate"),
        whole(GOOD, b"Content-Encoding: identity"),
        CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD),
        whole(b"\n\n" + GOOD),
    ],
    ids=["http-1.0", "continue", "gzip", "x-gzip", "deflate", "identity", "chunked", "blanks"],
)
def test_answers_that_are_unusual_and_good(data: bytes) -> None:
    with raw_server(says(data)) as url:
        assert ask(endpoint(url, max_retries=0)) == '{"a": 1}'


def test_a_long_answer_is_read() -> None:
    long = json.dumps({"a": 1, "why": "x" * (MAX_BODY // 4)})
    with chat_server(lambda _: long) as server:
        assert ask(endpoint(server)) == long


def test_redirections_stay_at_the_server() -> None:
    with chat_server(lambda _: "{}") as other:
        there = f"{other.url}/chat/completions"
        with chat_server(lambda _: Fault(307, "", {"Location": there})) as server:
            error = raised(endpoint(server), UsageError)
            port = other.url.split(":")[2].removesuffix("/v1")
            assert f"it redirects to another server, http://127.0.0.1:{port}" in error.message
            assert "agree.endpoint.url=URL" in error.cure
            assert len(server.requests) == 1
            assert other.requests == []

    def reply(request: dict[str, Any]) -> str | Fault:
        if len(server.requests) > 1:
            return '{"a": 1}'
        return Fault(307, "", {"Location": "/v1/chat/completions"})

    with chat_server(reply) as server:
        assert ask(endpoint(server)) == '{"a": 1}'
        assert server.authorizations == [f"Bearer {KEY}"] * 2


def in_base64(before: bytes) -> str:
    return base64.b64encode(before + KEY.encode() + b"; and more").decode()


WRITTEN: dict[str, str] = {
    "plain": KEY,
    "upper": KEY.upper(),
    "header": f"authorization: Bearer {KEY}\r\nhost: x",
    "percent": quote(KEY, safe="").replace("-", "%2D"),
    "percent-all": "".join(f"%{ord(one):02X}" for one in KEY),
    "percent-twice": "".join(f"%25{ord(one):02x}" for one in KEY),
    "json": "".join(f"\\u{ord(one):04x}" for one in KEY),
    "python": "".join(f"\\x{ord(one):02x}" for one in KEY),
    "html": "".join(f"&#{ord(one)};" for one in KEY),
    "html-hex": "".join(f"&#x{ord(one):x};" for one in KEY),
    "hex": KEY.encode().hex(),
    "hex-apart": KEY.encode().hex(":"),
    "base64-0": in_base64(b""),
    "base64-1": in_base64(b"a"),
    "base64-2": in_base64(b"ab"),
    "base64-header": in_base64(b"Bearer "),
    "spaced": " ".join(KEY),
    "broken": f"{KEY[:7]}\n  {KEY[7:]}",
    "invisible": "\u200b".join(KEY),
    "first-half": KEY[:10],
    "second-half": KEY[8:],
    "quoted": f"({html.escape(repr(KEY))})",
}


def has_key(text: str) -> bool:
    """Whether a half of the key is in it, in one of the ways above."""
    halves = (KEY[:10], KEY[8:])
    written = [half for key in halves for half in (key, key.upper(), " ".join(key))]
    coded = [one for name, one in WRITTEN.items() if name not in ("header", "quoted")]
    return any(one in text for one in written) or any(
        len(one) > 20 and one in text for one in coded
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_the_key_is_hidden_however_it_is_written(name: str) -> None:
    hidden = hide_key(f"before {WRITTEN[name]} after", KEY)
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert HIDDEN in hidden
    assert not has_key(hidden)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("none", "none of the cats"),
        ("EMPTY", "an empty bowl"),
        ("ollama", "ollama"),
        (None, "a cat"),
        ("", "a cat"),
        (KEY, "a test of sk and 0123 cats"),
        ("my-photographic-secret", "a photographic lamp"),
    ],
)
def test_what_is_no_key_stays(key: str | None, text: str) -> None:
    assert hide_key(text, key) == text
    body = json.dumps({"text": text}).encode()
    assert hide_key_in_body(body, key) is body


@pytest.mark.parametrize("text", ["\\\\", " ", "s ", "&amp;", "%25", KEY[:5], KEY[:7]])
def test_texts_that_are_nearly_a_key_end(text: str) -> None:
    # Were the time a square of the length, each would take a day.
    text = KEY[0] + text * ((1 << 18) // len(text))
    assert hide_key(text, KEY) == text


def test_a_short_key_with_digits_is_hidden() -> None:
    assert hide_key("it is abc-123.", "abc-123") == "it is [key]."


def test_the_client_gives_nothing_back_that_has_the_key() -> None:
    data = whole(json.dumps({"why": KEY}).encode(), b"X-Sent: " + KEY.encode())
    with raw_server(says(data)) as url, BoundedClient(key=KEY, seconds=20) as client:
        answer = client.post(f"{url}/x", content=b"{}")
    assert answer.json() == {"why": HIDDEN}
    assert answer.headers["x-sent"] == HIDDEN


def test_a_key_in_an_answer_is_kept_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = f'{{"a": 1, "why": "you sent {KEY}"}}'
    for said in (
        Said({"content": answer}),
        Said({"content": [{"type": "text", "text": answer[:-15]}, answer[-15:]]}),
        Said({"content": None, "reasoning_content": answer}, tokens=1),
    ):
        with chat_server(first_then([], said)) as server:
            client = endpoint(server)
            text = ask(client)
            assert HIDDEN in text
            assert not has_key(text + "".join(client.notes))
    assert not has_key(caplog.text)


@pytest.mark.parametrize(
    ("status", "written"),
    [(one, "plain") for one in (200, 302, 401, 403, 404, 429, 503)]
    + [(500, one) for one in ("percent-all", "base64-header", "json", "spaced")],
)
def test_a_key_in_an_error_is_shown_nowhere(
    status: int, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = WRITTEN[written]
    headers = {"X-Echo": echo, "Location": f"/v1/{quote(echo)}"}
    for body in (
        {"error": {"message": f"no: {echo}", "code": echo}, echo: echo},
        f"<html><title>{echo}</title>{echo}</html>",
    ):
        fault = Fault(status, body, headers)
        with chat_server(first_then([], fault)) as one, pytest.raises(ImigError) as caught:
            ask(endpoint(one, max_retries=0))
        shown = "".join(traceback.format_exception(caught.value))
        assert not has_key(shown + caught.value.cure)
    assert not has_key(caplog.text)


def test_an_odd_status_line_with_the_key_is_shown_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for data in (
        b"HTTP/1.1 500 " + KEY.encode() + b"\r\nX: " + KEY.encode() + b"\r\n\r\n",
        KEY.encode() + b"\r\n\r\n",
        HEAD + KEY.encode() + b"\r\n\r\n",
    ):
        with raw_server(says(data)) as url, pytest.raises(DataError) as caught:
            ask(endpoint(url, max_retries=0))
        assert not has_key("".join(traceback.format_exception(caught.value)))
    assert not has_key(caplog.text)


@pytest.mark.parametrize("seconds", ["nan", "-inf", "-5", "Fri, 99 Foo 2026", "1e999999"])
def test_waits_that_are_none(seconds: str) -> None:
    fault = Fault(429, "", {"Retry-After": seconds})
    with chat_server(first_then([fault], "{}")) as server:
        assert outcome(endpoint(server)) in ("{}", f"{server.url}: 1 tries failed, the last one "
                                             "with: HTTP 429; it asks to wait inf s")  # fmt: skip


def test_servers_that_are_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = raised(endpoint(f"http://127.0.0.1:{port}/v1"), UsageError)
    assert "Connection refused" in error.message
    assert "start the server" in error.cure
    error = raised(endpoint("http://no-such-host.invalid/v1"), UsageError)
    assert "no server answers at http://no-such-host.invalid/v1" in error.message
