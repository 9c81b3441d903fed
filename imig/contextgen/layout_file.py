"""The layout file of `imig generate`: a caption, references and the boxes they belong into.

A JSON file (YAML is read too) whose schema is `schemas/layout.json`. Whatever is wrong in it or
with a picture it names is a `UsageError` that says file, line and key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from yaml.reader import Reader

from imig.errors import UsageError
from imig.layout.placement import Fit
from imig.recipe_errors import explain_validation_error
from imig.yaml_lines import KeyPath, parse_yaml

Kind = TypeVar("Kind", bound=BaseModel)

MAX_REFERENCES = 60
"""As many as a training may show (`data.max_references`)."""
MAX_SIDE = 8192
"""Pixels of a picture."""


def _four_numbers(value: Any) -> Any:
    """Before pydantic, which would call the fourth of three numbers a missing key."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError(f"a box is [x1, y1, x2, y2], got {value!r}")
    return value


def _corners_in_order(
    box: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {_numbers(box)}")
    return box


_Coordinate = Annotated[float, Field(ge=-100_000, le=100_000)]
Corners = Annotated[
    tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate],
    BeforeValidator(_four_numbers),
    AfterValidator(_corners_in_order),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReferenceEntry(_Model):
    """One reference and where in the picture its subject belongs."""

    image: str = Field(
        min_length=1,
        description="Picture of the subject; a path relative to the layout file. RGBA (the subject "
        "is where it is opaque), or RGB with a mask.",
    )
    mask: str | None = Field(
        default=None,
        description="Mask as large as the image, white on the subject; null: the image's own "
        "alpha. A mask goes before alpha.",
    )
    box: Corners = Field(
        description="[x1, y1, x2, y2] in pixels of the picture: where the subject belongs. It may "
        "reach beyond the picture's edge, not lie wholly outside."
    )
    fit: Fit = Field(
        default="instance-fit",
        description="How the layout image has it in the box. instance-fit: the subject as large "
        "as the box in area, its aspect kept; instance-fit-distort: stretched to the box; "
        "image-fit: the whole image inside the box.",
    )
    subject_box: Corners | None = Field(
        default=None,
        description="[x1, y1, x2, y2] in pixels of the image, joined with the mask's bounding box "
        "to make what is fitted; null: the mask alone.",
    )
    name: str = Field(default="", description="For messages and the comparison picture.")


class LayoutFile(_Model):
    """What `imig generate` makes a picture of."""

    caption: str = Field(
        default="", description="What the picture shows. It is wrapped into the instruction."
    )
    width: int = Field(
        ge=16,
        le=MAX_SIDE,
        description="Of the picture, in pixels. Rounded to the nearest multiple of 16, boxes with "
        "it.",
    )
    height: int = Field(ge=16, le=MAX_SIDE, description="Like the width.")
    references: list[ReferenceEntry] = Field(min_length=1, max_length=MAX_REFERENCES)
    layout: str | None = Field(
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
            raise UsageError(f"{shown_path(self.path)}: {error.message}", cure=error.cure) from error

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
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"there is no layout file {path}",
            cure="`imig generate --from-shards ID` writes one to start from",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", cure="a layout is a text file: JSON, or YAML"
        ) from error
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
    value: Any = None
    if not is_yaml:
        # JSON is read as JSON (1e3 is no number in YAML); YAML, which knows the lines, follows.
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{shown}:{error.lineno}: not JSON: {error.msg}",
                cure="check quotes, commas and brackets in this line and the one above",
            ) from error
        except RecursionError:
            raise UsageError(f"{shown}:1: brackets are nested too deeply for a layout") from None
        # JSON may be indented with tabs, and have characters in its texts that YAML never has.
        text = Reader.NON_PRINTABLE.sub("?", text.replace("\t", " "))
    document = parse_yaml(text, shown)
    value = document.value if is_yaml else value
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


def _check_places(layout: LayoutFile) -> None:
    """What no field can check alone."""
    for number, one in enumerate(layout.references):
        x1, y1, x2, y2 = one.box
        if x1 >= layout.width or y1 >= layout.height or x2 <= 0 or y2 <= 0:
            raise _Wrong(
                ("references", str(number), "box"),
                f"references.{number}.box: {_numbers(one.box)} lies outside the picture, which is "
                f"{layout.width} x {layout.height}",
                "boxes are in pixels of the picture",
            )
    count = len(layout.references)
    if layout.order is not None and sorted(layout.order) != list(range(count)):
        numbers = "0" if count == 1 else f"0 to {count - 1}"
        raise _Wrong(
            ("order",),
            f"order: expected every reference, {numbers}, once, got {layout.order}",
            "or leave it out",
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
