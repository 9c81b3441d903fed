"""What the order of training needs to know of every scene: a few numbers, held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from imig.layout.reference_size import TOKEN, picture_size
from imig.schema import Scene
from imig.shards.dataset import Dataset
from imig.training.choices import Variant, available_variants, caption_text
from imig.training.lengths import estimate_reference_tokens, estimate_text_tokens
from imig.training.recipe import DataConfig


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
    """Estimated text tokens, the instruction included."""
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
    datasets: Sequence[Dataset], *, config: DataConfig, drop_background: bool = True
) -> Catalogue:
    """Read the record of every scene, once without its pictures.

    Raises
    ------
    DataError
        When a record is damaged.
    """
    training: list[Entry] = []
    held_out: list[Entry] = []
    unusable: list[str] = []
    for number, dataset in enumerate(datasets):
        for scene, shard in zip(dataset.records(), dataset.shards, strict=True):
            entry = scene_to_entry(
                scene, dataset=number, shard=shard, config=config, drop_background=drop_background
            )
            if entry is None:
                unusable.append(scene.id)
            elif is_held_out(scene.id, fraction=config.validation_fraction):
                held_out.append(entry)
            else:
                training.append(entry)
    held_out.sort(key=lambda entry: (_hash_of_id(entry.id), entry.dataset))
    return Catalogue(training, held_out[: config.max_validation], unusable)


def scene_to_entry(
    scene: Scene, *, dataset: int, shard: str, config: DataConfig, drop_background: bool = True
) -> Entry | None:
    """The entry of a scene, None where no sample can be made of it."""
    variants = available_variants(scene, config=config)
    if not variants:
        return None
    width, height = picture_size(scene.width, scene.height, target_width=config.target_width)
    text = caption_text(scene.caption, drop=False, instruction=config.instruction)
    return Entry(
        dataset=dataset,
        id=scene.id,
        subset=scene.subset,
        shard=shard,
        grid=(height // TOKEN, width // TOKEN),
        text=estimate_text_tokens(text),
        references={
            variant: estimate_reference_tokens(
                scene, variant=variant, config=config, drop_background=drop_background
            )
            for variant in variants
        },
    )


def is_held_out(sample_id: str, *, fraction: float) -> bool:
    """Whether a scene is kept for validation: by its id alone, so that all trainings agree.

    A scene held out at a fraction is held out at every larger one.
    """
    return _hash_of_id(sample_id) < fraction


def _hash_of_id(sample_id: str) -> float:
    """In [0, 1)."""
    digest = hashlib.sha256(f"validation\x1f{sample_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
