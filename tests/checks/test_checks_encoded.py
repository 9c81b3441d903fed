"""Faults of latents and embeddings: planted in one sample, found on that sample, alone."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.encoded_samples import ENCODING, Spoil, encode, write_encoded_dataset
from torch import Tensor

import imig
from imig.checks.dataset import validate_dataset
from imig.errors import DataError, UsageError
from imig.sample import Sample
from imig.shards.encoded import ENCODED_MEMBER, encoded_from_bytes
from imig.shards.manifest import MANIFEST_NAME, read_manifest, write_manifest

SICK = "basic-00000001"
Header = dict[str, Any]
Tensors = dict[str, Tensor]


def found(folder: Path) -> set[tuple[str, str | None]]:
    return {(fault.kind, fault.sample) for fault in validate_dataset(folder).faults}


def messages(folder: Path) -> str:
    return "\n".join(fault.message for fault in validate_dataset(folder).faults)


def other_sample(header: Header, tensors: Tensors) -> None:
    header["id"] = "basic-00000002"


def no_layout(header: Header, tensors: Tensors) -> None:
    header["variants"] = {}
    del tensors["layout.crop"]


def unknown_reference(header: Header, tensors: Tensors) -> None:
    header["variants"]["crop"] += ["ref07"]


def reference_left_out(header: Header, tensors: Tensors) -> None:
    name = header["variants"]["crop"].pop()
    header["boxes"].pop(name)
    del tensors[f"reference.{name}.latents"], tensors[f"reference.{name}.valid"]


def reference_that_nobody_shows(header: Header, tensors: Tensors) -> None:
    header["variants"]["crop"].pop()


def references_out_of_order(header: Header, tensors: Tensors) -> None:
    header["variants"]["crop"].reverse()


def variants_of_different_instances(header: Header, tensors: Tensors) -> None:
    header["variants"]["edit"] = header["variants"]["crop"][:1]
    tensors["layout.edit"] = tensors["layout.crop"].clone()


def too_few_rows(header: Header, tensors: Tensors) -> None:
    for name in ("target", "layout.crop"):
        tensors[name] = tensors[name][1:]


def flat_target(header: Header, tensors: Tensors) -> None:
    tensors["target"] = tensors["target"].flatten(0, 1)


def layout_of_another_size(header: Header, tensors: Tensors) -> None:
    tensors["layout.crop"] = tensors["layout.crop"][:, 1:]


def reference_of_another_size(header: Header, tensors: Tensors) -> None:
    tensors["reference.ref00.latents"] = tensors["reference.ref00.latents"].repeat(2, 1, 1)


def other_channels(header: Header, tensors: Tensors) -> None:
    tensors["reference.ref00.latents"] = tensors["reference.ref00.latents"][..., :2]


def mask_of_another_size(header: Header, tensors: Tensors) -> None:
    tensors["reference.ref01.valid"] = torch.ones(1, 1, dtype=torch.bool)


def nothing_valid(header: Header, tensors: Tensors) -> None:
    tensors["reference.ref00.valid"].zero_()


def rounded_target(header: Header, tensors: Tensors) -> None:
    tensors["target"] = tensors["target"].bfloat16()


def not_a_number(header: Header, tensors: Tensors) -> None:
    tensors["reference.ref01.latents"][0, 0, 0] = float("nan")


def box_outside(header: Header, tensors: Tensors) -> None:
    header["boxes"]["ref00"][2] = 97.0


def no_text(header: Header, tensors: Tensors) -> None:
    tensors["caption.tokens"] = tensors["caption.tokens"][:0]


def text_of_another_width(header: Header, tensors: Tensors) -> None:
    tensors["empty.tokens"] = tensors["empty.tokens"][:, 1:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_sample, "the encoding of sample basic-00000002"),
        (no_layout, "it has no layout"),
        (unknown_reference, "shows ref07, which the sample does not have"),
        (reference_left_out, "instances [2] have references, and none is encoded"),
        (reference_that_nobody_shows, "no variant shows ref02"),
        (references_out_of_order, "not each one once in order"),
        (variants_of_different_instances, "its variants show different instances"),
        (too_few_rows, "has 4 by 6 tokens at 96 pixels"),
        (flat_target, "not rows, columns, channels"),
        (layout_of_another_size, "layout.crop is 4x5x4, the target 4x6x4"),
        (reference_of_another_size, "ref00 is 4x2x4"),
        (other_channels, "ref00 has latents of 2"),
        (mask_of_another_size, "its valid tokens 1x1"),
        (nothing_valid, "ref00 has no token with anything of the subject"),
        (rounded_target, "target is bfloat16, not float32"),
        (not_a_number, "ref01.latents has values that are no finite numbers"),
        (box_outside, "ref00 belongs to"),
        (no_text, "the embedding of the caption text is 0x24 and 20"),
        (text_of_another_width, "differ in width"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_planted_fault_is_found_and_nothing_else(
    tmp_path: Path, spoil: Spoil, message: str
) -> None:
    write_encoded_dataset(tmp_path, lambda samples: encode(samples[1], spoil))
    assert found(tmp_path) == {("bad-encoding", SICK)}
    assert message in messages(tmp_path)


def test_padded_texts_have_512_tokens(tmp_path: Path) -> None:
    def padded(header: Header, tensors: Tensors, *, empty: int) -> None:
        header["encoding"]["text_length"] = 512
        for text, length in (("caption", 512), ("empty", empty)):
            tensors[f"{text}.tokens"] = torch.zeros(length, 24).to(torch.bfloat16)

    def spoil(samples: list[Sample]) -> None:
        for number, sample in enumerate(samples):
            encode(sample, partial(padded, empty=1 if number == 1 else 512))

    write_encoded_dataset(tmp_path, spoil)
    manifest = read_manifest(tmp_path / MANIFEST_NAME)
    encoding = ENCODING.model_copy(update={"text_length": 512})
    write_manifest(tmp_path / MANIFEST_NAME, manifest.model_copy(update={"encoding": encoding}))
    assert found(tmp_path) == {("bad-encoding", SICK)}
    assert messages(tmp_path).endswith("the empty text has 1 tokens, not 512")


def cut_off(data: bytes) -> bytes:
    return data[:-10]


def nothing(data: bytes) -> bytes:
    return b""


def damaged_header(data: bytes) -> bytes:
    return data.replace(b"imig", b"imag")


def renamed_tensor(data: bytes) -> bytes:
    return data.replace(b"empty.pooled", b"empty.fooled")


@pytest.mark.parametrize("damage", [cut_off, nothing, damaged_header, renamed_tensor])
def test_damaged_bytes_are_found(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    def change(samples: list[Sample]) -> None:
        files = samples[1].files
        files[ENCODED_MEMBER] = damage(files[ENCODED_MEMBER])

    write_encoded_dataset(tmp_path, change)
    assert found(tmp_path) == {("bad-encoding", SICK)}
    with pytest.raises(DataError, match=f"{SICK}: {ENCODED_MEMBER}"):
        encoded_from_bytes(imig.Dataset(tmp_path).read_member(SICK, ENCODED_MEMBER), place=SICK)


def test_every_bit_of_the_header_may_be_wrong(tmp_path: Path) -> None:
    data = {}
    write_encoded_dataset(tmp_path, lambda samples: data.update(samples[1].files))
    whole = data[ENCODED_MEMBER]
    for place in range(0, 1200, 7):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        with suppress(DataError):  # and nothing else
            encoded_from_bytes(bytes(spoilt), place=SICK)


def test_samples_must_be_encoded_as_the_manifest_says(tmp_path: Path) -> None:
    def wider(header: Header, tensors: Tensors) -> None:
        header["encoding"]["instruction"] = "{caption}, please"

    folder = write_encoded_dataset(tmp_path / "a", lambda samples: encode(samples[1], wider))
    assert found(folder) == {("encoding-mismatch", SICK)}
    assert "instruction '{caption}, please', not 'Paint {caption}'" in messages(folder)

    def drop(samples: list[Sample]) -> None:
        del samples[1].files[ENCODED_MEMBER]
        for instance in samples[2].scene.instances:  # nothing to make a training sample of
            instance.references = []
        del samples[2].files[ENCODED_MEMBER]
        samples[2].files = {"target.jpg": samples[2].files["target.jpg"]}

    folder = write_encoded_dataset(tmp_path / "b", drop)
    assert found(folder) == {("missing-encoding", SICK)}

    folder = write_encoded_dataset(tmp_path / "c")
    assert found(folder) == set()
    manifest = read_manifest(folder / MANIFEST_NAME)
    assert manifest.encoding == ENCODING
    write_manifest(folder / MANIFEST_NAME, manifest.model_copy(update={"encoding": None}))
    assert {kind for kind, _ in found(folder)} == {"encoding-mismatch"}


def test_one_member_is_read_alone(tmp_path: Path) -> None:
    dataset = imig.Dataset(write_encoded_dataset(tmp_path))
    for sample_id in dataset.ids:
        scene = dataset[sample_id]
        for name in ("encoded.safetensors", "target.jpg", "ref01.mask.png"):
            assert dataset.read_member(sample_id, name) == scene.files[name]
    with pytest.raises(DataError, match=r"sample basic-00000001 .* has no member ref09.jpg"):
        dataset.read_member(SICK, "ref09.jpg")
    with pytest.raises(UsageError, match="no sample 'basic-7'"):
        dataset.read_member("basic-7", "target.jpg")
