"""The recipe's blocks of stages that every subset may have.

Constants come from the released pipeline (IMIG-Source) where the comment says so.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imig.recipe_parts import Cosine, Fraction, ModelConfig, StageConfig


class CaptionConfig(StageConfig):
    """A caption, and the noun phrases to look for, where the source has none."""

    model: ModelConfig = ModelConfig(family="blip")
    overwrite: bool = Field(default=False, description="Caption even what has a caption.")
    max_nouns: int = Field(default=12, gt=0, description="Phrases looked for in one picture.")
    ignored_nouns: tuple[str, ...] = Field(
        default=(), description="Nouns of a caption that are never looked for, e.g. `table`."
    )


class GroundConfig(StageConfig):
    """Boxes for the nouns, cleaned as in the released pipeline."""

    model: ModelConfig = ModelConfig(family="grounding-dino")
    box_threshold: Fraction = Field(default=0.35, description="Released pipeline: 0.35.")
    text_threshold: Fraction = Field(default=0.25, description="Released pipeline: 0.25.")
    min_side_fraction: Fraction = Field(
        default=1 / 16,
        description="A box narrower or lower than this share of the image is dropped when its "
        "area is below `min_area_fraction` too (released pipeline: 1/16).",
    )
    min_area_fraction: Fraction = Field(default=1 / 200, description="Released pipeline: 1/200.")
    nms_iou: Fraction = Field(default=0.625, description="Released pipeline: 0.625.")
    max_boxes: int = Field(default=8, gt=0, description="Released pipeline: 8.")
    one_box_per_phrase: bool = Field(
        default=False,
        description="Keep only the best box of a phrase: for captions whose phrases single out one "
        "thing each.",
    )
    min_instances: int = Field(default=1, ge=0, description="Fewer boxes: the scene is rejected.")


class SegmentConfig(StageConfig):
    """A mask for each box."""

    model: ModelConfig = ModelConfig(family="segment-anything")
    min_score: Fraction = Field(
        default=0.0, description="Masks whose predicted IoU is lower are dropped."
    )
    clip_to_box: bool = Field(
        default=True, description="Cut what the mask has outside its box, so boxes hold masks."
    )


class CropConfig(StageConfig):
    """Identity crops: the instance cut out of the target with a margin, and its mask."""

    margin: Fraction = Field(default=0.05, description="Added on each side, share of the box.")
    min_side: int = Field(default=24, gt=0, description="Pixels; smaller instances are dropped.")
    max_aspect: float = Field(default=5.0, ge=1, description="Longer side over shorter side.")
    min_sharpness: float = Field(
        default=0.0, ge=0, description="Variance of the Laplacian; blurrier ones are dropped."
    )


class ScoreConfig(StageConfig):
    """Figures for the filter: CLIP between phrases and crops, and between caption and target."""

    text_model: ModelConfig | None = ModelConfig(family="open-clip")
    image_model: ModelConfig | None = ModelConfig(family="dinov2")
    phrase_template: str = Field(
        default="{phrase}",
        pattern=r"\{phrase\}",
        description="How a phrase is put to the text encoder.",
    )
    background: Literal["grey", "keep"] = Field(
        default="grey",
        description="What the text model sees of a crop outside the instance's mask: mid grey, or "
        "the picture.",
    )


class FilterConfig(StageConfig):
    """Thresholds. Instances that fail are removed; a scene with too few left is rejected."""

    min_instances: int = Field(default=2, ge=1, description="Released filter: 2.")
    max_instances: int = Field(
        default=5, ge=1, description="Released filter: 5, largest by area first."
    )
    min_box_area: Fraction = Field(default=0.01, description="Released filter: 1 % of the image.")
    min_mask_coverage: Fraction = Field(
        default=0.6,
        description="The mask's bounding box covers at least this share of the box in width and "
        "in height (released filter: 60 %).",
    )
    min_phrase_similarity: float | None = Field(default=None, ge=-1, le=1)
    min_phrase_margin: float | None = Field(
        default=None,
        ge=-2,
        le=2,
        description="CLIP must prefer the instance's own phrase to the scene's others by this.",
    )
    min_caption_similarity: float | None = Field(default=None, ge=-1, le=1)
    min_grounding_score: Fraction = 0.0
    min_coverage: Fraction = Field(default=0.0, description="Share of the target under masks.")
    max_coverage: Fraction = 1.0
    max_identity_similarity: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="DINO cosine above which two instances of a scene count as duplicates; the "
        "lower grounding score is removed.",
    )
    dino: Cosine | None = Field(
        default=None,
        description="Cosine of masked DINO features of a reference and its instance in the target, "
        "at least (released filter of the flexible subset: 0.82); of crops only where there is no "
        "edited or drawn view.",
    )
    face: Cosine | None = Field(
        default=None,
        description="Recognition cosine from which a face stands in for `dino`, where there is an "
        "aligned face (released filter of the flexible subset: 0.65).",
    )
    min_aesthetics: float | None = None
    min_preference: float | None = None
    min_sharpness: float | None = Field(default=None, ge=0, description="Of the target.")
    max_watermark: Fraction | None = None
    agreement: bool = Field(
        default=False,
        description="Remove instances of which a vision-language model said no (`agree`).",
    )
    max_duplicate_iou: Fraction = Field(
        default=0.75, description="Box IoU above which two instances are one (released: 0.75)."
    )

    @model_validator(mode="after")
    def _ranges(self) -> FilterConfig:
        if self.min_instances > self.max_instances:
            raise ValueError("min_instances must not be above max_instances")
        return self


class WriteConfig(StageConfig):
    """Shards."""

    scenes_per_shard: int = Field(
        default=1000, gt=0, description="Input scenes a shard covers; what survives is written."
    )
