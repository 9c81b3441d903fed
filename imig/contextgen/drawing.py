"""Encoded samples become pictures: the same during a training and in `imig generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray

from imig.contextgen.batch import make_batch
from imig.contextgen.components import LatentCodec
from imig.contextgen.model import ContextGen
from imig.contextgen.sample import EncodedSample
from imig.contextgen.sampling import sample
from imig.errors import DataError
from imig.models.device import mixed_precision


def draw(
    model: ContextGen,
    samples: Sequence[EncodedSample],
    *,
    codec: LatentCodec,
    scheduler: FlowMatchEulerDiscreteScheduler | None,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    dtype: torch.dtype,
    progress: Callable[[int], None] = lambda step: None,
) -> NDArray[np.uint8]:
    """Pictures (n, h, w, 3), as large as the samples' layouts; see `imig.contextgen.sampling`.

    Parameters
    ----------
    samples:
        Of one grid, on the model's device; a target in them is not looked at.
    scheduler:
        The weights' own, `imig.contextgen.components.load_scheduler`.
    dtype:
        Of the network's weights; the adapter's float32 takes part in bfloat16 where they have that.

    Raises
    ------
    DataError
        When the network gives what is no number, as damaged weights do.
    """
    device = samples[0].layout.device
    batch = make_batch(samples, attention=model.attention).to(device, dtype)
    with mixed_precision(device, dtype):
        latents = sample(
            model,
            batch,
            seeds=list(seeds),
            steps=steps,
            guidance=guidance,
            scheduler=scheduler,
            progress=progress,
        )
    if not latents.isfinite().all():
        raise DataError(
            "the model draws nothing: its output is not a number",
            cure="is the adapter damaged, or of a training that ended in NaN? Without it the base "
            "model draws alone",
        )
    height, width = (count * codec.pixels_per_token for count in samples[0].grid)
    return codec.decode(latents, height, width).cpu().numpy()
