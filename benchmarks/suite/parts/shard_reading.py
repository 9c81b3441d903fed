"""Reading every scene with all of its pictures decoded, beside webdataset's own reader.

Processor time of one process; all files are in the page cache. Both decode with Pillow, to the same
pixels, and parse the JSON: ours into a checked `Scene`, webdataset's `.decode("pil")` into plain
values. A second row gives webdataset the functions that ours decodes with: what then differs is
the reading alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from benchmarks.suite.parts._scenes import dataset_of
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.sample import decode_image, png_to_mask
from imig.shards.dataset import Dataset
from imig.shards.views import SceneView

BAR = Bar(at_least=1.5)


def measure(*, small: bool) -> list[Row]:
    """Two sizes of pictures: those of the embedded default and those of the released pipeline."""
    if small:
        return _measure(size=128, drawn=2, count=4, repeats=1)
    return [
        *_measure(size=256, drawn=16, count=500, repeats=9),
        *_measure(size=1024, drawn=8, count=80, repeats=9),
    ]


def _measure(*, size: int, drawn: int, count: int, repeats: int) -> list[Row]:
    with dataset_of(count, drawn=drawn, size=size) as folder:
        _require_equal(next(iter(Dataset(folder))), next(read_by_webdataset(folder, "pil")))
        seconds = seconds_in_turn(
            {
                "ours": lambda: read_ours(folder),
                "peer": lambda: list_nothing(read_by_webdataset(folder, "pil")),
                "same": lambda: list_nothing(read_by_webdataset(folder, decode_as_ours)),
            },
            repeats=repeats,
            clock=time.process_time,
        )
    speed = {name: count / one for name, one in seconds.items()}
    return [
        Row(
            part="shard_reading",
            case=f"{count} scenes of {size} px, all pictures decoded, one process",
            unit="scenes/s",
            ours=speed["ours"],
            theirs=speed[name],
            against=against,
            ratio=speed["ours"] / speed[name],
            bar=bar,
        )
        for name, against, bar in (
            ("peer", 'peer: webdataset, .decode("pil")', BAR),
            ("same", "peer: webdataset with our decoding functions", None),
        )
    ]


def read_ours(folder: Path) -> None:
    """Every picture and mask of every scene."""
    for scene in Dataset(folder):
        decode_all(scene)


def decode_all(scene: SceneView) -> None:
    """Views decode on first use; this is it."""
    assert scene.target is not None
    for instance in scene.instances:
        for reference in instance.references:
            assert reference.image is not None
            assert reference.mask is not None


def read_by_webdataset(
    folder: Path, decoding: str | Callable[[str, bytes], Any]
) -> Iterator[dict[str, Any]]:
    """Its pipeline over the same shards, in their order."""
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from webdataset.WebDataset(shards, shardshuffle=False).decode(decoding)


def decode_as_ours(key: str, data: bytes) -> Any:
    """A handler of webdataset; None leaves a member (the JSON) to its own."""
    if key.endswith(".jpg"):
        return decode_image(data)
    return png_to_mask(data) if key.endswith(".png") else None


def list_nothing(samples: Iterator[object]) -> None:
    """Go through, keep none."""
    for _ in samples:
        pass


def _require_equal(ours: SceneView, theirs: dict[str, Any]) -> None:
    """The comparison would mean nothing if the pixels differed."""
    assert np.array_equal(np.asarray(ours.target), np.asarray(theirs["target.jpg"]))
    for instance in ours.instances:
        for one in instance.references:
            assert one.mask is not None
            assert one.record.mask is not None
            picture, mask = theirs[one.record.image], theirs[one.record.mask]
            assert np.array_equal(np.asarray(one.image), np.asarray(picture))
            assert np.array_equal(one.mask, np.asarray(mask)[..., 0] > 127)
