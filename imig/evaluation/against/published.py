"""What readers of published files share: JSON of a known form, and pictures beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeGuard, TypeVar

from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imig.contextgen.picture_file import read_mask, read_picture
from imig.errors import DataError, UsageError
from imig.evaluation.case import Mask
from imig.printable import shortened
from imig.recipe.yaml_lines import read_text
from imig.regular_file import open_regular_file
from imig.schema import MAX_CAPTION, first_problem

EDGE = 0.001
"""So much may a share reach beyond the picture: it was rounded."""


class PublishedPart(BaseModel):
    """A part of a file that somebody else made: what is not known of it is of no matter."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


PartT = TypeVar("PartT", bound=PublishedPart)

_Share = Annotated[float, Field(ge=-EDGE, le=1 + EDGE, allow_inf_nan=False)]


def _in_order(
    box: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (min(max(one, 0.0), 1.0) for one in box)
    if not (x1 < x2 and y1 < y2):
        raise ValueError("a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2")
    return x1, y1, x2, y2


SharesBox = Annotated[
    tuple[_Share, _Share, _Share, _Share], Field(strict=False), AfterValidator(_in_order)
]
"""x1, y1, x2, y2 as shares of the picture's sides."""


def read_published(path: Path) -> str:
    """The text of a file, in whatever encoding. Raises UsageError when it is none, or no file."""
    try:
        with open_regular_file(path):
            pass
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return read_text(path)


def read_json(path: Path, *, cure: str) -> Any:
    """The values of a JSON file, or, of one that ends in `.jsonl`, of its lines.

    Raises
    ------
    UsageError
        It cannot be read, or is no JSON; names file and line.
    """
    text = read_published(path)
    if path.suffix == ".jsonl":
        lines = [(number, one) for number, one in enumerate(text.splitlines(), 1) if one.strip()]
        return [parse_json(one, f"{path}:{number}", cure=cure) for number, one in lines]
    return parse_json(text, str(path), cure=cure)


def parse_json(text: str, where: str, *, cure: str) -> Any:
    """The value of a text that no key stands twice in: one of two cases would be lost.

    Raises UsageError that begins with `where` and the line.
    """
    try:
        return json.loads(text, object_pairs_hook=_to_dict)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}:{error.lineno}: not JSON: {error.msg}", cure=cure) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON that can be read: {error}", cure=cure) from error


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key, count in times.items() if count > 1)
        raise ValueError(f"the key {shortened(repr(twice))} stands there twice")
    return found


def to_part(kind: type[PartT], value: Any, *, where: str, cure: str) -> PartT:
    """A value of a file as what it should be. Raises UsageError that says what is wrong with it."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is no object", cure=cure)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{where}: {first_problem(error)}", cure=cure) from error


def is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a text that a model can read, and as long as a scene's caption may be.

    An escape in JSON can be half of a character.
    """
    if not isinstance(value, str) or len(value) > MAX_CAPTION:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_text(value: str) -> str:
    if not is_text(value):
        raise ValueError(f"it is no text of at most {MAX_CAPTION} characters")
    return value


Text = Annotated[str, AfterValidator(_require_text)]
"""What a model reads: a caption, a phrase, a question."""


def beside(folder: Path, name: str, *, where: str) -> Path:
    """The file of a name that a published file says, below its folder.

    Raises
    ------
    UsageError
        The name leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    is_below = bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts
    if not is_below or "\0" in name:
        raise UsageError(
            f"{where}: {name!r} is no path below {folder}", cure="is it the released file?"
        )
    return folder.joinpath(*parts)


def read_reference(
    image: Path, mask: Path | None, *, place: str
) -> tuple[Image.Image, Mask | None]:
    """A reference and its mask, RGB and as large.

    Parameters
    ----------
    mask:
        Its file; None: the subject is all of the picture.
    place:
        The file that names them, for messages.

    Raises
    ------
    DataError
        One of them cannot be read, or they do not fit.
    """
    try:
        picture = read_picture(image, place=place).convert("RGB")
        found = None if mask is None else read_mask(mask, place=place)
    except UsageError as error:
        raise DataError(error.message, cure=error.cure) from error
    if found is not None and found.shape != (picture.height, picture.width):
        raise DataError(
            f"{mask} is {found.shape[1]} x {found.shape[0]}, its picture {picture.width} x "
            f"{picture.height}",
            cure="unpack the benchmark's files again, all of them",
        )
    return picture, found
