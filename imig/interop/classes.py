"""Classes of an earlier export: another one gives the same names the same numbers.

A class is its number wherever labels are read, so that two exports can be laid together only when
the later one begins with the classes of the earlier one and adds its own behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

from imig.errors import DataError, UsageError
from imig.paths import input_path
from imig.recipe.yaml_lines import parse_plain_yaml
from imig.regular_file import open_regular_file, read_regular_file
from imig.stages.sources.base import printable_path
from imig.stages.sources.json_arrays import JsonArrays
from imig.stages.sources.opening import MAX_TEXT_BYTES
from imig.text import bytes_to_text

_YOLO_CURE: Final = "--set classes=FILE is the data.yaml of an earlier `imig export yolo`"
_COCO_CURE: Final = (
    "--set classes=FILE is the annotations/instances.json of an earlier `imig export coco`"
)


@dataclass(frozen=True)
class EarlierClasses:
    """What an earlier export has numbered, and where its pictures are."""

    numbers: dict[str, int]
    """Name -> number; of a name that stands there twice the first number."""
    names: dict[int, str]
    """Number -> name: all of them, in their order."""
    places: dict[str, str | list[str]] = field(default_factory=dict)
    """YOLO's `path`, and the folders of each split."""
    files: tuple[Path, ...] = ()
    """What it was read from."""

    def extended(self, names: Iterable[str], *, first: int) -> EarlierClasses:
        """With the names that it lacks, sorted, behind its own; without any they begin at `first`.

        Numbers that it leaves out between its own stay free.
        """
        start = max(self.names, default=first - 1) + 1
        new = dict(enumerate(sorted(set(names) - set(self.numbers)), start=start))
        numbers = self.numbers | {name: number for number, name in new.items()}
        return EarlierClasses(numbers, self.names | new, self.places)


NO_CLASSES: Final = EarlierClasses({}, {})
"""Of an export that is the first one: no setting names a file."""


def read_yolo_classes(setting: str | None) -> EarlierClasses:
    """The classes and splits of a ``data.yaml``.

    Raises UsageError, in words, for a file that is none.
    """
    if setting is None:
        return NO_CLASSES
    path = input_path(setting)
    try:
        data = read_regular_file(path, max_bytes=MAX_TEXT_BYTES)
        value = parse_plain_yaml(bytes_to_text(data, where=str(path)), path)
    except OSError as error:
        raise _unreadable(path, error, cure=_YOLO_CURE) from error
    except (DataError, UsageError) as error:
        raise UsageError(error.message, cure=_YOLO_CURE) from error
    names = value.get("names") if isinstance(value, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise UsageError(f"{path} has no `names` of classes", cure=_YOLO_CURE)
    if value.get("kpt_shape"):
        raise UsageError(
            f"{path} is of poses (kpt_shape): what is written is boxes and outlines",
            cure=_YOLO_CURE,
        )
    if not all(_is_number(one) for one in names):
        raise UsageError(f"{path}: classes are numbered 0, 1, 2, .. in names", cure=_YOLO_CURE)
    places = {key: one for key, one in value.items() if _is_place(key, one)}
    return _to_classes({number: str(names[number]) for number in sorted(names)}, path, places)


def read_coco_classes(setting: str | None) -> EarlierClasses:
    """The categories of a file of annotations.

    Raises UsageError, in words, for a file that is none.
    """
    if setting is None:
        return NO_CLASSES
    path = input_path(setting)
    names: dict[int, str] = {}
    try:
        with open_regular_file(path) as file:
            for one in JsonArrays(file, name=str(path)):
                if one.array == "categories":
                    number, name = _to_category(one.value, where=f"{path}: byte {one.start}")
                    if number in names:
                        raise UsageError(
                            f"{path}: category {number} stands there twice", cure=_COCO_CURE
                        )
                    names[number] = name
    except OSError as error:
        raise _unreadable(path, error, cure=_COCO_CURE) from error
    except DataError as error:
        raise UsageError(error.message, cure=_COCO_CURE) from error
    if not names:
        raise UsageError(f"{path} has no categories", cure=_COCO_CURE)
    return _to_classes(names, path, {})


def _to_classes(
    names: dict[int, str], path: Path, places: dict[str, str | list[str]]
) -> EarlierClasses:
    numbers: dict[str, int] = {}
    for number, name in names.items():
        numbers.setdefault(name, number)
    return EarlierClasses(numbers, names, places, (path,))


def _to_category(value: Any, *, where: str) -> tuple[int, str]:
    entry = value if isinstance(value, dict) else {}
    number, name = entry.get("id"), entry.get("name")
    if not _is_number(number) or not isinstance(name, str) or not name.strip():
        raise UsageError(f"{where}: a category without a number (id) or a name", cure=_COCO_CURE)
    if printable_path(name) != name:  # halves of characters, which no file of text can hold
        raise UsageError(f"{where}: the category's name is no text", cure=_COCO_CURE)
    return number, name


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_place(key: object, value: object) -> bool:
    """Whether it says where pictures are: Ultralytics' own keys, or a split that imig has named."""
    if key not in ("path", "train", "val", "test") and value != f"images/{key}":
        return False
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)


def _unreadable(path: Path, error: OSError, *, cure: str) -> UsageError:
    return UsageError(f"cannot read {path}: {error.strerror or error}", cure=cure)
