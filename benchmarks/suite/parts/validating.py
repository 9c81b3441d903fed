"""`imig validate` beside the least that any check of a dataset must do.

The limit hashes every shard, decodes every picture once and parses the JSON, with the tar's members
already found for it. Processor time of one process; all files are in the page cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from pathlib import Path

from PIL import Image

from benchmarks.suite.parts._scenes import dataset_of
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.checks.dataset import validate_dataset
from imig.shards.writer import read_tar

BAR = Bar(at_least=0.85)


def measure(*, small: bool) -> list[Row]:
    """Two sizes of pictures: those of the embedded default and those of the released pipeline."""
    if small:
        return _measure(size=128, drawn=2, count=4, repeats=1)
    return [
        *_measure(size=256, drawn=16, count=500, repeats=7),
        *_measure(size=1024, drawn=8, count=80, repeats=7),
    ]


def _measure(*, size: int, drawn: int, count: int, repeats: int) -> list[Row]:
    with dataset_of(count, drawn=drawn, size=size) as folder:
        read = [files for path in sorted(folder.glob("*.tar")) for _, files in read_tar(path)]
        seconds = seconds_in_turn(
            {"ours": lambda: check_ours(folder), "limit": lambda: check_least(folder, read)},
            repeats=repeats,
            clock=time.process_time,
        )
    return [
        Row(
            part="validating",
            case=f"{count} scenes of {size} px, one process",
            unit="scenes/s",
            ours=count / seconds["ours"],
            theirs=count / seconds["limit"],
            against="limit: sha256, decode every picture, parse JSON",
            ratio=seconds["limit"] / seconds["ours"],
            bar=BAR,
        )
    ]


def check_ours(folder: Path) -> None:
    """As `imig validate --workers 1`."""
    assert validate_dataset(folder).ok


def check_least(folder: Path, samples: list[dict[str, bytes]]) -> None:
    """No check of anything but that it can be read."""
    for path in folder.glob("*.tar"):
        hashlib.sha256(path.read_bytes()).hexdigest()
    for files in samples:
        for name, data in files.items():
            if name == "json":
                json.loads(data)
            else:
                Image.open(io.BytesIO(data)).load()
