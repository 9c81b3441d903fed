"""LAMICBench++: pictures of people and things that must be who and what their references are.

ContextGen's extension of LAMICBench. `lamicbench_plus_files/` has

    lamicbench_plus.json                   [{"index", "references": [...], "vqa_prompts": {...}}]
    reference_images/<image_path>          .jpg
    reference_masks/<image_path>_mask.png  white where the object is

and `lamicbench_layout_pack/lamicbench_layout.json`, the same list, has also the prompts and boxes
that pictures were drawn with; it is read where it lies beside the former. The metrics need neither.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from imig.errors import UsageError
from imig.evaluation.against.published import (
    PublishedPart,
    SharesBox,
    Text,
    beside,
    read_json,
    read_reference,
    to_part,
)
from imig.evaluation.case import Case, CaseInstance, CaseReference, Kind, Question
from imig.evaluation.paper_table import Column, PaperTable, Part
from imig.layout.placement import scaled
from imig.schema import MAX_INSTANCES

CASES_NAME: Final = "lamicbench_plus.json"
LAYOUT_NAME: Final = "lamicbench_layout.json"
IMAGES: Final = "reference_images"
MASKS: Final = "reference_masks"
SIDE: Final = 768
"""Of the pictures that the released sampler draws, in pixels. Others are measured as they are."""
FACE: Final = "face"
"""What stands in the path of a person's reference: the released evaluator tells them apart so."""
MOST_OF_FEWER: Final = 3
"""References of a case of the group `fewer`; with more it is of `more`."""
_GET: Final = (
    f"LAMICBench++ is {CASES_NAME} with {IMAGES}/ and {MASKS}/ beside it; docs/evaluation.md says "
    "where to get them"
)

TABLE: Final = PaperTable(
    title="LAMICBench++",
    columns=(
        Column(
            name="itc", title="ITC", of=("picture_answers_right",), scale=100,
            meaning="Questions answered with yes, in %: mean over each picture's own, then over "
            "pictures.",
        ),
        Column(
            name="aes", title="AES", of=("aesthetics",), scale=10,
            meaning="Predicted mean opinion of pictures, times 10.",
        ),
        Column(
            name="ids", title="IDS", of=("face_identity",), scale=100, empty=0.0,
            meaning="Cosine of people's faces with the most similar one of the picture, times 100; "
            "0 where nobody has a face.",
        ),
        Column(
            name="ips", title="IPS", of=("identity",), scale=100, empty=0.0,
            meaning="DINO cosine of objects with their references, times 100; 0 where one is not "
            "found.",
        ),
        Column(
            name="avg", title="AVG", of=("itc", "aes", "ids", "ips"), meaning="Their mean.",
        ),
    ),
    parts=(
        Part("2-3 references", ("fewer",)),
        Part("4+ references", ("more",)),
        Part("all"),
    ),
    notes=(
        "Each part is the mean over all its pictures (ITC, AES) or all its references (IDS, IPS): "
        "`all` is not the mean of the other two. A part without people has an IDS of 0, one "
        "without objects an IPS of 0, as the benchmark's own.",
    ),
)  # fmt: skip


class _Reference(PublishedPart):
    phrase: Annotated[Text, Field(min_length=1)]
    image_path: Annotated[str, Field(min_length=1)]
    bbox: SharesBox | None = None


class _Entry(PublishedPart):
    index: Annotated[int, Field(ge=0, lt=10**9)]
    references: list[_Reference] = Field(min_length=1, max_length=MAX_INSTANCES)
    vqa_prompts: dict[str, Text] = Field(default_factory=dict)
    prompt: Text = ""


class LamicBenchCases:
    """The benchmark's published files.

    A case has its number, of four digits, as id, and as group `fewer` (2 or 3 references) or
    `more`. An instance's phrase is its reference's, and a person has "face" in its reference's
    path.

    Parameters
    ----------
    path:
        `lamicbench_plus.json`, or a folder that has it.

    Raises
    ------
    UsageError
        There is no such file, or it has another form.
    """

    kind = "lamicbench"
    table = TABLE

    def __init__(self, path: Path) -> None:
        self._place = path
        self._file = _find(path)
        self._entries = _read_entries(self._file)
        layout = self._file.with_name(LAYOUT_NAME)
        self._layout = layout if layout.is_file() and layout != self._file else None
        if self._layout is not None:
            drawn_with = _read_entries(self._layout)
            self._entries = {
                index: _with_layout(one, drawn_with.get(index))
                for index, one in self._entries.items()
            }

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Case]:
        return map(self._to_case, self._entries.values())

    def case_of(self, stem: str) -> str | None:
        """``0007_2`` (released: picture 2 of case 7), ``0007`` and ``0007-42`` (imig: the seed)."""
        found = re.fullmatch(r"([0-9]{1,9})(?:[_-][0-9]+)?", stem)
        return f"{int(found[1]):04d}" if found and int(found[1]) in self._entries else None

    def record(self) -> dict[str, Any]:
        files = [self._file] if self._layout is None else [self._file, self._layout]
        return {
            "kind": self.kind,
            "place": str(self._place),
            "cases": len(self),
            "files": {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files},
        }

    def _to_case(self, entry: _Entry) -> Case:
        return Case(
            id=f"{entry.index:04d}",
            caption=entry.prompt,
            size=(SIDE, SIDE),
            any_size=True,
            instances=tuple(map(self._to_instance, entry.references)),
            group="fewer" if len(entry.references) <= MOST_OF_FEWER else "more",
            questions=tuple(Question(one) for one in entry.vqa_prompts.values()),
        )

    def _to_instance(self, reference: _Reference) -> CaseInstance:
        kind: Kind = "person" if FACE in reference.image_path else "object"
        folder, name = self._file.parent, reference.image_path
        image = beside(folder / IMAGES, name, where=str(self._file))
        mask = beside(
            folder / MASKS, f"{name.removesuffix('.jpg')}_mask.png", where=str(self._file)
        )
        return CaseInstance(
            phrase=reference.phrase,
            box=None if reference.bbox is None else scaled(reference.bbox, (SIDE, SIDE)),
            kind=kind,
            references=(
                CaseReference(
                    name=name, read=partial(self._read, image, mask, required=kind == "object")
                ),
            ),
        )

    def _read(self, image: Path, mask: Path, *, required: bool) -> Any:
        """Of an object with its mask; people are measured by faces, and may have none."""
        own = mask if required or mask.is_file() else None
        return read_reference(image, own, place=str(self._file))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"there is no {path}", cure=_GET)
    for folder in (path, path / "lamicbench_plus_files"):
        if (folder / CASES_NAME).is_file():
            return folder / CASES_NAME
    raise UsageError(f"{path} has no {CASES_NAME} in it", cure=_GET)


def _read_entries(path: Path) -> dict[int, _Entry]:
    """By rising number."""
    values = read_json(path, cure=_GET)
    if isinstance(values, dict):
        if "sample_000" in values:
            raise UsageError(
                f"{path} is of LAMICBench, the original, which imig does not measure: how its "
                "scores are computed was not published",
                cure=_GET,
            )
        values = values.get("benchmark")
    if not isinstance(values, list) or not values:
        raise UsageError(f"{path} has no list of cases", cure=_GET)
    entries = [
        to_part(_Entry, value, where=f"{path}: case {number}", cure=_GET)
        for number, value in enumerate(values)
    ]
    for index, count in Counter(one.index for one in entries).items():
        if count > 1:
            raise UsageError(f"{path}: the index {index} stands there {count} times", cure=_GET)
    return {one.index: one for one in sorted(entries, key=lambda one: one.index)}


def _with_layout(entry: _Entry, drawn_with: _Entry | None) -> _Entry:
    """The prompt and boxes that a case was drawn with, where it says none itself."""
    if drawn_with is None:
        return entry
    boxes = {one.image_path: one.bbox for one in drawn_with.references}
    references = [
        one if one.bbox else one.model_copy(update={"bbox": boxes.get(one.image_path)})
        for one in entry.references
    ]
    return entry.model_copy(
        update={"prompt": entry.prompt or drawn_with.prompt, "references": references}
    )
