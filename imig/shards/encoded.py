"""`K.encoded.safetensors`: what a trainer needs of a sample, encoded once.

One safetensors file a sample. C is the size of a packed latent, D and P are the widths of T5's and
CLIP's features; h, w count tokens (16 x 16 pixels)::

    caption.tokens         (t, D)      T5 features of the caption inside the instruction; t and e
                                       are 512 where `encoding.text_length` is
    caption.pooled         (P,)        CLIP's pooled feature of it
    empty.tokens           (e, D)      the same of "", for a dropped caption
    empty.pooled           (P,)
    target                 (H, W, C)   float32
    layout.VARIANT         (H, W, C)   float32; a variant is crop, edit or face
    reference.NAME.latents (h, w, C)   NAME as in the JSON: ref00, face00, ...
    reference.NAME.valid   (h, w)      bool: the token has something of the subject in it

What enters a network is stored in that network's dtype, to which training would round it anyway;
targets and layouts, which losses are measured with, stay float32. The header (`EncodedHeader`) is
JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from imig.errors import VALIDATE, DataError
from imig.schema import EncodingRecord

if TYPE_CHECKING:
    from torch import Tensor

ENCODED_MEMBER: Final = "encoded.safetensors"
TARGET: Final = "target"
TEXTS: Final = ("caption", "empty")
VARIANTS: Final = ("crop", "edit", "face")
_METADATA_KEY: Final = "imig"
_LENGTH_BYTES: Final = 8  # of the file's JSON header, little endian (safetensors' format)


class EncodedHeader(BaseModel):
    """What the tensors are of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """The sample's."""
    encoding: EncodingRecord
    variants: dict[str, tuple[str, ...]]
    """The references that each variant shows, by name, in the order of the instances."""
    boxes: dict[str, tuple[float, float, float, float]]
    """Where each reference's subject belongs, in pixels of the encoded target."""


def text_names(text: str) -> tuple[str, str]:
    """The tensors of `caption` or `empty`: tokens and pooled."""
    return f"{text}.tokens", f"{text}.pooled"


def layout_name(variant: str) -> str:
    """The tensor of a variant's layout."""
    return f"layout.{variant}"


def reference_names(reference: str) -> tuple[str, str]:
    """The tensors of a reference: latents and valid."""
    return f"reference.{reference}.latents", f"reference.{reference}.valid"


def tensor_names(header: EncodedHeader) -> set[str]:
    """All tensors that must be there."""
    names = {TARGET, *(layout_name(one) for one in header.variants)}
    for text in TEXTS:
        names.update(text_names(text))
    for reference in header.boxes:
        names.update(reference_names(reference))
    return names


def encoded_to_bytes(header: EncodedHeader, tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of the member; they depend on nothing but header and values."""
    from safetensors.torch import save

    # One key: safetensors writes several in an order that changes from process to process.
    metadata = {_METADATA_KEY: header.model_dump_json()}
    data: bytes = save({name: one.contiguous() for name, one in tensors.items()}, metadata)
    return data


def encoded_from_bytes(data: bytes, *, place: str) -> tuple[EncodedHeader, dict[str, Tensor]]:
    """Header and tensors of a member; `place` is for the message.

    Raises
    ------
    DataError
        When the bytes are damaged, or tensors are missing or too many.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        header = EncodedHeader.model_validate_json(_metadata(data)[_METADATA_KEY])
    except (
        SafetensorError,
        ValidationError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:
        raise DataError(
            f"{place}: {ENCODED_MEMBER} cannot be read: {_reason(error)}", cure=VALIDATE
        ) from error
    wanted = tensor_names(header)
    missing, extra = sorted(wanted - tensors.keys()), sorted(tensors.keys() - wanted)
    if missing or extra:
        what = [f"lacks {', '.join(missing)}"] if missing else []
        what += [f"has {', '.join(extra)} too many"] if extra else []
        raise DataError(f"{place}: {ENCODED_MEMBER} {' and '.join(what)}", cure=VALIDATE)
    return header, tensors


def _reason(error: Exception) -> str:
    """In one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return ": ".join(["header", *map(str, first["loc"]), first["msg"]])
    return f"{type(error).__name__}: {error}"


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    metadata: dict[str, str] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])[
        "__metadata__"
    ]
    return metadata
