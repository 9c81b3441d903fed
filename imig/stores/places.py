"""Folders as people give them: of this machine, or of a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from imig.errors import UsageError
from imig.paths import input_path, is_address, output_path
from imig.stores.filesystem import WRITABLE, open_filesystem, scheme_of
from imig.stores.path import OutputPath, StorePath

_BUCKET: Final = re.compile(r"[^/?#\s]+(/[^?#]*)?")


def dataset_folder(text: str | OutputPath) -> str | Path:
    """Where a dataset is to be read: an address as it is, or a path of this machine.

    Raises UsageError as `input_path`.
    """
    if isinstance(text, StorePath) or "://" in str(text):
        return str(text)
    return input_path(text)


def output_folder(text: str | OutputPath) -> OutputPath:
    """Where a dataset is to be written; it need not be there.

    Raises
    ------
    UsageError
        It is an address that nothing is written to, nothing installed reaches it, or it is no path.
    """
    if isinstance(text, StorePath):
        return text
    if not is_address(text):
        return output_path(text)
    # `Path` has made one of two slashes.
    address = re.sub(r":/+", "://", str(text), count=1)
    scheme = scheme_of(address)
    if scheme == "hf":
        raise UsageError(
            f"{text}: a repository of the Hugging Face hub is not written shard by shard",
            cure="build into a folder or a store (s3://, gs://); `imig push FOLDER OWNER/NAME` "
            "puts a finished dataset on the hub",
        )
    if scheme not in WRITABLE:
        return output_path(text)  # which says what to do
    rest = address.partition("://")[2].strip("/")
    if not _BUCKET.fullmatch(rest) or "//" in rest or ".." in rest.split("/"):
        raise UsageError(
            f"{text} names no folder of a bucket", cure=f"write {scheme}://BUCKET/FOLDER"
        )
    path = StorePath(f"{scheme}://{rest}")
    open_filesystem(path.address)
    return path
