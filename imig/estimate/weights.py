"""How much of a GPU a model's weights take, without loading them.

From its configuration where the architecture is counted (`imig.estimate.networks`), else from the
files on this disk (numbers in safetensors' headers times the bytes that imig keeps of each), else
from the size of the published download.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from imig.errors import UsageError
from imig.estimate.networks import counted
from imig.estimate.passes import CHECKPOINTS
from imig.models.family import Family
from imig.models.weights import find_family, resolve_weights
from imig.recipe.parts import ModelConfig

How = Literal["counted", "files", "published", "unknown"]

_MOST_HEADER: Final = 100 << 20
"""Bytes, as safetensors itself has it."""


@dataclass(frozen=True)
class Weights:
    """Bytes of a model's weights on a GPU."""

    whole: int
    largest_network: int
    """On the GPU at once with `offload: model`."""
    largest_layer: int
    """With `offload: sequential`."""
    how: How

    def resident(self, offload: str) -> int:
        """What of them is on the GPU at once."""
        parts = {"model": self.largest_network, "sequential": self.largest_layer}
        return parts.get(offload, self.whole)


def weigh(model: ModelConfig) -> Weights:
    """The weights of a recipe's model; 0 of a program, which has none on a GPU."""
    family = find_family(model.family)
    if family.layout == "program":
        return Weights(0, 0, 0, "files")
    if model.weights in CHECKPOINTS:
        return _weigh_counted(model, family)
    try:
        files = resolve_weights(model).files
    except UsageError:
        return _weigh_published(model, family)
    return _weigh_files(files, bytes_each=_bytes_each(model, family))


def _weigh_counted(model: ModelConfig, family: Family) -> Weights:
    each = [counted(name) for name in CHECKPOINTS[model.weights]]
    kept = None if model.dtype == "auto" else _bytes_each(model, family)
    sizes = [one.parameters * (kept or one.bytes_each) for one in each]
    layers = [one.largest_layer * (kept or one.bytes_each) for one in each]
    return Weights(sum(sizes), max(sizes), max(layers), "counted")


def _weigh_published(model: ModelConfig, family: Family) -> Weights:
    for one in family.checkpoints:
        if one.weights == model.weights.partition("@")[0]:
            size = one.megabytes * 1_000_000
            return Weights(size, size, size, "published")
    return Weights(0, 0, 0, "unknown")


def _weigh_files(files: Sequence[Path], *, bytes_each: int) -> Weights:
    """Components of a pipeline lie in folders of their own."""
    networks: dict[Path, int] = {}
    layer = 0
    for path in files:
        numbers = list(_numbers(path))
        networks[path.parent] = networks.get(path.parent, 0) + bytes_each * sum(numbers)
        layer = max(layer, bytes_each * max(numbers, default=0))
    whole = sum(networks.values())
    return Weights(whole, max(networks.values(), default=0), layer, "files")


def _numbers(path: Path) -> Iterable[int]:
    """How many numbers each tensor of a file has; of other formats, as if it were float32."""
    header = _read_header(path) if path.suffix == ".safetensors" else None
    if header is None:
        return [path.stat().st_size // 4]
    return header


def _read_header(path: Path) -> list[int] | None:
    """From the header of a safetensors file; None: it is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _MOST_HEADER:
            return None
        try:
            header = json.loads(file.read(length))
            return [math.prod(one["shape"]) for key, one in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _bytes_each(model: ModelConfig, family: Family) -> int:
    """Of a number, as imig keeps it on a GPU."""
    if family.keeps_float32 or model.dtype == "float32":
        return 4
    return 2
