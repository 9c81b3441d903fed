"""dinov2-small and a captioner with BLIP's architecture, with random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import VOCABULARY_SIZE, bert_tokenizer, load, picture
from transformers import (
    BitImageProcessor,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    Dinov2Config,
    Dinov2Model,
)

from imig.models.families.dinov2 import covered_patches


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `facebook/dinov2-small`."""
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(dino_folder: Path) -> Any:
    return load("dinov2", dino_folder)


def test_features_equal_the_library_s_own(dino_folder: Path, dino: Any) -> None:
    image = picture(256, 256)
    processor = BitImageProcessor.from_pretrained(dino_folder)
    with torch.no_grad():
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        hidden = Dinov2Model.from_pretrained(dino_folder)(pixels).last_hidden_state[0].numpy()
    mask = np.zeros((256, 256), np.bool_)
    # The centre crop takes off 16 pixels, so this covers the patches of rows 0-1, columns 0-2.
    mask[: 16 + 2 * 14, : 16 + 3 * 14] = True
    whole, masked = dino.embed([image, image], [None, mask])
    np.testing.assert_allclose(whole, hidden[0] / np.linalg.norm(hidden[0]), atol=1e-5)
    mean = hidden[1:].reshape(16, 16, -1)[:2, :3].mean(axis=(0, 1))
    np.testing.assert_allclose(masked, mean / np.linalg.norm(mean), atol=1e-5)


def test_dino_batches_equal_single_answers(dino: Any) -> None:
    images = [picture(100, 80), picture(37, 90, seed=1).convert("L"), picture(300, 300, seed=2)]
    thin = np.zeros((90, 37), np.bool_)
    thin[45, 10] = True
    masks = [None, thin, np.zeros((300, 300), np.bool_)]
    together = dino.embed(images, masks)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for place, (image, mask) in enumerate(zip(images, masks, strict=True)):
        np.testing.assert_allclose(together[place], dino.embed([image], [mask])[0], atol=1e-4)
    assert dino.embed([]).shape == (0, 384)
    with pytest.raises(ValueError, match="mask of"):
        dino.embed(images[:1], [thin])


def test_covered_patches_are_never_none() -> None:
    mask = np.zeros((40, 80), np.bool_)
    mask[30:, 70:] = True
    thin = np.zeros((4, 8), np.float32)
    thin[1, 2] = 0.2
    assert np.argwhere(covered_patches(thin, mask)).tolist() == [[1, 2]]
    outside = np.zeros((4, 8), np.float32)
    assert np.argwhere(covered_patches(outside, mask)).tolist() == [[3, 7]]
    assert covered_patches(outside, np.zeros_like(mask)).all()


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BLIP's architecture; 2 of 12 layers a third as wide, to be quick."""
    folder = tmp_path_factory.mktemp("blip")
    torch.manual_seed(0)
    config = BlipConfig(
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "num_hidden_layers": 2,
            "hidden_size": 256,
            "encoder_hidden_size": 256,
            "intermediate_size": 1024,
            "num_attention_heads": 4,
            "bos_token_id": 101,
            "sep_token_id": 102,
            "eos_token_id": 102,
            "initializer_range": 0.1,
        },
        vision_config={
            "num_hidden_layers": 2,
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_attention_heads": 4,
            "image_size": 224,
            "initializer_range": 0.05,
        },
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    processor = BlipProcessor(
        BlipImageProcessor(size={"height": 224, "width": 224}), bert_tokenizer(folder)
    )
    processor.save_pretrained(folder)
    return folder


def test_captions_equal_the_library_s_own_and_repeat(blip_folder: Path) -> None:
    images = [picture(100, 80), picture(41, 90, seed=1).convert("L"), picture(224, 224, seed=2)]
    direct = BlipForConditionalGeneration.from_pretrained(blip_folder).eval()
    processor = BlipProcessor.from_pretrained(blip_folder)
    blip = load("blip", blip_folder)
    captions = blip.caption(images)
    for image, caption in zip(images, captions, strict=True):
        inputs = processor(images=image.convert("RGB"), return_tensors="pt")
        tokens = direct.generate(**inputs, do_sample=False, max_new_tokens=60)
        assert caption == processor.decode(tokens[0], skip_special_tokens=True).strip()
        assert caption
    assert blip.caption(images[:1]) == captions[:1]
    assert blip.caption([]) == []
