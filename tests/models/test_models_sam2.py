"""SAM 2 Hiera-tiny, the smallest official size, with random weights; also of smaller pictures."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import boxes_read, load, picture
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

BOXES = np.array([[3, 4, 60, 50], [20, 10, 90, 70]], np.float32)


def hiera_tiny(side: int) -> Any:
    """All blocks of sam2.1-hiera-tiny, for pictures of `side` pixels (a multiple of 32)."""
    config: Any = Sam2Config()  # transformers' defaults are those of sam2.1-hiera-tiny, at 1024
    config.vision_config.backbone_config.image_size = [side, side]
    config.vision_config.backbone_feature_sizes = [[side // n] * 2 for n in (4, 8, 16)]
    config.prompt_encoder_config.image_size = side
    return config


@pytest.mark.parametrize("side", [256, pytest.param(1024, marks=pytest.mark.long)])
def test_hiera_tiny_answers_as_the_library(tmp_path: Path, side: int) -> None:
    torch.manual_seed(0)
    direct = Sam2Model(hiera_tiny(side)).eval()
    direct.save_pretrained(tmp_path)
    processor = Sam2Processor(
        Sam2ImageProcessor(
            size={"height": side, "width": side},
            mask_size={"height": side // 4, "width": side // 4},
        )
    )
    processor.save_pretrained(tmp_path)
    image = picture(120, 90)
    inputs = processor(images=image, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.no_grad():
        outputs = direct(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"],
            multimask_output=False,
        )
    masks = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"])[0][:, 0]

    sam2 = load("sam2", tmp_path, batch_size=2)
    odd = picture(61, 133, seed=1).convert("L")
    ours, other, none = sam2.segment([image, odd, odd], [BOXES, BOXES[:1], BOXES[:0]])
    assert ours.masks.shape == (2, 90, 120)
    np.testing.assert_allclose(
        ours.scores, outputs.iou_scores[0, :, 0].clamp(0, 1).numpy(), atol=1e-4
    )
    # Another batch size: a pixel whose logit is nearly 0 may fall to the other side.
    assert (ours.masks != masks.numpy()).mean() < 1e-3
    assert other.masks.shape == (1, 133, 61)
    assert none.masks.shape == (0, 133, 61)
    alone = sam2.segment([odd], [BOXES[:1]])[0]
    np.testing.assert_allclose(other.scores, alone.scores, atol=1e-4)
    lower = load("sam2", tmp_path, dtype="bfloat16")
    read = boxes_read(lower, image, BOXES + 0.3) * torch.tensor([120 / side, 90 / side])
    np.testing.assert_allclose(read.reshape(-1, 4).float().numpy(), BOXES + 0.3, atol=1e-3)
