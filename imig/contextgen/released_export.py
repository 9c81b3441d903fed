"""An adapter as a file that the released ContextGen code takes.

Its loader looks through a folder: every ``*.safetensors`` in it must be named as the released
trainer names its files, ``transformer_00008.safetensors``, and the highest number is loaded, by
diffusers' `load_lora_weights` (REFERENCE 3.8). Older versions of that do not read rank and alpha
from the file: alpha is the rank, and one for all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imig.contextgen.adapter import read_settings
from imig.contextgen.adapter_styles import (
    Part,
    carried_metadata,
    read_adapter,
    to_parts,
    writable_dtype,
    write_parts,
)
from imig.contextgen.presets import RELEASED
from imig.contextgen.settings import AttentionConfig
from imig.errors import UsageError


def export_for_released(adapter: Path, folder: Path, *, step: int) -> Path:
    """Write an adapter, of imig or of another tool that it reads, for the released code.

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
        There is no such adapter, it has what imig does not apply, or the folder has files that
        would be in the loader's way.
    DataError
        The adapter is damaged, or the folder cannot be written to.
    """
    path = folder / f"transformer_{step:05d}.safetensors"
    _check_folder(folder, path, step=step)
    read_settings(adapter)  # names what is wrong with them, before they are passed on
    found = read_adapter(adapter)
    rank = max(found.scale.ranks.values())
    write_parts(
        (_filled_up(one, rank) for one in to_parts(found, "diffusers")),
        path,
        style="diffusers",
        dtype=writable_dtype(found.dtype),
        metadata=carried_metadata(found.file.header),
    )
    return path


def _filled_up(part: Part, rank: int) -> Part:
    """With zeros to this rank: ranks that differ stand in the metadata, too."""
    more = rank - len(part.a)
    a = torch.cat((part.a, part.a.new_zeros(more, part.a.shape[1])))
    return replace(part, a=a, b=torch.cat((part.b, part.b.new_zeros(len(part.b), more)), dim=1))


def differences_from_released(settings: Mapping[str, Any]) -> Iterator[str]:
    """Of an adapter's settings (`read_settings`): what the released code does otherwise, in words.

    It draws as it was written, whatever an adapter was trained with.
    """
    attention = settings.get("attention")
    if not isinstance(attention, Mapping):
        attention = {}
    decisive = ("text_length", "position_offsets", "bfloat16_positions", "variant", "ica", "layout")
    defaults = AttentionConfig()
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
