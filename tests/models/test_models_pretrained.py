"""Processors of transformers, asked for several pictures at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from imig.models.pretrained import load_processor, preprocess_images
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig

SIZES = ((64, 48), (200, 131), (64, 48), (31, 77), (200, 131), (64, 48))


@pytest.mark.parametrize("family", ["dinov2", "blip"])
def test_pictures_of_a_size_go_together_and_come_out_as_alone(family: str) -> None:
    weights = resolve_weights(ModelConfig(family=family, weights="tiny"))
    processor = load_processor(AutoImageProcessor, weights)
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in SIZES
    ]
    together = preprocess_images(processor, images)
    for image, pixels in zip(images, together, strict=True):
        alone = processor(images=[image], return_tensors="pt")["pixel_values"][0]
        assert torch.equal(pixels, alone)
    assert preprocess_images(processor, []) == []
