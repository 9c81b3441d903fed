"""Pictures with labels as Ultralytics' YOLO has them.

``data.yaml`` says where the pictures of each split are and what the classes are called. The labels
of ``images/train/a.jpg`` are ``labels/train/a.txt``, a line an object: ``class x y width height``,
the box's centre and size, or ``class x y x y x y ..``, an outline; all as shares of the picture as
it is seen upright. A picture without a file of labels, or with an empty one, shows no object.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from imig.errors import CannotOpenError, DataError, UsageError
from imig.layout.masks import Mask
from imig.layout.polygons import polygons_to_mask
from imig.paths import input_path, is_within
from imig.recipe.yaml_lines import parse_plain_yaml
from imig.regular_file import read_regular_file
from imig.sample import Sample
from imig.schema import Source
from imig.stages.pictures import PictureError, Target, picture_suffixes
from imig.stages.sources.annotated import UNUSABLE, Annotated, AnnotatedPictures, Annotation
from imig.stages.sources.base import SourceError, name_some, printable, printable_path
from imig.stages.sources.config import YoloSource
from imig.stages.sources.folder_listing import list_folder
from imig.stages.sources.opening import MAX_TEXT_BYTES, is_there, read_listed_file
from imig.text import bytes_to_text

_DATA_NAMES: Final = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_BOX_NUMBERS: Final = 4
_TOLERANCE: Final = 0.01
"""How far outside of 0 to 1 a share may lie: what rounding makes of a border."""


class YoloPictures(AnnotatedPictures):
    """Every picture of a split, sorted by path."""

    _config: YoloSource

    def __init__(self, config: YoloSource) -> None:
        super().__init__(config)
        self._data_path = _find_data(input_path(config.path))
        self._root = self._data_path.parent

    @cached_property
    def _data(self) -> dict[str, Any]:
        try:
            text = bytes_to_text(read_regular_file(self._data_path), where=str(self._data_path))
            data = parse_plain_yaml(text, self._data_path)
        except OSError as error:
            raise SourceError(f"cannot read {self._data_path}: {error.strerror}") from error
        except (DataError, UsageError) as error:
            raise SourceError(error.message, cure=error.cure) from error
        if not isinstance(data, dict):
            raise SourceError(f"{self._data_path} does not say where pictures are")
        if data.get("kpt_shape"):
            raise SourceError(
                f"{self._data_path} is of poses (kpt_shape): what is read is boxes and outlines"
            )
        return data

    @cached_property
    def categories(self) -> dict[int, str]:
        """The classes' names by their numbers."""
        names = self._data.get("names")
        if isinstance(names, list):
            names = dict(enumerate(names))
        if not isinstance(names, dict) or not names:
            raise SourceError(
                f"{self._data_path} names no classes", cure="names: {0: person, 1: bicycle}"
            )
        if not all(isinstance(one, int) for one in names):
            raise SourceError(f"{self._data_path}: classes are numbered 0, 1, 2, .. in names")
        return {number: str(name) for number, name in names.items()}

    @cached_property
    def names(self) -> Sequence[str]:
        return sorted(dict.fromkeys(self._list()))

    @property
    def has_masks(self) -> bool:
        """Whether one of the first files of labels has an outline: a file is of one kind."""
        looked_at = 0
        for number in range(len(self.names)):
            try:
                rows = list(self._rows(number))
            except (PictureError, CannotOpenError):
                continue  # its scene will say so
            if any(len(row.split()) > 1 + _BOX_NUMBERS for row in rows):
                return True
            looked_at += bool(rows)
            if looked_at == 1000:
                return False
        return False

    def count(self) -> int:
        self.categories  # noqa: B018  raises what is wrong with them
        if not self.names:
            raise SourceError(f"{self._data_path}: no pictures where {self._config.split!r} says")
        return len(self.names)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(read_regular_file(self._data_path))
        for name in self.names:
            # Another class is often as many bytes, so that a size does not tell.
            digest.update(f"{name}\0".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(self._label_bytes(name)).digest())
        return digest.hexdigest()

    def describe(self) -> list[str]:
        labelled = sum(is_there(self._label(name)) for name in self.names)
        first = ", ".join(printable(one) for one in self.names[:3])
        return [
            f"{len(self.names):,} pictures, {labelled:,} with labels, of "
            f"{len(self.categories):,} classes; first: {first}"
        ]

    def remarks(self) -> list[str]:
        if not self._missing:
            return []
        first = name_some([self.names[number] for number in self._missing])
        return [
            f"listed pictures that are not there, whose scenes are quarantined: "
            f"{len(self._missing):,} of {len(self.names):,} ({first})"
        ]

    def files(self) -> list[Path]:
        return [self._data_path, self._root]

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self.names[number]))

    def candidates(self, number: int) -> Sequence[Path]:
        return [self._root / self.names[number]]

    def caption(self, number: int, sample: Sample) -> str:
        return ""

    def annotated(self, number: int, target: Target, sample: Sample) -> Annotated:
        size = target.upright_size
        annotations = []
        for line, row in enumerate(self._rows(number), start=1):
            where = f"line {line}"
            try:
                annotations.append(self._to_annotation(row, where=where, size=size))
            except DataError as error:
                sample.note_oddity(UNUSABLE, f"{where}: {error.message}")
        return Annotated(annotations, size=size, upright=True)

    def _rows(self, number: int) -> Iterator[str]:
        path = self._label(self.names[number])
        if not is_there(path):
            return
        shown = printable(str(path.relative_to(self._root)))
        try:
            data = read_listed_file(path, shown=shown, limit=MAX_TEXT_BYTES)
            text = bytes_to_text(data, where=shown)
        except CannotOpenError:
            raise
        except DataError as error:
            raise PictureError("unreadable labels", {"error": error.message}) from error
        yield from (row for row in text.splitlines() if row.strip())

    def _to_annotation(self, row: str, *, where: str, size: tuple[int, int]) -> Annotation:
        try:
            number, *shares = [float(one) for one in row.split()]
        except ValueError as error:
            raise DataError(f"{printable(row[:40])!r} is no row of numbers") from error
        if number not in self.categories:
            raise DataError(f"there is no class {row.split()[0][:20]}")
        if not all(-_TOLERANCE <= one <= 1 + _TOLERANCE for one in shares):
            raise DataError("it has a number that is no share of the picture")
        width, height = size
        pixels = np.array(shares) * np.resize((width, height), len(shares))
        to_mask: Callable[[], Mask] | None = None
        if len(shares) == _BOX_NUMBERS:
            x, y, across, down = pixels.tolist()
            corners = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
        elif len(shares) >= 2 * 3 and len(shares) % 2 == 0:
            points = pixels.reshape(-1, 2)
            (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
            corners = (float(left), float(top), float(right), float(bottom))
            to_mask = partial(polygons_to_mask, [pixels.tolist()], size=size)
        else:
            raise DataError(f"{len(shares)} numbers are neither a box nor an outline")
        area = (corners[2] - corners[0]) * (corners[3] - corners[1])
        return Annotation(
            category=self.categories[int(number)],
            where=where,
            box=corners,
            area=area if math.isfinite(area) else 0.0,
            to_mask=to_mask,
        )

    def _label_bytes(self, name: str) -> bytes:
        """Empty where there are none that can be read: its scene will say so."""
        try:
            return read_regular_file(self._label(name), max_bytes=MAX_TEXT_BYTES)
        except (OSError, ValueError):
            return b""

    def _label(self, name: str) -> Path:
        """As Ultralytics finds it: the last folder ``images`` of the path is ``labels``."""
        before, images, after = f"/{name}".rpartition("/images/")
        path = f"{before}/labels/{after}" if images else f"/{name}"
        return (self._root / path.lstrip("/")).with_suffix(".txt")

    def _list(self) -> Iterator[str]:
        said = self._data.get(self._config.split)
        if said is None:
            splits = ", ".join(one for one in ("train", "val", "test") if self._data.get(one))
            raise SourceError(
                f"{self._data_path} has no {self._config.split!r}",
                cure=f"it has {splits or 'none of train, val and test'}",
                key="source.split",
            )
        for one in said if isinstance(said, list) else [said]:
            place = self._place(str(one))
            if place.is_dir():
                for path in list_folder(place, recursive=True).paths:
                    yield str((place / path).relative_to(self._root))
            else:
                yield from self._listed(place)

    def _place(self, said: str) -> Path:
        """A folder or a list, wherever exporters of labelling tools think that it lies."""
        base = str(self._data.get("path") or "")
        folders = [self._root / base, self._root] if base else [self._root]
        names = [said, said.removeprefix("../")]
        places = [folder / name for folder in folders for name in names]
        inside = [one for one in places if self._is_inside(one)]
        found = next((one for one in inside if one.exists()), None)
        if found is not None:
            # Without `..`, which the names of pictures would have too.
            return self._root / found.resolve().relative_to(self._root.resolve())
        why = "is not there" if inside else "leads out of its folder"
        raise SourceError(
            f"{self._data_path}: {self._config.split}: {printable(said)} {why}",
            cure=f"pictures lie below {self._root}, `images/train` for example",
        )

    def _is_inside(self, path: Path) -> bool:
        try:
            return is_within(path, self._root)
        except ValueError:  # no file can have such a name
            return False

    def _listed(self, path: Path) -> Iterator[str]:
        """A text file with a picture a line."""
        text = bytes_to_text(read_regular_file(path), where=str(path))
        for line in filter(None, map(str.strip, text.splitlines())):
            picture = self._root / line
            if not self._is_inside(picture):
                raise SourceError(f"{path}: {printable(line)} leads out of {self._root}")
            if picture.suffix.lower() in picture_suffixes():
                yield str(
                    Path(line)
                    if not Path(line).is_absolute()
                    else picture.resolve().relative_to(self._root.resolve())
                )


def _find_data(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{path} is neither a file nor a folder", cure="give data.yaml's folder")
    found = [path / name for name in _DATA_NAMES if (path / name).is_file()]
    others = sorted(path.glob("*.yaml"))
    if not found and len(others) != 1:
        raise UsageError(f"{path} has no data.yaml", cure="give the file that names the classes")
    return (found or others)[0]
