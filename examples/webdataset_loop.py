"""Crops of all instances with their phrases, read out of shards by webdataset, without imig.

python examples/webdataset_loop.py shards/basic-000000.tar
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import webdataset
from PIL import Image


def crops(sample: dict[str, Any]) -> Iterator[tuple[str, Image.Image]]:
    """The phrase of each instance, and what its box shows."""
    for instance in sample["json"]["instances"]:
        yield instance["phrase"], sample["target.jpg"].crop(instance["box"])


def main(shards: str) -> None:
    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil"):
        for phrase, crop in crops(sample):
            print(sample["__key__"], phrase, crop.size)


if __name__ == "__main__":
    main(sys.argv[1])
