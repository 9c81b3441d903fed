"""The names that other programs have for the linear layers of FLUX, and diffusers' own.

Black Forest Labs' code, and kohya's trainer and ComfyUI after it, have one fused layer (`qkv`,
`linear1`) where diffusers has several. One table serves reading and writing, and models of any
size: it has the parts of a fused layer in the order of its outputs, and no widths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from imig.errors import DataError

DOUBLE: Final = {
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
}
"""Black Forest Labs' names of a double block's layers, with `_` for `.` -> diffusers'."""
SINGLE: Final = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation_lin": ("norm.linear",),
}
OUTSIDE: Final = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in_in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in_out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in_in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in_out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in_in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in_out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer_adaLN_modulation_1": ("norm_out.linear",),
    "final_layer_linear": ("proj_out",),
}
SWAPPED: Final = "final_layer_adaLN_modulation_1"
"""Its outputs are shift and scale; diffusers' layer has scale and shift."""

_XLABS_DOUBLE: Final = {
    "processor_qkv_lora1": DOUBLE["img_attn_qkv"],
    "processor_proj_lora1": DOUBLE["img_attn_proj"],
    "processor_qkv_lora2": DOUBLE["txt_attn_qkv"],
    "processor_proj_lora2": DOUBLE["txt_attn_proj"],
}
_XLABS_SINGLE: Final = {
    "processor_qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "processor_proj_lora": ("proj_out",),
}
_OLD_ATTENTION: Final = {
    "to_q_lora": "to_q",
    "to_k_lora": "to_k",
    "to_v_lora": "to_v",
    "to_out_lora": "to_out_0",
}
"""diffusers before PEFT, with or without `processor` before it."""
_BLOCK: Final = re.compile(
    r"(?:^|[._])(?:(?P<single>single)_(?:transformer_)?|double_|transformer_)blocks[._](?P<n>\d+)"
)
_MOST_BLOCKS: Final = 1000
"""A number beyond is no block of a model that fits any computer."""


def names_to_layers(layers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every name that a program has for some of these layers of diffusers -> the layers.

    Names have `_` for `.`; the layers of a fused one stand in the order of its outputs. A fused
    layer of which the model lacks a part has no name.
    """
    there = set(layers)
    names: dict[str, tuple[str, ...]] = {name.replace(".", "_"): (name,) for name in there}
    names |= OUTSIDE
    blocks = {match[0] for name in there if (match := re.match(r"\w+_blocks\.\d+", name))}
    for block in blocks:
        kind, number = block.split(".")
        double = kind == "transformer_blocks"
        table = DOUBLE | _XLABS_DOUBLE if double else SINGLE | _XLABS_SINGLE
        for other, parts in table.items():
            alias = f"{'double' if double else 'single'}_blocks_{number}_{other}"
            names[alias] = tuple(f"{block}.{part}" for part in parts)
        for old, new in _OLD_ATTENTION.items():
            layer = f"{block}.attn.{new.replace('_0', '.0')}"
            for between in ("", "processor_"):
                names[f"{block.replace('.', '_')}_attn_{between}{old}"] = (layer,)
    return {name: parts for name, parts in names.items() if there.issuperset(parts)}


def fused_layers(layers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Black Forest Labs' layers that hold some of these of diffusers -> all of their parts.

    With `_` for `.`, as kohya's trainer names them; in the order of the network.
    """
    wanted = set(layers)
    return {
        name: parts
        for name, parts in _bfl_layers(*block_counts(wanted))
        if not wanted.isdisjoint(parts)
    }


def flux_layers(doubles: int, singles: int) -> list[str]:
    """diffusers' names of all linear layers of a FLUX with so many blocks, in its order."""
    return [layer for _, parts in _bfl_layers(doubles, singles) for layer in parts]


def block_counts(names: Iterable[str]) -> tuple[int, int]:
    """How many double and single blocks a model has at least, by names of its layers or weights."""
    doubles = singles = 0
    for name in names:
        match = _BLOCK.search(name)
        if match is None or len(match["n"]) > len(str(_MOST_BLOCKS)):
            continue
        count = min(int(match["n"]) + 1, _MOST_BLOCKS)
        if match["single"]:
            singles = max(singles, count)
        else:
            doubles = max(doubles, count)
    return doubles, singles


def part_widths(parts: Sequence[str], *, inputs: int, outputs: int, where: str) -> list[int]:
    """Outputs of each part of a layer: equal, but for `linear1`, whose last one is the MLP.

    Raises
    ------
    DataError
        They cannot be these parts.
    """
    if len(parts) == 1:
        return [outputs]
    if len(parts) == len(SINGLE["linear1"]):
        widths = [inputs] * 3 + [outputs - 3 * inputs]
    else:
        widths = [outputs // len(parts)] * len(parts)
    if sum(widths) != outputs or min(widths) < 1:
        raise DataError(
            f"{where} has {outputs} outputs and {inputs} inputs, which are not those of "
            f"{len(parts)} layers in one",
            cure="it belongs to another model than FLUX.1, or is damaged",
        )
    return widths


def _bfl_layers(doubles: int, singles: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    first = [name for name in OUTSIDE if not name.startswith("final")]
    for name in first:
        yield name, OUTSIDE[name]
    for number in range(doubles):
        for name, parts in DOUBLE.items():
            block = f"transformer_blocks.{number}"
            yield f"double_blocks_{number}_{name}", tuple(f"{block}.{one}" for one in parts)
    for number in range(singles):
        for name, parts in SINGLE.items():
            block = f"single_transformer_blocks.{number}"
            yield f"single_blocks_{number}_{name}", tuple(f"{block}.{one}" for one in parts)
    for name in (name for name in OUTSIDE if name not in first):
        yield name, OUTSIDE[name]
