"""Names of its files, and what its lists say."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from imig.schema import (
    MAX_CAPTION,
    MAX_INSTANCES,
    MAX_TEXT,
    Box,
    Reference,
    ReferenceKind,
    Subset,
)
from imig.stages.crop import CropConfig
from imig.stages.pixels import grow_box

PROMPTS_NAME: Final = "filtered_prompts.json"

BASIC, COMPLEX = "imig-basic", "imig-complex"
COMPOSITE, MULTICOMPOSITE = "imig-composite", "imig-multicomposite"
SUBSETS: Final[dict[str, Subset]] = {
    BASIC: "basic",
    COMPLEX: "complex",
    COMPOSITE: "flexible",
    MULTICOMPOSITE: "flexible",
}
"""What the samples of each folder become."""

MAX_VIEWS: Final = 100
"""Of a scene: ref00 to ref99."""
_MARGIN: Final[float] = CropConfig().margin
MAX_NUMBER: Final = 10**9
"""Of a sample or a view; and of a coordinate, either way."""

Number = Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)]
Corner = (
    Annotated[int, Field(strict=True, ge=-MAX_NUMBER, le=MAX_NUMBER)]
    | Annotated[FiniteFloat, Field(strict=True, ge=-MAX_NUMBER, le=MAX_NUMBER)]
)
Corners = Annotated[list[Corner], Field(min_length=4, max_length=4)]
Cosine = Annotated[float, Field(strict=True, ge=-1.001, le=1.001)]
Phrase = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S")]
Caption = Annotated[str, Field(max_length=MAX_CAPTION)]


class _Entry(BaseModel):
    """Part of `filtered_prompts.json`; keys of other people are allowed, and counted as lost."""

    model_config = ConfigDict(extra="allow")


class EditedView(_Entry):
    """An instance of `imig-basic` and `imig-complex`."""

    index: Number
    """In the names of its files."""
    bbox: Corners
    phrase: Phrase
    valid_bbox: Corners | None = None
    """The subject in pixels of the edit; not there where a detector did not find it."""


class EditedEntry(_Entry):
    """A sample of `imig-basic` and `imig-complex`."""

    index: Number
    prompt: Caption
    nouns: list[str] = Field(default_factory=list, max_length=MAX_INSTANCES)
    reference_images: list[EditedView] = Field(max_length=MAX_VIEWS)


class FoundBox(_Entry):
    """An instance found in a composed target, and its DINO cosine."""

    bbox: Corners
    score: Cosine | None = None


class FoundFace(_Entry):
    """A face that was recognised: in the reference, in the target, in its aligned copy."""

    ref: Corners | None = None
    target: Corners
    score: Cosine | None = None
    aligned_face_bbox: Corners | None = None


class ComposedEntry(_Entry):
    """A sample of `imig-composite` and `imig-multicomposite`; all lists are of its instances."""

    index: Number
    prompt: Caption
    instance: list[Phrase] = Field(max_length=MAX_VIEWS)
    instance_prompt: list[str] = Field(default_factory=list, max_length=MAX_VIEWS)
    indices: list[Number] = Field(max_length=MAX_VIEWS)
    """In the names of their files."""
    bbox: list[FoundBox | None] = Field(max_length=MAX_VIEWS)
    """null: only the face was found."""
    face_bbox: list[FoundFace | None] = Field(max_length=MAX_VIEWS)


def target_name(folder: str, number: int) -> str:
    """Of a target, below the folder that holds all four."""
    kind = "composite_images" if SUBSETS[folder] == "flexible" else "data"
    return f"{folder}/{kind}/{number:06d}.jpg"


def view_names(folder: str, number: int, view: int, kind: ReferenceKind) -> tuple[str, str]:
    """Of a view's picture and of its mask; those of a face are the same."""
    name = f"{number:06d}_{view}"
    if kind == "face":
        face = f"{folder}/aligned_faces/{name}_aligned_face.png"
        return face, face
    pictures = {"crop": "instance_data", "edit": "kontext_data", "source": "reference_masks"}[kind]
    masks = pictures if kind == "source" else f"masked_{pictures}"
    return f"{folder}/{pictures}/{name}.jpg", f"{folder}/{masks}/{name}_mask.png"


def crop_place(box: Box, view: Reference, *, size: tuple[int, int]) -> Box | None:
    """Where in the target, of that (width, height), a crop was cut out, if its size can say so.

    The published crops are the box itself, imig's are larger by a margin (where the recipe does not
    change it); else the mask may span the box. A place counts only where the whole mask then lies
    in the box.
    """
    x1, y1, x2, y2 = view.subject_box
    own = (view.width, view.height)
    left, top = box[0] - x1, box[1] - y1
    spanned = (left, top, left + own[0], top + own[1])
    grown = grow_box(box, margin=_MARGIN, width=size[0], height=size[1])
    for place in (box, grown, spanned):
        subject = (place[0] + x1, place[1] + y1, place[0] + x2, place[1] + y2)
        if (
            (place[2] - place[0], place[3] - place[1]) == own
            and _contains((0, 0, *size), place)
            and _contains(box, subject)
        ):
            return place if place is not spanned or subject == box else None
    return None


def _contains(outer: Box, inner: Box) -> bool:
    return all(a <= b for a, b in zip(outer[:2], inner[:2], strict=True)) and all(
        a >= b for a, b in zip(outer[2:], inner[2:], strict=True)
    )
