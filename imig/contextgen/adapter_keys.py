"""From the names in a LoRA file to the layers of a FLUX transformer of diffusers.

Every trainer names the same layers in its own way. diffusers has converters too, one a trainer
(`diffusers.loaders.lora_conversion_utils`), which have the sizes of FLUX.1 written in and pass over
what they do not know, alphas among it. Here one table serves all trainers and any size, and what is
not understood is an error; the tests compare the outcome with that of diffusers' converters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from imig.contextgen.adapter_file import AdapterFile
from imig.contextgen.adapter_names import (
    SWAPPED,
    block_counts,
    flux_layers,
    names_to_layers,
    part_widths,
)
from imig.errors import DataError, UsageError

_PREFIXES: Final = (
    "base_model.model.",
    "base_model.",
    "transformer.",
    "model.diffusion_model.",
    "diffusion_model.",
    "module.",
    "lora_unet_",
    "lora_transformer_",
    "lycoris_",
)
"""PEFT; diffusers; ComfyUI; DDP; kohya's trainer; OneTrainer; LyCORIS."""
_WRAPPERS: Final = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?:\.|\Z)"
)
"""What torch.compile, FSDP and activation checkpointing put into names, anywhere."""

_PART: Final = re.compile(
    r"(?P<layer>.+?)(?:"
    r"\.lora_(?P<side>[AB])(?:\.[\w-]+)?\.(?P<kind>weight|bias)"
    r"|\.lora_(?P<kohya>down|up)\.(?P<kohya_kind>weight|bias)"
    r"|(?:\.lora|\.lora_linear_layer)?\.(?P<other>down|up)\.(?P<other_kind>weight|bias)"
    r"|\.(?P<alpha>alpha)"
    r")"
)
"""`x.lora_A.weight`, `x.lora_A.default.weight`, `x.lora.down.weight`, `x.lora_down.weight`, ..."""

_TEXT_ENCODERS: Final = re.compile(
    r"(base_model\.model\.)?"
    r"(text_encoders?(_\d+)?[._]|lora_te\d*_|text_model\.|te\d?\.|clip_l\.|t5xxl\.)"
)
_REFUSED: Final = (
    (
        re.compile(r"lora_magnitude_vector|dora_scale"),
        "it is a DoRA, whose magnitudes imig does not apply",
        "train or export a plain LoRA (PEFT: use_dora=False), or merge it into base weights and "
        "give those as --weights",
    ),
    (
        re.compile(r"\.(hada_|lokr_|lora_mid\b|oft_|boft_|vera_|lora_E\b|[ab][12]\.|on_input)"),
        "it is no LoRA but another kind of adapter (LyCORIS' LoHa or LoKr, OFT, AdaLoRA, ...)",
        "merge it into base weights and give those as --weights, or extract a plain LoRA from it",
    ),
    (
        re.compile(r"query_norm|key_norm|norm_(added_)?[qk]\b"),
        "it is a Control LoRA, which replaces layers of the base model",
        "imig's own layout picture takes the place of a control picture: give a plain LoRA",
    ),
    (
        re.compile(r"\.(diff|diff_b|set_weight|reshape_weight)$"),
        "it changes a whole layer beside the LoRA, which imig does not apply",
        "train it without norms and biases, or merge it into base weights and give those as "
        "--weights",
    ),
)


@dataclass(frozen=True)
class LoraLayer:
    """What a file has for one linear layer: its output grows by `scale * (B A x + bias)`."""

    a: Tensor
    """(rank, inputs), in the file's own type."""
    b: Tensor
    """(outputs, rank)"""
    source: str
    """The layer's name in the file, without prefixes; what patterns of its metadata match."""
    bias: Tensor | None = None
    """(outputs,)"""
    alpha: float | None = None
    """Of a tensor `.alpha` beside the weights, as kohya's trainer writes it."""

    @property
    def rank(self) -> int:
        return len(self.a)


@dataclass
class _Found:
    """The parts of a layer as the file has them; it may be several of the transformer's."""

    source: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    kohya: bool = False


def adapter_layers(file: AdapterFile, transformer: nn.Module | None = None) -> dict[str, LoraLayer]:
    """The file's LoRA by the names of the transformer's linear layers, in their order.

    Fused layers of other namings (`qkv`, `linear1`) are taken apart: each part has all of A and its
    own rows of B, which is the same product.

    Parameters
    ----------
    transformer:
        What the adapter is for, whose widths must be the file's. Without one, names are those of a
        FLUX with as many blocks as the file speaks of, and widths are the file's own.

    Raises
    ------
    UsageError
        The file is no LoRA for this transformer; names the key.
    DataError
        Weights are missing, do not fit each other, or are not finite; names the tensor.
    """
    path = file.path
    found = _collect(file)
    if not found:
        raise DataError(f"{path} has no weights in it", cure="export it again from its run")
    linear = None if transformer is None else linear_layers(transformer)
    names = list(linear) if linear is not None else flux_layers(*block_counts(found))
    targets = names_to_layers(names)
    layers: dict[str, LoraLayer] = {}
    for parts in found.values():
        _check_pair(parts, path)
        into = targets.get(parts.source.replace(".", "_"))
        if into is None:
            raise _no_such_layer(parts, path, known=transformer is not None)
        for layer, one in zip(into, _split(parts, into, linear, path), strict=True):
            if layer in layers:
                raise UsageError(
                    f"{path}: two LoRAs for the layer {layer!r}: as {layers[layer].source!r} and "
                    f"as {parts.source!r}",
                    cure="give a file with one adapter in it",
                )
            layers[layer] = one
    _check_alphas(found.values(), path)
    return {name: layers[name] for name in names if name in layers}


def _no_such_layer(parts: _Found, path: Path, *, known: bool) -> UsageError:
    if known:
        return UsageError(
            f"{path}: this transformer has no linear layer {parts.source!r}",
            cure="the adapter belongs to a model with other blocks: give its own --weights",
        )
    return UsageError(
        f"{path}: FLUX.1 has no linear layer {parts.source!r} "
        f"({next(iter(parts.keys.values()))!r})",
        cure="the adapter belongs to another model; imig has FLUX.1 only",
    )


def linear_layers(transformer: nn.Module) -> dict[str, nn.Linear]:
    """By name, whether an adapter is on them already or not."""
    layers = {}
    for name, module in transformer.named_modules():
        base: Any = getattr(module, "base_layer", module)
        if isinstance(base, nn.Linear) and not re.search(r"\.(base_layer$|lora_[AB]\.)", name):
            layers[name] = base
    return layers


def _collect(file: AdapterFile) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for key, tensor in file.tensors.items():
        if _passed_over(key, file):
            continue
        match = _match(key, file.path)
        name = _without_prefixes(match["layer"])
        parts = found.setdefault(name.replace(".", "_"), _Found(source=name))
        part = _part_of(match)
        if part in parts.tensors:
            raise UsageError(
                f"{file.path}: {part} of {name!r} stands there twice: {parts.keys[part]!r} and "
                f"{key!r}",
                cure="give a file with one adapter in it",
            )
        parts.tensors[part], parts.keys[part] = tensor, key
        parts.kohya |= match["kohya"] is not None
        _check_numbers(key, tensor, file.path)
    return found


def _passed_over(key: str, file: AdapterFile) -> bool:
    """Whether a key changes nothing; an error where it changes what imig leaves as it is."""
    for pattern, what, cure in _REFUSED:
        if pattern.search(key):
            if key.endswith((".diff", ".diff_b")) and not file.tensors[key].count_nonzero():
                return True
            raise UsageError(f"{file.path}: {what} ({key!r})", cure=cure)
    if not _TEXT_ENCODERS.match(key):
        return False
    if re.search(r"(lora_B|up)(\.[\w-]+)?\.weight$", key) and file.tensors[key].count_nonzero():
        raise UsageError(
            f"{file.path} changes a text encoder too ({key!r}), which imig leaves as it is: the "
            "pictures would not be those that it was trained for",
            cure="save its transformer's part alone, without the keys of text encoders",
        )
    return True


def _match(key: str, path: Path) -> re.Match[str]:
    match = _PART.fullmatch(key)
    if match is None or (match["side"] == "A" and match["kind"] == "bias"):
        raise UsageError(
            f"{path}: {key!r} is no LoRA weight of a FLUX transformer",
            cure="imig reads the LoRA files of diffusers, PEFT, kohya's trainer, ComfyUI and XLabs "
            "for FLUX.1; whole models are given as --weights",
        )
    return match


def _part_of(match: re.Match[str]) -> str:
    if match["alpha"]:
        return "alpha"
    side = match["side"] or {"down": "A", "up": "B"}[match["other"] or match["kohya"]]
    kind = match["kind"] or match["other_kind"] or match["kohya_kind"]
    return f"lora_{side}" if kind == "weight" else f"lora_{side}.bias"


def _without_prefixes(name: str) -> str:
    name, before = _WRAPPERS.sub("", name), ""
    while name != before:
        before = name
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
    return name


def _check_numbers(key: str, tensor: Tensor, path: Path) -> None:
    wrong = int((~torch.isfinite(tensor.float())).sum())
    if wrong:
        raise DataError(
            f"{path}: {wrong} of {tensor.numel()} numbers of {key!r} are NaN or infinite",
            cure="the training that made it ended in NaN, or the file is damaged: take an earlier "
            "checkpoint",
        )


def _check_pair(parts: _Found, path: Path) -> None:
    """The layer has its A and its B, and they fit each other."""
    layer, cure = parts.source, "export it again from its run"
    a, b = parts.tensors.get("lora_A"), parts.tensors.get("lora_B")
    if a is None or b is None:
        only = next(iter(parts.keys.values()))
        raise DataError(
            f"{path}: layer {layer!r} has lora_A or lora_B, and needs both: only {only!r} is there",
            cure=cure,
        )
    if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1] or not len(a):
        raise DataError(
            f"{path}: layer {layer!r} has lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)}; "
            "expected (rank, inputs) and (outputs, rank)",
            cure=cure,
        )
    bias, alpha = parts.tensors.get("lora_B.bias"), parts.tensors.get("alpha")
    if "lora_A.bias" in parts.tensors or (bias is not None and bias.shape != b.shape[:1]):
        raise DataError(
            f"{path}: layer {layer!r} has biases that are not B's {tuple(b.shape[:1])}", cure=cure
        )
    if alpha is not None and alpha.numel() != 1:
        raise DataError(
            f"{path}: {parts.keys['alpha']!r} has {alpha.numel()} numbers, an alpha is one",
            cure=cure,
        )


def _split(
    parts: _Found, into: tuple[str, ...], linear: Mapping[str, nn.Linear] | None, path: Path
) -> Iterator[LoraLayer]:
    """The layers of the transformer that a layer of the file is."""
    a, b, bias = parts.tensors["lora_A"], parts.tensors["lora_B"], parts.tensors.get("lora_B.bias")
    alpha = parts.tensors.get("alpha")
    if linear is None:
        where = f"{path}: layer {parts.source!r}"
        widths = part_widths(into, inputs=a.shape[1], outputs=len(b), where=where)
    else:
        widths = [linear[name].out_features for name in into]
        _check_sizes(parts, into, linear[into[0]].in_features, sum(widths), path)
    if parts.source.replace(".", "_") == SWAPPED:
        b, bias = halves_swapped(b), None if bias is None else halves_swapped(bias)
    biases = [None] * len(into) if bias is None else _parted(bias, widths)
    for rows, own_bias in zip(_parted(b, widths), biases, strict=True):
        yield LoraLayer(
            a=a,
            b=rows,
            source=parts.source,
            bias=own_bias,
            alpha=None if alpha is None else float(alpha),
        )


def _check_sizes(
    parts: _Found, into: tuple[str, ...], inputs: int, outputs: int, path: Path
) -> None:
    """The transformer's layer is as wide as the file's."""
    cure = "the adapter belongs to a model of another size: give its own --weights"
    for name, side, wanted in (("lora_A", 1, inputs), ("lora_B", 0, outputs)):
        tensor = parts.tensors[name]
        if tensor.shape[side] == wanted:
            continue
        if into == ("x_embedder",) and side == 1 and tensor.shape[1] == 2 * wanted:
            cure = (
                "it is a Control LoRA, which widens the model's input by a control picture: give "
                "a plain LoRA"
            )
        raise UsageError(
            f"{path}: {parts.keys[name]} is {tuple(tensor.shape)}, the layer's width is {wanted}",
            cure=cure,
        )


def _parted(tensor: Any, widths: list[int]) -> list[Tensor]:
    return list(tensor.split(widths))


def halves_swapped(tensor: Tensor) -> Tensor:
    """Shift and scale in the other order; see `imig.contextgen.adapter_names.SWAPPED`."""
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def _check_alphas(found: Iterable[_Found], path: Path) -> None:
    """A layer without an alpha among layers with one: kohya's trainer means the rank by it."""
    without = [one for one in found if "alpha" not in one.tensors]
    if any("alpha" in one.tensors for one in found) and not all(one.kohya for one in without):
        first = next(one for one in without if not one.kohya)
        raise DataError(
            f"{path}: layer {first.source!r} has no alpha, and others have: its scale is unclear",
            cure="export it again from its run",
        )
