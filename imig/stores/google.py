"""gcsfs's filesystem for Google's store, as imig wants it. Imported only where gcsfs is installed.

gcsfs asks six times with pauses of its own, nested in downloads to 36 times, and writes a traceback
to the screen when it gives up. How long to ask and what a person is told is
`imig.stores.patience`'s: here the first request of all is made once, as the address may be wrong,
and any other a few times in quick succession, or a large file would never get through a store that
fails now and then. And before gcsfs writes, it asks over gRPC whether the bucket is a zonal one, in
which readers see objects grow; what imig writes must appear whole, so this is built on the class
that knows of no such buckets.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

import aiohttp
from gcsfs.core import GCSFileSystem
from gcsfs.retry import is_retriable

from imig.stores.patience import TransferError

_SECONDS: Final = aiohttp.ClientTimeout(total=900, sock_connect=15, sock_read=30)
"""Of a request, which carries 100 MB at most; until there is a connection; between two bytes of an
answer."""
_PAUSES: Final = (0.5, 1.0)
"""Seconds before a request is made again."""
_UPLOAD: Final = "upload_id="
"""In the addresses that belong to an upload by parts (cloud.google.com/storage/docs,
"Resumable uploads")."""
_FORGOTTEN: Final = ("404", "410")
"""Statuses of an upload that must be begun anew (there, "Status and error codes")."""

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # whatever it logs, it raises


class GoogleStore(GCSFileSystem):  # type: ignore[misc]  # untyped
    """Of gcsfs's repetitions and errors it has its own, as the module says."""

    _has_answered = False
    _get_file_request = GCSFileSystem._get_file_request.__wrapped__
    _get_file_concurrent = GCSFileSystem._get_file_concurrent.__wrapped__

    async def _request(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        once = GCSFileSystem._request.__wrapped__
        if method == "DELETE" and _UPLOAD in path:
            # An upload has failed and is given up. Where that fails too, the upload ends by itself
            # after a week, and what is raised must be what made it fail.
            with suppress(Exception):
                await once(self, method, path, *args, **options)
            return 499, {}, None, b""
        pauses = list(_PAUSES) if self._has_answered else []
        while True:
            try:
                answer = await once(self, method, path, *args, **options)
            except Exception as error:
                if not pauses or not is_retriable(error):
                    raise clear_error(error, of_upload=_UPLOAD in path) from error
                await asyncio.sleep(pauses.pop(0))
            else:
                self._has_answered = True
                return answer


def clear_error(error: Exception, *, of_upload: bool) -> Exception:
    """The error, or one that says what gcsfs's leaves to be read out of its text."""
    status = "404" if isinstance(error, FileNotFoundError) else str(getattr(error, "code", ""))
    if of_upload and status in _FORGOTTEN:
        return TransferError("the store has forgotten the upload")
    if type(error) is OSError and str(error).startswith("Forbidden"):
        return PermissionError(str(error))
    return error


def google_store() -> Any:
    """The filesystem of ``gs://`` addresses; fsspec keeps one for each process."""
    return GoogleStore(
        consistency="md5",  # of every upload and download
        use_listings_cache=False,
        requests_timeout=_SECONDS,
        session_kwargs={"trust_env": True},  # HTTPS_PROXY
    )
