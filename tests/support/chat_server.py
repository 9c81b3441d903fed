"""A real HTTP server that speaks the chat completions protocol, well or badly.

A test gives it a `reply`: from the request's JSON to the text of an answer, a whole message
(`Said`), or a `Fault`.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """An answer that is none."""

    status: int = 500
    body: Mapping[str, Any] | str = field(default_factory=lambda: {"error": {"message": "oops"}})
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Before it comes."""
    drop: bool = False
    """Close the connection instead of answering."""


@dataclass(frozen=True)
class Said:
    """A whole message, which is more than its text."""

    message: Mapping[str, Any]
    """Without its role."""
    finish: str | None = "stop"
    tokens: int = 100
    """It has cost."""


Reply = Callable[[dict[str, Any]], "str | Fault | Said"]


@dataclass
class ChatServer:
    """What the server was asked, and how it answers."""

    reply: Reply
    models: tuple[str, ...] = ("some-model", "other-model")
    key: str | None = None
    """Wanted in every request."""
    seconds: float = 0.0
    """A request takes."""
    certificate: Path | None = None
    """PEM with its key: the server then speaks TLS."""
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: dict[str, Any], authorization: str | None) -> str | Fault | Said:
        with self.lock:
            self.requests.append(request)
            self.authorizations.append(authorization)
            self.times.append(time.monotonic())
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            time.sleep(self.seconds)
            if self.key is not None and authorization != f"Bearer {self.key}":
                message = f"Incorrect API key provided: {authorization}"
                return Fault(401, {"error": {"message": message, "code": "invalid_api_key"}})
            if request["model"] not in self.models:
                message = f"The model `{request['model']}` does not exist."
                return Fault(404, {"error": {"message": message, "code": "model_not_found"}})
            return self.reply(request)
        finally:
            with self.lock:
                self.busy -= 1


@contextmanager
def chat_server(reply: Reply, **settings: Any) -> Iterator[ChatServer]:
    """The server, up while the block runs."""
    state = ChatServer(reply, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            """Tests print nothing."""

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": name} for name in state.models]}
            self._send(200, listed if self.path.endswith("/models") else "not here", {})

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request = json.loads(self.rfile.read(length))
            if not self.path.endswith("/v1/chat/completions"):
                self._send(404, {"detail": "Not Found"}, {})
                return
            answer = state.answer(request, self.headers.get("Authorization"))
            if isinstance(answer, (str, Said)):
                self._send(200, completion(answer, request), {})
                return
            time.sleep(answer.seconds)
            if answer.drop:
                self.close_connection = True
                return
            self._send(answer.status, answer.body, answer.headers)

        def _send(
            self, status: int, body: Mapping[str, Any] | str, headers: Mapping[str, str]
        ) -> None:
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            kind = "text/html" if isinstance(body, str) else "application/json"
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed or lost patience is part of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    if state.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(state.certificate)
        # The handshake in the request's own thread: one that fails must not end the server.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    scheme = "http" if state.certificate is None else "https"
    state.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(answer: str | Said, request: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol's answer around a text or message; a token has four letters here."""
    asked = len(json.dumps(request["messages"])) // 4
    said = (
        answer if isinstance(answer, Said) else Said({"content": answer}, "stop", len(answer) // 4)
    )
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": said.finish,
                "message": {"role": "assistant", **said.message},
            }
        ],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": said.tokens,
            "total_tokens": asked + said.tokens,
        },
    }


def user_text(request: Mapping[str, Any]) -> str:
    """What the last message of a request says."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def first_then(faults: Sequence[Fault | str | Said], answer: Fault | str | Said) -> Reply:
    """These one after the other, then the answer for ever."""
    left, lock = list(faults), threading.Lock()

    def reply(request: dict[str, Any]) -> str | Fault | Said:
        with lock:
            return left.pop(0) if left else answer

    return reply
