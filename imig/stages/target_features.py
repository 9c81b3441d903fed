"""Features of targets, computed once for each model whichever stages ask for them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.models.protocols import ImageTextScorer
from imig.sample import Sample


def target_features(
    samples: Sequence[Sample],
    targets: Sequence[Image.Image],
    *,
    model: ImageTextScorer,
    key: Hashable,
) -> NDArray[np.float32]:
    """(n, dimensions) float32, L2-normalised: what `model` sees in each sample's target.

    Samples keep theirs for the stages that follow. Where one has none, the whole batch is shown to
    the model: a picture's last bits depend on its batch, which must be the same in every run.

    Parameters
    ----------
    targets:
        The decoded targets of `samples`.
    key:
        The recipe's configuration of the model: stages with the same one share features.
    """
    if any(key not in sample.target_features for sample in samples):
        for sample, feature in zip(samples, model.embed_images(targets), strict=True):
            sample.target_features[key] = feature
    return np.stack([sample.target_features[key] for sample in samples])
