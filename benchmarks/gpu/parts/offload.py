"""A generator's offload: time and memory of a FLUX pipeline of a tenth of the size, three ways.

Everything on the GPU, the network at work (`model`), or the layer at work (`sequential`): the same
pictures from each.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.parts._flux_vae import make_vae
from benchmarks.gpu.sizes import dtype_of
from benchmarks.gpu.timing import peak_memory, wait_for
from benchmarks.step_parts.setup import FluxConfig, random_transformer
from imig.models.families import FAMILIES
from imig.models.pipeline_folder import INDEX
from imig.models.protocols import DrawRequest, GeneratorSettings
from imig.models.registry import load_model
from imig.models.weights import tiny_folder
from imig.recipe.parts import ModelConfig

BLOCKS: Final = FluxConfig(num_layers=2, num_single_layers=4)
"""FLUX's width, a twelfth of its blocks: 1.3 billion numbers."""
TEXT_LAYERS: Final = 6
"""Of T5's 24."""
OFFLOADS: Final = ("none", "model", "sequential")
STEPS: Final = 4
APART: Final = 2.0
"""Allowed between two ways' pictures, mean difference of a value in 0 to 255."""


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    folder = journal.folder / "flux"
    if device.type == "cpu":
        journal.note("on a CPU there is nothing to offload: the three ways are one")
    try:
        written = journal.attempt("checkpoint", partial(_write, journal, folder, small, device))
        if written is None:
            return
        pictures: dict[str, NDArray[np.uint8]] = {}
        for offload in OFFLOADS:
            run = partial(_draw, journal, folder, offload, small=small, device=device)
            found = journal.attempt(offload, run, seconds=0 if small else 8)
            if found is not None:
                pictures[offload] = found
        _compare(journal, pictures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _draw(
    journal: Journal, folder: Path, offload: str, *, small: bool, device: torch.device
) -> NDArray[np.uint8]:
    started = time.perf_counter()
    config = ModelConfig.model_validate(
        {"family": "flux", "weights": str(folder), "offload": offload}
    )
    with peak_memory(device) as loading:
        model: Any = load_model(config, batch_size=1)
    wait_for(device)
    loaded = time.perf_counter() - started
    side = 32 if small else 1024
    requests = [DrawRequest("a red cube on a table", seed, side, side) for seed in (0, 1)]
    taken = []
    with peak_memory(device) as drawing:
        for request in requests:
            started = time.perf_counter()
            (picture,) = model.draw([request], settings=GeneratorSettings(steps=STEPS))
            wait_for(device)
            taken.append(time.perf_counter() - started)
    journal.figure(
        f"offload {offload}",
        load_seconds=loaded,
        first_picture_seconds=taken[0],
        second_picture_seconds=taken[1],
        loading_peak_gib=loading.gib,
        drawing_peak_gib=drawing.gib,
        steps=STEPS,
        side=side,
    )
    return np.asarray(picture)


def _compare(journal: Journal, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    plain = pictures.get("none")
    for offload, picture in pictures.items():
        if plain is not None and offload != "none":
            apart = float(np.abs(picture.astype(float) - plain.astype(float)).mean())
            if plain.min() == plain.max():
                apart = float("nan")  # of no number the autoencoder makes one colour, every time
            journal.check(f"pictures, {offload} and none", found=apart, allowed=APART)


def _write(journal: Journal, folder: Path, small: bool, device: torch.device) -> Path:
    """A pipeline of the family `flux`: the tiny checkpoint's parts, the networks grown."""
    library: Any = diffusers
    tiny = tiny_folder(FAMILIES["contextgen"])
    started = time.perf_counter()
    parts = library.FluxKontextPipeline.from_pretrained(tiny).components
    parts = {name: part for name, part in parts.items() if part is not None}
    if not small:
        parts |= _grown(device)
    library.FluxPipeline(**parts).save_pretrained(folder)
    size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    journal.figure("checkpoint", gib=size / 2**30, seconds=time.perf_counter() - started)
    assert json.loads((folder / INDEX).read_text(encoding="utf-8"))["_class_name"] == "FluxPipeline"
    return folder


def _grown(device: torch.device) -> dict[str, Any]:
    """Networks as wide as the published ones, on the device, where random numbers cost nothing."""
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    dtype = dtype_of(device)
    clip = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768
    )
    t5 = T5Config(
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=TEXT_LAYERS,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    with device:
        encoders: dict[str, Any] = {
            "text_encoder": CLIPTextModel(clip),
            "text_encoder_2": T5EncoderModel(t5),
        }
    return {
        **{name: one.to(dtype).eval() for name, one in encoders.items()},
        "vae": make_vae(device=device, dtype=dtype),
        "transformer": random_transformer(BLOCKS, device=device, dtype=dtype, seed=0),
    }
