"""One sample on its way to the model: as pictures, then as latents.

The way is `imig.training.prepare` (a scene becomes a `PictureSample`), `imig.contextgen.encode`
(pictures become an `EncodedSample`), `imig.contextgen.batch` (encoded samples become the tensors
of a step). Sampling enters at the second with pictures of the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the target."""


@dataclass(frozen=True)
class ReferencePicture:
    """One reference at the size at which the model sees it."""

    image: NDArray[np.uint8]
    """(h, w, 3); h and w are multiples of 16, the background is mid grey (REFERENCE 3.1)."""
    mask: NDArray[np.bool_]
    """(h, w), the subject."""
    box: Box
    """Where in the target the subject belongs."""
    name: str = ""
    """For messages and captions of pictures, e.g. "ref00 crop"."""


@dataclass(frozen=True)
class PictureSample:
    """One sample as pictures, all choices (crop or edit, caption or none) already made."""

    id: str
    caption: str
    """What the text encoders get: wrapped into the instruction, or empty where it was dropped."""
    layout: NDArray[np.uint8]
    """(height, width, 3), multiples of 16."""
    references: tuple[ReferencePicture, ...]
    target: NDArray[np.uint8] | None = None
    """As large as the layout; None when the picture is still to be made."""


@dataclass(frozen=True)
class TextEmbedding:
    """A caption for FLUX."""

    tokens: Tensor
    """(t, d) T5 features; t >= 1, as `AttentionConfig.text_length` has it."""
    pooled: Tensor
    """(p,) CLIP's pooled feature."""


@dataclass(frozen=True)
class EncodedReference:
    """The latents of one reference."""

    latents: Tensor
    """(h * w, c) packed latents, row by row."""
    valid: Tensor
    """(h, w) bool: the token has something of the subject in it."""
    box: Box
    """Pixels of the target."""


@dataclass(frozen=True)
class EncodedSample:
    """One sample as FLUX takes it; a packed latent is a token (16 x 16 pixels with FLUX's VAE)."""

    id: str
    text: TextEmbedding
    grid: tuple[int, int]
    """(rows, columns) of tokens of target and layout."""
    layout: Tensor
    """(rows * columns, c) packed latents."""
    references: tuple[EncodedReference, ...]
    target: Tensor | None = None
    """(rows * columns, c); None when it is still to be made."""

    def to(self, device: torch.device | str) -> EncodedSample:
        """The sample on a device."""
        return replace(
            self,
            text=TextEmbedding(self.text.tokens.to(device), self.text.pooled.to(device)),
            layout=self.layout.to(device),
            references=tuple(
                replace(one, latents=one.latents.to(device), valid=one.valid.to(device))
                for one in self.references
            ),
            target=None if self.target is None else self.target.to(device),
        )
