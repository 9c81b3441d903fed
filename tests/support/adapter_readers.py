"""How other programs draw with an adapter's file: their own loader, or their rules in little.

ComfyUI cannot be installed. Its rules for LoRA on FLUX, as its public code has them: weights have
Black Forest Labs' names, in front of which a file says `diffusion_model.` or, with `_` for `.`,
`lora_unet_`; a file with diffusers' names says `transformer.`, and such a layer is some rows of a
fused weight. The matrices are `lora_up` and `lora_down`, or `lora_B` and `lora_A`. A tensor
`.alpha` divided by the rank is the scale, without one it is 1; metadata are not read; what is not
understood is passed over (here it is an error, since a file of imig's has nothing of the kind).
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file
from torch import Tensor

from support.adapter_files import drawn

PIPELINE: Any = diffusers


def drawn_by_pipeline(base: FluxTransformer2DModel, path: Path) -> Tensor:
    """With `FluxPipeline.load_lora_weights(file)` of diffusers."""
    pipeline = PIPELINE.FluxPipeline(
        transformer=copy.deepcopy(base),
        scheduler=None,
        vae=None,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.load_lora_weights(str(path))
    return drawn(pipeline.transformer.eval())


def drawn_by_comfyui(base: FluxTransformer2DModel, path: Path) -> Tensor:
    """By the rules above."""
    transformer = copy.deepcopy(base)
    weights = transformer.state_dict()
    places = _places(weights)
    file = load_file(path)
    used = set()
    for key in file:
        name, up, _ = key.partition(".lora_up.weight")
        down = f"{name}.lora_down.weight"
        if not up:
            name, up, _ = key.partition(".lora_B.weight")
            down = f"{name}.lora_A.weight"
        if not up:
            continue
        b, a = file[key].float(), file[down].float()
        alpha = file.get(f"{name}.alpha")
        scale = 1.0 if alpha is None else float(alpha) / len(a)
        change, row = scale * (b @ a), 0
        for layer, flipped in places[name]:
            weight = weights[f"{layer}.weight"]
            rows = change[row : row + len(weight)]
            weight += torch.cat(rows.chunk(2)[::-1]) if flipped else rows
            row += len(weight)
        assert row == len(change)
        used |= {key, down, f"{name}.alpha"}
    assert set(file) <= used
    return drawn(transformer)


def _places(weights: dict[str, Tensor]) -> dict[str, list[tuple[str, bool]]]:
    """A name in a file -> the layers of diffusers that it is, in the order of its rows.

    With each whether its halves stand the other way round.
    """
    places = {
        f"transformer.{key.removesuffix('.weight')}": [(key.removesuffix(".weight"), False)]
        for key in weights
        if key.endswith(".weight")
    }
    double, single = "transformer_blocks.0", "single_transformer_blocks.0"
    fused = {
        "img_in": ["x_embedder"],
        "txt_in": ["context_embedder"],
        "final_layer.linear": ["proj_out"],
        "double_blocks.0.img_attn.qkv": [f"{double}.attn.to_{one}" for one in "qkv"],
        "double_blocks.0.img_attn.proj": [f"{double}.attn.to_out.0"],
        "double_blocks.0.img_mlp.0": [f"{double}.ff.net.0.proj"],
        "double_blocks.0.img_mlp.2": [f"{double}.ff.net.2"],
        "double_blocks.0.img_mod.lin": [f"{double}.norm1.linear"],
        "double_blocks.0.txt_attn.qkv": [f"{double}.attn.add_{one}_proj" for one in "qkv"],
        "single_blocks.0.linear1": [
            *(f"{single}.attn.to_{one}" for one in "qkv"),
            f"{single}.proj_mlp",
        ],
        "single_blocks.0.linear2": [f"{single}.proj_out"],
        "single_blocks.0.modulation.lin": [f"{single}.norm.linear"],
    }
    for name, layers in fused.items():
        for alias in (f"diffusion_model.{name}", f"lora_unet_{name.replace('.', '_')}"):
            places[alias] = [(layer, False) for layer in layers]
    places["lora_unet_final_layer_adaLN_modulation_1"] = [("norm_out.linear", True)]
    return places
