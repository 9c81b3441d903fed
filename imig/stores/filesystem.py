"""The fsspec filesystem behind an address, and what it takes to have one."""

from __future__ import annotations

from typing import Any, Final

from imig.errors import UsageError

_EXTRA: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Scheme -> the extra of imig that brings what reaches it."""
WRITABLE: Final = frozenset({*_EXTRA, "memory"})
"""Schemes that a dataset can be written to; `memory` is fsspec's, for tests."""
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # Listings of yesterday would hide what another process has finished. One try: how long to
    # try is decided in one place, `imig.stores.patience`.
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}},
    },
    "http": {"client_kwargs": {"trust_env": True}},  # HTTP_PROXY
    "https": {"client_kwargs": {"trust_env": True}},
}


def scheme_of(address: str) -> str:
    """``s3`` of ``s3://bucket/shards``, in small letters."""
    return address.partition("://")[0].lower()


def open_filesystem(address: str) -> Any:
    """The filesystem of an address (untyped in fsspec), which keeps one for each process.

    Raises
    ------
    UsageError
        When nothing that is installed reaches such addresses.
    """
    import fsspec

    scheme = scheme_of(address)
    extra = _EXTRA.get(scheme)
    try:
        if extra == "gs":
            from imig.stores.google import google_store

            return google_store()
        filesystem, _ = fsspec.core.url_to_fs(address, **_OPTIONS.get(extra or scheme, {}))
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"cannot open {address}: {str(error).strip() or type(error).__name__}",
            cure=f"pip install 'imig[{extra}]'"
            if extra is not None and isinstance(error, ImportError)
            else "fsspec reaches http(s) with aiohttp, s3 with s3fs, gs with gcsfs installed.",
        ) from error
    return filesystem
