"""The weights of a base model on disk: one safetensors file, or a folder of diffusers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from imig.contextgen.safetensors_file import TensorKind
from imig.errors import DataError, UsageError

INDEX: Final = "diffusion_pytorch_model.safetensors.index.json"
"""Which of several files of a transformer has which weight."""
FLOATS: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""Types of base weights that an adapter can be added to."""
_OTHER_SIZES: Final = {
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "BOOL": 1,
    "I8": 1,
    "U8": 1,
    "I16": 2,
    "U16": 2,
    "I32": 4,
    "U32": 4,
    "I64": 8,
    "U64": 8,
}
"""Of tensors that are passed on."""
_AGAIN: Final = "copy the base model again"


@dataclass(frozen=True)
class BaseWeights:
    """Where the weights of a base are, and what else belongs to it."""

    root: Path
    """What was given: the file, a transformer's folder or a pipeline's."""
    files: tuple[Path, ...]
    kinds: Mapping[Path, Mapping[str, TensorKind]]
    """Of each file the tensors, in its order."""


def find_base_weights(base: Path) -> BaseWeights:
    """What is in a safetensors file, a transformer's folder or that of a pipeline.

    Raises
    ------
    UsageError
        There is no such base, or it has types that imig does not write.
    DataError
        A file is damaged.
    """
    if base.is_file():
        files = [base]
    elif base.is_dir():
        folder = base / "transformer" if (base / "model_index.json").is_file() else base
        files = _files_of(folder)
    else:
        raise UsageError(
            f"there is no base model {base}",
            cure="give a safetensors file, a transformer's folder or a pipeline's",
        )
    kinds: dict[Path, Mapping[str, TensorKind]] = {}
    for path in files:
        with opened_weights(path) as file:
            kinds[path] = {name: _kind(file, name, path) for name in file.keys()}  # noqa: SIM118
    return BaseWeights(root=base, files=tuple(files), kinds=kinds)


def _files_of(folder: Path) -> list[Path]:
    """The safetensors files of a transformer's folder: those of its index, or the only one."""
    index = folder / INDEX
    if not index.is_file():
        found = sorted(folder.glob("*.safetensors"))
        if len(found) == 1:
            return found
        raise UsageError(
            f"{folder} has {len(found)} safetensors files and no {INDEX}",
            cure="give the folder of one transformer as diffusers saves it, or one file",
        )
    try:
        names = sorted({str(one) for one in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is no index of weights", cure=_AGAIN) from error
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise DataError(f"{index} names {name!r}, which is not beside it", cure=_AGAIN)
    return [folder / name for name in names]


@contextmanager
def opened_weights(path: Path) -> Iterator[Any]:
    """A safetensors file of a base, open; DataError where it is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise DataError(f"{path} is not a whole safetensors file: {error}", cure=_AGAIN) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", cure=_AGAIN) from error


def _kind(file: Any, name: str, path: Path) -> TensorKind:
    part = file.get_slice(name)
    dtype, shape = str(part.get_dtype()), tuple(part.get_shape())
    size = FLOATS[dtype].itemsize if dtype in FLOATS else _OTHER_SIZES.get(dtype)
    if size is None:
        raise UsageError(
            f"{path}: {name!r} is of type {dtype}, which imig does not write",
            cure="take the base in bfloat16, float16 or float32",
        )
    for length in shape:
        size *= length
    return TensorKind(dtype=dtype, shape=shape, size=size)
