"""A scene: its target, instances, and the references of their identities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imig.schema.parts import (
    MAX_CAPTION,
    MAX_CORRECTIONS,
    MAX_INSTANCES,
    MAX_PIXELS,
    MAX_REFERENCES,
    MAX_SCENE_PIXELS,
    MAX_SEED,
    SCHEMA_VERSION,
    Box,
    Detection,
    Licence,
    MaskRLE,
    MemberName,
    ReferenceKind,
    SampleId,
    SchemaModel,
    SchemaVersion,
    Side,
    Subset,
    Text,
    check_pixels,
)
from imig.schema.scores import InstanceScores, SceneScores


class Face(SchemaModel):
    """A face in a reference, and its aligned copy where the reference is one."""

    box: Box = Field(description="The face in pixels of the reference.")
    aligned_box: Box | None = Field(
        default=None, description="The face in pixels of the aligned image; null: not aligned."
    )
    quality: float | None = None
    score: float | None = Field(default=None, description="Cosine of the recognition features.")


class Agreement(SchemaModel):
    """What a vision-language model answered when asked whether a picture shows the phrase."""

    agrees: bool
    reason: str
    model: str


class Drawing(SchemaModel):
    """How a picture of a subject alone was asked for, and which part of it is the reference."""

    prompt: str
    model: str
    seed: int
    width: Side
    height: Side
    cut: Box | None = Field(default=None, description="In its pixels; null: the whole picture.")


class Edit(SchemaModel):
    """How an edited view was asked for."""

    instruction: str
    model: str
    seed: int


class Similarity(SchemaModel):
    """A reference beside its instance in the target; cosines, null where not computed."""

    dino: float | None = None
    clip: float | None = None
    face: float | None = None


class Reference(SchemaModel):
    """One view of an identity that is given to the model."""

    name: str = Field(pattern=r"^(ref|face)(\d{2}|[1-9]\d{2,3})$")
    kind: ReferenceKind
    image: MemberName = Field(description="Member that holds the picture (jpg; faces: RGBA png).")
    mask: MemberName | None = Field(
        description="Member that holds the 1-bit mask of the subject; null for RGBA pictures."
    )
    width: Side
    height: Side
    subject_box: Box = Field(description="The subject in pixels of this reference.")
    crop_box: Box | None = Field(
        default=None, description="kind `crop`: where in the target it was cut out."
    )
    edit: Edit | None = Field(default=None, description="kind `edit`: what was asked for.")
    drawing: Drawing | None = Field(
        default=None, description="kind `source`: what was asked for, before the target was made."
    )
    grounding: Detection | None = Field(
        default=None, description="kinds `edit` and `source`: the subject found again in the view."
    )
    segmentation: Detection | None = Field(
        default=None, description="kinds `edit` and `source`: the subject's mask."
    )
    coverage: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="kinds `edit` and `source`: the mask's bounding box as a share of the box that "
        "grounding found, the smaller of width and height.",
    )
    agreement: Agreement | None = None
    similarity: Similarity = Field(default_factory=Similarity)
    face: Face | None = None


class Instance(SchemaModel):
    """One object in a target."""

    index: int = Field(ge=0, description="Its place in `Scene.instances`.")
    identity_id: str = Field(description="Equal for views of the same identity, across scenes too.")
    phrase: Text = Field(min_length=1, description="A noun phrase that singles it out.")
    noun: Text = Field(min_length=1, description="The head noun of the phrase.")
    box: Box
    mask: MaskRLE | None = Field(default=None, description="Visible part, in pixels of the target.")
    area: int | None = Field(default=None, gt=0, le=MAX_PIXELS, description="Pixels of the mask.")
    layer: int | None = Field(default=None, ge=0, description="0 is drawn first (farthest).")
    occluded_fraction: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Hidden share of the object; known for tabletop's truth, else an estimate: "
        "the share of its box that masks of higher layers cover.",
    )
    parent: int | None = Field(default=None, description="Instance whose box contains this one.")
    grounding: Detection | None = None
    segmentation: Detection | None = None
    face_box: Box | None = Field(default=None, description="The face in pixels of the target.")
    subject: int | None = Field(
        default=None, ge=0, description="Its place in `Scene.subjects`, flexible subset."
    )
    scores: InstanceScores = Field(default_factory=InstanceScores)
    references: list[Reference] = Field(default_factory=list, max_length=MAX_REFERENCES)


class Relation(SchemaModel):
    """How two instances lie to each other."""

    kind: Literal["contains", "overlaps"]
    subject: int = Field(ge=0, description="Instance index.")
    object: int = Field(ge=0, description="Instance index.")
    iou: float = Field(ge=0, le=1, description="IoU of the two boxes.")


class Source(SchemaModel):
    """Where the target came from."""

    kind: Literal["tabletop", "file", "shard", "prompt"]
    path: str | None = Field(default=None, description="File, or shard and sample id.")
    sha256: str | None = Field(default=None, description="Of the file's bytes.")
    licence: Licence | None = Field(
        default=None,
        exclude_if=lambda licence: licence is None,
        description="What its owner lets others do with it: an SPDX identifier, or free text with "
        "an address; left out where nobody has said.",
    )
    prompt: str | None = None
    model: str | None = None
    seed: int | None = None


class Correction(SchemaModel):
    """A change that a person has made to a scene in an annotation tool."""

    tool: str = Field(min_length=1, max_length=64, description="As `imig import` names it.")
    by: Text | None = Field(default=None, description="Who, as the tool says it.")
    at: Text | None = Field(default=None, description="When, as the tool says it.")
    what: Literal["added", "removed", "box", "mask", "phrase", "noun", "caption"]
    identity_id: str | None = Field(
        default=None, description="Of the instance, which may be gone; null: the scene's caption."
    )
    before: Text | None = Field(
        default=None, description="The phrase or noun that it had; of removed ones the phrase."
    )


class Subject(SchemaModel):
    """Something that a prompt asks for, before there is a picture."""

    phrase: Text = Field(min_length=1, description="A noun phrase that singles it out.")
    noun: Text = Field(min_length=1, description="The head noun of the phrase.")
    prompt: Text = Field(min_length=1, description="For drawing it alone.")


class Scene(SchemaModel):
    """One sample: a target image, its caption, its instances."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    id: SampleId
    subset: Subset
    style: str | None = None
    caption: str = Field(default="", max_length=MAX_CAPTION)
    caption_model: str | None = Field(default=None, description="Null: the source's own caption.")
    nouns: list[Text] = Field(
        default_factory=list,
        max_length=MAX_INSTANCES,
        description="Noun phrases to look for, in the caption's order.",
    )
    subjects: list[Subject] = Field(
        default_factory=list,
        max_length=MAX_INSTANCES,
        description="flexible: what the prompt asks for, each to be seen.",
    )
    width: Side
    height: Side
    target: MemberName = "target.jpg"
    source: Source
    seed: int = Field(
        ge=0, le=MAX_SEED, description="From (recipe seed, id); stages derive theirs from it."
    )
    layer_order: list[int] = Field(
        default_factory=list, description="Instance indices, farthest first."
    )
    relations: list[Relation] = Field(
        default_factory=list,
        max_length=MAX_INSTANCES * (MAX_INSTANCES - 1),
    )
    scores: SceneScores = Field(default_factory=SceneScores)
    instances: list[Instance] = Field(default_factory=list, max_length=MAX_INSTANCES)
    corrections: list[Correction] = Field(
        default_factory=list,
        max_length=MAX_CORRECTIONS,
        exclude_if=lambda corrections: not corrections,
        description="What people have changed since the build, the latest last.",
    )

    @model_validator(mode="after")
    def _can_be_decoded(self) -> Scene:
        check_pixels("a target", self.width, self.height)
        pixels = self.width * self.height
        for one in self.instances:
            for reference in one.references:
                check_pixels(f"reference {reference.name}", reference.width, reference.height)
                pixels += reference.width * reference.height
        if pixels > MAX_SCENE_PIXELS:
            raise ValueError(
                f"its pictures have {pixels} pixels together; the most are {MAX_SCENE_PIXELS}"
            )
        return self

    @model_validator(mode="after")
    def _indices_agree(self) -> Scene:
        count = len(self.instances)
        if [instance.index for instance in self.instances] != list(range(count)):
            raise ValueError("instances must be numbered 0, 1, 2, ... in their order")
        if self.layer_order and sorted(self.layer_order) != list(range(count)):
            raise ValueError("layer_order must name every instance once")
        names = [reference.name for one in self.instances for reference in one.references]
        if len(set(names)) != len(names):
            raise ValueError("reference names must be unique within a scene")
        for relation in self.relations:
            if max(relation.subject, relation.object) >= count:
                raise ValueError(f"relation names an instance that is not there: {relation}")
            if relation.subject == relation.object:
                raise ValueError(f"relation of an instance with itself: {relation}")
        for one in self.instances:
            if one.subject is not None and one.subject >= len(self.subjects):
                raise ValueError(f"instance {one.index} has no such subject: {one.subject}")
            if one.parent is not None and not (0 <= one.parent < count and one.parent != one.index):
                raise ValueError(f"instance {one.index} has no such parent: {one.parent}")
        return self


def scene_from_json(text: str | bytes) -> Scene:
    """Read a scene of this or any older schema version.

    Raises
    ------
    pydantic.ValidationError
        When the JSON does not obey the schema.
    """
    return Scene.model_validate_json(text)


def scene_to_json(scene: Scene) -> bytes:
    """The bytes of a scene's JSON member: indented, keys in the schema's order, UTF-8."""
    return (scene.model_dump_json(indent=1) + "\n").encode()
