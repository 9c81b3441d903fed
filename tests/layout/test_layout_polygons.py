"""Masks as polygons: nothing may be lost between the two, whatever the mask looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from pycocotools import mask as coco

from imig.errors import DataError
from imig.layout.masks import Mask, mask_to_rle
from imig.layout.polygons import (
    MAX_OUTLINE,
    join_rings,
    mask_to_rings,
    mask_to_run_lengths,
    polygons_to_mask,
    run_lengths_to_rle,
)


def drawn(text: str) -> Mask:
    return np.array([[one == "#" for one in row] for row in text.split()])


MASKS: dict[str, tuple[str, list[int]]] = {
    "a pixel": (".... .#.. ....", [1]),
    "all": ("### ### ###", [1]),
    "nothing": ("... ...", []),
    "a hole": ("##### #...# #.#.# #...# #####", [2, 1]),
    "parts that touch at a corner": ("##.. ##.. ..## ..##", [1, 1]),
    "the other corner": ("..## ..## ##.. ##..", [1, 1]),
    # What is not set hangs together by corners too.
    "a hole that touches the outside at a corner": ("###. #.#. ##.. ....", [1]),
    "two holes that touch": ("##### #.### ##.## #####", [2]),
    "a line on each side": ("#..# #..#", [1, 1]),
}


@pytest.mark.parametrize("case", MASKS)
def test_every_part_has_its_outline_and_its_holes(case: str) -> None:
    text, rings = MASKS[case]
    parts = mask_to_rings(drawn(text))
    assert sorted(map(len, parts)) == sorted(rings)
    check_both_ways(drawn(text))


def check_both_ways(mask: Mask) -> None:
    height, width = mask.shape
    parts = mask_to_rings(mask)
    polygons = [join_rings(part).ravel().tolist() for part in parts]
    assert (polygons_to_mask(polygons, size=(width, height)) == mask).all()
    if parts:  # and as one ring for all
        whole = join_rings([ring for part in parts for ring in part])
        assert (polygons_to_mask([whole.ravel().tolist()], size=(width, height)) == mask).all()
        assert (whole >= 0).all()
        assert (whole <= (width, height)).all()
    rle = run_lengths_to_rle(mask_to_run_lengths(mask), size=(width, height))
    assert rle == mask_to_rle(mask)


@pytest.mark.parametrize("seed", range(40))
def test_no_mask_loses_a_pixel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 30, size=2)
    noise = generator.random((height, width))
    for share in (0.05, 0.3, 0.5, 0.7, 0.95):
        check_both_ways(noise < share)


def test_polygons_are_rasterised_as_pycocotools_does() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        polygons = [(generator.random(12) * 60 - 10).tolist() for _ in range(2)]
        theirs = coco.decode(coco.merge(coco.frPyObjects(polygons, 30, 40)))
        assert (polygons_to_mask(polygons, size=(40, 30)) == theirs.astype(bool)).all()


ZIGZAG = [value for row in range(500) for value in (0.0, row / 4, 16_000.0, row / 4 + 0.1)]

WRONG_POLYGONS: dict[str, tuple[Sequence[object], str]] = {
    "two corners": ([1, 1, 5, 5], "three corners"),
    "half a corner": ([1, 1, 5, 5, 3, 3, 4], "three corners"),
    "not a number": ([1, 1, 5, math.nan, 3, 3], "far outside of the picture, or none"),
    "endless": ([1, 1, 5, math.inf, 3, 3], "far outside of the picture"),
    "far away": ([1, 1, 1e9, 1, 3, 3], "far outside of the picture"),
    "more than a float holds": ([1, 1, 10**400, 1, 3, 3], "no list of numbers"),
    "texts": (["a", "b", "c", "d", "e", "f"], "no list of numbers"),
    "lists": ([[1, 1], [2], [3, 3]], "no list of numbers"),
    "pairs": ([[1, 1], [2, 2], [3, 3]], "three corners"),
    "no list": (5, "three corners"),  # type: ignore[dict-item]
    "an endless outline": (ZIGZAG, f"more than {MAX_OUTLINE}"),
}


@pytest.mark.parametrize("case", WRONG_POLYGONS)
def test_wrong_polygons_are_named(case: str) -> None:
    polygon, words = WRONG_POLYGONS[case]
    with pytest.raises(DataError, match=words):
        polygons_to_mask([polygon], size=(16_000, 200))  # type: ignore[list-item]


@pytest.mark.parametrize("runs", [[], [5], [-1, 13], [6.0, 6], [True, 11], ["a"], [13]])
def test_wrong_run_lengths_are_named(runs: list[int]) -> None:
    with pytest.raises(DataError, match="do not describe a picture of 4x3"):
        run_lengths_to_rle(runs, size=(4, 3))
