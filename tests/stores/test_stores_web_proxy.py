"""Machines that reach the outside by a proxy only: HTTP_PROXY holds for each kind of store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imig.stores.path import StorePath


class _Proxy(BaseHTTPRequestHandler):
    """Answers in the place of whoever was meant, and keeps whom."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"data")

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """URLs that the proxy of this process has been asked for."""
    handler = type("Proxy", (_Proxy,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield handler.asked  # type: ignore[attr-defined]
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "environment"),
    [
        pytest.param("http://store.example/a.bin", {}, id="http"),
        pytest.param(
            "gs://bucket/a.bin", {"STORAGE_EMULATOR_HOST": "http://store.example"}, id="gs"
        ),
        pytest.param(
            "s3://bucket/a.bin",
            {
                "AWS_ENDPOINT_URL": "http://store.example",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x",
                "AWS_DEFAULT_REGION": "us-east-1",
            },
            id="s3",
        ),
    ],
)
def test_a_store_is_reached_by_the_proxy(
    asked: list[str],
    address: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import fsspec

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class(address.partition(":")[0]).clear_instance_cache()
    if address.startswith("gs"):
        from imig.stores.google import GoogleStore

        GoogleStore.clear_instance_cache()
    assert StorePath(address).read_bytes() == b"data"
    # Google's client looks for a machine of Google's, too.
    assert [one for one in asked if one.startswith("http://store.example/")]
