"""Images on their way into a network: colour mode, and batches of equal sizes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from PIL.Image import Image


def as_rgb(images: Sequence[Image]) -> list[Image]:
    """RGB copies of what is not RGB (grey, palette, alpha, 16 bit)."""
    return [one if one.mode == "RGB" else one.convert("RGB") for one in images]


def equal_batches(keys: Sequence[Hashable], *, batch_size: int) -> Iterator[list[int]]:
    """Indices of equal keys, at most `batch_size` together, in order of first appearance.

    Images of unequal sizes go through a network apart: padding them to one size would make an
    image's result depend on its neighbours.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    for indices in groups.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]
