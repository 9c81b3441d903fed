"""An adapter as a file that the released ContextGen code takes.

Its loader looks through a folder: every ``*.safetensors`` in it must be named as the released
trainer names its files, ``transformer_00008.safetensors``, and the highest number is loaded, by
diffusers' `load_lora_weights` (REFERENCE 3.8). Older versions of that do not read rank and alpha
from the file: alpha is the rank. So the scale is multiplied into the weights here, and every
version draws the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from safetensors import safe_open
from torch import Tensor

from imig.contextgen.adapter import IMIG_METADATA, read_settings
from imig.contextgen.adapter_config import DIFFUSERS_METADATA, PREFIX
from imig.contextgen.presets import RELEASED
from imig.contextgen.safetensors_file import save_tensors
from imig.errors import DataError, UsageError

_KEY = re.compile(rf"^{re.escape(PREFIX)}(?P<layer>.+)\.lora_(?P<side>[AB])\.weight$")
_Layers = dict[str, tuple[Tensor, Tensor]]
"""Of each layer A (rank, inputs) and B (outputs, rank)."""


def export_for_released(adapter: Path, folder: Path, *, step: int) -> Path:
    """Write an adapter of `imig.contextgen.adapter.save_adapter` for the released code.

    Parameters
    ----------
    folder:
        The one that the released code is given.
    step:
        The number in the file's name.

    Returns
    -------
    The file. One of the same name is replaced.

    Raises
    ------
    UsageError
        There is no such adapter, it is not of imig's form, the folder has files that would be in
        the loader's way, or it cannot be written to.
    DataError
        The adapter is damaged.
    """
    path = folder / f"transformer_{step:05d}.safetensors"
    _check_folder(folder, path, step=step)
    settings = read_settings(adapter)
    layers, described = _read(adapter)
    rank = max(len(a) for a, _ in layers.values())
    tensors = {}
    for layer, (a, b) in layers.items():
        scale = _scale(layer, described, rank=len(a), place=adapter)
        # Ranks that differ are told in the metadata, too: filled up with zeros they are one.
        more = rank - len(a)
        padded_a = torch.cat((a, a.new_zeros(more, a.shape[1])))
        padded_b = torch.cat((b, b.new_zeros(len(b), more)), dim=1)
        tensors[f"{PREFIX}{layer}.lora_A.weight"] = padded_a
        tensors[f"{PREFIX}{layer}.lora_B.weight"] = padded_b if scale == 1 else padded_b * scale
    metadata = {"format": "pt", IMIG_METADATA: json.dumps(settings, sort_keys=True)}
    if described:
        plain = described | {
            "r": rank,
            "lora_alpha": rank,
            "use_rslora": False,
            "rank_pattern": {},
            "alpha_pattern": {},
        }
        metadata[DIFFUSERS_METADATA] = json.dumps(
            {PREFIX + key: value for key, value in plain.items()}, sort_keys=True
        )
    try:
        save_tensors(tensors, path, metadata=metadata)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}", cure="give another --output") from error
    return path


def differences_from_released(settings: Mapping[str, Any]) -> Iterator[str]:
    """Of an adapter's settings (`read_settings`): what the released code does otherwise, in words.

    It draws as it was written, whatever an adapter was trained with.
    """
    attention = settings.get("attention", {})
    decisive = ("text_length", "bfloat16_positions", "variant", "ica", "layout")
    defaults = type(RELEASED.attention)()
    for name in decisive:
        ours = attention.get(name, getattr(defaults, name))
        theirs = getattr(RELEASED.attention, name)
        if ours != theirs:
            yield f"attention.{name} was {ours!r} in the training, and is {theirs!r} there"


def _check_folder(folder: Path, path: Path, *, step: int) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", cure="give another --output")
    for other in sorted(folder.glob("*.safetensors")):
        if other == path:
            continue
        # As the loader takes the number out of a name.
        number = other.name.rsplit("_", 1)[-1].split(".")[0]
        if not number.isdecimal():
            raise UsageError(
                f"{folder} has {other.name} in it, whose name the released loader cannot read",
                cure="give an --output of its own",
            )
        if int(number) >= step:
            raise UsageError(
                f"{folder} has {other.name} in it, which the released loader would take instead "
                f"of {path.name}",
                cure="give another --output, or a higher --step",
            )


def _read(path: Path) -> tuple[_Layers, dict[str, Any]]:
    """The layers, and diffusers' description without its prefix; empty where there is none."""
    sides: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        for key in file.keys():  # noqa: SIM118
            match = _KEY.match(key)
            if match is None:
                raise UsageError(
                    f"{path}: {key!r} is no weight as imig names it",
                    cure="export what `imig train` wrote; a file of the released trainer needs no "
                    "export",
                )
            sides.setdefault(match["layer"], {})[match["side"]] = file.get_tensor(key)
    layers: _Layers = {}
    for layer, found in sides.items():
        a, b = found.get("A"), found.get("B")
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
            raise DataError(
                f"{path}: the weights of layer {layer!r} do not belong together",
                cure="export it again from a checkpoint of its run",
            )
        layers[layer] = a, b
    if not layers:
        raise DataError(f"{path} has no weights in it", cure="train again from its checkpoint")
    try:
        described = json.loads(metadata.get(DIFFUSERS_METADATA, "{}"))
        return layers, {key.removeprefix(PREFIX): value for key, value in described.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: its metadata {DIFFUSERS_METADATA!r} is no JSON object",
            cure="export it again from a checkpoint of its run",
        ) from error


def _scale(layer: str, described: Mapping[str, Any], *, rank: int, place: Path) -> float:
    """What peft multiplies a layer's product with."""
    if not described:
        return 1.0
    patterns = described.get("alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(patterns, layer), described.get("lora_alpha", rank))
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise DataError(
            f"{place}: its metadata has alpha {alpha!r} for {layer}, which is no number",
            cure="export it again from a checkpoint of its run",
        )
    return alpha / (math.sqrt(rank) if described.get("use_rslora") else rank)
