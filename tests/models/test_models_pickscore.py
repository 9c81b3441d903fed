"""PickScore's architecture, small and random, in the layout of the published folder."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import load, picture
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from imig.errors import UsageError
from imig.models.protocols import PreferenceJudge

CAPTIONS = ["a red cube and a dog", "a cat", "a house of a dog and a dog and a dog and a dog"]


def save_processor(folder: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    raw = folder / "raw"
    raw.mkdir(parents=True)
    (raw / "vocab.json").write_text(json.dumps(vocabulary))
    (raw / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(raw)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    shutil.rmtree(raw)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pickscore")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=54,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    vision = CLIPVisionConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    CLIPModel(config).save_pretrained(folder)
    save_processor(folder)
    return folder


def official(folder: Path, image: Any, caption: str) -> float:
    """The published example of PickScore, for one picture."""
    processor, model = CLIPProcessor.from_pretrained(folder), CLIPModel.from_pretrained(folder)
    options = {"padding": True, "truncation": True, "max_length": 24, "return_tensors": "pt"}
    inputs = processor(images=image, text=caption, **options)
    with torch.no_grad():
        out = model.eval()(**inputs)
        cosine = (out.image_embeds * out.text_embeds).sum()
        return float(model.logit_scale.exp() * cosine)


def test_scores_equal_the_published_example_s(folder: Path) -> None:
    ours = load("pickscore", folder, batch_size=2)
    assert isinstance(ours, PreferenceJudge)
    images = [picture(40, 60), picture(90, 33, seed=1).convert("L"), picture(32, 32, seed=2)]
    wanted = [
        official(folder, image.convert("RGB"), caption)
        for image, caption in zip(images, CAPTIONS, strict=True)
    ]
    together = ours.judge_preference(images, CAPTIONS)
    np.testing.assert_allclose(together, wanted, atol=1e-4)
    alone = ours.judge_preference(images[:1], CAPTIONS[:1])
    np.testing.assert_allclose(alone, together[:1], atol=1e-5)
    assert ours.judge_preference([], []) == []


def test_scores_in_a_lower_format_are_as_fine_as_in_float32(folder: Path) -> None:
    """As on a GPU, where `dtype: auto` is bfloat16."""
    images = [picture(40, 60, seed=seed) for seed in range(6)]
    captions = CAPTIONS * 2
    exact = load("pickscore", folder).judge_preference(images, captions)
    lower = load("pickscore", folder, dtype="bfloat16").judge_preference(images, captions)
    assert lower != exact
    np.testing.assert_allclose(lower, exact, atol=0.05)
    assert any(one != float(torch.tensor(one).bfloat16()) for one in lower)


def test_the_processor_of_the_model_that_was_tuned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published folder may have weights only; the processor is in the hub's cache."""
    bare, companion = tmp_path / "bare", tmp_path / "companion"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, bare)
    monkeypatch.setattr("imig.models.families.pickscore.find_in_hub_cache", lambda hub: None)
    with pytest.raises(UsageError, match="no usable processor"):
        load("pickscore", bare)
    companion.mkdir()
    save_processor(companion)
    monkeypatch.setattr(
        "imig.models.families.pickscore.find_in_hub_cache", lambda hub: (companion, "0" * 40)
    )
    images = [picture(40, 60)]
    assert load("pickscore", bare).judge_preference(images, CAPTIONS[:1]) == load(
        "pickscore", folder
    ).judge_preference(images, CAPTIONS[:1])


def test_another_architecture(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "siglip"}))
    with pytest.raises(UsageError, match="'siglip' model"):
        load("pickscore", other)
