"""A server on this machine that speaks Google's storage interface, behind the proxy for faults.

The server (`gcp-storage-emulator`) takes conditional puts without asking whether the condition
holds, so the proxy asks: `ifGenerationMatch=0` is answered with 412 where there is an object.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import quote

from support.object_store import BUCKET, Forwarded, StoreServer, forward, proxy_before
from support.ports import free_port

CREATE = "ifGenerationMatch=0"
_NAME = re.compile(rb'"name":\s*"([^"]+)"')


@contextmanager
def google_store() -> Iterator[StoreServer]:
    """A store with an empty bucket; this process and its children reach it by their environment."""
    from gcp_storage_emulator.server import create_server

    from imig.stores.google import GoogleStore

    port = free_port()
    emulator = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    emulator.start()
    try:
        with (
            proxy_before(("127.0.0.1", port), pass_on=_keeping_conditions()) as server,
            mock.patch.dict(os.environ, {"STORAGE_EMULATOR_HOST": server.endpoint}),
        ):
            GoogleStore.clear_instance_cache()
            yield server
    finally:
        emulator.stop()


def google_filesystem() -> Any:
    """The store's, without anything of imig's."""
    from gcsfs.core import GCSFileSystem

    return GCSFileSystem(use_listings_cache=False, skip_instance_cache=True)


def _keeping_conditions() -> Any:
    one_at_a_time = threading.Lock()

    def pass_on(
        target: tuple[str, int], method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Forwarded:
        if CREATE not in path:
            return forward(target, method, path, body, headers)
        with one_at_a_time:
            name = _NAME.search(body)
            assert name is not None, "a put that does not say what it puts"
            there = f"/storage/v1/b/{BUCKET}/o/{quote(name[1].decode(), safe='')}"
            if forward(target, "GET", there, b"", {})[0] == 200:
                return 412, [], b'{"error": {"code": 412, "message": "conditionNotMet"}}'
            return forward(target, method, path, body, headers)

    return pass_on
