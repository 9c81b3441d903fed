"""The published files of LayoutSAM-Eval, in their two forms.

Parquet (split `test`), a row a case: `global_caption`, `width`, `height`, `file_name`, and three
lists of one length that are *texts of Python literals*: `region_captions` (short),
`detail_region_captions`, `bbox_list` ([x1, y1, x2, y2] in pixels of the original). The column
`image` is not read.

ContextGen's JSON, a list of {"index": the row's number, "global_caption", "segments": [{"index",
"caption", "bbox": shares, "valid_bbox": [{"image_path", "mask_path"}]}]}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from pydantic import Field

from imig.errors import DataError, UsageError
from imig.evaluation.against.published import (
    PublishedPart,
    SharesBox,
    Text,
    read_json,
    to_part,
)
from imig.printable import shortened, to_printable
from imig.shards.parquet import open_parquet

GET: Final = (
    "LayoutSAM-Eval is the parquet files of HuiZhang0812/LayoutSAM-eval, or ContextGen's "
    "layoutsam_sampled.json; docs/evaluation.md says where to get them"
)
COLUMNS: Final = (
    "global_caption", "region_captions", "detail_region_captions", "bbox_list", "width", "height",
    "file_name",
)  # fmt: skip
DIGITS: Final = 3
"""To which shares are rounded, as both released readers do."""
AT_ONCE: Final = 16
"""Rows that are read at once: a text may stand in all of them, and take its room in each."""
LONGEST: Final = 1 << 20
"""Characters of a text of a row."""
LONGEST_NAME: Final = 100
"""Characters of a picture's name."""
LARGEST_SIDE: Final = 1_000_000
"""Pixels of an original."""

Shares = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """A part of a picture."""

    description: str
    """In detail."""
    short: str
    """The thing; empty: nobody says."""
    box: Shares
    """Shares of the picture's sides."""


@dataclass(frozen=True)
class Entry:
    """A case."""

    name: str
    """Of its picture, without the ending."""
    caption: str
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Sampled:
    """A case of ContextGen's list."""

    index: int
    """Number of the row."""
    caption: str
    regions: tuple[tuple[str, Shares], ...]
    """Text and box."""
    references: Mapping[int, tuple[Path, Path | None]]
    """Of a region, by its number: picture and mask."""


def read_rows(paths: Sequence[Path]) -> Iterator[Entry]:
    """The rows of parquet files, in their order.

    Raises
    ------
    UsageError
        A file cannot be read, has not the columns, or a row is not of the form; names it.
    """
    import pyarrow

    for path in paths:
        try:
            with open_parquet(path) as file:
                lacking = [one for one in COLUMNS if one not in file.schema_arrow.names]
                if lacking:
                    raise UsageError(f"{path} has no column {lacking[0]}", cure=GET)
                number = 0
                for batch in file.iter_batches(batch_size=AT_ONCE, columns=list(COLUMNS)):
                    for row in batch.to_pylist():
                        yield _row_to_entry(row, where=f"{path}, row {number}")
                        number += 1
        except DataError as error:
            raise UsageError(error.message, cure=GET) from error
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            # ValueError: a text that is no UTF-8
            raise UsageError(f"{path} cannot be read: {error}", cure=GET) from error


def _row_to_entry(row: Mapping[str, Any], *, where: str) -> Entry:
    shorts, details, boxes = (
        _to_list(row[name], where=f"{where}, {name}")
        for name in ("region_captions", "detail_region_captions", "bbox_list")
    )
    if not len(shorts) == len(details) == len(boxes) or not boxes:
        raise UsageError(
            f"{where}: {len(shorts)} short and {len(details)} detailed descriptions for "
            f"{len(boxes)} boxes",
            cure=GET,
        )
    width, height = row["width"], row["height"]
    name, caption = row["file_name"], row["global_caption"]
    if not (_is_side(width) and _is_side(height)):
        raise UsageError(f"{where}: {width} x {height} is no size of a picture", cure=GET)
    if not isinstance(caption, str | None):
        raise UsageError(f"{where}: global_caption is no text", cure=GET)
    _require_short(caption or "", where=f"{where}, global_caption")
    if not isinstance(name, str) or not _can_be_a_case(PurePosixPath(name).stem):
        raise UsageError(f"{where} has no file_name that a picture can have", cure=GET)
    regions = tuple(
        Region(str(detail), str(short), _to_shares(box, width, height, where=where))
        for detail, short, box in zip(details, shorts, boxes, strict=True)
    )
    return Entry(PurePosixPath(name).stem, caption or "", regions)


def _require_short(text: str, *, where: str) -> None:
    if len(text) > LONGEST:
        raise UsageError(f"{where}: {len(text):,} characters are no part of a case", cure=GET)


def _to_list(value: Any, *, where: str) -> list[Any]:
    """Of a Python literal; re-exports that have lists are read, too."""
    if isinstance(value, str):
        _require_short(value, where=where)
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise UsageError(f"{where} is no list: {error}", cure=GET) from error
    if not isinstance(value, list):
        raise UsageError(f"{where} is no list", cure=GET)
    return value


def _to_shares(box: Any, width: int, height: int, *, where: str) -> Shares:
    """Rounded to three digits and within the picture; a box without area keeps none."""
    if (
        not isinstance(box, list | tuple)
        or len(box) != 4
        or not all(isinstance(one, int | float) and abs(one) < 1e9 for one in box)
        or box[0] > box[2]
        or box[1] > box[3]
    ):
        raise UsageError(f"{where}: {shortened(repr(box))} is no box [x1, y1, x2, y2]", cure=GET)
    sides = (width, height, width, height)
    x1, y1, x2, y2 = (
        min(max(round(one / side, DIGITS), 0.0), 1.0) for one, side in zip(box, sides, strict=True)
    )
    return x1, y1, x2, y2


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and 0 < value <= LARGEST_SIDE


def _can_be_a_case(name: str) -> bool:
    """Pictures of the case are named so, with a seed and an ending."""
    return name not in ("", ".", "..") and len(name) <= LONGEST_NAME and to_printable(name) == name


class _Files(PublishedPart):
    image_path: str
    mask_path: str | None = None


class _Segment(PublishedPart):
    caption: Text
    bbox: SharesBox
    valid_bbox: list[_Files] = Field(default_factory=list)


class _Item(PublishedPart):
    index: Annotated[int, Field(ge=0, lt=10**9)]
    global_caption: Text
    segments: list[_Segment] = Field(min_length=1)


def read_sampled(path: Path) -> Iterator[Sampled]:
    """ContextGen's list.

    Raises
    ------
    UsageError
        It cannot be read, or has another form; names file and entry.
    """
    values = read_json(path, cure=GET)
    if not isinstance(values, list) or not values:
        raise UsageError(f"{path} has no list of cases", cure=GET)
    seen: set[int] = set()
    for number, value in enumerate(values):
        item = to_part(_Item, value, where=f"{path}: case {number}", cure=GET)
        if item.index in seen:
            raise UsageError(f"{path}: the index {item.index} stands there twice", cure=GET)
        seen.add(item.index)
        yield Sampled(
            index=item.index,
            caption=item.global_caption,
            regions=tuple((one.caption, one.bbox) for one in item.segments),
            references={
                place: _find_files(path.parent, one.valid_bbox[0])
                for place, one in enumerate(item.segments)
                if one.valid_bbox
            },
        )


def _find_files(folder: Path, files: _Files) -> tuple[Path, Path | None]:
    """Paths are those of the machine that made the list: only the last name counts."""
    image = folder / "reference_images" / PurePosixPath(files.image_path).name
    if files.mask_path is None:
        return image, None
    return image, folder / "reference_masks" / PurePosixPath(files.mask_path).name
