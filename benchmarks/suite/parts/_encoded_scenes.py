"""Encoded shards of full size without the networks: random latents of the shapes that FLUX has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from benchmarks.suite.parts._scenes import write_dataset
from imig.contextgen.encoded_scene import EncodedScene, scene_to_bytes
from imig.contextgen.sample import EncodedReference, TextEmbedding
from imig.layout.reference_size import TOKEN, picture_size, reference_size
from imig.sample import Sample
from imig.schema import EncodingRecord, Scene
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.manifest import MANIFEST_NAME, read_manifest, write_manifest
from imig.training.recipe import DataConfig

CHANNELS, TEXT_WIDTH, POOLED_WIDTH, TEXT_TOKENS = 64, 4096, 768, 60


def write_encoded(
    folder: Path, samples: Iterable[Sample], *, config: DataConfig
) -> tuple[Path, EncodingRecord]:
    """A dataset of samples with random latents, and how its manifest says they were made."""
    record = EncodingRecord(
        weights="random",
        revision="0" * 12,
        dtype="bfloat16",
        target_width=config.target_width,
        reference_side=config.reference_side,
        max_references=config.max_references,
        instruction=config.instruction,
        edits="sometimes",
        faces="sometimes",
    )
    encoded = _with_latents(samples, record=record)
    write_dataset(folder, encoded, scenes_per_shard=12)
    manifest = read_manifest(folder / MANIFEST_NAME)
    write_manifest(folder / MANIFEST_NAME, manifest.model_copy(update={"encoding": record}))
    return folder, record


def _with_latents(samples: Iterable[Sample], *, record: EncodingRecord) -> Iterator[Sample]:
    for sample in samples:
        data = scene_to_bytes(_random_scene(sample.scene, record), encoding=record)
        yield Sample(sample.scene, {**sample.files, ENCODED_MEMBER: data})


def _random_scene(scene: Scene, record: EncodingRecord) -> EncodedScene:
    """One variant, the crops, as scenes of the subset `basic` have."""
    width, height = picture_size(scene.width, scene.height, target_width=record.target_width)
    grid = (height // TOKEN, width // TOKEN)
    scale = width / scene.width
    references = {}
    for instance in scene.instances:
        view = instance.references[0]
        size = reference_size(view.width, view.height, side=record.reference_side)
        tokens = (size[1] // TOKEN, size[0] // TOKEN)
        x1, y1, x2, y2 = instance.box
        references[view.name] = EncodedReference(
            latents=torch.randn(tokens[0] * tokens[1], CHANNELS),
            valid=torch.ones(tokens, dtype=torch.bool),
            box=(x1 * scale, y1 * scale, x2 * scale, y2 * scale),
        )
    return EncodedScene(
        id=scene.id,
        grid=grid,
        caption=_text(TEXT_TOKENS),
        empty=_text(1),
        target=torch.randn(grid[0] * grid[1], CHANNELS),
        layouts={"crop": torch.randn(grid[0] * grid[1], CHANNELS)},
        references=references,
        shown={"crop": tuple(references)},
    )


def _text(tokens: int) -> TextEmbedding:
    return TextEmbedding(torch.randn(tokens, TEXT_WIDTH), torch.randn(POOLED_WIDTH))
