"""The model hub: its ids, and what of it is in the cache on this disk. Never uses the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HUB_ID = re.compile(
    r"^(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[\w./-]+))?"
    r"(?:@(?P<revision>[\w./-]+))?$"
)


@dataclass(frozen=True)
class HubId:
    """`owner/name[/file][@revision]`: a hub repository, or one file in it."""

    repo: str
    file: str | None
    revision: str | None


def parse_hub_id(weights: str) -> HubId | None:
    """`owner/name[/file][@revision]`, or None when `weights` cannot be a hub id."""
    match = _HUB_ID.match(weights)
    if match is None:
        return None
    return HubId(match["repo"], match["file"], match["revision"])


def hub_cache() -> Path:
    """The hub's cache folder (HF_HUB_CACHE or HF_HOME, as huggingface_hub read them)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def find_in_hub_cache(hub: HubId) -> tuple[Path, str] | None:
    """(file or snapshot folder, commit) in the hub cache, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                hub.repo, revision=hub.revision, cache_dir=hub_cache(), local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    path = folder / hub.file if hub.file else folder
    return (path, folder.name) if path.exists() else None
