"""Each trainer, for two steps on eight real scenes: what it writes loads through its family."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from tools.tiny import blip, dinov2, open_clip, segment_anything
from tools.tiny.common import Workshop

WEIGHTS = Path(__file__).parents[2] / "imig" / "weights"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))


def _load(folder: Path, family: str) -> object:
    return load_model(ModelConfig(family=family, weights=str(folder), device="cpu"), batch_size=2)


def test_segment_anything(workshop: Workshop) -> None:
    folder = segment_anything.train_family(workshop)
    model = _load(folder, "segment-anything")
    (found,) = model.segment([PICTURE], [np.array([[10, 20, 60, 70]], np.float32)])  # type: ignore[attr-defined]
    assert found.masks.shape == (1, 90, 120)


def test_batched_masks_are_those_of_the_library(workshop: Workshop) -> None:
    import torch

    sam = segment_anything.new_sam()
    batch = segment_anything.make_batch(workshop.pool("training"), np.random.default_rng(0))
    boxes, owners = batch["boxes"][:3], torch.zeros(3, dtype=torch.long)
    image = batch["images"][:1]
    with torch.no_grad():
        ours, ious = segment_anything.predict(sam, image, boxes, owners)
        side = sam.image_encoder.img_size
        resized = torch.nn.functional.interpolate(
            image.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear"
        )[0]
        theirs = sam(
            [
                {
                    "image": resized,
                    "original_size": (256, 256),
                    "boxes": boxes * side / 256,
                }
            ],
            multimask_output=False,
        )[0]
    torch.testing.assert_close(ours[:, :1], theirs["low_res_logits"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ious[:, :1], theirs["iou_predictions"], atol=1e-4, rtol=1e-4)


def test_open_clip(workshop: Workshop) -> None:
    folder = open_clip.train_family(workshop)
    model = _load(folder, "open-clip")
    images = model.embed_images([PICTURE])  # type: ignore[attr-defined]
    texts = model.embed_texts(["plain red mug", "striped blue car"])  # type: ignore[attr-defined]
    assert images.shape == (1, 64)
    assert texts.shape == (2, 64)
    assert abs(float(texts[0] @ texts[1])) < 0.9999


def test_dinov2(workshop: Workshop) -> None:
    folder = dinov2.train_family(workshop)
    model = _load(folder, "dinov2")
    mask = np.zeros((90, 120), np.bool_)
    mask[20:60, 30:80] = True
    features = model.embed([PICTURE, PICTURE], [None, mask])  # type: ignore[attr-defined]
    assert features.shape == (2, 128)
    assert not np.allclose(features[0], features[1])


def test_blip(workshop: Workshop) -> None:
    folder = blip.train_family(workshop)
    model = _load(folder, "blip")
    (caption,) = model.caption([PICTURE])  # type: ignore[attr-defined]
    assert isinstance(caption, str)


def test_auc_counts_ordered_pairs() -> None:
    positive, negative = np.array([0.9, 0.5, 0.2], np.float32), np.array([0.5, 0.1], np.float32)
    # above: 0.9 twice, 0.5 once and a half, 0.2 once
    assert dinov2.auc(positive, negative) == pytest.approx((2 + 1.5 + 1) / 6)


@pytest.mark.parametrize(
    "family", ["grounding-dino", "segment-anything", "open-clip", "dinov2", "blip"]
)
def test_committed_weights_are_small_described_and_readable(family: str) -> None:
    folder = WEIGHTS / family
    files = list(folder.iterdir())
    assert any(file.suffix == ".safetensors" for file in files)
    assert sum(file.stat().st_size for file in files) <= 8e6
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    assert "## Figures" in card


def test_committed_weights_together_are_small() -> None:
    """Those of the stages; `test_tiny_contextgen` looks at the trainer's."""
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    total = sum(f.stat().st_size for f in files if not f.is_relative_to(WEIGHTS / "contextgen"))
    assert total <= 25e6


def test_open_clip_folder_is_what_open_clip_reads(workshop: Workshop) -> None:
    folder = open_clip.train_family(workshop)
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    assert set(config) == {"model_cfg", "preprocess_cfg"}
    assert config["model_cfg"]["text_cfg"]["vocab_size"] > 1030
