"""What tests of `tests/other_side` know of imig: its command, and its shards as tar files.

They run where imig is not installed, so nothing of it may be imported here.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Imig(Protocol):
    """Runs a command of imig, and gives what it printed."""

    def __call__(self, *arguments: str | Path) -> str: ...


@dataclass
class StoredScene:
    """A scene as it lies in a shard."""

    record: dict[str, Any]
    """Its JSON; masks are COCO run lengths."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By member name, as ``target.jpg``."""


def read_scenes(folder: Path) -> dict[str, StoredScene]:
    """The scenes of a dataset's shards by id, with nothing of imig."""
    scenes: dict[str, StoredScene] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                sample_id, name = member.name.split(".", 1)
                opened = shard.extractfile(member)
                assert opened is not None
                data = opened.read()
                scene = scenes.setdefault(sample_id, StoredScene({}))
                if name == "json":
                    scene.record = json.loads(data)
                else:
                    scene.files[name] = data
    return scenes
