"""How many tokens a sample has, estimated from a scene's record: no picture is read for it.

The estimate decides which samples share a batch.
"""

from __future__ import annotations

import math

import numpy as np

from imig.layout.reference_size import TOKEN
from imig.training.catalogue_columns import KINDS, Floats, Instances, Integers, References

_TOKENS_A_WORD = 4 / 3  # of English in T5's vocabulary, punctuation included
_CONVEX_FILL = math.pi / 4  # share of its box that an ellipse covers


def estimate_text_tokens(text: str) -> int:
    """T5 tokens of a text, the end token included: 1 for none."""
    return 1 + round(_TOKENS_A_WORD * len(text.split()))


def estimate_reference_tokens(
    references: References, instances: Instances, *, side: int, drop_background: bool = True
) -> Integers:
    """(m,) tokens of each reference, without those of its background where it is dropped.

    A convex subject of area A in a w x h box touches A + w + h + 1 cells of a grid on average.

    All in cells; it is the area of the subject grown by a cell (Minkowski), exact for a grid at a
    random offset. Subjects with arms touch more, hence the box's own cells are the upper limit.
    """
    grid = reference_grids(references.size, side=side)
    if not drop_background:
        whole: Integers = grid.prod(axis=1)
        return whole
    subject = _sides(references.subject_box) / references.size * grid
    area = _fill(references, instances) * subject[:, 0] * subject[:, 1]
    touched = area + subject[:, 0] + subject[:, 1] + 1
    limit = np.minimum(np.ceil(subject) + 1, grid).prod(axis=1)
    tokens: Integers = np.rint(np.minimum(touched, limit)).astype(np.int64)
    return tokens


def reference_grids(size: Integers, *, side: int) -> Integers:
    """(m, 2) columns and rows of tokens of references of these (m, 2) widths and heights.

    `imig.layout.reference_size.reference_size` of all of them at once.
    """
    longest = max(round(side * side / TOKEN / TOKEN), 1)
    stretch = side / np.sqrt(size[:, :1] * size[:, 1:])
    fitted = np.maximum(np.rint(size * stretch / TOKEN), 1)
    grids: Integers = np.minimum(fitted, longest).astype(np.int64)
    return grids


def _fill(references: References, instances: Instances) -> Floats:
    """(m,) share of the subject box that the mask covers: the target's tells it of its crop."""
    kind = references.kind
    boxes = np.where(
        (kind == KINDS.index("crop"))[:, None],
        references.subject_box,
        instances.box[references.instance],
    )
    area = instances.area[references.instance]
    known = ~np.isnan(area) & (kind != KINDS.index("face"))
    fill = np.minimum(1.0, area / _sides(boxes).prod(axis=1))
    return np.where(known, fill, _CONVEX_FILL)


def _sides(boxes: Integers) -> Integers:
    """(m, 2) widths and heights."""
    return boxes[:, 2:] - boxes[:, :2]
