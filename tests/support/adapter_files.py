"""Small LoRA files in the ways of many tools, and what a transformer draws with them."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import FluxLoraLoaderMixin
from safetensors.torch import save_file
from torch import Tensor, nn

from imig.contextgen.adapter import load_adapter
from support.contextgen_samples import CHANNELS, POOLED_WIDTH, TEXT_WIDTH, small_transformer

IN, Q, K, V = "x_embedder", *(f"transformer_blocks.0.attn.to_{one}" for one in "qkv")
SINGLE, MLP = "single_transformer_blocks.0.proj_out", "single_transformer_blocks.0.proj_mlp"
LAST, NORM = "proj_out", "norm_out.linear"
"""Layers of `flux`: two names that end alike, one whose outputs other tools order otherwise."""

Weights = Mapping[str, tuple[Tensor, Tensor]]
"""Layer -> (A, B)."""


def flux() -> FluxTransformer2DModel:
    """The smallest FLUX: one block of either kind."""
    return small_transformer(double=1, single=1)


def random_weights(layers: Iterable[str], *, rank: int | Mapping[str, int] = 8) -> Weights:
    """LoRA that changes much, for layers of `flux`."""
    modules: dict[str, Any] = dict(flux().named_modules())
    generator = torch.Generator().manual_seed(11)
    weights = {}
    for layer in layers:
        own = rank if isinstance(rank, int) else rank[layer]
        inputs, outputs = modules[layer].in_features, modules[layer].out_features
        weights[layer] = (
            0.3 * torch.randn(own, inputs, generator=generator),
            0.3 * torch.randn(outputs, own, generator=generator),
        )
    return weights


def tensors(
    weights: Weights, *, prefix: str = "transformer.", down: str = "lora_A", up: str = "lora_B"
) -> dict[str, Tensor]:
    """Under the names of a tool."""
    named = {}
    for layer, (a, b) in weights.items():
        named[f"{prefix}{layer}.{down}.weight"] = a.clone()
        named[f"{prefix}{layer}.{up}.weight"] = b.clone()
    return named


def config(*, prefix: str = "transformer.", **fields: Any) -> dict[str, str]:
    """diffusers' entry of a file's metadata; PEFT insists on some `target_modules`."""
    described = {
        prefix + name: one for name, one in ({"target_modules": ["to_q"]} | fields).items()
    }
    return {"lora_adapter_metadata": json.dumps(described)}


def write(path: Path, state: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> Path:
    state = {key: value.clone() for key, value in state.items()}  # which share no memory
    save_file(state, path, metadata=dict(header) if header else None)
    return path


def drawn(transformer: FluxTransformer2DModel) -> Tensor:
    """What the transformer makes of fixed inputs."""
    generator = torch.Generator().manual_seed(2)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        result: Tensor = transformer(
            hidden_states=normal(1, 6, CHANNELS),
            encoder_hidden_states=normal(1, 3, TEXT_WIDTH),
            pooled_projections=normal(1, POOLED_WIDTH),
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([2.0]),
            img_ids=torch.arange(18.0).reshape(6, 3),
            txt_ids=torch.zeros(3, 3),
            return_dict=False,
        )[0]
    return result


def drawn_by_imig(base: FluxTransformer2DModel, path: Path) -> Tensor:
    transformer = copy.deepcopy(base)
    load_adapter(transformer, path, trainable=False)
    return drawn(transformer)


def drawn_by_diffusers(base: FluxTransformer2DModel, path: Path, *, bare: bool) -> Tensor:
    """With the loader of the pipelines; `bare`: of the transformer, for keys without a prefix."""
    transformer = copy.deepcopy(base)
    load_by_diffusers(transformer, path, bare=bare)
    return drawn(transformer.eval())  # its new layers come in training mode, with dropout


def load_by_diffusers(transformer: FluxTransformer2DModel, path: Path, *, bare: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if bare:
            transformer.load_lora_adapter(str(path.parent), weight_name=path.name, prefix=None)
            return
        state, alphas, metadata = FluxLoraLoaderMixin.lora_state_dict(
            str(path.parent), weight_name=path.name, return_alphas=True, return_lora_metadata=True
        )
        transformer.load_lora_adapter(state, network_alphas=alphas or None, metadata=metadata)


def drawn_merged(
    base: FluxTransformer2DModel, weights: Weights, scales: Mapping[str, float]
) -> Tensor:
    """With the LoRA added to the base weights: by the definition, without PEFT."""
    transformer = copy.deepcopy(base)
    modules = dict(transformer.named_modules())
    for layer, (a, b) in weights.items():
        linear = modules[layer]
        assert isinstance(linear, nn.Linear)
        linear.weight.data += scales[layer] * b.float() @ a.float()
    return drawn(transformer)
