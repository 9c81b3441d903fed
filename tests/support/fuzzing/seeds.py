"""The good files that mutants are made of: two small datasets, and the parts of their samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from imig.layout.reference_size import TOKEN, reference_size
from imig.sample import Sample
from imig.schema import MaskRLE, Scene, scene_to_json
from imig.shards.croissant import CROISSANT_NAME
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from support.derived_datasets import make_scene, write_dataset
from support.encoded_samples import ENCODING, encode
from support.tiny_dataset import make_sample

PLAIN, ENCODED = "plain", "encoded"
SHARDS = {PLAIN: "basic-000000.tar", ENCODED: "complex-000000.tar"}


@dataclass(frozen=True)
class Seeds:
    """Bytes by what they are."""

    scenes: tuple[Scene, ...]
    """Basic with relations, complex with an edited view, flexible with subjects."""
    files: tuple[dict[str, bytes], ...]
    """Of each scene, without its JSON."""
    folders: dict[str, dict[str, bytes]]
    """The datasets `PLAIN` and `ENCODED`: bytes by file name."""
    runs: tuple[bytes, ...]
    """Masks as JSON."""

    def json(self, number: int) -> bytes:
        return scene_to_json(self.scenes[number])


def _samples(name: str) -> list[Sample]:
    if name == PLAIN:
        return [make_sample(number, things=1) for number in range(2)]
    sample = make_scene(0, subset="complex", things=1)
    encode(sample, _add_edit)
    sample.files[FEATURES_MEMBER] = features_to_bytes(range(1, 65))
    return [sample]


def _add_edit(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """The variant that shows the edited view; the other one shows the crop."""
    rows, columns, channels = tensors["target"].shape
    tensors["layout.edit"] = torch.randn(rows, columns, channels)
    width, height = reference_size(120, 90, side=ENCODING.reference_side)
    grid = (height // TOKEN, width // TOKEN)
    tensors["reference.ref10.latents"] = torch.randn(*grid, channels).bfloat16()
    tensors["reference.ref10.valid"] = torch.ones(grid, dtype=torch.bool)
    header["variants"]["edit"] = ["ref10"]
    header["boxes"]["ref10"] = header["boxes"]["ref00"]


@cache
def good_seeds() -> Seeds:
    """Made once a process; the same bytes wherever libraries are the same."""
    # latents are drawn from torch's own generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        datasets = {name: _samples(name) for name in SHARDS}
    scenes = [
        make_sample(0, things=3),
        *datasets[ENCODED],
        make_scene(1, subset="flexible", things=2),
    ]
    folders = {}
    with TemporaryDirectory() as place:
        for name, samples in datasets.items():
            folder = Path(place) / name
            fields: dict[str, Any] = {"encoding": ENCODING} if name == ENCODED else {}
            write_dataset(folder, samples, **fields)
            folders[name] = {
                one.name: one.read_bytes()
                for one in sorted(folder.iterdir())
                if one.is_file() and one.name not in ("report.html", CROISSANT_NAME)
            }
    masks = [one.mask for sample in scenes for one in sample.scene.instances]
    return Seeds(
        scenes=tuple(one.scene for one in scenes),
        files=tuple(one.files for one in scenes),
        folders=folders,
        runs=tuple(_mask_to_json(one) for one in masks if one is not None),
    )


def _mask_to_json(mask: MaskRLE) -> bytes:
    return json.dumps(mask.model_dump()).encode()


def encoded_member() -> bytes:
    """The member of the one sample of `ENCODED`."""
    return good_seeds().files[1][ENCODED_MEMBER]
