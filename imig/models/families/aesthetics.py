"""Family `aesthetics`: what people would think of a picture, by a head on CLIP's image tower.

Heads are those of LAION (trained on openai's ViT-L/14): chains of linear layers, without anything
between them, from the L2-normalised image feature to the mean opinion of 1 to 10.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.families.open_clip import OpenClip
from imig.models.family import Checkpoint, Family
from imig.models.libraries import torch
from imig.models.unloadable import unloadable_reason


class Layer(NamedTuple):
    """``y = weight @ x + bias``."""

    weight: NDArray[np.float32]
    """(out, in)."""
    bias: NDArray[np.float32]
    """(out,)."""


class Aesthetics:
    """An `AestheticsJudge`: the tower from the folder in `weights`, the head from `config`."""

    family: ClassVar[Family] = Family(
        name="aesthetics",
        tasks=("judge pictures",),
        library="open_clip_torch",
        weight_files=(
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
        ),
        needs=("open_clip_config.json",),
        head="the head: a .safetensors or .pth file, for example "
        "sac+logos+ava1-l14-linearMSE.pth of "
        "https://github.com/christophschuhmann/improved-aesthetic-predictor (Apache-2.0)",
        checkpoints=(Checkpoint("timm/vit_large_patch14_clip_224.openai", 1710, "MIT"),),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        self.name = weights.name
        self._tower = OpenClip(weights, runtime)
        head = weights.files[-1]
        self._layers = read_head(head)
        dimensions = self._tower.embed_images([]).shape[1]
        wanted = self._layers[0].weight.shape[1]
        if wanted != dimensions:
            raise UsageError(
                f"aesthetics: the head {head} takes features of {wanted} dimensions, the tower "
                f"{weights.path} has {dimensions}",
                cure="take the tower that the head was trained on (LAION's heads for 768 "
                "dimensions: openai's ViT-L/14)",
            )

    def judge_aesthetics(self, images: Sequence[Image]) -> list[float]:
        """The predicted mean opinion of each picture."""
        values = self._tower.embed_images(images)
        for layer in self._layers:
            values = values @ layer.weight.T + layer.bias
        return [float(value) for value in values[:, 0]]


def read_head(path: Path) -> list[Layer]:
    """The layers of a head file, the first first.

    Two layouts: one linear layer (`weight`, `bias`), and a `torch.nn.Sequential` of which the
    linear ones have weights (`layers.0.weight`, `layers.2.weight`, ...; improved predictor).

    Raises
    ------
    UsageError
        When the file is neither, or its layers do not fit each other.
    """
    state = _read_state(path)
    numbered: dict[int, Layer] = {}
    for name, weight in state.items():
        match = re.fullmatch(r"(?:layers\.(\d+)\.)?weight", name)
        bias = state.get(name.removesuffix("weight") + "bias")
        if match is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            continue
        numbered[int(match[1] or 0)] = Layer(weight.float().numpy(), bias.float().numpy())
    layers = [numbered[number] for number in sorted(numbered)]
    if 2 * len(layers) != len(state) or not layers:
        raise _unfit(path, f"it holds {', '.join(sorted(state)) or 'nothing'}")
    widths = [layers[0].weight.shape[1], *(len(layer.bias) for layer in layers)]
    for layer, width in zip(layers, widths, strict=False):
        if layer.weight.shape[1] != width:
            raise _unfit(path, f"a layer takes {layer.weight.shape[1]} values, but gets {width}")
    if widths[-1] != 1:
        raise _unfit(path, f"its last layer has {widths[-1]} outputs, not 1")
    return layers


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise _unfit(path, unloadable_reason(error).splitlines()[0]) from error
    if not isinstance(state, dict) or not all(
        isinstance(one, torch.Tensor) for one in state.values()
    ):
        raise _unfit(path, "it is no state dict")
    return state


def _unfit(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"aesthetics: {path} is no head that this family knows: {reason}",
        cure="linear layers named `weight` and `bias`, or `layers.N.weight` and `layers.N.bias`, "
        "are",
    )
