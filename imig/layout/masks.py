"""Masks: storage as COCO run lengths, their boxes, and tidying up a segmenter's output.

A mask is a boolean array (height, width), rows first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imig.errors import DataError
from imig.layout.run_lengths import mask_extents
from imig.schema import Box, MaskRLE

Mask = NDArray[np.bool_]


def mask_to_rle(mask: Mask) -> MaskRLE:
    """Compress to COCO run lengths (column-major, as pycocotools has them)."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    height, width = mask.shape
    return MaskRLE(size=(height, width), counts=encoded["counts"].decode("ascii"))


def rle_to_mask(rle: MaskRLE, *, size: tuple[int, int] | None = None) -> Mask:
    """Decompress; (height, width) as `rle.size` says.

    `size` is the picture's, (width, height), where the mask must be of that.

    Raises
    ------
    DataError
        When it is of another size, or the run lengths do not fill exactly its size (pycocotools
        itself would read or write past the end of its buffer).
    """
    from pycocotools import mask as coco

    height, width = rle.size
    if size not in (None, (width, height)):
        raise DataError(
            f"its mask has {width}x{height} pixels, not those of the target",
            cure="the scene's JSON is damaged; build the dataset again",
        )
    if mask_extents([rle]) == [None]:
        raise DataError(
            f"mask run lengths do not describe a {width}x{height} image",
            cure="the scene's JSON is damaged; build the dataset again",
        )
    decoded = coco.decode({"size": [height, width], "counts": rle.counts.encode("ascii")})
    return np.ascontiguousarray(decoded, dtype=bool)


def mask_area(mask: Mask) -> int:
    """Pixels that are set."""
    return int(np.count_nonzero(mask))


def mask_to_box(mask: Mask) -> Box | None:
    """Tightest box around the set pixels, None for an empty mask."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def clip_mask_to_box(mask: Mask, box: Box) -> Mask:
    """A copy with everything outside the box cleared."""
    x1, y1, x2, y2 = box
    clipped = np.zeros_like(mask)
    clipped[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    return clipped


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union; 0 when both are empty."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 0.0


def box_coverage(mask: Mask, box: Box) -> tuple[float, float]:
    """Share of the box's width and of its height that the mask's bounding box covers.

    Only the part of the mask inside the box counts; (0, 0) when there is none. The released filter
    asks for 0.6 of both.
    """
    x1, y1, x2, y2 = box
    inside = mask_to_box(mask[y1:y2, x1:x2])
    if inside is None:
        return 0.0, 0.0
    left, top, right, bottom = inside
    return (right - left) / (x2 - x1), (bottom - top) / (y2 - y1)


def despeckle(mask: Mask, *, min_fraction: float = 0.02) -> Mask:
    """Drop pieces smaller than a share of the whole mask, and fill holes that small.

    The largest piece always stays, so a non-empty mask never becomes empty.
    """
    from scipy import ndimage

    min_pixels = min_fraction * mask_area(mask)
    labels, sizes = _components(mask)
    if not sizes.size:
        return mask.copy()
    stays = sizes >= min_pixels
    stays[sizes.argmax()] = True
    kept: Mask = np.concatenate([[False], stays])[labels]
    holes, hole_sizes = _components(ndimage.binary_fill_holes(kept) & ~kept)
    filled: Mask = np.concatenate([[False], hole_sizes < min_pixels])[holes]
    return kept | filled


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """8-connected labels (1, 2, ...) and the pixels of each."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
    return labels, np.bincount(labels.ravel())[1:]
