"""What the files of a dataset are called: its shards, and those beside them."""

from __future__ import annotations

from typing import Final

from imig.schema import Subset
from imig.shards.card import CARD_NAME, PICTURES_FOLDER
from imig.shards.croissant import CROISSANT_NAME
from imig.shards.funnel import REPORT_JSON
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME

REJECTS_NAME: Final = "rejects.parquet"
QUARANTINE_NAME: Final = "quarantine.parquet"
REPORT_HTML: Final = "report.html"
KNOWN_NAMES: Final = frozenset(
    {
        CARD_NAME,
        CROISSANT_NAME,
        INDEX_NAME,
        MANIFEST_NAME,
        PICTURES_FOLDER,
        QUARANTINE_NAME,
        REJECTS_NAME,
        REPORT_HTML,
        REPORT_JSON,
    }
)


SHARD_PATTERN: Final = f"*-{'[0-9]' * 6}.tar"
"""Glob pattern of what `shard_name` gives."""


def shard_name(subset: Subset, number: int) -> str:
    """The file of a shard, which its subset and number name."""
    return f"{subset}-{number:06d}.tar"


def shard_pattern(subset: Subset) -> str:
    """Glob pattern of the shards of a subset."""
    return f"{subset}-{'[0-9]' * 6}.tar"


def begins_as(name: str, data: bytes) -> bool:
    """Whether a file that stands beside the shards begins as one of its name does.

    What does not is not copied into other datasets: it may be a link to anything.
    """
    if name.endswith(".parquet"):
        return data.startswith(b"PAR1")
    if name.endswith(".html"):
        return data.lstrip()[:9].lower() == b"<!doctype"
    return data.lstrip()[:1] == b"{"
