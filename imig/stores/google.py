"""gcsfs's filesystem for Google's store, as imig wants it. Imported only where gcsfs is installed.

gcsfs asks up to six times with pauses of its own: right for the many requests of a large file,
wrong for the first request of all, where the address may be wrong. It writes a traceback to the
screen when it gives up; what a person is told is `imig.stores.patience`'s. And before it writes, it
asks over gRPC whether the bucket is a zonal one, in which readers see objects grow; what imig
writes must appear whole, so this is the class of gcsfs that knows of no such buckets.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Final

import aiohttp
from gcsfs.core import GCSFileSystem

from imig.stores.patience import TransferError

_SECONDS: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
"""Without a connection, or a byte of an answer. aiohttp's own limit is 300 for all of a transfer:
long where nothing comes, and too short for a shard of a gigabyte on a slow line."""
_UPLOAD: Final = "upload_id="
"""In the addresses that belong to an upload by parts (cloud.google.com/storage/docs,
"Resumable uploads")."""

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # whatever it logs, it raises


class GoogleStore(GCSFileSystem):  # type: ignore[misc]  # untyped
    """Repeats requests once the store has answered one."""

    _has_answered = False

    async def _request(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        once = GCSFileSystem._request.__wrapped__
        if method == "DELETE" and _UPLOAD in path:
            # An upload has failed and is given up. Where that fails too, the upload ends by itself
            # after a week, and what is raised must be what made it fail.
            with suppress(Exception):
                await once(self, method, path, *args, **kwargs)
            return 499, {}, None, b""
        if not self._has_answered:
            answer = await once(self, method, path, *args, **kwargs)
            self._has_answered = True
            return answer
        try:
            return await super()._request(method, path, *args, **kwargs)
        except FileNotFoundError as error:
            if _UPLOAD not in path:
                raise
            raise TransferError("the store has forgotten the upload") from error


def google_store() -> Any:
    """The filesystem of ``gs://`` addresses; fsspec keeps one for each process."""
    return GoogleStore(
        consistency="md5",  # of every upload and download
        use_listings_cache=False,
        requests_timeout=_SECONDS,
        session_kwargs={"trust_env": True},  # HTTPS_PROXY
    )
