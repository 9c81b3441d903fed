"""Which samples somebody wants out: by where they come from, by identity, or by id."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from imig.errors import DataError, UsageError
from imig.regular_file import read_regular_file
from imig.schema import Quarantine, Reject, Scene
from imig.text import bytes_to_lines

_MOST: Final = 1 << 28
"""Bytes of a list of ids: four million of the longest."""


@dataclass(frozen=True)
class Selection:
    """One of the three ways to name samples."""

    by: Literal["source", "identity", "ids"]
    pattern: str = ""
    """`source`: as a shell has it, over the whole of `source.path`, so that ``*`` takes slashes
    too. `identity`: the identity's id, as it stands in the scenes."""
    ids: frozenset[str] = frozenset()

    def takes(self, scene: Scene) -> bool:
        """Whether a scene is meant."""
        if self.by == "identity":
            return any(one.identity_id == self.pattern for one in scene.instances)
        return self.takes_lost(scene.id, scene.source.path)

    def takes_row(self, row: Reject | Quarantine) -> bool:
        """Whether a scene that was turned down is meant; its identities nobody has noted."""
        return self.by != "identity" and self.takes_lost(row.id, row.path)

    def takes_lost(self, scene_id: str, path: str | None) -> bool:
        """As `takes_row`, by id and path."""
        if self.by == "ids":
            return scene_id in self.ids
        return path is not None and fnmatchcase(path, self.pattern)


def select_source(pattern: str) -> Selection:
    """Samples whose `source.path` a pattern describes. Raises UsageError for an empty one."""
    return Selection("source", pattern=_some(pattern, option="--source"))


def select_identity(identity: str) -> Selection:
    """Samples with an instance of that identity. Raises UsageError for an empty one."""
    return Selection("identity", pattern=_some(identity, option="--identity"))


def select_ids(path: Path) -> Selection:
    """Samples whose ids stand in a file, one a line; blank lines and ``#`` lines say nothing.

    Raises
    ------
    UsageError
        When the file is not there, is no text, or names none.
    """
    try:
        data = read_regular_file(path, max_bytes=_MOST)
        lines = [one.text.strip() for one in bytes_to_lines(data, where=str(path))]
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}",
            cure="give a text file with the id of one sample a line",
        ) from error
    except DataError as error:
        raise UsageError(error.message, cure=error.cure) from error
    ids = frozenset(line for line in lines if line and not line.startswith("#"))
    if not ids:
        raise UsageError(f"{path} names no sample", cure="an id a line, as in `index.parquet`")
    return Selection("ids", ids=ids)


def _some(text: str, *, option: str) -> str:
    if not text.strip():
        raise UsageError(f"{option} is empty", cure="`imig remove --help` shows what it takes")
    return text
