"""What lies where in a JSON file of COCO: gone through once, and never held as a whole.

Workers get the index, a few bytes an annotation, and read the annotations of their pictures.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, TypeGuard
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from imig.errors import SourceLostError
from imig.regular_file import open_regular_file
from imig.stages.sources.archive import FileState, is_unchanged
from imig.stages.sources.archive_text import json_to_licence
from imig.stages.sources.base import SourceError, name_some, printable
from imig.stages.sources.json_arrays import Element, JsonArrays, read_element

Id = int | str
"""Of images and categories: a number in COCO, a text in files of some tools."""

_CROWDS: Final = "crowd regions, which show no single thing"


@dataclass(frozen=True)
class CocoImage:
    """A picture that a file names."""

    id: Id
    names: tuple[str, ...]
    """Where it may lie below the folder of pictures, the likeliest first.

    Names that lead out of it are left out, unless there is no other.
    """
    size: tuple[int, int] | None
    """(width, height), None where the file does not say."""
    licence: Id | None = None
    """One of the file's licences."""


@dataclass
class CocoFile:
    """Index of a file of instances or of captions."""

    path: Path
    state: FileState
    sha256: str = ""
    images: list[CocoImage] = field(default_factory=list)
    licences: dict[Id, str] = field(default_factory=dict)
    """Name and address of each."""
    categories: dict[Id, str] = field(default_factory=dict)
    spans: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    """(n, 2) first byte and the one after the last of each annotation, picture after picture."""
    first: dict[Id, tuple[int, int]] = field(default_factory=dict)
    """Image id -> its annotations' numbers in `spans`: the first, and the one after the last."""
    masks: int = 0
    """Annotations with a segmentation."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Elements that are not used, by why."""
    places: dict[str, list[str]] = field(default_factory=dict)
    """Of the first few of them."""

    def read(self, image: Id) -> Iterator[dict[str, Any]]:
        """The annotations of a picture, in their order in the file.

        Raises SourceLostError when the file is another than it was.
        """
        start, stop = self.first.get(image, (0, 0))
        if start == stop:
            return
        try:
            with open_regular_file(self.path) as file:
                if not _is_same(file, self.state):
                    raise _changed(self.path)
                for begin, end in self.spans[start:stop].tolist():
                    yield read_element(file, begin, end)
        except (OSError, ValueError) as error:
            raise _changed(self.path) from error

    def is_unchanged(self) -> bool:
        return is_unchanged(self.path, self.state)

    def remarks(self) -> list[str]:
        """A line for each kind of what was left out."""
        name = printable(self.path.name)
        return [
            f"{name}: {why}, left out: {count:,} ({name_some(self.places[why])})"
            for why, count in self.left_out.items()
        ]

    def leave_out(self, why: str, place: str) -> None:
        self.left_out[why] += 1
        places = self.places.setdefault(why, [])
        if len(places) < 4:
            places.append(place)


def read_coco_file(path: Path, *, key: str, wanted: str) -> CocoFile:
    """Index a file.

    Parameters
    ----------
    key:
        Of the recipe, for errors: ``source.annotations``.
    wanted:
        What an annotation must have: ``category_id``, or ``caption``.

    Raises
    ------
    SourceError
        It is not there, is no JSON of this form, or has no annotation.
    DataError
        It is damaged; says where.
    """
    try:
        with open_regular_file(path) as file:
            return _read(file, path, key=key, wanted=wanted)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}", key=key) from error


def _read(file: BinaryIO, path: Path, *, key: str, wanted: str) -> CocoFile:
    found = os.fstat(file.fileno())
    index = CocoFile(path, FileState(found.st_size, found.st_mtime_ns))
    arrays = JsonArrays(file, name=str(path))
    kept = _Annotations(index, wanted=wanted)
    for one in arrays:
        if one.array == "images":
            _add_image(index, one.value)
        elif one.array == "licenses":
            _add_licence(index, one.value)
        elif one.array == "categories":
            _add_category(index, one.value)
        elif one.array == "annotations":
            kept.add(one)
    if arrays.is_list:
        raise SourceError(
            f"{path} is a list; what is read is an object with images and annotations",
            cure="it may be a file of results (detections): give the one of the annotations",
            key=key,
        )
    kept.finish()
    index.sha256 = arrays.sha256
    if not len(index.spans):
        why = f"; {index.remarks()[0]}" if index.left_out else ""
        raise SourceError(
            f"{path} has no annotation with {wanted} of a picture that it names{why}",
            cure="give the file whose name begins with `instances` or `lvis`"
            if wanted == "category_id"
            else "give the file whose name begins with `captions`",
            key=key,
        )
    return index


class _Annotations:
    """Collects the annotations' places; they may stand before the pictures."""

    def __init__(self, index: CocoFile, *, wanted: str) -> None:
        self._index, self._wanted = index, wanted
        self._owners: dict[Id, int] = {}
        self._numbers: list[int] = []
        self._spans: list[tuple[int, int]] = []

    def add(self, element: Element) -> None:
        value, place = element.value, f"byte {element.start}"
        if not isinstance(value, dict):
            self._index.leave_out("annotations that are no objects", place)
            return
        owner = value.get("image_id")
        if not _is_id(owner) or value.get(self._wanted) is None:
            self._index.leave_out(f"annotations without image_id or {self._wanted}", place)
        elif value.get("iscrowd"):
            self._index.leave_out(_CROWDS, f"id {value.get('id')}")
        else:
            self._numbers.append(self._owners.setdefault(owner, len(self._owners)))
            self._spans.append((element.start, element.stop))
            self._index.masks += bool(value.get("segmentation"))

    def finish(self) -> None:
        """Order the places by picture."""
        index = self._index
        numbers = np.array(self._numbers, dtype=np.int64)
        spans = np.array(self._spans, dtype=np.int64).reshape(-1, 2)
        known = {one.id for one in index.images}
        named = [number for owner, number in self._owners.items() if owner in known]
        here = np.isin(numbers, named)
        strangers = spans[~here][np.argsort(numbers[~here], kind="stable")]
        for start in strangers[:, 0].tolist():
            index.leave_out("annotations of pictures that it does not name", f"byte {start}")
        numbers, spans = numbers[here], spans[here]
        order = np.argsort(numbers, kind="stable")
        index.spans = spans[order]
        edges = np.searchsorted(numbers[order], np.arange(len(self._owners) + 1)).tolist()
        for owner, start, stop in zip(self._owners, edges[:-1], edges[1:], strict=True):
            index.first[owner] = (start, stop)


def _add_image(index: CocoFile, value: Any) -> None:
    if not isinstance(value, dict) or not _is_id(value.get("id")):
        index.leave_out("images without an id", str(value)[:40])
        return
    identifier = value["id"]
    names = _names(value)
    if not names:
        index.leave_out("images without file_name or coco_url", f"id {identifier}")
    elif identifier in index.first:
        index.leave_out("images whose id stands there twice", f"id {identifier}")
    else:
        index.first[identifier] = (0, 0)  # until its annotations are ordered
        licence = value.get("license")
        index.images.append(
            CocoImage(identifier, names, _size(value), licence if _is_id(licence) else None)
        )


def _add_licence(index: CocoFile, value: Any) -> None:
    if isinstance(value, dict) and _is_id(value.get("id")):
        # without its own number, which says nothing to others
        said = {key: one for key, one in value.items() if key != "id"}
        index.licences[value["id"]] = json_to_licence({"licence": said})


def _add_category(index: CocoFile, value: Any) -> None:
    if (
        isinstance(value, dict)
        and _is_id(value.get("id"))
        and isinstance(value.get("name"), str)
        and value["name"].strip()
    ):
        index.categories[value["id"]] = value["name"]
    else:
        index.leave_out("categories without id or name", str(value)[:40])


def _names(image: dict[str, Any]) -> tuple[str, ...]:
    """LVIS names pictures by their address alone: ``http://../train2017/000000391895.jpg``.

    Windows writes ``train2017\\1.jpg``, and a tool that ran elsewhere ``/home/ana/images/1.jpg``.
    """
    names: list[str] = []
    stated = image.get("file_name")
    if isinstance(stated, str):
        slashed = stated.replace("\\", "/")
        names += [stated, slashed, slashed.rpartition("/")[2]]
    address = image.get("coco_url")
    if isinstance(address, str):
        parts = unquote(urlsplit(address).path).strip("/").split("/")
        names += ["/".join(parts[-2:]), parts[-1]]
    distinct = tuple(dict.fromkeys(one for one in names if one))
    return tuple(one for one in distinct if not leads_outside(one)) or distinct


def leads_outside(name: str) -> bool:
    """Whether a name is none of a file below the folder of pictures, in Windows' form too."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    sides = [image.get(key) for key in ("width", "height")]
    whole = [
        int(one)
        for one in sides
        if isinstance(one, int | float) and math.isfinite(one) and one == int(one) and one > 0
    ]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _is_id(value: object) -> TypeGuard[Id]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_same(file: BinaryIO, state: FileState) -> bool:
    found = os.fstat(file.fileno())
    return FileState(found.st_size, found.st_mtime_ns) == state


def _changed(path: Path) -> SourceLostError:
    return SourceLostError(
        f"{printable(path.name)} is not what it was when the build began",
        cure="leave the source alone during a build, and run the same command again: it goes on "
        "where the file is the same again",
    )
