"""LayoutSAM-Eval: pictures of captions whose regions are described in detail.

CreatiLayout publishes it as a data set of the hub, `HuiZhang0812/LayoutSAM-eval`: parquet files of
5000 rows (`layoutsam_files.py` says how they look). ContextGen drew a part of it with references,
which `layoutsam_sampled.json` lists by the rows' numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from imig.errors import UsageError
from imig.evaluation.against.layoutsam_files import (
    GET,
    Entry,
    Region,
    Sampled,
    read_rows,
    read_sampled,
)
from imig.evaluation.against.published import read_reference
from imig.evaluation.case import Case, CaseInstance, CaseReference
from imig.evaluation.paper_table import Column, PaperTable, Part
from imig.evaluation.pictures import stem_to_case
from imig.layout.placement import scaled

SIDE: Final = 1024
"""Of the square pictures that CreatiLayout's larger model draws, in pixels, whatever the shape of
the original. Others are measured as they are."""

TABLE: Final = PaperTable(
    title="LayoutSAM-Eval",
    columns=(
        *(
            Column(
                name=name, title=title, of=(f"attribute_{name}",), scale=100, meaning=meaning
            )
            for name, title, meaning in (
                ("spatial", "Spatial", "Regions in which the model sees what they are for, in %."),
                ("colour", "Color", "Regions in which it does, and of the right colour, in %."),
                ("texture", "Texture", "Regions in which it does, and of the right texture, in %."),
                ("shape", "Shape", "Regions in which it does, and of the right shape, in %."),
            )
        ),
        Column(
            name="clip", title="CLIP", of=("clip_global",), scale=100,
            meaning="CLIP cosine of picture and caption, times 100.",
        ),
        Column(
            name="pick", title="Pick", of=("preference",),
            meaning="PickScore of picture and caption.",
        ),
    ),
    parts=(Part("all"),),
    notes=(
        "Spatial, Color, Texture and Shape are means over all regions of all pictures, those "
        "without the subject included: they count as wrong in all four.",
    ),
)  # fmt: skip


class LayoutSamCases:
    """The benchmark's published files.

    A case is a row. It has as id the name of its picture without the ending, or, of ContextGen's
    list, its number of four digits; as phrase of an instance the detailed description of the
    region, with which pictures are drawn, and as noun the short one.

    Parameters
    ----------
    path:
        A parquet file, or a folder of them (also in its folder `data`); or ContextGen's JSON, which
        has no short descriptions: with the parquet files beside it these are taken from there, as
        the released evaluator takes them.

    Raises
    ------
    UsageError
        There is no such file, or it has another form.
    """

    kind = "layoutsam"
    table = TABLE

    def __init__(self, path: Path) -> None:
        self._place = path
        self._lists = _find_lists(path)
        self._tables = _find_tables(path)
        if not self._lists and not self._tables:
            raise UsageError(f"{path} has no parquet or JSON file of LayoutSAM-Eval", cure=GET)
        rows = list(read_rows(self._tables))
        sampled = [one for file in self._lists for one in read_sampled(file)]
        self._entries: dict[str, Entry] = {}
        self._references: dict[str, Sampled] = {}
        if sampled:
            for one in sampled:
                key = f"{one.index:04d}"
                self._references[key] = one
                self._entries[key] = _entry_of(one, rows, where=str(self._lists[0]))
        else:
            doubled = [name for name, n in Counter(one.name for one in rows).items() if n > 1]
            if doubled:
                raise UsageError(f"{path}: two rows have the file name {doubled[0]}", cure=GET)
            self._entries = {one.name: one for one in rows}
        self._numbers = {} if sampled else {n: one.name for n, one in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Case]:
        for key in sorted(self._entries):
            yield self._to_case(key, self._entries[key])

    def case_of(self, stem: str) -> str | None:
        """A row's file name (CreatiLayout) or number (ContextGen), with a seed or without one."""
        found = stem_to_case(stem, self._entries)
        number = re.fullmatch(r"([0-9]{4,9})(?:-[0-9]+)?", stem)
        if found is None and number is not None:
            return self._numbers.get(int(number[1]))
        return found

    def record(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "place": str(self._place),
            "cases": len(self),
            "rows": len(self._tables) > 0,
            "files": {one.name: _sha256(one) for one in (*self._lists, *self._tables)},
        }

    def _to_case(self, key: str, entry: Entry) -> Case:
        references = self._references.get(key)
        return Case(
            id=key,
            caption=entry.caption,
            size=(SIDE, SIDE),
            any_size=True,
            instances=tuple(
                CaseInstance(
                    phrase=region.description,
                    noun=region.short,
                    box=scaled(region.box, (SIDE, SIDE)),
                    references=() if references is None else self._reference(references, number),
                )
                for number, region in enumerate(entry.regions)
            ),
        )

    def _reference(self, sampled: Sampled, number: int) -> tuple[CaseReference, ...]:
        """The first of a region's pictures: the released sampler draws with it."""
        files = sampled.references.get(number)
        if files is None:
            return ()
        image, mask = files
        return (
            CaseReference(
                name=image.name,
                read=partial(read_reference, image, mask, place=str(self._lists[0])),
            ),
        )


def _entry_of(sampled: Sampled, rows: list[Entry], *, where: str) -> Entry:
    """A case of ContextGen's list: its regions are the row's, where the rows are there."""
    if not rows:
        return Entry(
            name=f"{sampled.index:04d}",
            caption=sampled.caption,
            regions=tuple(Region(text, "", box) for text, box in sampled.regions),
        )
    if sampled.index >= len(rows):
        raise UsageError(
            f"{where}: the index {sampled.index} is beyond the {len(rows)} rows of the parquet "
            "files beside it",
            cure="get all parquet files of the data set, or take them away",
        )
    return rows[sampled.index]


def _find_lists(path: Path) -> list[Path]:
    """ContextGen's list, where one was given or lies in the folder."""
    if path.is_file():
        return [path] if path.suffix in (".json", ".jsonl") else []
    names = ("layoutsam_sampled.json", "layoutsam_benchmark_filtered_sampled.json")
    return [path / name for name in names if (path / name).is_file()][:1]


def _find_tables(path: Path) -> list[Path]:
    """The parquet files, in the order of the rows' numbers."""
    if path.is_file() and path.suffix == ".parquet":
        return [path]
    folder = path.parent if path.is_file() else path
    for one in (folder, folder / "data"):
        found = sorted(one.glob("*.parquet"))
        if found:
            return found
    return []


def _sha256(path: Path) -> str:
    """Parquet files have the pictures in them, half a gigabyte each: read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
