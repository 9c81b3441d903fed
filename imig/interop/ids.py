"""Sample ids for what other people have named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST: Final = 50


def keys_to_ids(keys: Sequence[str]) -> dict[str, str]:
    """A sample id for each key: the key itself where it can be one.

    Else what of its letters can stand in an id, and eight digits of its SHA-256, so that an id
    depends on nothing but its key.
    """
    return {key: _key_to_id(key) for key in keys}


def _key_to_id(key: str) -> str:
    if _ID.fullmatch(key):
        return key
    try:
        data = key.encode(errors="surrogateescape")  # bytes of a name that are not UTF-8
    except UnicodeEncodeError:  # halves of characters, from an escape in JSON
        data = key.encode(errors="surrogatepass")
    letters = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-_")[:_LONGEST] or "scene"
    return f"{letters}-{hashlib.sha256(data).hexdigest()[:8]}"
