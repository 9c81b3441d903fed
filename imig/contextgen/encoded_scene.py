"""A scene, encoded once for all samples that it can become; `imig.shards.encoded` stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from imig.checks.encoded import member_problems
from imig.contextgen.sample import EncodedReference, EncodedSample, TextEmbedding
from imig.errors import VALIDATE, DataError
from imig.schema import EncodingRecord
from imig.shards.encoded import (
    ENCODED_MEMBER,
    TARGET,
    TEXTS,
    EncodedHeader,
    encoded_from_bytes,
    encoded_to_bytes,
    layout_name,
    reference_names,
    text_names,
)


@dataclass(frozen=True)
class EncodedScene:
    """Latents and text embeddings; float32 in memory, whatever they are stored in."""

    id: str
    grid: tuple[int, int]
    """(rows, columns) of tokens of target and layouts."""
    caption: TextEmbedding
    """Of the caption inside the instruction."""
    empty: TextEmbedding
    """Of no caption."""
    target: Tensor
    """(rows * columns, c) packed latents."""
    layouts: Mapping[str, Tensor]
    """(rows * columns, c) of each variant."""
    references: Mapping[str, EncodedReference]
    """By name, for example `ref00`."""
    shown: Mapping[str, tuple[str, ...]]
    """The references that each variant shows, in the order of the instances."""

    def to_sample(self, variant: str, *, drop_caption: bool = False) -> EncodedSample:
        """One of the samples. Raises KeyError when the variant has not been encoded."""
        return EncodedSample(
            id=self.id,
            text=self.empty if drop_caption else self.caption,
            grid=self.grid,
            layout=self.layouts[variant],
            references=tuple(self.references[name] for name in self.shown[variant]),
            target=self.target,
        )


def scene_to_bytes(scene: EncodedScene, *, encoding: EncodingRecord) -> bytes:
    """The member of a shard."""
    dtype: torch.dtype = getattr(torch, encoding.dtype)
    tensors = {TARGET: _on_grid(scene.target, scene.grid)}
    for text, embedding in zip(TEXTS, (scene.caption, scene.empty), strict=True):
        tokens, pooled = text_names(text)
        tensors |= {tokens: embedding.tokens.to(dtype), pooled: embedding.pooled.to(dtype)}
    for variant, layout in scene.layouts.items():
        tensors[layout_name(variant)] = _on_grid(layout, scene.grid)
    for name, reference in scene.references.items():
        latents, valid = reference_names(name)
        rows, columns = reference.valid.shape
        tensors[latents] = _on_grid(reference.latents, (rows, columns)).to(dtype)
        tensors[valid] = reference.valid
    header = EncodedHeader(
        id=scene.id,
        encoding=encoding,
        variants=dict(scene.shown),
        boxes={name: reference.box for name, reference in scene.references.items()},
    )
    return encoded_to_bytes(header, {name: one.cpu() for name, one in tensors.items()})


def scene_from_bytes(
    data: bytes, *, sample: str, encoding: EncodingRecord, place: str
) -> EncodedScene:
    """The encoded scene of a member of `sample`.

    Raises
    ------
    DataError
        When it is damaged, or was encoded otherwise than `encoding`, the manifest's; names `place`.
    """
    header, tensors = encoded_from_bytes(data, place=place)
    if header.encoding != encoding:
        raise DataError(
            f"{place} was encoded otherwise than its dataset.json says",
            cure="`imig encode` the plain dataset again; `imig validate` lists such samples.",
        )
    problem = next(member_problems(header, tensors, sample=sample), None)
    if problem is not None:
        raise DataError(f"{place}: {ENCODED_MEMBER}: {problem}", cure=VALIDATE)
    target = tensors[TARGET]
    references = {}
    for name, box in header.boxes.items():
        latents, valid = (tensors[one] for one in reference_names(name))
        references[name] = EncodedReference(latents.float().flatten(0, 1), valid, box)
    caption, empty = (
        TextEmbedding(*(tensors[one].float() for one in text_names(text))) for text in TEXTS
    )
    return EncodedScene(
        id=header.id,
        grid=(target.shape[0], target.shape[1]),
        caption=caption,
        empty=empty,
        target=target.flatten(0, 1),
        layouts={one: tensors[layout_name(one)].flatten(0, 1) for one in header.variants},
        references=references,
        shown=header.variants,
    )


def _on_grid(latents: Tensor, grid: tuple[int, int]) -> Tensor:
    """(rows * columns, c) -> (rows, columns, c)."""
    return latents.reshape(*grid, latents.shape[-1])
