"""Encoded samples without networks: random latents of the right shapes, in a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imig.layout.reference_size import TOKEN, reference_size
from imig.sample import Sample
from imig.schema import EncodingRecord, Scene
from imig.shards.encoded import ENCODED_MEMBER, EncodedHeader, encoded_to_bytes
from imig.shards.manifest import MANIFEST_NAME, read_manifest, write_manifest
from imig.shards.writer import write_tar
from support.tiny_dataset import make_samples, seal

ENCODING = EncodingRecord(
    weights="tiny",
    revision="0123456789ab",
    dtype="bfloat16",
    target_width=96,
    reference_side=32,
    max_references=8,
    instruction="Paint {caption}",
    edits="sometimes",
    faces="sometimes",
)
CHANNELS = 4
Spoil = Callable[[dict[str, Any], dict[str, Tensor]], None]
"""Changes header and tensors of a member in place."""


def encoded_parts(scene: Scene) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, as plain values, and tensors: one variant that shows the first view of everything."""
    width, dtype = ENCODING.target_width, getattr(torch, ENCODING.dtype)
    rows, columns = round(width * scene.height / scene.width / TOKEN), width // TOKEN
    tensors = {name: torch.randn(rows, columns, CHANNELS) for name in ("target", "layout.crop")}
    for text, length in (("caption", 7), ("empty", 1)):
        tensors[f"{text}.tokens"] = torch.randn(length, 24).to(dtype)
        tensors[f"{text}.pooled"] = torch.randn(20).to(dtype)
    boxes = {}
    scale = width / scene.width
    for instance in scene.instances:
        view = instance.references[0]
        size = reference_size(view.width, view.height, side=ENCODING.reference_side)
        grid = (size[1] // TOKEN, size[0] // TOKEN)
        tensors[f"reference.{view.name}.latents"] = torch.randn(*grid, CHANNELS).to(dtype)
        tensors[f"reference.{view.name}.valid"] = torch.ones(grid, dtype=torch.bool)
        boxes[view.name] = [scale * side for side in instance.box]
    header = {
        "id": scene.id,
        "encoding": ENCODING.model_dump(),
        "variants": {"crop": list(boxes)},
        "boxes": boxes,
    }
    return header, tensors


def encode(sample: Sample, spoil: Spoil = lambda header, tensors: None) -> None:
    """Give a sample its member."""
    header, tensors = encoded_parts(sample.scene)
    spoil(header, tensors)
    sample.files[ENCODED_MEMBER] = encoded_to_bytes(EncodedHeader(**header), tensors)


def write_encoded_dataset(
    folder: Path, change: Callable[[list[Sample]], None] = lambda samples: None
) -> Path:
    """Three samples with random latents, changed before they are written; returns the folder."""
    samples = make_samples(3)
    for sample in samples:
        encode(sample)
    change(samples)
    shard = "basic-000000.tar"
    seal(folder, {shard: samples}, {shard: write_tar(folder / shard, samples)})
    manifest = read_manifest(folder / MANIFEST_NAME)
    write_manifest(folder / MANIFEST_NAME, manifest.model_copy(update={"encoding": ENCODING}))
    return folder
