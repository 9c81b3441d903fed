"""An adapter without a model: read in any tool's style, written in that of one.

A style is the names of the keys and the place of the scale. What imig writes has scale 1 in every
style, because loaders disagree about where the scale stands: ComfyUI reads no metadata, diffusers
refuses `.alpha` beside metadata and passes some of kohya's alphas over. So alpha / rank is
multiplied into B, and where a style says an alpha it is the rank.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from imig.contextgen.adapter_config import (
    DIFFUSERS_METADATA,
    PREFIX,
    SCALE_FIELDS,
    AdapterScale,
    find_scale,
)
from imig.contextgen.adapter_file import AdapterFile, read_adapter_file
from imig.contextgen.adapter_keys import LoraLayer, adapter_layers, halves_swapped
from imig.contextgen.adapter_names import SWAPPED, fused_layers
from imig.contextgen.safetensors_file import DIGEST, save_tensors
from imig.errors import DataError, UsageError

Style = Literal["diffusers", "comfyui", "kohya"]
"""diffusers' layers and metadata; the same layers with `.alpha`; fused layers with `.alpha`."""
DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""What adapters are written in."""

_IMPLEMENTATION: Final = "modelspec.implementation"
_IMPLEMENTATIONS: Final[Mapping[Style, str]] = {
    "diffusers": "diffusers",
    "comfyui": "diffusers",
    "kohya": "https://github.com/black-forest-labs/flux",
}
MADE_ANEW: Final = {"format", DIFFUSERS_METADATA, DIGEST, _IMPLEMENTATION}
"""Entries of a header about the form of its own file."""
_STALE: Final = {"ss_network_dim", "ss_network_alpha", "sshs_model_hash", "sshs_legacy_hash"}
"""Those of kohya's trainer about ranks, alphas and bytes."""
_ORIGINS: Final = (
    (re.compile(r"lora_unet_"), "kohya"),
    (re.compile(r"lora_transformer_"), "OneTrainer"),
    (re.compile(r"lycoris_"), "LyCORIS"),
    (re.compile(r"(model\.)?diffusion_model\."), "comfyui (fused)"),
    (re.compile(r"base_model\."), "PEFT"),
    (re.compile(r".*\bprocessor\."), "XLabs"),
    (re.compile(r"(double|single)_blocks\."), "Black Forest Labs"),
)
"""Beginnings of keys -> the program that names them so."""


@dataclass(frozen=True)
class Adapter:
    """An adapter as its file says it, by diffusers' names of layers."""

    file: AdapterFile
    origin: str
    """The style of the file: a `Style`, or another program's name."""
    layers: Mapping[str, LoraLayer]
    scale: AdapterScale

    @property
    def dtype(self) -> torch.dtype:
        """Of most of the weights."""
        kinds = Counter(one.a.dtype for one in self.layers.values())
        return kinds.most_common(1)[0][0]


@dataclass(frozen=True)
class Part:
    """The LoRA of one layer of a style, at scale 1: the output grows by `B A x + bias`."""

    name: str
    """In the style, without prefix."""
    a: Tensor
    """(rank, inputs) float32"""
    b: Tensor
    """(outputs, rank) float32"""
    bias: Tensor | None = None
    """(outputs,) float32"""


def read_adapter(path: Path) -> Adapter:
    """An adapter of any tool that imig reads; see `imig.contextgen.adapter.load_adapter`.

    Raises
    ------
    UsageError
        There is no such file, it is of another model or kind, or has what imig does not apply.
    DataError
        It is damaged: not whole, not finite, or at odds with itself.
    """
    file = read_adapter_file(path)
    layers = adapter_layers(file)
    return Adapter(
        file=file,
        origin=_origin(file.tensors),
        layers=layers,
        scale=find_scale(file, layers),
    )


def require_effect(adapter: Adapter) -> None:
    """Raises DataError where layers have alpha 0: nobody trains that, so something went wrong."""
    dead = [name for name, alpha in adapter.scale.alphas.items() if alpha == 0]
    if dead:
        raise DataError(
            f"{adapter.file.path}: alpha is 0 for {len(dead)} of {len(adapter.layers)} layers, the "
            f"first is {dead[0]!r}: they would change nothing",
            cure="the tool that wrote it lost its alpha: export it again from its run",
        )


def to_parts(adapter: Adapter, style: Style) -> Iterator[Part]:
    """The adapter's layers as the style has them, in the order of the network, made one by one.

    A fused layer's parts with one A in common keep it. Others have an A each, and the fused one has
    all of them, with B's in a block diagonal: the rank is the sum, and the effect the same.

    Raises
    ------
    UsageError
        The style has no place for something that the adapter has.
    DataError
        Layers of one fused layer do not fit each other, or have alpha 0.
    """
    require_effect(adapter)
    biased = next((name for name, one in adapter.layers.items() if one.bias is not None), None)
    if style != "diffusers" and biased is not None:
        raise UsageError(
            f"{adapter.file.path}: layer {biased!r} has a bias beside B, which {style} does not "
            "read",
            cure="`--to diffusers` keeps it",
        )
    if style == "kohya":
        return _fused_parts(adapter)
    return _plain_parts(adapter)


def at_scale_one(adapter: Adapter, layer: str) -> Part:
    """A layer of diffusers, with its scale multiplied into B."""
    one, factor = adapter.layers[layer], adapter.scale.factor(layer)
    return Part(
        name=layer,
        a=one.a.float(),
        b=one.b.float() * factor,
        bias=None if one.bias is None else one.bias.float() * factor,
    )


def write_parts(
    parts: Iterable[Part],
    path: Path,
    *,
    style: Style,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
    targets: str | None = None,
) -> dict[str, int]:
    """Write an adapter's file in a style; equal parts give equal bytes.

    Parameters
    ----------
    metadata:
        More entries for the header.
    targets:
        For diffusers, a regular expression for exactly these layers; None: made of their names.

    Returns
    -------
    The rank of each part.

    Raises
    ------
    DataError
        A number does not fit into `dtype`, or the file cannot be written.
    """
    down, up = ("lora_down", "lora_up") if style == "kohya" else ("lora_A", "lora_B")
    prefix = "lora_unet_" if style == "kohya" else PREFIX
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    biases: dict[str, Tensor | None] = {}
    for one in parts:
        name = prefix + one.name
        ranks[one.name] = len(one.a)
        wanted = {f"{name}.{down}.weight": one.a, f"{name}.{up}.weight": one.b}
        tensors |= {key: _cast(tensor, dtype, f"{path}: {key}") for key, tensor in wanted.items()}
        biases[f"{name}.{up}.bias"] = one.bias
        if style != "diffusers":
            # float32: bfloat16 has no odd ranks above 256
            tensors[f"{name}.alpha"] = torch.tensor(float(len(one.a)))
    biased = any(one is not None for one in biases.values())
    for key, bias in biases.items() if biased else ():
        zeros = torch.zeros(len(tensors[key.replace(".bias", ".weight")]))
        tensors[key] = _cast(zeros if bias is None else bias, dtype, f"{path}: {key}")
    entries = dict(metadata) | {"format": "pt", _IMPLEMENTATION: _IMPLEMENTATIONS[style]}
    if style == "diffusers":
        entries[DIFFUSERS_METADATA] = _diffusers_entry(ranks, targets, biased=biased)
    save_tensors(tensors, path, metadata=entries, digest=True)
    return ranks


def carried_metadata(header: Mapping[str, str]) -> dict[str, str]:
    """The entries of a file that hold for its adapter in another form and rank, too."""
    return {
        key: text
        for key, text in header.items()
        if key not in MADE_ANEW | _STALE and key.removeprefix(PREFIX) not in SCALE_FIELDS
    }


def writable_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type to write an adapter in that was read in `dtype`: its own, where that is usual."""
    if dtype in DTYPES.values():
        return dtype
    return torch.float32 if dtype == torch.float64 else torch.bfloat16


def _origin(keys: Iterable[str]) -> str:
    keys = list(keys)
    for pattern, origin in _ORIGINS:
        if any(pattern.match(key) for key in keys):
            return origin
    return "comfyui" if any(key.endswith(".alpha") for key in keys) else "diffusers"


def _plain_parts(adapter: Adapter) -> Iterator[Part]:
    fused: dict[str, list[str]] = defaultdict(list)
    for name, layer in adapter.layers.items():
        fused[layer.source].append(name)
    for name, layer in adapter.layers.items():
        neighbours = fused[layer.source]
        if len(neighbours) == 1:
            yield at_scale_one(adapter, name)
        elif is_idle(layer) and not all(is_idle(adapter.layers[one]) for one in neighbours):
            continue  # a part that had no LoRA before it was fused with others
        else:
            yield _without_idle(at_scale_one(adapter, name))


def is_idle(layer: LoraLayer) -> bool:
    """Whether it changes nothing, for its B is zero."""
    return not layer.b.float().any()


def _without_idle(part: Part) -> Part:
    """Of a layer that was fused, without the rows of A that only its neighbours have a use for.

    So a fused layer that was made of others comes apart into them, and into no more.
    """
    used = part.b.any(dim=0)
    if used.all() or not used.any():
        return part
    return replace(part, a=part.a[used], b=part.b[:, used])


def _fused_parts(adapter: Adapter) -> Iterator[Part]:
    for name, layers in fused_layers(adapter.layers).items():
        there = {one: at_scale_one(adapter, one) for one in layers if one in adapter.layers}
        yield _fused(name, layers, there, adapter.file.path)


def _fused(name: str, layers: Sequence[str], there: Mapping[str, Part], path: Path) -> Part:
    if len(layers) == 1:
        part = there[layers[0]]
        return replace(part, name=name, b=halves_swapped(part.b) if name == SWAPPED else part.b)
    _check_they_fit(list(there.values()), path)
    rows = _widths(layers, there)
    first = next(iter(there.values())).a
    alike = all(one.a.shape == first.shape and torch.equal(one.a, first) for one in there.values())
    a = first if alike else torch.cat([one.a for one in there.values()])
    b = a.new_zeros(sum(rows), len(a))
    row = column = 0
    for one, count in zip(layers, rows, strict=True):
        if one in there:
            own = there[one].b
            b[row : row + count, column : column + own.shape[1]] = own
            column += 0 if alike else own.shape[1]
        row += count
    return Part(name=name, a=a, b=b)


def _check_they_fit(found: Sequence[Part], path: Path) -> None:
    """Parts of a fused layer read the same input, and queries, keys and values are as wide."""
    inputs = {one.a.shape[1] for one in found}
    widths = {len(one.b) for one in found if not one.name.endswith("proj_mlp")}
    if len(inputs) > 1 or len(widths) > 1:
        raise DataError(
            f"{path}: {', '.join(one.name for one in found)} are of different widths",
            cure="they belong to different models: export the adapter again from its run",
        )


def _widths(parts: Sequence[str], there: Mapping[str, Part]) -> list[int]:
    """Outputs of the parts of a fused layer, also where the adapter has no LoRA for them."""
    inputs = next(there[one] for one in parts if one in there).a.shape[1]
    attention = [len(there[one].b) for one in parts[:3] if one in there]
    missing = attention[0] if attention else inputs
    return [
        len(there[one].b)
        if one in there
        # FLUX's MLP is four times as wide as its states.
        else (4 * inputs if one.endswith("proj_mlp") else missing)
        for one in parts
    ]


def _cast(tensor: Tensor, dtype: torch.dtype, where: str) -> Tensor:
    cast = tensor.to(dtype, copy=True)  # parts that were fused have one A, and a file none twice
    if not torch.isfinite(cast).all():
        raise DataError(
            f"{where}: numbers up to {tensor.abs().max():.3g} are too large for "
            f"{str(dtype).removeprefix('torch.')}",
            cure="--dtype bfloat16 or float32 holds them",
        )
    return cast


def _diffusers_entry(ranks: Mapping[str, int], targets: str | None, *, biased: bool) -> str:
    """The fields of a `LoraConfig` that diffusers makes the adapter of; alpha is the rank."""
    usual = Counter(ranks.values())
    rank = max(usual, key=lambda one: (usual[one], one), default=1)
    # Anchored: without `^` a pattern `proj_out` is one of every block's `proj_out` too.
    others = {f"^{name}": one for name, one in ranks.items() if one != rank}
    fields: dict[str, Any] = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "use_rslora": False,
        "lora_bias": biased,
        "target_modules": targets or exact_targets(ranks),
    }
    return json.dumps({PREFIX + key: value for key, value in fields.items()}, sort_keys=True)


def exact_targets(layers: Iterable[str]) -> str:
    """A regular expression for exactly these layers."""
    return "|".join(re.escape(name) for name in layers)
