"""The one definition of a scene on disk.

A dataset's JSON is hierarchical: `Scene` -> `Instance` -> `Reference` -> `Face`. The JSON Schemas
in `schemas/` are generated from these classes (`make schemas`), and a test fails when they are
stale.

Conventions: boxes are ``(x1, y1, x2, y2)`` integers in pixels, x2 and y2 exclusive, origin at the
top left; sizes are (width, height) in files and (height, width) in tensors; similarities are
cosines.

Everything has a largest size (`MAX_SIDE` and the others), so that a few damaged or hostile bytes
cannot make a reader allocate gigabytes: what obeys the schema can be decoded.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

SCHEMA_VERSION: Final = 2
"""Bumped by every change of the meaning or the fields; `scene_from_json` reads all older ones."""

# What was added in version 2 may be left out, so version 1 reads as it stands.
SchemaVersion = Annotated[Literal[2], BeforeValidator(lambda stated: 2 if stated == 1 else stated)]

MAX_SIDE: Final = 16_384
"""Pixels of a picture's longer side."""
MAX_PIXELS: Final = 1 << 26
"""Of one picture or mask: 8,192 x 8,192."""
MAX_SCENE_PIXELS: Final = 1 << 28
"""Of a scene's target and references together; decoded as RGB they take 0.8 GB."""
MAX_INSTANCES: Final = 1_000
"""Of a scene; the densest pictures of LVIS have fewer than 700."""
MAX_REFERENCES: Final = 200
"""Of an instance: as many names as there are, ref00 to ref99 and face00 to face99."""
MAX_CAPTION: Final = 100_000
"""Characters."""
MAX_TEXT: Final = 10_000
"""Characters of any other text of a scene."""
MAX_SEED: Final = (1 << 63) - 1
"""What a signed integer of 64 bits holds, as index and generators do."""
MAX_MERGES: Final = 50
"""Of merged datasets within each other, in a manifest's recipe."""

Count = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""Of samples or bytes."""
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
"""Width or height in pixels."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]

Subset = Literal["basic", "complex", "flexible"]
ReferenceKind = Literal["crop", "edit", "source", "face"]


def _box_has_area(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 and 0 <= y1 < y2):
        raise ValueError(f"a box needs 0 <= x1 < x2 and 0 <= y1 < y2, got {list(box)}")
    return box


_Coordinate = Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]

Box = Annotated[
    tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate], AfterValidator(_box_has_area)
]
"""``(x1, y1, x2, y2)`` in pixels, x2 and y2 exclusive."""

SampleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""A webdataset key: no dot (readers split members at the first one), no slash, no space.

At most 64 characters: with the member's name it fits the 100 that a plain tar header has.
"""

ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.tar$")]
"""A file directly in the dataset's folder: no slash, no leading dot."""

MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9]{1,16}){1,2}$")]
"""What follows ``<id>.`` in a shard, for example ``target.jpg`` or ``ref00.mask.png``."""


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


def _check_pixels(what: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{what} of {width}x{height} pixels; the most are {MAX_PIXELS}")


class MaskRLE(_Model):
    """A boolean mask as COCO compressed run lengths (column-major), see `imig.layout.masks`."""

    size: tuple[Side, Side] = Field(description="(height, width) of the image, as COCO has it.")
    counts: str = Field(
        max_length=MAX_PIXELS // 8, description="COCO compressed run lengths, ASCII."
    )

    @model_validator(mode="after")
    def _can_be_decoded(self) -> MaskRLE:
        _check_pixels("a mask", *reversed(self.size))
        return self


class Detection(_Model):
    """Which model found something, and how sure it was."""

    score: float = Field(ge=0, le=1)
    model: str = Field(description="family:weights@revision, see `imig models list`.")


class Face(_Model):
    """A face in a reference, and its aligned copy where the reference is one."""

    box: Box = Field(description="The face in pixels of the reference.")
    aligned_box: Box | None = Field(
        default=None, description="The face in pixels of the aligned image; null: not aligned."
    )
    quality: float | None = None
    score: float | None = Field(default=None, description="Cosine of the recognition features.")


class Agreement(_Model):
    """What a vision-language model answered when asked whether a picture shows the phrase."""

    agrees: bool
    reason: str
    model: str


class Drawing(_Model):
    """How a picture of a subject alone was asked for, and which part of it is the reference."""

    prompt: str
    model: str
    seed: int
    width: Side
    height: Side
    cut: Box | None = Field(default=None, description="In its pixels; null: the whole picture.")


class Edit(_Model):
    """How an edited view was asked for."""

    instruction: str
    model: str
    seed: int


class Similarity(_Model):
    """A reference beside its instance in the target; cosines, null where not computed."""

    dino: float | None = None
    clip: float | None = None
    face: float | None = None


class Reference(_Model):
    """One view of an identity that is given to the model."""

    name: str = Field(pattern=r"^(ref|face)\d{2}$")
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


MAX_FIGURES: Final = 100
"""Of stages from outside imig, for a scene or an instance."""

Figures = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")],
        Annotated[float, Field(allow_inf_nan=False)],
    ],
    Field(
        max_length=MAX_FIGURES,
        exclude_if=lambda figures: not figures,
        description="Of stages from outside imig, by name.",
    ),
]


class InstanceScores(_Model):
    """Figures of one instance, stored before any threshold looks at them."""

    phrase_similarity: float | None = Field(
        default=None, description="CLIP cosine of the masked crop and the phrase."
    )
    phrase_margin: float | None = Field(
        default=None,
        description="CLIP cosine with its own phrase minus the best other phrase of the scene.",
    )
    identity_similarity: list[float] | None = Field(
        default=None,
        description="DINO cosine with every instance of the scene in their order, masked features.",
    )
    sharpness: float | None = Field(
        default=None,
        description="Variance of the Laplacian of the grey values in [0, 1] under the mask.",
    )
    figures: Figures = Field(default_factory=dict)


class Instance(_Model):
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


class Relation(_Model):
    """How two instances lie to each other."""

    kind: Literal["contains", "overlaps"]
    subject: int = Field(ge=0, description="Instance index.")
    object: int = Field(ge=0, description="Instance index.")
    iou: float = Field(ge=0, le=1, description="IoU of the two boxes.")


class Source(_Model):
    """Where the target came from."""

    kind: Literal["tabletop", "file", "shard", "prompt"]
    path: str | None = Field(default=None, description="File, or shard and sample id.")
    sha256: str | None = Field(default=None, description="Of the file's bytes.")
    prompt: str | None = None
    model: str | None = None
    seed: int | None = None


class Subject(_Model):
    """Something that a prompt asks for, before there is a picture."""

    phrase: Text = Field(min_length=1, description="A noun phrase that singles it out.")
    noun: Text = Field(min_length=1, description="The head noun of the phrase.")
    prompt: Text = Field(min_length=1, description="For drawing it alone.")


class SceneScores(_Model):
    """Figures of the whole scene, stored before any threshold looks at them."""

    caption_similarity: float | None = Field(
        default=None, description="CLIP cosine of target and caption."
    )
    aesthetics: float | None = Field(default=None, description="Predicted mean opinion, 1 to 10.")
    preference: float | None = Field(
        default=None, description="PickScore of target and caption: scaled cosine, about 15 to 25."
    )
    watermark: float | None = Field(
        default=None, ge=0, le=1, description="CLIP's hint that the target bears text or a mark."
    )
    perceptual_hash: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{16}$", description="64 bits of the target, hexadecimal."
    )
    sharpness: float | None = Field(
        default=None, description="Variance of the Laplacian of the grey values in [0, 1]."
    )
    coverage: float | None = Field(
        default=None, ge=0, le=1, description="Share of the target under any mask."
    )
    figures: Figures = Field(default_factory=dict)


class Scene(_Model):
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

    @model_validator(mode="after")
    def _can_be_decoded(self) -> Scene:
        _check_pixels("a target", self.width, self.height)
        pixels = self.width * self.height
        for one in self.instances:
            for reference in one.references:
                _check_pixels(f"reference {reference.name}", reference.width, reference.height)
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


class Reject(_Model):
    """A scene that a stage turned down."""

    # A figure that is no number may be the very reason.
    model_config = ConfigDict(allow_inf_nan=True)

    id: SampleId
    stage: str
    reason: str = Field(description="A short fixed phrase, so that reasons can be counted.")
    figures: dict[str, float | int | str] = Field(default_factory=dict)
    path: str | None = Field(
        default=None,
        description="Where its picture comes from, as `source.path` of a scene has it: relative to "
        "the source's folder, as it is listed, or shard/key; null where that is not known.",
    )


class Quarantine(_Model):
    """A scene whose processing raised."""

    id: SampleId
    stage: str
    error: str = Field(description="Class and message of the exception.")
    traceback: str
    path: str | None = Field(default=None, description="As a reject's.")


class ShardRecord(_Model):
    """One shard in the manifest."""

    name: ShardName
    samples: Count
    bytes: Count
    sha256: str


class ModelRecord(_Model):
    """One model that took part in a build."""

    family: str
    weights: str
    revision: str = Field(description="Hub commit, or sha256 of the weight file (first 12 digits).")


class Counts(_Model):
    """Of the scenes that entered: written + rejected + quarantined = input."""

    input: Count
    written: Count
    rejected: Count
    quarantined: Count


HowOften = Literal["never", "sometimes", "always"]


class EncodingRecord(_Model):
    """What `K.encoded.safetensors` depends on, beside the sample that it is of."""

    weights: str = Field(description="As the recipe had them; they may lie elsewhere by now.")
    revision: str = Field(
        description="sha256 of autoencoder, text encoders and tokenizers (first 12 digits)."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        description="Of these networks, and of what is stored but targets and layouts (float32)."
    )
    target_width: Side
    reference_side: Side
    max_references: int = Field(gt=0, le=MAX_INSTANCES)
    instruction: str
    text_length: Literal["caption", 512] = Field(
        default="caption",
        description="Tokens of a text: as many as it has, or 512, padded before T5 read it.",
    )
    edits: HowOften = Field(
        description="Edits in place of crops; `sometimes` has samples of both kinds."
    )
    faces: HowOften = Field(description="Aligned faces, where there are any; like `edits`.")


class SkippedStage(_Model):
    """A stage of the recipe that did nothing, and why."""

    stage: str
    reason: str


class ParentDataset(_Model):
    """A dataset that this one was made from."""

    name: str
    manifest_sha256: str = Field(description="Of its dataset.json.")


class Derivation(_Model):
    """How a dataset was made from others that were finished before."""

    operation: Literal["refilter", "split", "merge", "encode"]
    settings: dict[str, Any] = Field(default_factory=dict)
    parents: list[ParentDataset] = Field(default_factory=list)


class Manifest(_Model):
    """`dataset.json`: the dataset's table of contents."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    name: Text
    recipe: dict[str, Any]
    recipe_sha256: str
    models: list[ModelRecord]
    packages: dict[str, str]
    counts: Counts
    shards: list[ShardRecord]
    index_sha256: str | None = Field(
        default=None,
        description="Of index.parquet; null in datasets built before it was recorded.",
    )
    encoding: EncodingRecord | None = Field(
        default=None, description="How `imig encode` encoded the samples; null: it did not."
    )
    skipped: list[SkippedStage] = Field(default_factory=list)
    derived: list[Derivation] = Field(
        default_factory=list, description="Operations since the build, the latest last."
    )
    encoded_from: str | None = Field(
        default=None, description="SHA-256 of dataset.json of the dataset that was encoded."
    )

    @model_validator(mode="after")
    def _blocks_are_mappings(self) -> Manifest:
        _check_blocks(self.recipe)
        return self

    @model_validator(mode="after")
    def _shards_differ(self) -> Manifest:
        seen = set()
        for record in self.shards:
            if record.name in seen:
                raise ValueError(f"the shard {record.name} is listed twice")
            seen.add(record.name)
        return self


def _check_blocks(recipe: dict[str, Any], *, depth: int = 0) -> None:
    """What imig itself reads of a stored recipe has the right type; the rest is the writer's."""
    if depth > MAX_MERGES:
        raise ValueError(f"recipes merged into each other more than {MAX_MERGES} times")
    for block in ("source", "filter", "duplicates"):
        if not isinstance(recipe.get(block), dict | None):
            raise ValueError(f"recipe.{block} is a {type(recipe[block]).__name__}, not a mapping")
    merged = recipe.get("merged") or []
    if not isinstance(merged, list) or not all(isinstance(one, dict) for one in merged):
        raise ValueError("recipe.merged is no list of recipes")
    for one in merged:
        _check_blocks(one, depth=depth + 1)


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


def first_problem(error: ValidationError) -> str:
    """Where the schema is broken first, and how, in one line without the damaged value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
