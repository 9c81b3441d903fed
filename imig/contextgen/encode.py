"""Pictures and captions become latents and text embeddings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imig.contextgen.components import LatentCodec
from imig.contextgen.sample import (
    EncodedReference,
    EncodedSample,
    PictureSample,
    ReferencePicture,
    TextEmbedding,
)
from imig.errors import DataError

PICTURES_AT_A_TIME = 16
"""What the autoencoder gets at once: activations of many large pictures would fill a GPU."""


class CaptionEncoder(Protocol):
    """What encodes captions: `TextEncoders`, or what keeps their results."""

    def encode(self, captions: Sequence[str]) -> list[TextEmbedding]:
        """An embedding a caption."""


def encode_pictures(
    samples: Sequence[PictureSample], *, text: CaptionEncoder, codec: LatentCodec
) -> list[EncodedSample]:
    """Encode samples: the target (where there is one), layout and references, and the caption.

    Pictures of equal size go through the autoencoder together, captions through `text` together.

    Returns
    -------
    In the order of `samples`; everything float32 (masks bool) on the codec's device.

    Raises
    ------
    DataError
        When a reference's mask is empty, a picture's sides are no multiples of a token's, or a
        target is not as large as its layout.
    """
    for sample in samples:
        _check(sample, side=codec.pixels_per_token)
    embeddings = text.encode([sample.caption for sample in samples])
    latents = iter(_encode_images([one for sample in samples for one in _images(sample)], codec))
    encoded = []
    for sample, embedding in zip(samples, embeddings, strict=True):
        # In the order of `_images`.
        target = None if sample.target is None else next(latents)
        layout = next(latents)
        references = tuple(
            _encoded_reference(one, next(latents), side=codec.pixels_per_token)
            for one in sample.references
        )
        height, width = sample.layout.shape[:2]
        encoded.append(
            EncodedSample(
                id=sample.id,
                text=TextEmbedding(
                    embedding.tokens.to(layout.device, torch.float32),
                    embedding.pooled.to(layout.device, torch.float32),
                ),
                grid=(height // codec.pixels_per_token, width // codec.pixels_per_token),
                layout=layout,
                references=references,
                target=target,
            )
        )
    return encoded


def valid_tokens(mask: NDArray[np.bool_], *, side: int) -> NDArray[np.bool_]:
    """(h / side, w / side): the token has any pixel of the mask in it (REFERENCE 3.1)."""
    height, width = mask.shape
    cells = mask.reshape(height // side, side, width // side, side)
    return np.asarray(cells.any(axis=(1, 3)))


def _images(sample: PictureSample) -> list[NDArray[np.uint8]]:
    target = [] if sample.target is None else [sample.target]
    return [*target, sample.layout, *(one.image for one in sample.references)]


def _encode_images(images: Sequence[NDArray[np.uint8]], codec: LatentCodec) -> list[Tensor]:
    """(tokens, c) float32 of each picture, in their order."""
    alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        alike[image.shape].append(place)
    latents: dict[int, Tensor] = {}
    for places in alike.values():
        for start in range(0, len(places), PICTURES_AT_A_TIME):
            chosen = places[start : start + PICTURES_AT_A_TIME]
            batch = torch.from_numpy(np.stack([images[place] for place in chosen]))
            latents.update(zip(chosen, codec.encode(batch).float(), strict=True))
    return [latents[place] for place in range(len(images))]


def _encoded_reference(
    reference: ReferencePicture, latents: Tensor, *, side: int
) -> EncodedReference:
    valid = torch.from_numpy(valid_tokens(reference.mask, side=side)).to(latents.device)
    return EncodedReference(latents=latents, valid=valid, box=reference.box)


def _check(sample: PictureSample, *, side: int) -> None:
    if sample.target is not None and sample.target.shape != sample.layout.shape:
        raise DataError(
            f"sample {sample.id}: its target is {_size(sample.target)}, its layout "
            f"{_size(sample.layout)}"
        )
    named = [("layout", sample.layout)]
    for number, one in enumerate(sample.references):
        name = _reference_name(one, number)
        named.append((name, one.image))
        if one.mask.shape != one.image.shape[:2]:
            raise DataError(
                f"sample {sample.id}: {name} is {_size(one.image)}, its mask {_size(one.mask)}"
            )
        if not one.mask.any():
            raise DataError(
                f"sample {sample.id}: the mask of {name} is empty, so none of its tokens shows "
                "the subject",
                cure="give it a mask that covers the subject, or leave the reference out",
            )
    for name, image in named:
        if image.shape[0] % side or image.shape[1] % side:
            raise DataError(
                f"sample {sample.id}: {name} is {_size(image)}, and the sides must be multiples "
                f"of {side}"
            )


def _reference_name(reference: ReferencePicture, number: int) -> str:
    return f"reference {number}" + (f" ({reference.name})" if reference.name else "")


def _size(picture: NDArray[np.uint8] | NDArray[np.bool_]) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
