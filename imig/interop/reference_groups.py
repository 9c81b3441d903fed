"""What the formats of trainers share: one picture a reference, and scenes by their number.

Trainers pair pictures by file name, a folder a reference, and batch scenes of one folder. A batch
whose scenes have different numbers of references fails there, or shows one scene's first reference
as another's second. So scenes with the same number go into one folder, a dataset of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from imig.contextgen.scene_layout import placed_references
from imig.interop.format import Losses
from imig.layout.masks import Mask
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.views import ReferenceView, SceneView


def group_of(count: int) -> str:
    """Folder of the scenes with so many references: ``2-references``."""
    return f"{count}-reference{'' if count == 1 else 's'}"


def count_groups(rows: Iterable[Any]) -> list[tuple[int, int]]:
    """(references, scenes) of each group, from rows that are numbers of references."""
    return sorted(Counter(rows).items())


def choose_references(scene: SceneView, *, limit: int, losses: Losses) -> list[ReferenceView]:
    """Of each instance its edit before its source before its crop, the first `limit` of them.

    What is left out is noted: instances without any, other views, faces, and what exceeds `limit`.
    """
    record = scene.record
    chosen = placed_references(scene)
    placed = {one.index for one, _ in chosen}
    for instance in record.instances:
        if instance.index not in placed:
            losses.note("instances without a reference", f"{record.id}: {instance.phrase}")
    for _, reference in chosen[limit:]:
        losses.note("references beyond max_references", f"{record.id}: {reference.record.name}")
    names = {reference.record.name for _, reference in chosen}
    for instance in record.instances:
        for one in instance.references:
            if one.name not in names:
                losses.note("other views of an instance", f"{record.id}: {one.name}")
    if ENCODED_MEMBER in scene.files:
        losses.note("what `imig encode` has added", f"{record.id}: {ENCODED_MEMBER}")
    return [reference for _, reference in chosen[:limit]]


def subjects_mask(scene: SceneView) -> Mask:
    """Boolean (height, width): where any instance is; everywhere, where none has a mask."""
    masks = [one.mask for one in scene.instances if one.mask is not None]
    size = (scene.record.height, scene.record.width)
    return np.logical_or.reduce(masks) if masks else np.ones(size, dtype=bool)
