"""What the table of model families says of each: its tasks, its weights, where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Task = Literal[
    "caption",
    "ground",
    "segment",
    "embed images",
    "score image and text",
    "draw layouts",
    "draw pictures",
    "edit pictures",
    "compose pictures",
    "find faces",
    "answer about pictures",
    "judge pictures",
    "judge pictures and captions",
]

TRANSFORMERS_WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""`weight_files` of a checkpoint in the layout of transformers."""


@dataclass(frozen=True)
class Checkpoint:
    """Published weights that a family loads."""

    weights: str
    """What to put into the recipe's `weights`."""
    megabytes: int
    """Approximate size of the download."""
    licence: str
    config: str | None = None
    """What to put into the recipe's `config`, where the weights need it."""
    companions: tuple[str, ...] = ()
    """Hub repositories whose tokenizer and configuration are needed too (not their weights)."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of real model: the attribute `family` of its class."""

    name: str
    tasks: tuple[Task, ...]
    """What it may be asked for; the class obeys the protocol of each."""
    library: str = ""
    tiny: bool = False
    """Whether a tiny checkpoint ships with the package."""
    layout: Literal["files", "folder", "pipeline", "program"] = "files"
    """files: one of `weight_files` in a folder. folder: all of them. pipeline: what
    `save_pretrained` of a diffusers pipeline wrote, a folder a component. program: `weight_files`
    is Python code of this package, below `imig/<name>`; `tiny` is all there is."""
    weight_files: tuple[str, ...] = ()
    """File name patterns of the weights in a folder, most wanted first; safetensors before others,
    which are only ever read with `weights_only=True`. Not for pipelines, which say it
    themselves."""
    revision: str = ""
    """Of a program, for scenes and manifests; empty: that of its files' bytes."""
    needs: tuple[str, ...] = ()
    """Other files that a folder must hold."""
    takes_file: bool = False
    """Whether `weights` may be the weight file itself."""
    grounds_masks: bool = False
    """Whether its `ground` gives a mask with each box."""
    pipelines: tuple[str, ...] = ()
    """Classes of diffusers that it calls, for the layout pipeline: `_class_name` of
    `model_index.json`."""
    keeps_float32: bool = False
    """Whether its weights stay float32 on a GPU too, and `dtype` is that of autocast."""
    takes_offload: bool = False
    """Whether its class takes `offload` (`ModelConfig.offload`)."""
    head: str = ""
    """What the recipe's `config` must name, for families that take a second weight file from
    there."""
    packages: tuple[str, ...] = ()
    """Python packages that imig itself does not need, which the family does."""
    extra: str = ""
    """The extra of imig that installs them."""
    ships_in: str = ""
    """Package and folder below it that hold the weights, for those that a package ships; `weights`
    may then be left at `tiny`."""
    home: str = ""
    """Folder in which a bare name in `weights` is looked for."""
    get: str = ""
    """How to get the weights, where that is not `imig models pull`."""
    terms: str = ""
    """What a user must accept first, for weights whose licence allows less than a build does."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """Published weights, the default of `imig models pull` first; none for a program."""
