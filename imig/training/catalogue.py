"""What the order of training needs to know of every scene: a few numbers, held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from imig.contextgen.settings import TextLength, text_tokens
from imig.errors import DataError
from imig.layout.reference_size import TOKEN
from imig.shards.dataset import Dataset
from imig.shards.index import INDEX_NAME, INSTANCE_RECORDS
from imig.training.catalogue_check import check_plannable
from imig.training.catalogue_columns import (
    KINDS,
    Booleans,
    Instances,
    Integers,
    References,
    columns_to_arrays,
    scenes_to_column,
)
from imig.training.choices import PREFERRED, Variant, caption_text, variants_of_kinds
from imig.training.lengths import estimate_reference_tokens, estimate_text_tokens
from imig.training.prepare import target_size
from imig.training.recipe import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS: Final = ("id", "subset", "shard", "width", "height", "caption", INSTANCE_RECORDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scene that samples can be made of."""

    dataset: int
    """Its place among the dataset folders."""
    id: str
    subset: str
    shard: str
    grid: tuple[int, int]
    """(rows, columns) of the target's tokens."""
    text: int
    """Text tokens, the instruction included; estimated where they are as many as the caption's."""
    references: dict[Variant, int]
    """Estimated reference tokens of each variant that the scene can have."""


@dataclass(frozen=True)
class Catalogue:
    """The scenes of some datasets, training and validation apart."""

    training: list[Entry]
    """In the order of folders and of their indices."""
    validation: list[Entry]
    """At most `max_validation`, in the order of their ids' hashes."""
    unusable: list[str]
    """Ids of scenes without any usable reference."""


def read_catalogue(
    datasets: Sequence[Dataset],
    *,
    config: DataConfig,
    drop_background: bool = True,
    text_length: TextLength = "caption",
) -> Catalogue:
    """Plan with what the indices say; where one lacks a column, with every scene's record.

    Raises
    ------
    DataError
        When an index, or a record, is damaged.
    """
    training: list[Entry] = []
    held_out: list[Entry] = []
    unusable: list[str] = []
    for number, dataset in enumerate(datasets):
        table = dataset.read_columns(*_COLUMNS)
        if table[INSTANCE_RECORDS].null_count:
            # Written before the column was: this takes ten times as long.
            column = scenes_to_column(list(dataset.records()))
            table = table.set_column(_COLUMNS.index(INSTANCE_RECORDS), INSTANCE_RECORDS, column)
        check_plannable(table, index=dataset.folder.place(INDEX_NAME))
        entries = _entries(
            table,
            columns_to_arrays(table[INSTANCE_RECORDS]),
            dataset=number,
            config=config,
            drop_background=drop_background,
            text_length=text_length,
        )
        for sample_id, entry in zip(dataset.ids, entries, strict=True):
            if entry is None:
                unusable.append(sample_id)
            elif is_held_out(sample_id, fraction=config.validation_fraction):
                held_out.append(entry)
            else:
                training.append(entry)
    held_out.sort(key=lambda entry: (_hash_of_id(entry.id), entry.dataset))
    return Catalogue(training, held_out[: config.max_validation], unusable)


def _entries(
    table: pa.Table,
    arrays: tuple[Instances, References],
    *,
    dataset: int,
    config: DataConfig,
    drop_background: bool,
    text_length: TextLength,
) -> Iterator[Entry | None]:
    """The entry of every row, None where no sample can be made of the scene."""
    instances, references = arrays
    usable = _usable(references, instances)
    shown = _shown(references, instances, usable, config=config)
    tokens = estimate_reference_tokens(
        references, instances, side=config.reference_side, drop_background=drop_background
    )
    scenes = table.num_rows
    by_variant: dict[Variant, list[int]] = {
        variant: np.bincount(
            instances.scene[references.instance[picked]], tokens[picked], minlength=scenes
        )
        .astype(np.int64)
        .tolist()
        for variant in PREFERRED
        for picked in [_picked(references, usable & shown[references.instance], variant)]
    }
    rows = zip(
        *(table[name].to_pylist() for name in ("id", "subset", "shard", "caption")),
        _grids(table, config=config),
        _variants(references, instances, usable & shown[references.instance], scenes, config),
        strict=True,
    )
    for number, (sample_id, subset, shard, caption, grid, variants) in enumerate(rows):
        if not variants:
            yield None
            continue
        text = caption_text(caption, drop=False, instruction=config.instruction)
        yield Entry(
            dataset=dataset,
            id=sample_id,
            subset=subset,
            shard=shard,
            grid=grid,
            text=text_tokens(text_length, caption=estimate_text_tokens(text)),
            references={variant: by_variant[variant][number] for variant in variants},
        )


def _usable(references: References, instances: Instances) -> Booleans:
    """(m,) as `imig.training.choices` has it for one reference."""
    face_fits = references.aligned & instances.face[references.instance]
    usable: Booleans = (references.kind != KINDS.index("face")) | face_fits
    return usable


def _shown(
    references: References, instances: Instances, usable: Booleans, *, config: DataConfig
) -> Booleans:
    """(n,) the instances of each scene that a sample shows: the largest that have a reference."""
    candidates = np.unique(references.instance[usable])
    scene, box = instances.scene[candidates], instances.box[candidates]
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    order = np.lexsort((candidates, -area, scene))
    rank = np.arange(len(order)) - np.searchsorted(scene, scene)  # in its scene, once ordered
    shown = np.zeros(len(instances.scene), dtype=np.bool_)
    shown[candidates[order[rank < config.max_references]]] = True
    return shown


def _picked(references: References, candidates: Booleans, variant: Variant) -> Integers:
    """Places of the references that a variant shows, one of each instance that has a candidate."""
    places = np.flatnonzero(candidates)
    preference = np.array([PREFERRED[variant].index(kind) for kind in KINDS])
    order = np.lexsort((places, preference[references.kind[places]], references.instance[places]))
    places = places[order]
    _, first = np.unique(references.instance[places], return_index=True)
    return places[first]


def _variants(
    references: References,
    instances: Instances,
    candidates: Booleans,
    scenes: int,
    config: DataConfig,
) -> Iterator[tuple[Variant, ...]]:
    """The variants of every scene, by the kinds of references that it can show."""
    has = np.zeros((len(KINDS), scenes), dtype=np.bool_)
    has[references.kind[candidates], instances.scene[references.instance[candidates]]] = True
    of_kinds = {
        code: variants_of_kinds(
            [kind for bit, kind in enumerate(KINDS) if code >> bit & 1], config=config
        )
        for code in range(2 ** len(KINDS))
    }
    codes = (has * 2 ** np.arange(len(KINDS))[:, None]).sum(axis=0)
    return map(of_kinds.__getitem__, codes.tolist())


def _grids(table: pa.Table, *, config: DataConfig) -> Iterator[tuple[int, int]]:
    """(rows, columns) of every target's tokens; most targets have one of a few sizes."""
    known: dict[tuple[int, int], tuple[int, int]] = {}
    columns = (table[name].to_pylist() for name in ("id", "width", "height"))
    for sample_id, *sides in zip(*columns, strict=True):
        size = (sides[0], sides[1])
        if size not in known:
            try:
                width, height = target_size(*size, config=config)
            except ValueError as error:
                raise DataError(
                    f"sample {sample_id} in the index: {error}",
                    cure="`imig validate` lists everything that is damaged.",
                ) from error
            known[size] = (height // TOKEN, width // TOKEN)
        yield known[size]


def is_held_out(sample_id: str, *, fraction: float) -> bool:
    """Whether a scene is kept for validation: by its id alone, so that all trainings agree.

    A scene held out at a fraction is held out at every larger one.
    """
    return _hash_of_id(sample_id) < fraction


def _hash_of_id(sample_id: str) -> float:
    """In [0, 1)."""
    digest = hashlib.sha256(f"validation\x1f{sample_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
