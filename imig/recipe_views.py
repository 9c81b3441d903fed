"""The recipe's blocks of stages that draw: targets, edited views, subjects alone, composed scenes.

Constants come from the released pipeline (IMIG-Source; REFERENCE 2.1) where the comment says so.
The wording of instructions is ours.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imig.recipe_parts import (
    Cosine,
    EndpointConfig,
    Fraction,
    ModelConfig,
    RecipePart,
    StageConfig,
)


class Sampling(RecipePart):
    """How a generator samples; null: what its pipeline does by default."""

    steps: int | None = Field(default=None, gt=0, description="Denoising steps.")
    guidance: float | None = Field(default=None, ge=0, description="Guidance scale.")


class DrawConfig(StageConfig):
    """Pictures from prompts: the targets (basic, complex) or each subject alone (flexible)."""

    model: ModelConfig = ModelConfig(family="tabletop")
    width: int = Field(
        default=1024,
        ge=64,
        le=4096,
        multiple_of=16,
        description="Released pipeline: 1024 for targets, 768 for subjects alone.",
    )
    height: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    sampling: Sampling = Sampling()
    subject_template: str = Field(
        default="{prompt}",
        pattern=r"\{prompt\}",
        description="How the prompt of a subject alone is put to the model (flexible).",
    )


class EditInstruction(RecipePart):
    """One kind of edit: wordings of which a view takes one, and how often it is taken."""

    name: str
    weight: float = Field(gt=0)
    wordings: tuple[str, ...] = Field(
        min_length=1, description="`{phrase}` stands for the subject's phrase."
    )


def _turn(degrees: int) -> tuple[str, ...]:
    return (
        f"show the {{phrase}} with the camera turned by {degrees} degrees to the left",
        f"show the {{phrase}} with the camera turned by {degrees} degrees to the right",
    )


RELEASED_INSTRUCTIONS: tuple[EditInstruction, ...] = (
    EditInstruction(
        name="light or place",
        weight=0.40,
        wordings=(
            "show the {phrase} in warm evening light",
            "show the {phrase} by lamplight at night",
            "show the {phrase} in soft light under an overcast sky",
            "show the {phrase} in bright daylight, standing on grass",
            "show the {phrase} in studio light on a plain background",
            "show the {phrase} in the early morning on a wooden table",
        ),
    ),
    EditInstruction(
        name="motion",
        weight=0.10,
        wordings=(
            "show the {phrase} in another posture, tilted",
            "show the {phrase} in motion",
        ),
    ),
    EditInstruction(name="camera 30", weight=0.15, wordings=_turn(30)),
    EditInstruction(name="camera 45", weight=0.15, wordings=_turn(45)),
    EditInstruction(name="camera 60", weight=0.10, wordings=_turn(60)),
    EditInstruction(name="camera 90", weight=0.10, wordings=_turn(90)),
)
"""Kinds and weights of the released pipeline."""


class EditConfig(StageConfig):
    """An edited view of every instance (complex)."""

    model: ModelConfig = ModelConfig(family="tabletop")
    instructions: tuple[EditInstruction, ...] = Field(
        default=RELEASED_INSTRUCTIONS, min_length=1, description="Drawn by their weights."
    )
    only_subject: str = Field(
        default="Keep only the {phrase}, whole and unchanged; remove everything else and whatever "
        "hides it.",
        description="Added to every instruction; empty: nothing.",
    )
    side: int = Field(
        default=1024,
        ge=64,
        le=4096,
        multiple_of=16,
        description="The view has about side x side pixels at the crop's aspect ratio, its sides "
        "cut down to multiples of 16 (released pipeline: 1024).",
    )
    background: Literal["grey", "keep"] = Field(
        default="keep", description="What the model sees of the crop beside the subject."
    )
    sampling: Sampling = Sampling()


class RegroundConfig(StageConfig):
    """The subject of each drawn view found again: its box and its mask."""

    ground_model: ModelConfig = ModelConfig(family="grounding-dino")
    segment_model: ModelConfig = ModelConfig(family="segment-anything")
    box_threshold: Fraction = Field(default=0.35, description="Released pipeline: 0.35.")
    text_threshold: Fraction = Field(default=0.25, description="Released pipeline: 0.25.")
    ask: Literal["phrase", "noun"] = Field(
        default="noun",
        description="What is looked for: the whole phrase, or its noun alone, which is surer where "
        "the view shows nothing else.",
    )
    min_score: Fraction = Field(
        default=0.0, description="Masks whose predicted IoU is lower count as not found."
    )
    margin: Fraction | None = Field(
        default=0.05,
        description="flexible: the view is cropped to its subject with this margin (share of the "
        "box); null: it stays whole. Edited views stay whole.",
    )
    max_aspect: float = Field(default=5.0, ge=1, description="Longer side over shorter side.")


class ComposeConfig(StageConfig):
    """The target composed of its references (flexible)."""

    model: ModelConfig = ModelConfig(family="tabletop")
    width: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    height: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    background: Literal["grey", "keep"] = Field(
        default="keep", description="What the model sees of a reference beside the subject."
    )
    instruction: str = Field(
        default="{prompt}",
        pattern=r"\{prompt\}",
        description="How the prompt is put to the model.",
    )
    min_references: int = Field(
        default=2, ge=1, description="Fewer subjects with a reference: the scene is rejected."
    )
    sampling: Sampling = Sampling()


class MatchConfig(StageConfig):
    """Which candidate box of a composed target shows which reference (flexible)."""

    image_model: ModelConfig = ModelConfig(family="dinov2")
    min_dino: Cosine = Field(
        default=0.5,
        description="Cosine of masked DINO features below which a candidate is none (released "
        "pipeline: 0.5).",
    )
    min_face: Cosine = Field(
        default=0.4,
        description="Cosine of recognition features above which a face is the reference's "
        "(released pipeline: 0.4); the candidate that contains it then wins.",
    )
    min_margin: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="A candidate must be more like its reference than any other reference of the "
        "scene is, by this.",
    )
    max_box_iou: Fraction = Field(
        default=0.75,
        description="Two instances whose boxes overlap more are one (released pipeline: 0.75); the "
        "better match stays.",
    )
    max_face_iou: Fraction = Field(
        default=0.5, description="The same for the boxes of their faces (released pipeline: 0.5)."
    )
    min_instances: int = Field(default=2, ge=1, description="Released pipeline: 2.")


class FacesConfig(StageConfig):
    """Faces: found, recognised, aligned. Without a model on this machine the stage is skipped."""

    model: ModelConfig = ModelConfig(family="insightface", weights="buffalo_l")
    accept_licence: bool = Field(
        default=False,
        description="insightface's published model packs are for non-commercial research only: "
        "true says that you have read and accept that.",
    )
    required: bool = Field(
        default=False, description="Without a model: stop, instead of skipping the stage."
    )
    min_face: Cosine = Field(
        default=0.4,
        description="Recognition cosine above which two faces are one person's (released "
        "pipeline: 0.4).",
    )
    min_side: int = Field(default=24, gt=0, description="Pixels; smaller faces are left out.")
    min_quality: Fraction = Field(
        default=0.25, description="Detection score below which it is no face (dlib's: 1 - exp(-s))."
    )
    aligned_side: int = Field(
        default=512, gt=0, multiple_of=16, description="Released pipeline: 512."
    )


class AgreeConfig(StageConfig):
    """A vision-language model says whether references and phrases agree."""

    endpoint: EndpointConfig | None = None
    model: ModelConfig | None = None
    question: str = Field(
        default='Does this picture show "{phrase}"?',
        pattern=r"\{phrase\}",
        description="The answer is yes or no with a reason.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> AgreeConfig:
        if (self.endpoint is None) == (self.model is None):
            raise ValueError("give either an endpoint or a model")
        return self


class QualityConfig(StageConfig):
    """Figures of the picture itself: aesthetics, preference, hash, watermark."""

    aesthetics: ModelConfig | None = Field(
        default=None,
        description="family `aesthetics`: a folder with an open_clip tower (`weights`) and a head "
        "file (`config`).",
    )
    preference: ModelConfig | None = Field(
        default=None, description="family `pickscore`: how well people would like the target for "
        "its caption.",
    )  # fmt: skip
    watermark: ModelConfig | None = Field(
        default=None,
        description="family `open-clip`: a hint whether the target bears text or a watermark.",
    )
    perceptual_hash: bool = Field(default=True, description="Needed to find duplicates.")
    features: ModelConfig | None = Field(
        default=None,
        description="family `open-clip`: the target's feature, stored to find duplicates.",
    )


class DuplicatesConfig(RecipePart):
    """Scenes of which an earlier one is a near copy are turned down when the build ends."""

    hash_distance: int | None = Field(
        default=4,
        ge=0,
        le=32,
        description="Differing bits of the 64 of the perceptual hash, at most; null: not looked "
        "at.",
    )
    similarity: Cosine | None = Field(
        default=None,
        description="Cosine of the stored features, at least; null: not looked at.",
    )
