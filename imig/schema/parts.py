"""What the classes of the schema are made of: versions, largest sizes, names, boxes, masks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

SCHEMA_VERSION: Final = 2
"""Bumped by every change of the meaning or the fields; `scene_from_json` reads all older ones."""

# What was added in version 2 may be left out, so version 1 reads as it stands.
SchemaVersion = Annotated[Literal[2], BeforeValidator(lambda stated: 2 if stated == 1 else stated)]

MAX_SIDE: Final = 16_384
"""Pixels of a picture's longer side."""
MAX_PIXELS: Final = 1 << 26
"""Of one picture or mask: 8,192 x 8,192."""
MAX_SCENE_PIXELS: Final = 1 << 28
"""Of a scene's target and references together; decoded as RGB they take 0.8 GB."""
MAX_INSTANCES: Final = 1_000
"""Of a scene; the densest pictures of LVIS have fewer than 700."""
MAX_REFERENCES: Final = 200
"""Of an instance."""
MAX_CORRECTIONS: Final = 20_000
"""Of a scene: every box, mask and phrase of all instances, several times over."""
MAX_CAPTION: Final = 100_000
"""Characters."""
MAX_TEXT: Final = 10_000
"""Characters of any other text of a scene."""
MAX_LICENCE: Final = 500
"""Characters of a licence: an identifier, or a few words and an address."""
MAX_SEED: Final = (1 << 63) - 1
"""What a signed integer of 64 bits holds, as index and generators do."""
MAX_MERGES: Final = 50
"""Of merged datasets within each other, in a manifest's recipe."""

Count = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""Of samples or bytes."""
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
"""Width or height in pixels."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Licence = Annotated[str, Field(min_length=1, max_length=MAX_LICENCE)]
"""An identifier (SPDX's, in any case, or the hub's), or free text with an address."""

Subset = Literal["basic", "complex", "flexible"]
MIN_FLEXIBLE_INSTANCES: Final = 2
"""Released pipeline: fewer valid instances are no scene of the subset flexible."""
ReferenceKind = Literal["crop", "edit", "source", "face"]


def _box_has_area(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 and 0 <= y1 < y2):
        raise ValueError(f"a box needs 0 <= x1 < x2 and 0 <= y1 < y2, got {list(box)}")
    return box


_Coordinate = Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]

Box = Annotated[
    tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate], AfterValidator(_box_has_area)
]
"""``(x1, y1, x2, y2)`` in pixels, x2 and y2 exclusive."""

SampleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""A webdataset key: no dot (readers split members at the first one), no slash, no space.

At most 64 characters: with the member's name it fits the 100 that a plain tar header has.
"""

ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.tar$")]
"""A file directly in the dataset's folder: no slash, no leading dot."""

MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9]{1,16}){1,2}$")]
"""What follows ``<id>.`` in a shard, for example ``target.jpg`` or ``ref00.mask.png``."""


class SchemaModel(BaseModel):
    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


def check_pixels(what: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{what} of {width}x{height} pixels; the most are {MAX_PIXELS}")


class MaskRLE(SchemaModel):
    """A boolean mask as COCO compressed run lengths (column-major), see `imig.layout.masks`."""

    size: tuple[Side, Side] = Field(description="(height, width) of the image, as COCO has it.")
    counts: str = Field(
        max_length=MAX_PIXELS // 8, description="COCO compressed run lengths, ASCII."
    )

    @model_validator(mode="after")
    def _can_be_decoded(self) -> MaskRLE:
        check_pixels("a mask", *reversed(self.size))
        return self


class Detection(SchemaModel):
    """Which model found something, and how sure it was."""

    score: float = Field(ge=0, le=1)
    model: str = Field(description="family:weights@revision, see `imig models list`.")


def first_problem(error: ValidationError) -> str:
    """Where the schema is broken first, and how, in one line without the damaged value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
