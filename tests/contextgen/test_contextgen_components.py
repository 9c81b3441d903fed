"""The parts of a pipeline folder, against the stock pipeline that loads the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline

from imig.contextgen.components import (
    LatentCodec,
    TextEncoders,
    find_components,
    load_transformer,
    pack,
    unpack,
)
from imig.contextgen.settings import TextLength
from imig.errors import UsageError
from imig.models.registry import list_models, load_model
from imig.recipe.parts import ModelConfig
from tools.tiny.contextgen import write_pipeline
from tools.tiny.contextgen_base import new_base
from tools.tiny.contextgen_vae import new_vae

CAPTIONS = [
    "two things: a plain red mug and a striped blue car",
    "",
    "There is a dotted green duck on the left, and another thing: zebra-like!",
    "two things: a plain red mug and a striped cyan car",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of random weights in the official layout."""
    folder: Path = tmp_path_factory.mktemp("pipeline")
    vae = new_vae()
    vae.register_to_config(shift_factor=0.25, scaling_factor=0.8)
    model = new_base()
    # the final layer starts at zero, and would answer zero whatever it is given
    torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
    write_pipeline(folder, vae, model)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    return FluxPipeline.from_pretrained(folder, dtype=torch.float32)


def test_embeddings_are_those_of_the_stock_pipeline(folder: Path, pipeline: Any) -> None:
    found = TextEncoders.load(folder, torch.float32, "cpu").encode(CAPTIONS)
    for caption, embedding in zip(CAPTIONS, found, strict=True):
        length = len(pipeline.tokenizer_2(caption).input_ids)
        with torch.no_grad():
            tokens, pooled, _ = pipeline.encode_prompt(
                caption, prompt_2=None, device="cpu", max_sequence_length=length
            )
        assert embedding.tokens.shape == (length, 96)
        torch.testing.assert_close(embedding.tokens, tokens[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(embedding.pooled, pooled[0], atol=1e-5, rtol=1e-5)
    assert not found[0].tokens.requires_grad
    assert TextEncoders.load(folder, torch.float32, "cpu").encode([]) == []


def test_padded_embeddings_are_what_the_stock_pipeline_gives_by_itself(
    folder: Path, pipeline: Any
) -> None:
    captions = [*CAPTIONS, "a very long caption " * 400]
    encoders = TextEncoders.load(folder, torch.float32, "cpu", text_length=512)
    found = encoders.encode(captions)
    with torch.no_grad():
        tokens, pooled, _ = pipeline.encode_prompt(captions, prompt_2=None, device="cpu")
    torch.testing.assert_close(torch.stack([one.tokens for one in found]), tokens)
    torch.testing.assert_close(torch.stack([one.pooled for one in found]), pooled)
    assert tokens.shape == (len(captions), 512, 96)
    # T5 reads the padding: the words' own embeddings are others, so nothing can be cut off.
    [short] = TextEncoders.load(folder, torch.float32, "cpu").encode(captions[:1])
    apart = (short.tokens - found[0].tokens[: len(short.tokens)]).abs().max()
    assert apart > 1e-3


@pytest.mark.parametrize("text_length", ["caption", 512])
def test_a_caption_that_is_cut_is_warned_of_once(
    folder: Path, text_length: TextLength, capsys: pytest.CaptureFixture[str]
) -> None:
    encoders = TextEncoders.load(folder, torch.float32, "cpu", text_length=text_length)
    encoders.encode(["", "half of a pair \ud83d", "x" * 5000, "red mug " * 100])
    assert capsys.readouterr().err == ""
    for _ in range(2):
        encoders.encode(["red mug " * 1000])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: a text of 2002 tokens is cut to the first 512")


def test_tokens_are_those_of_the_stock_pipeline(folder: Path, pipeline: Any) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 64, 3), dtype=np.uint8)
    codec = LatentCodec.load(folder, torch.float32, "cpu")
    assert codec.pixels_per_token == 16
    tokens = codec.encode(torch.from_numpy(images))
    pixels = pipeline.image_processor.preprocess([*images.astype(np.float32) / 255])
    with torch.no_grad():
        raw = pipeline.vae.encode(pixels).latent_dist.mode()
    latents = (raw - 0.25) * 0.8
    expected = pipeline._pack_latents(latents, 2, 16, 4, 8)
    assert tokens.shape == (2, 8, 64)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unpack(tokens, 2, 4), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pack(latents), expected)


def test_pictures_are_those_of_the_stock_pipeline(folder: Path, pipeline: Any) -> None:
    codec = LatentCodec.load(folder, torch.float32, "cpu")
    tokens = torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0))
    drawn = codec.decode(tokens, 32, 64)
    latents = pipeline._unpack_latents(tokens, 32, 64, pipeline.vae_scale_factor)
    with torch.no_grad():
        pixels = pipeline.vae.decode(latents / 0.8 + 0.25).sample
    expected = pipeline.image_processor.postprocess(pixels, output_type="np")
    assert drawn.shape == (2, 32, 64, 3)
    assert drawn.dtype == torch.uint8
    np.testing.assert_allclose(drawn.numpy(), expected * 255, atol=0.51)


@pytest.mark.parametrize("kind", [FluxPipeline, FluxKontextPipeline])
def test_the_stock_pipelines_draw_a_picture(folder: Path, kind: Any) -> None:
    pipeline = kind.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline(
        prompt=CAPTIONS[0],
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=1.0,
        max_sequence_length=24,
        generator=torch.Generator().manual_seed(0),
        **({"_auto_resize": False, "max_area": 1024} if kind is FluxKontextPipeline else {}),
    ).images
    assert picture.size == (32, 32)


def test_the_transformer_is_whole(folder: Path) -> None:
    transformer = load_transformer(folder, torch.float32, "cpu")
    assert not transformer.training
    assert transformer.config.axes_dims_rope == [8, 12, 12]
    assert {p.dtype for p in transformer.parameters()} == {torch.float32}


def test_sides_must_fit_tokens(folder: Path) -> None:
    codec = LatentCodec.load(folder, torch.float32, "cpu")
    with pytest.raises(ValueError, match="40 x 32 pixels"):
        codec.encode(torch.zeros(1, 32, 40, 3, dtype=torch.uint8))


def test_a_folder_that_lacks_a_part_says_so(folder: Path, tmp_path: Path) -> None:
    for part in folder.iterdir():
        (tmp_path / part.name).symlink_to(part)
    found = find_components(str(tmp_path))
    assert found.path == tmp_path
    assert [file.name for file in found.files] == ["diffusion_pytorch_model.safetensors"]
    (tmp_path / "vae").unlink()
    with pytest.raises(UsageError, match=r"no vae/config\.json"):
        find_components(str(tmp_path))
    with pytest.raises(UsageError, match="vae does not load"):
        LatentCodec.load(tmp_path, torch.float32, "cpu")
    (tmp_path / "tokenizer_2").unlink()
    with pytest.raises(UsageError, match="no usable tokenizer"):
        TextEncoders.load(tmp_path, torch.float32, "cpu")


def test_no_stage_loads_it_yet_it_is_listed() -> None:
    with pytest.raises(UsageError, match="no model of a stage"):
        load_model(ModelConfig(family="contextgen"), batch_size=1)
    rows = {row.weights: row for row in list_models() if row.family == "contextgen"}
    assert set(rows) == {"tiny", "black-forest-labs/FLUX.1-Kontext-dev"}
    assert "non-commercial" in rows["black-forest-labs/FLUX.1-Kontext-dev"].licence
