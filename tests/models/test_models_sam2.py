"""SAM 2 Hiera-tiny, the smallest official size, with random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from support.models_support import load, picture
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

BOXES = np.array([[3, 4, 60, 50], [20, 10, 90, 70]], np.float32)


def test_hiera_tiny_answers_as_the_library(tmp_path: Path) -> None:
    torch.manual_seed(0)
    # transformers' defaults are those of sam2.1-hiera-tiny.
    direct = Sam2Model(Sam2Config()).eval()
    direct.save_pretrained(tmp_path)
    processor = Sam2Processor(Sam2ImageProcessor())
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
