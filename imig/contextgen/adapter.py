"""The LoRA adapter on FLUX: where it sits, and its file in diffusers' format.

ContextGen has no new parameters; it trains a LoRA of rank 512 on the layers below (REFERENCE 3,
3.5). The file is a diffusers LoRA: `FluxTransformer2DModel.load_lora_adapter` and
`FluxPipeline.load_lora_weights` read it, and files of the released trainer and of other tools load
here.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig, set_peft_model_state_dict
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from imig.contextgen.adapter_config import AdapterScale, find_scale
from imig.contextgen.adapter_file import (
    AdapterFile,
    find_adapter_file,
    open_adapter,
    read_adapter_file,
    read_json_object,
)
from imig.contextgen.adapter_keys import LoraLayer, adapter_layers, linear_layers
from imig.contextgen.adapter_styles import Part, exact_targets, write_parts

TARGETS = (
    r"x_embedder"
    r"|transformer_blocks\.\d+\.(norm1\.linear|attn\.to_[qkv]|attn\.to_out\.0|ff\.net\.2)"
    r"|single_transformer_blocks\.\d+\.(norm\.linear|proj_mlp|proj_out|attn\.to_[qkv])"
)
"""The layers with LoRA, 343 in FLUX (released trainer)."""
IMIG_METADATA = "imig"
"""Our own entry in the file's metadata: JSON with the settings of the training."""
DEFAULT = "default"
_EVERY_TOKEN = re.compile(r"(single_)?transformer_blocks\.\d+\.(?!norm)")
"""Layers of the blocks but for the modulations, whose input is one vector a sample."""


def add_adapter(
    transformer: FluxTransformer2DModel,
    *,
    rank: int,
    alpha: float,
    seed: int,
    name: str = DEFAULT,
) -> None:
    """Freezes the transformer and adds a trainable adapter in float32.

    A is drawn from a normal distribution (peft's "gaussian"), B is zero: at first the adapter
    changes nothing. `seed` decides the draw and leaves PyTorch's generator as it was.
    """
    transformer.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=TARGETS
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=name)
    for parameter in adapter_parameters(transformer, name).values():
        parameter.data = parameter.data.float()


def adapter_parameters(transformer: nn.Module, name: str = DEFAULT) -> dict[str, nn.Parameter]:
    """The adapter's parameters by their names in the transformer, in order."""
    part = re.compile(rf"\.lora_[AB]\.{re.escape(name)}\.")
    return {key: one for key, one in transformer.named_parameters() if part.search(key)}


@contextmanager
def adapter_off(transformer: FluxTransformer2DModel) -> Iterator[None]:
    """The base model alone, for as long as the context lasts."""
    layers = list(_lora_layers(transformer))
    # peft's own switch also decides what is trained, of the parameters that are there just then:
    # within FSDP2's forward those are other ones than before and after it.
    for one in layers:
        one._disable_adapters = True
    try:
        yield
    finally:
        for one in layers:
            one._disable_adapters = False


@contextmanager
def adapter_used(
    transformer: FluxTransformer2DModel, name: str, *, instead_of: str = DEFAULT
) -> Iterator[None]:
    """Another, frozen adapter in the place of the one in training."""
    _activate(transformer, name)
    try:
        yield
    finally:
        _activate(transformer, instead_of)


def _activate(transformer: nn.Module, name: str) -> None:
    for one in _lora_layers(transformer):
        one._active_adapter = name  # peft's set_adapter would also decide what is trained


def _lora_layers(transformer: nn.Module) -> Iterator[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return (one for one in transformer.modules() if isinstance(one, BaseTunerLayer))


def adapter_state(transformer: FluxTransformer2DModel, name: str = DEFAULT) -> dict[str, Tensor]:
    """The adapter's tensors under diffusers' names, without the prefix."""
    state: dict[str, Tensor] = get_peft_model_state_dict(transformer, adapter_name=name)
    return state


def save_adapter(
    transformer: FluxTransformer2DModel,
    path: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = DEFAULT,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the adapter as a diffusers LoRA file, aside first and then renamed.

    The scale is multiplied into B, and alpha is the rank, so that loaders that read no metadata
    draw the same. Equal adapters give equal bytes.

    Parameters
    ----------
    settings:
        JSON values that `read_settings` gives back (which attention the adapter was trained with).
    state:
        In the place of the transformer's own tensors, e.g. gathered from several processes, or a
        moving average; named as `adapter_state` names them.
    dtype:
        Of the file; the adapter is trained in float32.
    metadata:
        More entries for the file's header.

    Raises
    ------
    DataError
        The file cannot be written, or a number does not fit into `dtype`.
    """
    tensors = adapter_state(transformer, name) if state is None else state
    targets = transformer.peft_config[name].target_modules
    write_parts(
        _parts(tensors, transformer, name),
        path,
        style="diffusers",
        dtype=dtype,
        metadata={
            **(metadata or {}),
            IMIG_METADATA: json.dumps(dict(settings or {}), sort_keys=True),
        },
        targets=targets if isinstance(targets, str) else None,
    )


def _parts(state: Mapping[str, Tensor], transformer: nn.Module, name: str) -> Iterator[Part]:
    """The layers of `adapter_state`, with PEFT's scale multiplied into B."""
    for key, a in state.items():
        layer, a_weight, _ = key.partition(".lora_A.weight")
        if not a_weight:
            continue
        lora: Any = transformer.get_submodule(layer)
        factor = lora.scaling[name]
        bias = state.get(f"{layer}.lora_B.bias")
        yield Part(
            name=layer,
            a=_plain(a),
            b=_plain(state[f"{layer}.lora_B.weight"]) * factor,
            bias=None if bias is None else _plain(bias) * factor,
        )


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32)


def read_settings(path: Path) -> dict[str, Any]:
    """What `save_adapter` was given as `settings`; empty for files of other tools.

    Raises UsageError when there is no such file, DataError when it is damaged.
    """
    path = find_adapter_file(path)
    with open_adapter(path) as file:
        text = (file.metadata() or {}).get(IMIG_METADATA, "{}")
    return read_json_object(text, where=f"{path}: its metadata {IMIG_METADATA!r}")


def load_adapter(
    transformer: FluxTransformer2DModel,
    path: Path,
    *,
    name: str = DEFAULT,
    trainable: bool,
    as_trained: bool = False,
) -> AdapterScale:
    """Adds the adapter of a file, or of PEFT's folder: ours, or another tool's.

    Names of layers are those of diffusers, PEFT, kohya's trainer, ComfyUI or XLabs
    (`imig.contextgen.adapter_keys`); the scale is what the file says it is, whichever way it says
    it, and has the effect that diffusers' loader gives it (`imig.contextgen.adapter_config`).
    float32, whatever the file has. A second adapter changes neither which one is used nor which is
    trained (see `adapter_used`). When it raises, the transformer is as it was.

    Parameters
    ----------
    as_trained:
        For going on with a training: with the alpha that imig trained it with and multiplied into
        B, where the file says it. The effect is the same, and so is that of a learning rate.

    Returns
    -------
    Rank and alpha, as the file has them, or as it was trained.

    Raises
    ------
    UsageError
        There is no such file, its layers are not those of this transformer, or it has what imig
        does not apply.
    DataError
        The file is damaged: not whole, not finite, or at odds with itself.
    """
    file = read_adapter_file(path)
    layers = adapter_layers(file, transformer)
    scale = find_scale(file, layers)
    if as_trained:
        layers, scale = _as_trained(file, layers, scale)
    biased = any(one.bias is not None for one in layers.values())
    config = scale.to_peft(targets=_targets(transformer, layers), bias=biased)
    with _others_as_they_are(transformer, name, trainable=trainable), warnings.catch_warnings():
        # of having a second adapter, which is what we want; of biases, which are never merged here
        warnings.simplefilter("ignore", UserWarning)
        transformer.add_adapter(config, adapter_name=name)
        for parameter in adapter_parameters(transformer, name).values():
            parameter.data = parameter.data.float()
        set_peft_model_state_dict(transformer, _peft_state(layers, biased), adapter_name=name)
    return scale


def _as_trained(
    file: AdapterFile, layers: dict[str, LoraLayer], scale: AdapterScale
) -> tuple[dict[str, LoraLayer], AdapterScale]:
    """Undoes what `save_adapter` did to the scale; what is not known to be ours stays as it is."""
    text = file.header.get(IMIG_METADATA, "{}")
    where = f"{file.path}: its metadata {IMIG_METADATA!r}"
    said = read_json_object(text, where=where).get("training")
    rank, alpha = (said.get("rank"), said.get("alpha")) if isinstance(said, dict) else (None, None)
    is_at_scale_one = not scale.rslora and all(
        scale.alphas[name] == one == rank for name, one in scale.ranks.items()
    )
    if not is_at_scale_one or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        return layers, scale
    factor = alpha / scale.rank
    back = {
        name: replace(
            one,
            b=one.b.float() / factor,
            bias=None if one.bias is None else one.bias.float() / factor,
        )
        for name, one in layers.items()
    }
    alphas = dict.fromkeys(scale.ranks, float(alpha))
    return back, replace(scale, alpha=float(alpha), alphas=alphas)


@contextmanager
def _others_as_they_are(
    transformer: FluxTransformer2DModel, name: str, *, trainable: bool
) -> Iterator[None]:
    """While an adapter is added: PEFT makes the newest the one that is used and trained."""
    others = list(getattr(transformer, "peft_config", {}))
    trained = {
        key
        for other in others
        for key, one in adapter_parameters(transformer, other).items()
        if one.requires_grad
    }
    yield
    if trainable:
        trained |= set(adapter_parameters(transformer, name))
    for key, parameter in transformer.named_parameters():
        parameter.requires_grad_(key in trained)
    if others:
        _activate(transformer, others[0])


def _targets(transformer: nn.Module, layers: Mapping[str, LoraLayer]) -> str:
    """A regular expression for exactly these layers; the released trainer's where they are."""
    linear = linear_layers(transformer)
    if set(layers) == {name for name in linear if re.fullmatch(TARGETS, name)}:
        return TARGETS
    return exact_targets(layers)


def _peft_state(layers: Mapping[str, LoraLayer], biased: bool) -> dict[str, Tensor]:
    """Tensors under PEFT's names; with biases on some layers, the others have zeros."""
    state = {}
    for name, layer in layers.items():
        state[f"{name}.lora_A.weight"] = layer.a
        state[f"{name}.lora_B.weight"] = layer.b
        if biased:
            zeros = torch.zeros(len(layer.b))
            state[f"{name}.lora_B.bias"] = zeros if layer.bias is None else layer.bias
    return state


def counted_rank(transformer: nn.Module, name: str = DEFAULT) -> float:
    """The rank at which `imig.contextgen.flops` counts this adapter's matrix products.

    LoRA of this rank on all of `TARGETS` has as many parameters in the layers that work on every
    token as the adapter has: its own rank, where it is the same everywhere, else a mean.
    """
    own = sum(
        parameter.numel()
        for key, parameter in adapter_parameters(transformer, name).items()
        if _EVERY_TOKEN.match(key) and parameter.ndim == 2
    )
    of_rank_one = sum(
        layer.in_features + layer.out_features
        for key, layer in linear_layers(transformer).items()
        if re.fullmatch(TARGETS, key) and _EVERY_TOKEN.match(key)
    )
    return own / of_rank_one
