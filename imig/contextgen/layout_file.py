"""The layout file of `imig generate`: a caption, references and the boxes they belong into.

A JSON file (YAML is read too) whose schema is `schemas/layout.json`. Whatever is wrong in it or
with a picture it names is a `UsageError` that says file, line and key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from imig.errors import UsageError
from imig.layout.placement import Fit
from imig.paths import expand_home, shown_path
from imig.printable import shortened
from imig.recipe.errors import explain_validation_error
from imig.recipe.parts import RecipePart
from imig.recipe.values import to_values
from imig.recipe.yaml_lines import KeyPath, parse_json, parse_yaml, read_text
from imig.schema import MAX_CAPTION

Kind = TypeVar("Kind", bound=BaseModel)

MAX_REFERENCES = 60
"""As many as a training may show (`data.max_references`)."""
MAX_SIDE = 8192
"""Pixels of a picture."""
MAX_SHARE = 3.0
"""Of a box with relative units, whose picture is 0 to 1; what is further away are pixels."""

Units = Literal["pixels", "relative"]


def _four_numbers(value: Any) -> Any:
    """Before pydantic, which would call the fourth of three numbers a missing key."""
    is_four = isinstance(value, list | tuple) and len(value) == 4
    if not is_four or any(isinstance(one, bool) for one in value):
        raise ValueError(f"a box is [x1, y1, x2, y2], got {shortened(repr(value))}")
    return value


def _corners_in_order(
    box: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if not (x1 < x2 and y1 < y2):
        corners = _numbers((x1, y1, x1 + x2, y1 + y2))
        raise ValueError(
            f"a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {_numbers(box)}"
            + (f"; of [x, y, width, height] make {corners}" if x2 > 0 and y2 > 0 else "")
        )
    return box


_Coordinate = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Corners = Annotated[
    tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate],
    BeforeValidator(_four_numbers),
    AfterValidator(_corners_in_order),
]


def _can_be_a_name(name: str) -> str:
    if "\0" in name:
        raise ValueError(f"no file has a zero byte in its name, got {name!r}")
    return name


def _can_be_read(text: str) -> str:
    if len(text) > MAX_CAPTION:
        raise ValueError(f"a text has at most {MAX_CAPTION} characters, got {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # an escape in JSON can be half of a character
        raise ValueError(f"half of a character is no text, got {shortened(repr(text))}") from error
    return text


Text = Annotated[str, AfterValidator(_can_be_read)]
FileName = Annotated[str, Field(min_length=1), AfterValidator(_can_be_a_name)]


class ReferenceEntry(RecipePart):
    """One reference and where in the picture its subject belongs."""

    image: FileName = Field(
        description="Picture of the subject; a path relative to the layout file. RGBA (the subject "
        "is where it is opaque), or RGB with a mask.",
    )
    mask: FileName | None = Field(
        default=None,
        description="Mask as large as the image, white on the subject; null: the image's own "
        "alpha. A mask goes before alpha.",
    )
    box: Corners = Field(
        description="[x1, y1, x2, y2] in pixels of the picture, or in shares of it (`units`): "
        "where the subject belongs. It may reach beyond the picture's edge, not lie wholly outside."
    )
    fit: Fit = Field(
        default="instance-fit",
        description="How the layout image has it in the box. instance-fit: the subject as large "
        "as the box in area, its aspect kept; instance-fit-distort: stretched to the box; "
        "image-fit: the whole image inside the box.",
    )
    subject_box: Corners | None = Field(
        default=None,
        description="[x1, y1, x2, y2] in pixels of the image, or in shares of it (`units`), "
        "joined with the mask's bounding box "
        "to make what is fitted; null: the mask alone.",
    )
    name: Text = Field(default="", description="For messages and the comparison picture.")


class LayoutFile(RecipePart):
    """What `imig generate` makes a picture of."""

    caption: Text = Field(
        default="", description="What the picture shows. It is wrapped into the instruction."
    )
    width: int = Field(
        ge=16,
        le=MAX_SIDE,
        description="Of the picture, in pixels. Rounded to the nearest multiple of 16, boxes with "
        "it.",
    )
    height: int = Field(ge=16, le=MAX_SIDE, description="Like the width.")
    units: Units = Field(
        default="pixels",
        description="Of all boxes. relative: shares of the width and the height of the picture "
        "(`subject_box`: of the image), 0 to 1.",
    )
    references: list[ReferenceEntry] = Field(min_length=1, max_length=MAX_REFERENCES)
    layout: FileName | None = Field(
        default=None,
        description="A layout image of your own, of the picture's shape, relative to the layout "
        "file; null: it is composed of the references.",
    )
    order: list[int] | None = Field(
        default=None,
        description="In which order references are stacked in the layout image, farthest first: "
        "every index (from 0) once. Null: what contains others first, then the larger first.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="Of the noise that the picture is made from, and of the order where that is "
        "null; null: 0.",
    )


@dataclass(frozen=True)
class LoadedLayout:
    """A layout file, and where each of its keys stands."""

    layout: LayoutFile
    path: Path
    lines: Mapping[KeyPath, int]

    def file(self, name: str) -> Path:
        """A path in the file as a path of this process."""
        try:
            return self.path.parent / expand_home(name)
        except UsageError as error:
            raise UsageError(
                f"{shown_path(self.path)}: {error.message}", cure=error.cure
            ) from error

    def where(self, *key: str | int) -> str:
        """``layout.json:12: references.1.mask``."""
        return _where(tuple(map(str, key)), path=self.path, lines=self.lines)


def load_layout(path: Path) -> LoadedLayout:
    """Read and check a layout file; the pictures it names are not looked at yet.

    Raises
    ------
    UsageError
        When it cannot be read, is not JSON, or has a wrong key or value.
    """
    try:
        text = read_text(path)
    except UsageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UsageError(
                f"there is no layout file {path}",
                cure="`imig generate --from-shards ID` writes one to start from",
            ) from None
        cure = error.cure or "a layout is a text file: JSON, or YAML"
        raise UsageError(error.message, cure=cure) from error
    raw, lines = _parse(text, path)
    try:
        layout = _validate(raw)
    except _Wrong as wrong:
        place = _where(wrong.key, path=path, lines=lines, with_key=False)
        raise UsageError(f"{place}: {wrong.message}", cure=wrong.cure) from None
    return LoadedLayout(layout, path, lines)


class _Wrong(Exception):
    """What is wrong with the value at a key."""

    def __init__(self, key: KeyPath, message: str, cure: str) -> None:
        super().__init__(message)
        self.key, self.message, self.cure = key, message, cure


def _parse(text: str, path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    shown = shown_path(path)
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    document = (parse_yaml if is_yaml else parse_json)(text, shown)
    value = to_values(document.value, LayoutFile)
    if not isinstance(value, dict):
        raise UsageError(
            f"{shown}:1: a layout is a mapping of keys to values",
            cure="schemas/layout.json describes it; `imig generate --from-shards ID` writes one",
        )
    return value, document.lines


def _validate(raw: dict[str, Any]) -> LayoutFile:
    references = raw.get("references")
    # One by one first, so that a misspelt key gets the nearest one that a reference has.
    for number, one in enumerate(references if isinstance(references, list) else []):
        place = ("references", str(number))
        if not isinstance(one, dict):
            raise _Wrong(place, f"references.{number}: expected a mapping of keys, got {one!r}", "")
        _validate_as(ReferenceEntry, one, place=place)
    layout = _validate_as(LayoutFile, raw, place=())
    _check_places(layout)
    return layout


def pixel_scale(units: Units, size: tuple[int, int]) -> tuple[float, float]:
    """What makes pixels of a box's (x, y), in a picture of this (width, height)."""
    return (float(size[0]), float(size[1])) if units == "relative" else (1.0, 1.0)


def _check_places(layout: LayoutFile) -> None:
    """What no field can check alone."""
    across, down = pixel_scale(layout.units, (layout.width, layout.height))
    for number, one in enumerate(layout.references):
        _check_units(layout, number, "box", one.box)
        if one.subject_box is not None:
            _check_units(layout, number, "subject_box", one.subject_box)
        x1, y1, x2, y2 = one.box
        if x1 * across >= layout.width or y1 * down >= layout.height or x2 <= 0 or y2 <= 0:
            relative = layout.units == "relative"
            size = "1 x 1 (units: relative)" if relative else f"{layout.width} x {layout.height}"
            raise _Wrong(
                ("references", str(number), "box"),
                f"references.{number}.box: {_numbers(one.box)} lies outside the picture, which is "
                f"{size}",
                "boxes are [x1, y1, x2, y2] in shares of the picture"
                if relative
                else "boxes are [x1, y1, x2, y2] in pixels of the picture; those of a model that "
                "counts to 1000 must be scaled first",
            )
    count = len(layout.references)
    if layout.order is not None and sorted(layout.order) != list(range(count)):
        numbers = "0" if count == 1 else f"0 to {count - 1}"
        raise _Wrong(
            ("order",),
            f"order: expected every reference, {numbers}, once, got {layout.order}",
            "or leave it out",
        )


def _check_units(
    layout: LayoutFile, number: int, key: str, box: tuple[float, float, float, float]
) -> None:
    """Shares are not taken for pixels, nor pixels for shares."""
    place, name = ("references", str(number), key), f"references.{number}.{key}"
    if layout.units == "relative" and max(map(abs, box)) > MAX_SHARE:
        raise _Wrong(
            place,
            f"{name}: {_numbers(box)} is in pixels, but the file says units: relative",
            "leave `units` out, or divide: x by the width, y by the height",
        )
    if layout.units == "relative" or max(map(abs, box)) > 1:
        return
    cure = "give it in pixels"
    if key == "box":
        sides = (layout.width, layout.height) * 2
        pixels = [math.floor(one * side + 0.5) for one, side in zip(box, sides, strict=True)]
        cure += f": {pixels}"
    whole = "picture" if key == "box" else "reference image"
    raise _Wrong(
        place,
        f"{name}: {_numbers(box)} is not larger than a pixel; it seems to be in shares of the "
        f"{whole} (0 to 1)",
        f"write `units: relative` into the layout file, or {cure}",
    )


def _validate_as(kind: type[Kind], raw: Mapping[str, Any], *, place: KeyPath) -> Kind:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        key, message, cure = explain_validation_error(error, raw, kind)
        if message.startswith("the key "):
            cure = "add it; schemas/layout.json describes every key"
        prefix = f"{'.'.join(place)}: " if place else ""
        raise _Wrong((*place, *key), prefix + message.removeprefix(": "), cure) from error


def _where(key: KeyPath, *, path: Path, lines: Mapping[KeyPath, int], with_key: bool = True) -> str:
    ancestors = [key[:end] for end in range(len(key), 0, -1)]
    line = next((f":{lines[one]}" for one in ancestors if one in lines), "")
    return f"{shown_path(path)}{line}" + (f": {'.'.join(key)}" if with_key and key else "")


def _numbers(box: tuple[float, float, float, float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
