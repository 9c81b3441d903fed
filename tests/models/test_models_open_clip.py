"""The official ViT-B-32 with random weights: as a weight file, and as a folder of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from support.models_support import load, picture

from imig.errors import UsageError

TEXTS = ["a red cube", "a cat and a dog"]
SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}


def test_official_vit_b_32_as_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32")
    model.eval()
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), file)
    image = picture(120, 90)
    with torch.no_grad():
        images = model.encode_image(transform(image)[None], normalize=True).numpy()
        tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
        texts = model.encode_text(tokens, normalize=True).numpy()
    ours = load("open-clip", file, config="ViT-B-32")
    np.testing.assert_allclose(ours.embed_images([image]), images, atol=1e-5)
    np.testing.assert_allclose(ours.embed_texts(TEXTS), texts, atol=1e-5)
    with pytest.raises(UsageError, match="does not name its architecture"):
        load("open-clip", file)


def test_a_folder_in_batches_of_odd_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(**SMALL)
    save_file(
        {key: value.half() for key, value in model.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    ours = load("open-clip", tmp_path, batch_size=2)
    images = [picture(97, 75), picture(20, 200, seed=1).convert("L"), picture(64, 64, seed=2)]
    together = ours.embed_images(images)
    assert together.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for place, image in enumerate(images):
        np.testing.assert_allclose(together[place], ours.embed_images([image])[0], atol=1e-4)
    np.testing.assert_allclose(
        ours.embed_texts([*TEXTS, "cat"])[2], ours.embed_texts(["cat"])[0], atol=1e-4
    )
    assert ours.embed_images([]).shape == ours.embed_texts([]).shape == (0, 32)


def test_siglip_s_architecture_whose_picture_tower_is_timm_s(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
        "image_size": 160,
    }
    settings = {
        **SMALL,
        "embed_dim": 64,
        "vision_cfg": tower,
        "text_cfg": {**SMALL["text_cfg"], "width": 64, "pool_type": "last", "proj_bias": True},
        "init_logit_bias": -10,
    }
    model = open_clip.CustomTextCLIP(**settings).eval()
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {**settings, "custom_text": True}})
    )
    ours = load("open-clip", tmp_path)
    with torch.no_grad():
        tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
        texts = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(ours.embed_texts(TEXTS), texts, atol=1e-5)
    assert ours.embed_images([picture(97, 75)]).shape == (1, 64)
    assert ours.embed_images([]).shape == ours.embed_texts([]).shape == (0, 64)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        # open_clip finds no .pt in a folder, and would go on with random weights
        (["mine.pt"], "no weights in"),
        # it takes a transformers checkpoint for its own, before a file of another name
        (["mine.safetensors", "pytorch_model.bin"], "read pytorch_model.bin, not mine.safetensors"),
        (["mine.safetensors"], ""),
        (["open_clip_model.safetensors", "model.safetensors", "pytorch_model.bin"], ""),
    ],
)
def test_the_file_of_a_folder_that_is_recorded_is_read(
    tmp_path: Path, files: list[str], message: str
) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    features = []
    for seed, name in reversed(list(enumerate(files))):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**SMALL).eval()
        write = save_file if name.endswith(".safetensors") else torch.save
        write(model.state_dict(), tmp_path / name)
        with torch.no_grad():
            tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
            features = model.encode_text(tokens, normalize=True).numpy()
    if message:
        with pytest.raises(UsageError, match=message):
            load("open-clip", tmp_path)
    else:
        np.testing.assert_allclose(
            load("open-clip", tmp_path).embed_texts(TEXTS), features, atol=1e-5
        )
