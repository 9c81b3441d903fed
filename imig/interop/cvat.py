"""Format `cvat`: "CVAT for images 1.1" with boxes, masks and phrases, and back.

::

    annotations.xml      to be uploaded to a task of the pictures, as "CVAT 1.1"
    labels.json          the task's labels, for the field "Raw" of its constructor
    images/<id>.jpg      targets, as they are stored

An instance is a box and a mask of one group, with the attributes `instance` (its index, which tells
it apart when it comes back) and `phrase`. The caption is an attribute of the tag `imig scene`.

Files look as in cvat/apps/dataset_manager/formats/cvat.py (`dump_as_cvat_annotation`
and `load_anno`): a mask's run lengths go row by row through its box and begin with what is outside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Literal
from xml.etree import ElementTree
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from pydantic import Field

from imig.errors import DataError
from imig.interop.correcting import (
    CorrectingImporter,
    CorrectingSettings,
    kinds_shown,
    require_mark,
    scene_mark,
)
from imig.interop.corrections import Returned
from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings, Losses
from imig.interop.regions import Region, corners_to_box, non_empty, polygon_to_mask, turned_bounds
from imig.interop.xml_text import xml_text
from imig.layout.masks import Mask, mask_to_box
from imig.regular_file import open_regular_file
from imig.schema import MaskRLE, Scene
from imig.shards.views import InstanceView, SceneView

NAME: Final = "cvat"
_SCENE_LABEL: Final = "imig scene"
_LONGEST_IMAGE: Final = 1 << 28
"""Bytes of the element of one picture."""
_LONGEST_VALUE: Final = 4096
"""Characters of an attribute's value (`AttributeVal` in cvat/apps/engine/models.py)."""

Shapes = Literal["both", "masks", "boxes"]


class CvatSettings(FormatSettings):
    """How instances are written."""

    shapes: Shapes = Field(
        default="both",
        description="`both`: a box and a mask an instance; `masks`: a box only where there is no "
        "mask; or `boxes`.",
    )


class CvatExporter(Exporter[CvatSettings]):
    """Writes an element `image` a scene."""

    settings_type = CvatSettings

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Any:
        """See `Exporter.write_scene`."""
        record = scene.record
        name = f"{record.id}.jpg"
        folder.write(f"images/{name}", scene.files[record.target])
        if any(one.references for one in record.instances):
            folder.losses.note("references", f"{record.id}: the import takes them of the dataset")
        lines = [*_scene_tag(record, self.settings.shapes)]
        for one in scene.instances:
            lines += _shapes(one, self.settings.shapes)
        attributes = _attributes(name=name, width=record.width, height=record.height)
        return {
            "attributes": attributes,
            "body": "\n".join(lines),
            "labels": sorted({one.noun for one in record.instances}),
        }

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """The document, and its labels once more as CVAT's constructor takes them."""
        labels, scenes = {"object"}, 0
        for row in rows:
            labels.update(row["labels"])
            scenes += 1
        names = sorted(labels)
        with folder.writing("annotations.xml") as file:
            file.write(_head(names, scenes=scenes).encode())
            for number, row in enumerate(rows):
                image = f'  <image id="{number}" {row["attributes"]}>\n{row["body"]}\n  </image>\n'
                file.write(image.encode())
            file.write(b"</annotations>\n")
        specification = [_label(one, ("instance", "phrase")) for one in names]
        specification.append(_label(_SCENE_LABEL, ("caption", "mark", "shapes")))
        text = json.dumps(specification, indent=1, ensure_ascii=False)
        folder.write("labels.json", f"{text}\n".encode())


def _label(name: str, attributes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": xml_text(name),
        "type": "tag" if name == _SCENE_LABEL else "any",
        "attributes": [
            {
                "name": one,
                "mutable": False,
                "input_type": "text",
                "default_value": "",
                "values": [""],
            }
            for one in attributes
        ],
    }


def _head(labels: Sequence[str], *, scenes: int) -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += ["  <meta>", "    <task>", "      <name>imig</name>", f"      <size>{scenes}</size>"]
    lines += ["      <mode>annotation</mode>", "      <labels>"]
    attributes: dict[str, tuple[str, ...]] = dict.fromkeys(labels, ("instance", "phrase"))
    attributes[_SCENE_LABEL] = ("caption", "mark", "shapes")
    for label, names in attributes.items():
        kind = "tag" if label == _SCENE_LABEL else "any"
        lines.append(f"        <label><name>{_text(label)}</name><type>{kind}</type><attributes>")
        lines += [
            f"          <attribute><name>{name}</name><mutable>False</mutable>"
            "<input_type>text</input_type><default_value></default_value><values></values>"
            "</attribute>"
            for name in names
        ]
        lines.append("        </attributes></label>")
    lines += ["      </labels>", "    </task>", "  </meta>", ""]
    return "\n".join(lines)


def _scene_tag(scene: Scene, shapes: Shapes) -> Iterator[str]:
    yield f"    <tag {_attributes(label=_SCENE_LABEL, source='file')}>"
    yield from _values(caption=scene.caption, mark=scene_mark(scene), shapes=shapes)
    yield "    </tag>"


def _shapes(view: InstanceView, shapes: Shapes) -> Iterator[str]:
    instance, mask = view.record, view.mask
    with_mask = mask is not None and shapes != "boxes"
    common: dict[str, str | int] = {
        "label": instance.noun,
        "source": "file",
        "occluded": int((instance.occluded_fraction or 0) > 0),
        "z_order": instance.layer or 0,
        "group_id": instance.index + 1,
    }
    values = list(_values(instance=str(instance.index), phrase=instance.phrase))
    if shapes != "masks" or not with_mask:
        sides = zip(("xtl", "ytl", "xbr", "ybr"), instance.box, strict=True)
        corners = {name: f"{value:.2f}" for name, value in sides}
        yield from (f"    <box {_attributes(**common, **corners)}>", *values, "    </box>")
    if with_mask and mask is not None:
        drawn = _mask_attributes(mask)
        yield from (f"    <mask {_attributes(**common, **drawn)}>", *values, "    </mask>")


def _mask_attributes(mask: Mask) -> dict[str, str | int]:
    box = mask_to_box(mask)
    assert box is not None, "masks of a dataset are not empty"
    x1, y1, x2, y2 = box
    flat = mask[y1:y2, x1:x2].ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size)).tolist()
    runs = [0, *lengths] if flat[0] else lengths
    rle = ", ".join(map(str, runs))
    return {"rle": rle, "left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}


def _values(**values: str) -> Iterator[str]:
    for name, value in values.items():
        yield f'      <attribute name="{name}">{_text(value)}</attribute>'


def _attributes(**values: str | int) -> str:
    return " ".join(f"{name}={quoteattr(xml_text(str(value)))}" for name, value in values.items())


def _text(text: str) -> str:
    return escape(xml_text(text), {"\r": "&#13;"})


@dataclass(frozen=True)
class _Place:
    """Of an element `image` in the file; without anything in it `size` is 0."""

    offset: int
    size: int


@dataclass
class _Listed:
    """What is found in one pass through the file."""

    places: dict[str, _Place] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    """Texts below `meta`, by the last two names of their path; the first of each."""


class CvatImporter(CorrectingImporter[_Place]):
    """Reads annotations.xml of an export as "CVAT for images 1.1"."""

    tool = NAME

    def __init__(self, source: Path, settings: CorrectingSettings) -> None:
        self._meta: dict[str, str] = {}
        super().__init__(source, settings)

    def find_places(self) -> Mapping[str, _Place]:
        """See `CorrectingImporter.find_places`."""
        listed = _list_images(self.source)
        self._meta = listed.meta
        return listed.places

    def returned(self, scene: Scene, place: _Place, losses: Losses) -> Returned | None:
        """See `CorrectingImporter.returned`."""
        image = self._read(place)
        size = (image.get("width"), image.get("height"))
        if place.size and size != (str(scene.width), str(scene.height)):
            raise DataError(
                f"{scene.id} has {size[0]}x{size[1]} pixels in {self.source}, "
                f"in the dataset {scene.width}x{scene.height}"
            )
        tags = [one for one in image.iter("tag") if one.get("label") == _SCENE_LABEL]
        values = _read_values(tags[0]) if tags else {}
        require_mark(scene, values.get("mark"), place=f"{self.source}: {scene.id}")
        reader = _Shapes(scene, losses)
        regions = [region for one in image if (region := reader.region(one)) is not None]
        boxes, masks = kinds_shown(values.get("shapes"), regions)
        return Returned(
            tool=NAME,
            by=self._meta.get("assignee/username") or self._meta.get("owner/username"),
            at=self._meta.get("updated") or self._meta.get("dumped"),
            regions=regions,
            boxes_shown=boxes,
            masks_shown=masks,
            caption=_whole(values.get("caption"), stored=scene.caption),
        )

    def _read(self, place: _Place) -> ElementTree.Element:
        if not place.size:
            return ElementTree.Element("image")
        try:
            with open_regular_file(self.source) as file:
                file.seek(place.offset)
                return ElementTree.fromstring(file.read(place.size))
        except OSError as error:
            raise DataError(f"cannot read {self.source}: {error.strerror or error}") from error
        except ElementTree.ParseError as error:
            raise DataError(
                f"{self.source} has changed while it was read, at byte {place.offset}: {error}"
            ) from error


def _list_images(path: Path) -> _Listed:
    """Where each picture's element is, in one pass that holds none of them.

    Raises
    ------
    DataError
        The file cannot be read, is no XML of CVAT's, or not in UTF-8.
    """
    listing = _Listing(path)
    try:
        with open_regular_file(path) as file:
            listing.parse(file)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except expat.ExpatError as error:
        raise DataError(
            f"{path} is no XML: {expat.ErrorString(error.code)}, line {error.lineno}",
            cure="export it from CVAT again, as CVAT for images 1.1, and unpack it",
        ) from error
    return listing.found


class _Listing:
    """Handlers of the parser, and where it is."""

    def __init__(self, path: Path) -> None:
        self.found = _Listed()
        self._path = path
        self._open: list[str] = []
        self._image: tuple[str, int, bool] | None = None
        self._text = ""
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.XmlDeclHandler = self._declaration
        parser.EntityDeclHandler = self._entity

    def parse(self, file: BinaryIO) -> None:
        self._parser.ParseFile(file)

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
            raise DataError(f"{self._path} is in {encoding}, CVAT writes UTF-8")

    def _entity(self, *_: object) -> None:
        raise DataError(f"{self._path} declares entities, which no export of CVAT does")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "annotations":
            raise DataError(f"{self._path} begins with <{name}>, CVAT's files with <annotations>")
        if self._image is not None:
            self._image = (*self._image[:2], True)
        elif name == "image" and len(self._open) == 1:
            title = attributes.get("name")
            if not title:
                raise DataError(f"{self._path}: line {self._line}: an image without a name")
            self._image = (PurePosixPath(title).stem, self._parser.CurrentByteIndex, False)
        self._open.append(name)
        self._text = ""

    def _end(self, name: str) -> None:
        self._open.pop()
        if self._image is not None and name == "image" and len(self._open) == 1:
            self._add(*self._image)
            self._image = None
        elif "meta" in self._open:
            above = f"{self._open[-1]}/" if self._open[-1] in ("assignee", "owner") else ""
            self.found.meta.setdefault(f"{above}{name}", self._text.strip())
        self._text = ""

    def _add(self, sample_id: str, offset: int, has_more: bool) -> None:
        if sample_id in self.found.places:
            raise DataError(f"{self._path}: line {self._line}: {sample_id} is there twice")
        end = self._parser.CurrentByteIndex + len("</image>")
        size = end - offset if has_more else 0
        if size > _LONGEST_IMAGE:
            raise DataError(f"{self._path}: {sample_id} takes {size} bytes")
        self.found.places[sample_id] = _Place(offset, size)

    def _characters(self, text: str) -> None:
        if "meta" in self._open and len(self._text) < 1000:
            self._text += text

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber


def _read_values(element: ElementTree.Element) -> dict[str, str]:
    return {
        name: one.text or ""
        for one in element.iter("attribute")
        if (name := one.get("name")) is not None
    }


def _whole(text: str | None, *, stored: str) -> str | None:
    """A text that CVAT has cut off, which it does without a word, as it was before."""
    is_cut = text is not None and len(text) == _LONGEST_VALUE
    return stored if is_cut and xml_text(stored).startswith(text or "") else text


@dataclass(frozen=True)
class _Shapes:
    """Reads the shapes on one picture."""

    scene: Scene
    losses: Losses

    def region(self, shape: ElementTree.Element) -> Region | None:
        """None for what is no instance, or lies outside of the picture."""
        if shape.tag == "tag":
            return None
        if shape.tag not in ("box", "mask", "polygon"):
            self.losses.note(f"shapes of kind {str(shape.tag)[:20]}", self.scene.id)
            return None
        values = _read_values(shape)
        stated, group = values.get("instance", "").strip(), shape.get("group_id", "0")
        is_index = stated.isascii() and stated.isdecimal() and len(stated) < 5
        index = int(stated) if is_index else None
        phrase = values.get("phrase")
        if index is not None and index < len(self.scene.instances):
            phrase = _whole(phrase, stored=self.scene.instances[index].phrase)
        box = self._box(shape) if shape.tag == "box" else None
        mask = None
        if shape.tag == "mask":
            mask = self._mask(shape)
        elif shape.tag == "polygon":
            mask = self._polygon(shape)
        if box is None and mask is None:
            self.losses.note("shapes outside of the picture, or empty", self.scene.id)
            return None
        return Region(
            box,
            mask,
            index,
            group if group not in ("", "0") else None,
            (shape.get("label") or "").strip() or None,
            (phrase or "").strip() or None,
        )

    def _box(self, shape: ElementTree.Element) -> tuple[int, int, int, int] | None:
        x1, y1, x2, y2 = (self._float(shape, name) for name in ("xtl", "ytl", "xbr", "ybr"))
        corners = (x1, y1, x2, y2)
        turn = self._float(shape, "rotation") if shape.get("rotation") else 0.0
        if turn % 360:
            self.losses.note("rotations of boxes", f"{self.scene.id}: {turn} degrees")
            middle = ((x1 + x2) / 2, (y1 + y2) / 2)
            corners = turned_bounds(corners, about=middle, degrees=turn)
        return corners_to_box(corners, self.scene)

    def _polygon(self, shape: ElementTree.Element) -> MaskRLE | None:
        pairs = [one.split(",") for one in (shape.get("points") or "").split(";")]
        try:
            points = [(float(x), float(y)) for x, y in pairs]
        except ValueError as error:
            raise DataError(
                f"{self.scene.id}: a polygon's points are no pairs of numbers"
            ) from error
        return polygon_to_mask(points, self.scene)

    def _mask(self, shape: ElementTree.Element) -> MaskRLE | None:
        left, top, width, height = (
            self._int(shape, name) for name in ("left", "top", "width", "height")
        )
        scene = self.scene
        if not (
            0 <= left < scene.width
            and 0 <= top < scene.height
            and 0 < width <= scene.width - left
            and 0 < height <= scene.height - top
        ):
            raise DataError(
                f"{scene.id}: a mask of {width}x{height} pixels at {left}, {top} lies outside of "
                f"the picture, which has {scene.width}x{scene.height}"
            )
        try:
            runs = [int(one) for one in (shape.get("rle") or "").split(",")]
        except ValueError as error:
            raise DataError(f"{scene.id}: a mask's rle is no list of whole numbers") from error
        if min(runs) < 0 or sum(runs) != width * height:
            raise DataError(f"{scene.id}: a mask's rle does not fill its {width}x{height} pixels")
        inside = np.arange(len(runs)) % 2 == 1
        mask = np.zeros((scene.height, scene.width), dtype=bool)
        drawn = np.repeat(inside, runs).reshape(height, width)
        mask[top : top + height, left : left + width] = drawn
        return non_empty(mask)

    def _float(self, shape: ElementTree.Element, name: str) -> float:
        text = shape.get(name)
        try:
            number = float(text or "")
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"{self.scene.id}: {name} of a {shape.tag} is no number: {str(text)[:40]}"
            )
        return number

    def _int(self, shape: ElementTree.Element, name: str) -> int:
        number = self._float(shape, name)
        if number != int(number):
            raise DataError(f"{self.scene.id}: {name} of a {shape.tag} is no whole number")
        return int(number)


CVAT: Final = Format(
    name=NAME,
    summary="CVAT for images 1.1: boxes, masks, phrases; corrections come back",
    importer=CvatImporter,
    exporter=CvatExporter,
)
