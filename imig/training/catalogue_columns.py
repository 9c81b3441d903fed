"""The nested column of the index as flat arrays: all instances and references of many scenes.

A million scenes hold some ten million references; what is planned about each is computed for all of
them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
from numpy.typing import NDArray

from imig.schema import ReferenceKind, Scene

if TYPE_CHECKING:
    import pyarrow as pa

KINDS: Final[tuple[ReferenceKind, ...]] = get_args(ReferenceKind)
"""`References.kind` counts these."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Instances:
    """n instances, those of a scene together, in their order."""

    scene: Integers
    """(n,) the row of the scene, ascending."""
    box: Integers
    """(n, 4)"""
    area: Floats
    """(n,) NaN where there is none."""
    face: Booleans
    """(n,) whether the target's face is known."""


@dataclass(frozen=True)
class References:
    """m references, those of an instance together, in their order."""

    instance: Integers
    """(m,) the place in `Instances`, ascending."""
    kind: Integers
    """(m,) the place in `KINDS`."""
    size: Integers
    """(m, 2) width and height."""
    subject_box: Integers
    """(m, 4)"""
    aligned: Booleans
    """(m,) whether it says where the face is in an aligned picture."""


def columns_to_arrays(column: pa.ChunkedArray) -> tuple[Instances, References]:
    """The arrays of `imig.shards.index.INSTANCE_RECORDS`, which has no nulls."""
    lists = column.combine_chunks()
    instances = lists.flatten()
    nested = instances.field("references")
    references = nested.flatten()
    kinds = references.field("kind").dictionary_encode()
    known = np.array([KINDS.index(one) for one in kinds.dictionary.to_pylist()], dtype=np.int64)
    return (
        Instances(
            scene=_owners(lists),
            box=_boxes(instances.field("box")),
            area=instances.field("area").to_numpy(zero_copy_only=False).astype(np.float64),
            face=_booleans(instances.field("face")),
        ),
        References(
            instance=_owners(nested),
            kind=known[_integers(kinds.indices)],
            size=np.stack([_integers(references.field(one)) for one in ("width", "height")], 1),
            subject_box=_boxes(references.field("subject_box")),
            aligned=_booleans(references.field("aligned")),
        ),
    )


def scenes_to_column(scenes: Sequence[Scene]) -> pa.ChunkedArray:
    """The nested column of scenes whose index does not have it."""
    import pyarrow as pa

    from imig.shards.index import (
        instance_records_to_plain,
        instance_records_type,
        scene_to_instance_records,
    )

    values = [instance_records_to_plain(scene_to_instance_records(one)) for one in scenes]
    return pa.chunked_array([pa.array(values, type=instance_records_type())])


def _owners(lists: pa.ListArray) -> Integers:
    """For each value of the lists, which list it is in."""
    lengths = _integers(lists.value_lengths())
    return np.repeat(np.arange(len(lengths)), lengths)


def _boxes(lists: pa.FixedSizeListArray) -> Integers:
    return _integers(lists.flatten()).reshape(-1, 4)


def _integers(values: pa.Array) -> Integers:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _booleans(values: pa.Array) -> Booleans:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)
