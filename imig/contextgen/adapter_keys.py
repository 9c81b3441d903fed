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

_DOUBLE: Final = {
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn_proj": ("attn.to_out.0",),
    "img_mlp_0": ("ff.net.0.proj",),
    "img_mlp_2": ("ff.net.2",),
    "img_mod_lin": ("norm1.linear",),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn_proj": ("attn.to_add_out",),
    "txt_mlp_0": ("ff_context.net.0.proj",),
    "txt_mlp_2": ("ff_context.net.2",),
    "txt_mod_lin": ("norm1_context.linear",),
    "processor_qkv_lora1": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "processor_proj_lora1": ("attn.to_out.0",),
    "processor_qkv_lora2": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "processor_proj_lora2": ("attn.to_add_out",),
}
"""Black Forest Labs' names of a double block's layers (the last four: XLabs') -> diffusers'."""
_SINGLE: Final = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation_lin": ("norm.linear",),
    "processor_qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "processor_proj_lora": ("proj_out",),
}
_OUTSIDE: Final = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in_in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in_out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in_in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in_out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in_in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in_out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer_linear": ("proj_out",),
    "final_layer_adaLN_modulation_1": ("norm_out.linear",),
}
_SWAPPED: Final = "final_layer_adaLN_modulation_1"
"""Its outputs are shift and scale; diffusers' layer has scale and shift."""
_OLD_ATTENTION: Final = {
    "to_q_lora": "to_q",
    "to_k_lora": "to_k",
    "to_v_lora": "to_v",
    "to_out_lora": "to_out_0",
}
"""diffusers before PEFT, with or without `processor` before it."""

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


def adapter_layers(file: AdapterFile, transformer: nn.Module) -> dict[str, LoraLayer]:
    """The file's LoRA by the names of the transformer's linear layers, in their order.

    Fused layers of other namings (`qkv`, `linear1`) are taken apart: each part has all of A and its
    own rows of B, which is the same product.

    Raises
    ------
    UsageError
        The file is no LoRA for this transformer; names the key.
    DataError
        Weights are missing, do not fit each other, or are not finite; names the tensor.
    """
    path = file.path
    linear = linear_layers(transformer)
    targets = _names_to_layers(linear)
    found = _collect(file)
    if not found:
        raise DataError(f"{path} has no weights in it", cure="export it again from its run")
    layers: dict[str, LoraLayer] = {}
    for parts in found.values():
        _check_pair(parts, path)
        name = parts.source.replace(".", "_")
        into = (parts.source,) if parts.source in linear else targets.get(name)
        if into is None:
            raise UsageError(
                f"{path}: this transformer has no linear layer {parts.source!r}",
                cure="the adapter belongs to a model with other blocks: give its own --weights",
            )
        for layer, one in zip(into, _split(parts, into, linear, path), strict=True):
            if layer in layers:
                raise UsageError(
                    f"{path}: two LoRAs for the layer {layer!r}: as {layers[layer].source!r} and "
                    f"as {parts.source!r}",
                    cure="give a file with one adapter in it",
                )
            layers[layer] = one
    _check_alphas(found.values(), path)
    return {name: layers[name] for name in linear if name in layers}


def linear_layers(transformer: nn.Module) -> dict[str, nn.Linear]:
    """By name, whether an adapter is on them already or not."""
    layers = {}
    for name, module in transformer.named_modules():
        base: Any = getattr(module, "base_layer", module)
        if isinstance(base, nn.Linear) and not re.search(r"\.(base_layer$|lora_[AB]\.)", name):
            layers[name] = base
    return layers


def _names_to_layers(linear: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Other names of layers, with `_` for `.` -> the transformer's layers, in order of B's rows."""
    there = set(linear)
    names: dict[str, tuple[str, ...]] = {name.replace(".", "_"): (name,) for name in there}
    names |= _OUTSIDE
    blocks = {match[0] for name in there if (match := re.match(r"\w+_blocks\.\d+", name))}
    for block in blocks:
        kind, number = block.split(".")
        double = kind == "transformer_blocks"
        for other, layers in (_DOUBLE if double else _SINGLE).items():
            alias = f"{'double' if double else 'single'}_blocks_{number}_{other}"
            names[alias] = tuple(f"{block}.{layer}" for layer in layers)
        for old, new in _OLD_ATTENTION.items():
            layer = f"{block}.attn.{new.replace('_0', '.0')}"
            for between in ("", "processor_"):
                names[f"{block.replace('.', '_')}_attn_{between}{old}"] = (layer,)
    return {name: layers for name, layers in names.items() if there.issuperset(layers)}


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
    parts: _Found, into: tuple[str, ...], linear: Mapping[str, nn.Linear], path: Path
) -> Iterator[LoraLayer]:
    """The layers of the transformer that a layer of the file is."""
    a, b, bias = parts.tensors["lora_A"], parts.tensors["lora_B"], parts.tensors.get("lora_B.bias")
    alpha = parts.tensors.get("alpha")
    widths = [linear[name].out_features for name in into]
    cure = "the adapter belongs to a model of another size: give its own --weights"
    for key, tensor, side, wanted in (
        (parts.keys["lora_A"], a, 1, linear[into[0]].in_features),
        (parts.keys["lora_B"], b, 0, sum(widths)),
    ):
        if tensor.shape[side] == wanted:
            continue
        if into == ("x_embedder",) and side == 1 and tensor.shape[1] == 2 * wanted:
            cure = (
                "it is a Control LoRA, which widens the model's input by a control picture: give "
                "a plain LoRA"
            )
        raise UsageError(
            f"{path}: {key} is {tuple(tensor.shape)}, the layer's width is {wanted}", cure=cure
        )
    if parts.source.replace(".", "_") == _SWAPPED:
        b, bias = _halves_swapped(b), None if bias is None else _halves_swapped(bias)
    biases = [None] * len(into) if bias is None else _parted(bias, widths)
    for rows, own_bias in zip(_parted(b, widths), biases, strict=True):
        yield LoraLayer(
            a=a,
            b=rows,
            source=parts.source,
            bias=own_bias,
            alpha=None if alpha is None else float(alpha),
        )


def _parted(tensor: Any, widths: list[int]) -> list[Tensor]:
    return list(tensor.split(widths))


def _halves_swapped(tensor: Tensor) -> Tensor:
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
