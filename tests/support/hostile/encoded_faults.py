"""`encoded.safetensors`: what a training reads in place of pictures."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from support.hostile.feature_faults import Evil
from support.hostile.planted import ENCODED, NOTHING, Group
from support.hostile.victim import OTHER, SAMPLE, SHARD, Json, Victim

if TYPE_CHECKING:
    from torch import Tensor

ENCODINGS = Group(
    "Encoded samples",
    "Planted into a dataset of `imig encode`. A training reads latents and embeddings in place of "
    "pictures; every shape is compared with the sample's JSON, every value must be finite.",
    encoded=True,
)
MEMBER = "encoded.safetensors"
_PART = ENCODED.naming(SHARD, SAMPLE, MEMBER)


def _put(victim: Victim, make: Callable[[bytes], bytes]) -> None:
    victim.put(MEMBER, make(victim.get(MEMBER)))


def _with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _one_tensor(**fields: object) -> bytes:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | fields
    return _with_header(json.dumps({"x": entry}).encode(), bytes(4))


FILES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "encoded-empty": ("an empty file", lambda data: b""),
    "encoded-pickle": ("a pickle that runs a command", lambda data: pickle.dumps(Evil())),
    "encoded-cut-off": ("half of the file", lambda data: data[: len(data) // 2]),
    "encoded-longer": ("bytes behind the tensors", lambda data: data + b"x" * 9),
    "encoded-header-endless": ("a header of 2^63 bytes",
                               lambda data: struct.pack("<Q", 1 << 63) + b"{}"),
    "encoded-header-deep": ("a header of 100,000 brackets",
                            lambda data: _with_header(b"[" * 100_000)),
    "encoded-header-list": ("a header that is a list", lambda data: _with_header(b"[]")),
    "encoded-shape-huge": ("a tensor of 2^62 values in 4 bytes",
                           lambda data: _one_tensor(shape=[1 << 62])),
    "encoded-shape-negative": ("a tensor of -1 values", lambda data: _one_tensor(shape=[-1])),
    "encoded-offsets-outside": ("a tensor that lies behind the file",
                                lambda data: _one_tensor(data_offsets=[0, 1 << 40])),
    "encoded-offsets-turned": ("a tensor that ends before it begins",
                               lambda data: _one_tensor(data_offsets=[4, 0])),
    "encoded-type-unknown": ("a tensor of an unknown type", lambda data: _one_tensor(dtype="X9")),
}  # fmt: skip
for _kind, (_what, _make) in FILES.items():
    ENCODINGS.add(_kind, _what, _PART, partial(_put, make=_make))


@ENCODINGS.fault(_PART)
def encoded_of_another_sample(victim: Victim) -> None:
    """the encoding of another sample"""
    victim.put(MEMBER, victim.get(MEMBER, sample=OTHER))


@ENCODINGS.fault(ENCODED)
def encoded_missing(victim: Victim) -> None:
    """a sample without its encoding"""
    victim.drop(MEMBER)


def _edit(victim: Victim, edit: Callable[[dict[str, Tensor], Json], object]) -> None:
    """Change tensors and metadata; the file stays a good safetensors file."""
    from safetensors.torch import load, save

    data = victim.get(MEMBER)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors, header = load(data), json.loads(metadata["imig"])
    edit(tensors, header)
    metadata["imig"] = json.dumps(header)
    contiguous = {name: one.contiguous() for name, one in tensors.items()}
    victim.put(MEMBER, save(contiguous, metadata))


def _set(tensors: dict[str, Tensor], name: str, value: float) -> None:
    tensors[name].view(-1)[0] = value


def _replace(tensors: dict[str, Tensor], name: str, change: Callable[[Tensor], Tensor]) -> None:
    tensors[name] = change(tensors[name])


_LATENTS, _VALID = "reference.ref00.latents", "reference.ref00.valid"
TENSORS: dict[str, tuple[str, Callable[[dict[str, Tensor], Json], object]]] = {
    "encoded-text-infinite": ("an infinite value in a text",
                              lambda one, _: _set(one, "caption.tokens", float("inf"))),
    "encoded-target-nan": ("NaN in the target",
                           lambda one, _: _set(one, "target", float("nan"))),
    "encoded-target-small": ("a target of fewer tokens",
                             lambda one, _: _replace(one, "target", lambda t: t[:3, :2])),
    "encoded-target-flat": ("a target without rows and columns",
                            lambda one, _: _replace(one, "target", lambda t: t.flatten(0, 1))),
    "encoded-target-float64": ("a target of float64",
                               lambda one, _: _replace(one, "target", lambda t: t.double())),
    "encoded-layout-small": ("a layout of fewer tokens than the target",
                             lambda one, _: _replace(one, "layout.crop", lambda t: t[:1])),
    "encoded-reference-flat": ("a reference without rows and columns",
                               lambda one, _: _replace(one, _LATENTS, lambda t: t.flatten(0, 1))),
    "encoded-valid-one-value": ("a single truth in place of a mask",
                                lambda one, _: _replace(one, _VALID, lambda t: t.view(-1)[0])),
    "encoded-valid-nothing": ("a reference without anything of its subject",
                              lambda one, _: _replace(one, _VALID, lambda t: t & False)),
    "encoded-text-empty": ("a text without a token",
                           lambda one, _: _replace(one, "caption.tokens", lambda t: t[:0])),
    "encoded-text-narrow": ("a text of another width",
                            lambda one, _: _replace(one, "caption.tokens", lambda t: t[:, :3])),
    "encoded-tensor-missing": ("no target", lambda one, _: one.pop("target")),
    "encoded-tensor-more": ("a tensor too many",
                            lambda one, _: one.update(evil=one["target"].clone())),
    "encoded-boxes-huge": ("boxes of 10^18 pixels",
                           lambda _, header: header["boxes"].update(ref00=[0, 0, 1e18, 1e18])),
    "encoded-boxes-nan": ("boxes of NaN",
                          lambda _, header: header["boxes"].update(ref00=["NaN"] * 4)),
    "encoded-boxes-turned": ("a box whose corners are swapped",
                             lambda _, header: header["boxes"].update(ref00=[9, 9, 1, 1])),
    "encoded-variant-empty": ("a variant that shows nothing",
                              lambda _, header: header["variants"].update(crop=[])),
    "encoded-variant-unknown": ("a variant that shows a reference that is not there",
                                lambda _, header: header["variants"]["crop"].append("ref99")),
    "encoded-variant-name": ("a variant that does not exist",
                             lambda one, header: (
                                 header["variants"].update(evil=header["variants"].pop("crop")),
                                 one.update({"layout.evil": one.pop("layout.crop")}))),
    "encoded-header-key": ("a key that the header does not have",
                           lambda _, header: header.update(evil=1)),
}  # fmt: skip
for _kind, (_what, _edit_tensors) in TENSORS.items():
    ENCODINGS.add(_kind, _what, _PART, partial(_edit, edit=_edit_tensors))


@ENCODINGS.fault(_PART)
def encoded_metadata_no_json(victim: Victim) -> None:
    """metadata that are no JSON"""
    from safetensors.torch import load, save

    victim.put(MEMBER, save(load(victim.get(MEMBER)), {"imig": "{" * 5000}))


@ENCODINGS.fault(_PART)
def encoded_metadata_missing(victim: Victim) -> None:
    """no metadata"""
    from safetensors.torch import load, save

    victim.put(MEMBER, save(load(victim.get(MEMBER))))


@ENCODINGS.fault(NOTHING, legal="What latents show cannot be seen without the networks.")
def encoded_of_other_pictures(victim: Victim) -> None:
    """latents of other pictures, right in every shape"""
    _edit(victim, lambda one, _: _replace(one, "target", lambda t: t.flip(0)))
