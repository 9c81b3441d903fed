"""The trainer of the tiny contextgen: its parts, and all of it for two steps on eight scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from safetensors.torch import load_file

from imig.contextgen.components import LatentCodec, TextEncoders, find_components
from tools.tiny import contextgen, contextgen_base, contextgen_vae
from tools.tiny.common import Workshop
from tools.tiny.contextgen_start import start_linear

WEIGHTS = Path(__file__).parents[2] / "imig" / "weights" / "contextgen"
CAPTION = "two things: a plain red mug and a striped blue car"


@pytest.fixture(scope="module")
def model() -> contextgen_base.BaseModel:
    """With random weights in the layers that start at zero."""
    model = contextgen_base.new_base()
    torch.manual_seed(1)
    for parameter in model.transformer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def test_two_steps_write_a_whole_pipeline(workshop: Workshop) -> None:
    folder = contextgen.train_family(workshop)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 15e6
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)
    for file in folder.rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float16}
    assert "flow-matching loss" in (folder / "README.md").read_text(encoding="utf-8")
    assert find_components(str(folder)).path == folder
    codec = LatentCodec.load(folder, torch.float32, "cpu")
    pool = workshop.pool("training")
    tokens = codec.encode(
        torch.from_numpy(np.stack([contextgen_vae.target_of(scene) for scene in pool]))
    )
    assert abs(float(tokens.mean())) < 0.05
    assert float(tokens.std()) == pytest.approx(1, abs=0.05)
    # a second run takes up what is finished
    first = (folder / "transformer" / "diffusion_pytorch_model.safetensors").read_bytes()
    again = contextgen.train_family(workshop)
    assert (again / "transformer" / "diffusion_pytorch_model.safetensors").read_bytes() == first


def test_a_padded_caption_counts_as_it_does_alone(model: contextgen_base.BaseModel) -> None:
    noisy = torch.randn(2, 144, 64)
    times = torch.tensor([0.3, 0.8])
    long = CAPTION + ", a dotted green duck at the back and a metallic purple house in front"
    with torch.no_grad():
        both = model.velocity(noisy, times, contextgen_base.tokenize([CAPTION, long]))
        alone = model.velocity(noisy[:1], times[:1], contextgen_base.tokenize([CAPTION]))
    torch.testing.assert_close(both[:1], alone, atol=1e-4, rtol=1e-4)


def test_training_tells_the_transformer_what_the_folder_will(
    model: contextgen_base.BaseModel, tmp_path: Path
) -> None:
    import copy

    vae = contextgen_vae.new_vae()
    vae.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    contextgen.write_pipeline(tmp_path, vae, copy.deepcopy(model))
    pipeline = FluxPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    (embedding,) = TextEncoders.load(tmp_path, torch.float32, "cpu").encode([CAPTION])
    noisy = torch.randn(1, 144, 64)
    with torch.no_grad():
        ours = model.velocity(noisy, torch.tensor([0.4]), contextgen_base.tokenize([CAPTION]))
        stock = pipeline.transformer(
            hidden_states=noisy,
            encoder_hidden_states=embedding.tokens[None],
            pooled_projections=embedding.pooled[None],
            timestep=torch.tensor([0.4]),
            guidance=torch.ones(1),
            txt_ids=torch.zeros(len(embedding.tokens), 3),
            img_ids=pipeline._prepare_latent_image_ids(1, 12, 12, "cpu", torch.float32),
            return_dict=False,
        )[0]
    assert float(stock.std()) > 0.01
    # float16 weights on one side
    torch.testing.assert_close(ours, stock, atol=0.02, rtol=0.02)


def test_attention_is_the_stock_one(model: contextgen_base.BaseModel) -> None:
    noisy, times = torch.randn(2, 144, 64), torch.tensor([0.2, 0.7])
    text = contextgen_base.tokenize([CAPTION, "a plain red mug"])
    ours = model.transformer.attn_processors
    with torch.no_grad():
        fast = model.velocity(noisy, times, text)
        model.transformer.set_attn_processor(FluxAttnProcessor())
        stock = model.velocity(noisy, times, text)
    model.transformer.set_attn_processor(ours)
    torch.testing.assert_close(fast, stock, atol=1e-5, rtol=1e-5)


def test_the_start_is_nearly_the_principal_components(workshop: Workshop) -> None:
    images = np.stack([contextgen_vae.target_of(scene) for scene in workshop.pool("training")])
    vae = contextgen_vae.new_vae()
    start_linear(vae, images)
    with torch.no_grad():
        posterior = vae.encode(contextgen_vae.to_pixels(torch.from_numpy(images))).latent_dist
    blocks = images.reshape(len(images), 24, 8, 24, 8, 3).transpose(0, 1, 3, 2, 4, 5)
    pixels = blocks.reshape(-1, 192).astype(np.float64) / 127.5 - 1
    latents = posterior.mean.permute(0, 2, 3, 1).reshape(-1, 16).double().numpy()
    design = np.column_stack((latents, np.ones(len(latents))))
    fitted = design @ np.linalg.lstsq(design, pixels, rcond=None)[0]
    explained = 1 - ((pixels - fitted) ** 2).sum() / ((pixels - pixels.mean(0)) ** 2).sum()
    assert explained > 0.93
    assert float(posterior.var.mean()) < 0.01


def test_batches_hold_captions_of_like_length(workshop: Workshop) -> None:
    pool = workshop.pool("training")
    latents = np.zeros((len(pool), 144, 64), np.float16)
    shares = []
    for seed in range(20):
        batch: Any = contextgen_base.make_batch(pool, latents, np.random.default_rng(seed))
        assert batch["tokens"].shape == (contextgen_base.BATCH, 144, 64)
        assert ((batch["times"] > 0) & (batch["times"] < 1)).all()
        shares.append(float(batch["there"].float().mean()))
    assert np.mean(shares) > 0.75


def test_latents_of_another_autoencoder_are_not_taken(workshop: Workshop) -> None:
    vae = contextgen_vae.new_vae()
    vae.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    first, mark = contextgen_base.encode_pool(workshop, "held-out", vae)
    kept = np.array(first)
    torch.nn.init.normal_(vae.encoder.conv_out.bias)
    second, other = contextgen_base.encode_pool(workshop, "held-out", vae)
    assert mark != other
    assert not np.allclose(kept, second)


def test_a_phrase_is_found_when_a_box_bears_it() -> None:
    class Grounder:
        def ground(self, images: Any, phrases: Any, **thresholds: float) -> Any:
            found = type("Found", (), {"phrases": ["red mug", ""]})
            return [found() for _ in images]

    picture = np.zeros((8, 8, 3), np.uint8)
    share = contextgen.found_share(
        Grounder(), [picture, picture], [["red mug", "blue car"], ["red mug"]]
    )
    assert share == pytest.approx(2 / 3)


def test_committed_weights_are_small_described_and_draw() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 15e6
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    pipeline = FluxPipeline.from_pretrained(WEIGHTS, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline(
        CAPTION,
        height=192,
        width=192,
        num_inference_steps=4,
        guidance_scale=1.0,
        max_sequence_length=16,
        generator=torch.Generator().manual_seed(0),
    ).images
    assert np.asarray(picture).std() > 10
