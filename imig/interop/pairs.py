"""Format `pairs`: a JSON list of targets with the pictures of their subjects.

A file holds a list, or a JSON value a line (`.jsonl`), each with a target, its caption, and
references with boxes. Where a value stands is a setting: a path of keys and positions
(``description.item``, ``boxes.0``), several of them with ``|`` between, of which the first that is
there counts. Paths of pictures are relative to the file's folder. ``licence`` or
``license`` is read as in a sample's JSON (`json_to_licence`).

Subjects200K has both pictures side by side in one: ``--set split=left`` takes the left half as the
target and the right one as its reference.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from imig.errors import DataError, UsageError
from imig.interop.format import Format, Importer, ImportSettings, Losses
from imig.layout.masks import Mask, mask_to_box
from imig.paths import is_within
from imig.pictures import OpenedPicture, PictureError, open_picture
from imig.regular_file import open_regular_file, read_regular_file
from imig.sample import Sample, derive_seed, image_to_jpeg, mask_to_png
from imig.schema import Box, Instance, Reference, Scene, Source
from imig.shards.manifest import file_sha256
from imig.stages.instances import set_instances
from imig.stages.nouns import head_noun
from imig.stages.sources.archive_text import json_to_licence
from imig.stages.sources.base import set_licence
from imig.text import to_stored

_MAX_REFERENCES: Final = 100
"""Of a line."""
_MAX_NUMBER: Final = 1e9
"""Of a coordinate: what is larger is damage."""


class PairsSettings(ImportSettings):
    """Where a record has what."""

    target: str = Field(default="target|target_image|image", description="the target's file.")
    caption: str = Field(
        default="caption|prompt|text|description.description_0",
        description="the target's caption; may be missing.",
    )
    references: str = Field(
        default="references|reference_images|subjects|instances",
        description="list of references: objects, or files.",
    )
    image: str = Field(
        default="image|reference|path|file", description="a reference's file, below its object."
    )
    mask: str = Field(default="mask|mask_path", description="its mask's file; may be missing.")
    phrase: str = Field(
        default="phrase|name|label|caption", description="its noun phrase, below its object."
    )
    box: str = Field(
        default="box|bbox|bbox_2d", description="its box in the target, below its object."
    )
    phrases: str = Field(
        default="phrases|labels|description.item",
        description="below the record: noun phrases in the order of the references, or one.",
    )
    boxes: str = Field(
        default="boxes|bboxes|layout", description="below the record: boxes in that order."
    )
    units: Literal["pixels", "relative", "thousandths"] = Field(
        default="pixels", description="of boxes: pixels of the target, shares, or shares x 1000."
    )
    corners: Literal["xyxy", "xywh"] = Field(
        default="xyxy", description="how a box is written: two corners, or a corner and sides."
    )
    split: Literal["none", "left", "right"] = Field(
        default="none",
        description="the half of the picture that is the target, as in Subjects200K.",
    )
    padding: int = Field(
        default=0, ge=0, description="with split: pixels around each half, and between them."
    )


class PairsImporter(Importer[PairsSettings]):
    """Reads a record as a scene."""

    settings_type = PairsSettings

    def __init__(self, source: Path, settings: PairsSettings) -> None:
        super().__init__(source, settings)
        if not source.is_file():
            raise UsageError(f"{source} is no file", cure="name the .json or .jsonl itself")
        self._by_line = source.suffix.lower() in (".jsonl", ".ndjson")
        self._lines = _line_places(source) if self._by_line else []
        self._count = len(self._lines) if self._by_line else len(self._records)

    def __getstate__(self) -> dict[str, Any]:
        # A list of a million records is read again by each worker, not sent to it.
        return {name: one for name, one in vars(self).items() if name != "_records"}

    def keys(self) -> Sequence[str]:
        """Numbers of the records: a record need not have a name."""
        if not self._count:
            raise UsageError(f"{self.source} has no records")
        return [f"{self.source.stem}-{number:08d}" for number in range(self._count)]

    def version(self) -> str:
        """Of the list: a record may say something else than it did."""
        return file_sha256(self.source)

    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """See `Importer.read`."""
        number = int(key.rpartition("-")[2])
        record = self._record(number)
        where = f"{self.source}: record {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where} is a {type(record).__name__}, not an object")
        return _Reading(self.settings, self.source.parent, record, where, losses).scene(sample_id)

    @cached_property
    def _records(self) -> list[Any]:
        try:
            records = json.loads(read_regular_file(self.source))
        except OSError as error:
            raise DataError(f"cannot read {self.source}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{self.source} is no JSON: {error}", cure="a value a line is read from a .jsonl"
            ) from error
        if not isinstance(records, list):
            raise UsageError(f"{self.source} is a {type(records).__name__}, not a list of records")
        return records

    def _record(self, number: int) -> Any:
        if not self._by_line:
            return self._records[number]
        offset, size = self._lines[number]
        try:
            with open_regular_file(self.source) as file:
                file.seek(offset)
                return json.loads(file.read(size))
        except OSError as error:
            raise DataError(f"cannot read {self.source}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.source}: record {number} is no JSON: {error}") from error


class _Reading:
    """One record on its way to a sample."""

    def __init__(
        self,
        settings: PairsSettings,
        root: Path,
        record: dict[str, Any],
        where: str,
        losses: Losses,
    ) -> None:
        self._settings, self._root, self._record = settings, root, record
        self._where, self._losses = where, losses

    def scene(self, sample_id: str) -> Sample:
        name = self._file(self._record, self._settings.target, what="target")
        data = self._bytes(name)
        target, other = self._halves(self._open(name, data), sample_id)
        width, height = target.size
        scene = Scene(
            id=sample_id,
            subset="basic",
            caption=self._text(self._record, self._settings.caption),
            width=width,
            height=height,
            source=Source(kind="file", path=name, sha256=hashlib.sha256(data).hexdigest()),
            seed=derive_seed(0, sample_id),
        )
        sample = Sample(scene, {scene.target: target.jpeg})
        set_licence(sample, json_to_licence(self._record))
        references: list[Any] = [other] if other is not None else self._references()
        instances = [self._instance(sample, number, one) for number, one in enumerate(references)]
        set_instances(sample, instances, layer_order=[])
        return sample

    def _halves(self, opened: OpenedPicture, sample_id: str) -> tuple[_Picture, _Picture | None]:
        """The target, and the other half where the picture is split."""
        if self._settings.split == "none":
            return _Picture.of(opened), None
        picture, gap = opened.to_rgb(), self._settings.padding
        side = (picture.width - 3 * gap) // 2
        if side < 1 or picture.height <= 2 * gap:
            raise DataError(
                f"{self._where}: a picture of {picture.width}x{picture.height} has no two halves "
                f"with {gap} pixels around them",
                cure="give the width of the border: --set padding=8",
            )
        halves = [
            _Picture.cut(picture.crop((left, gap, left + side, picture.height - gap)))
            for left in (gap, 2 * gap + side)
        ]
        self._losses.note("halves of one picture, encoded anew", sample_id)
        target, other = halves if self._settings.split == "left" else halves[::-1]
        return target, other

    def _references(self) -> list[Any]:
        found = _find(self._record, self._settings.references)
        found = [] if found is None else found
        if isinstance(found, dict | str):
            found = [found]
        if not isinstance(found, list):
            raise DataError(f"{self._where}: its references are a {type(found).__name__}")
        if len(found) > _MAX_REFERENCES:
            raise DataError(
                f"{self._where} has {len(found)} references; the most are {_MAX_REFERENCES}"
            )
        return found

    def _instance(self, sample: Sample, number: int, one: Any) -> Instance:
        settings, scene = self._settings, sample.scene
        if not isinstance(one, _Picture | dict | str):
            raise DataError(
                f"{self._where}: reference {number} is a {type(one).__name__}, no object or file"
            )
        phrase = self._text(one, settings.phrase) if isinstance(one, dict) else ""
        phrase = phrase or to_stored(_string(self._listed(settings.phrases, number)))
        if not phrase:
            raise DataError(
                f"{self._where}: reference {number} has no noun phrase",
                cure="say where it stands: --set phrase=KEY, or phrases=KEY of the record",
            )
        box = _find(one, settings.box) if isinstance(one, dict) else None
        box = self._listed(settings.boxes, number) if box is None else box
        return Instance(
            index=number,
            identity_id=hashlib.sha256(f"{scene.id}/{number}".encode()).hexdigest()[:12],
            phrase=phrase,
            noun=head_noun(phrase) or phrase,
            box=self._box(box, number, sample),
            references=[self._reference(sample, number, one)],
        )

    def _reference(self, sample: Sample, number: int, one: Any) -> Reference:
        what, mask = f"reference {number}", None
        if isinstance(one, _Picture):
            picture = one
        else:
            owner = {"file": one} if isinstance(one, str) else one
            key = "file" if isinstance(one, str) else self._settings.image
            name = self._file(owner, key, what=what)
            opened = self._open(name, self._bytes(name))
            picture = _Picture.of(opened)
            if not isinstance(one, str) and _find(one, self._settings.mask) is not None:
                mask_name = self._file(one, self._settings.mask, what=f"mask of {what}")
                mask = self._open(mask_name, self._bytes(mask_name)).to_mask()
            elif (drawn := opened.to_rgb_or_rgba()).mode == "RGBA":
                mask = np.asarray(drawn.getchannel("A")) > 127
        width, height = picture.size
        if mask is None:
            mask = np.ones((height, width), dtype=bool)
            self._losses.note(
                "references without a mask: the whole picture is the subject",
                f"{sample.scene.id}: {what}",
            )
        box = self._mask_box(mask, (width, height), what)
        name = f"ref{number:02d}"
        sample.files[f"{name}.jpg"] = picture.jpeg
        sample.files[f"{name}.mask.png"] = mask_to_png(mask)
        return Reference(
            name=name,
            kind="source",
            image=f"{name}.jpg",
            mask=f"{name}.mask.png",
            width=width,
            height=height,
            subject_box=box,
        )

    def _mask_box(self, mask: Mask, size: tuple[int, int], what: str) -> Box:
        if mask.shape != size[::-1]:
            raise DataError(
                f"{self._where}: the mask of {what} has {mask.shape[1]}x{mask.shape[0]} pixels, "
                f"its picture {size[0]}x{size[1]}"
            )
        box = mask_to_box(mask)
        if box is None:
            raise DataError(f"{self._where}: the mask of {what} is empty")
        return box

    def _box(self, value: Any, number: int, sample: Sample) -> Box:
        """Whole pixels, inside the target, at least one a side; all of it where none is given."""
        width, height = sample.scene.width, sample.scene.height
        where = f"{self._where}: the box of reference {number}"
        if value is None:
            self._losses.note(
                "references without a box: the whole target", f"{sample.scene.id}: {number}"
            )
            return 0, 0, width, height
        if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
            raise DataError(f"{where} is no list of four numbers: {str(value)[:80]}")
        x1, y1, x2, y2 = value
        if self._settings.corners == "xywh":
            x2, y2 = x1 + x2, y1 + y2
        per = {"pixels": None, "relative": 1, "thousandths": 1000}[self._settings.units]
        across, down = (1.0, 1.0) if per is None else (width / per, height / per)
        left, top, right, bottom = x1 * across, y1 * down, x2 * across, y2 * down
        if not (left < right and top < bottom):
            raise DataError(f"{where} has no area: {value}", cure=_BOX_CURE)
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise DataError(f"{where} lies outside of {width}x{height}: {value}", cure=_BOX_CURE)
        if max(right - width, bottom - height, -left, -top) > 1:
            self._losses.note("boxes that reach out of the target", f"{sample.scene.id}: {value}")
        first = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
        second = min(round(right), width), min(round(bottom), height)
        return *first, max(second[0], first[0] + 1), max(second[1], first[1] + 1)

    def _listed(self, setting: str, number: int) -> Any:
        """The value at that place of a list of the record; a text stands for the first."""
        found = _find(self._record, setting)
        if isinstance(found, list):
            return found[number] if number < len(found) else None
        return found if number == 0 else None

    def _text(self, owner: Any, setting: str) -> str:
        return to_stored(_string(_find(owner, setting)))

    def _file(self, owner: Any, setting: str, *, what: str) -> str:
        name = _find(owner, setting)
        if not isinstance(name, str) or not _can_be_a_name(name):
            raise DataError(
                f"{self._where} has no {what}: none of {setting.replace('|', ', ')} is a file",
                cure="say where it stands: --set target=KEY, references=KEY, image=KEY",
            )
        if not is_within(self._root / name, self._root):
            raise DataError(f"{self._where}: {name} lies outside of {self._root}")
        return name

    def _bytes(self, name: str) -> bytes:
        try:
            return read_regular_file(self._root / name)
        except OSError as error:
            raise DataError(
                f"{self._where}: cannot read {self._root / name}: {error.strerror or error}"
            ) from error

    def _open(self, name: str, data: bytes) -> OpenedPicture:
        try:
            return open_picture(data)
        except PictureError as error:
            raise DataError(f"{self._where}: {name}: {error}") from error


class _Picture:
    """JPEG bytes and their (width, height)."""

    def __init__(self, jpeg: bytes, size: tuple[int, int]) -> None:
        self.jpeg, self.size = jpeg, size

    @classmethod
    def of(cls, opened: OpenedPicture) -> _Picture:
        """The file's own bytes where they are a JPEG that every reader takes."""
        return cls(opened.jpeg or image_to_jpeg(opened.to_rgb()), opened.image.size)

    @classmethod
    def cut(cls, image: Image.Image) -> _Picture:
        return cls(image_to_jpeg(image), image.size)


def _find(value: Any, setting: str) -> Any:
    """The first of the paths that leads somewhere; None where none does."""
    for path in setting.split("|"):
        found = value
        for step in path.strip().split("."):
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                found = None
        if found is not None:
            return found
    return None


def _can_be_a_name(name: str) -> bool:
    """An escape in JSON can be half of a character, which no file has in its name."""
    try:
        return bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (
        abs(value) <= _MAX_NUMBER
        if isinstance(value, int)
        else (math.isfinite(value) and abs(value) <= _MAX_NUMBER)
    )


def _line_places(path: Path) -> list[tuple[int, int]]:
    """Offset and bytes of each line that is not blank."""
    places, offset = [], 0
    try:
        with open_regular_file(path) as file:
            for line in file:
                if line.strip():
                    places.append((offset, len(line)))
                offset += len(line)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return places


_BOX_CURE: Final = "are they other numbers? --set units=relative, --set corners=xywh"

PAIRS: Final = Format(
    name="pairs",
    summary="a JSON list of targets with pictures of their subjects, by a mapping",
    importer=PairsImporter,
)
