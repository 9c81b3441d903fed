"""The recipe: which stages run, with which models and thresholds.

A recipe is a YAML file; this module says what may stand in it and what it means. A stage takes part
in a build when its key is present; the order is always that of `STAGE_ORDER`. `imig.recipe_file`
reads recipes from disk and turns what pydantic finds wrong into errors that name file, line and the
nearest right key.

Constants come from the released pipeline (IMIG-Source) where the comment says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imig.schema import Subset

STAGE_ORDER = ("source", "caption", "ground", "segment", "crop", "score", "filter", "write")
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Model):
    """A model family and its weights."""

    family: str
    weights: str = Field(
        default="tiny", description="`tiny`, a local path, or a hub id (`owner/name[@revision]`)."
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`, ...")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="`auto`: float32 on a CPU, bfloat16 on a GPU."
    )
    config: str | None = Field(
        default=None, description="Config file, for families whose weights come without one."
    )


class Resources(_Model):
    """What the workers of a stage take; the engine hands these figures to Ray."""

    batch_size: int = Field(default=8, gt=0, description="Scenes a model sees at once.")
    concurrency: int = Field(default=1, gt=0, description="Workers of this stage.")
    cpus: float = Field(default=1.0, ge=0, description="CPUs a worker.")
    gpus: float = Field(default=0.0, ge=0, description="GPUs a worker; fractions share a GPU.")


class StageConfig(_Model):
    """What every stage's block may say."""

    resources: Resources = Resources()


class TabletopSource(StageConfig):
    """Scenes of the built-in procedural world; only their pixels enter the build."""

    kind: Literal["tabletop"]
    count: int = Field(default=200, gt=0)
    width: int = Field(default=256, ge=64, le=4096)
    height: int = Field(default=256, ge=64, le=4096)
    instances: tuple[int, int] = Field(default=(2, 6), description="Fewest and most things.")
    combinations: Literal["all", "trained", "novel"] = "all"


class _PixelLimits(StageConfig):
    """How pictures from outside become targets."""

    min_side: int = Field(default=128, gt=0, description="Smaller pictures are turned down.")
    max_side: int = Field(default=1024, gt=0, description="Larger ones are scaled down to this.")
    max_pixels: int = Field(
        default=100_000_000, gt=0, description="Pictures above are turned down unread."
    )


class FolderSource(_PixelLimits):
    """Every image below a folder, in sorted order. `<name>.txt` beside an image is its caption."""

    kind: Literal["folder"]
    path: str
    recursive: bool = True


class ListSource(_PixelLimits):
    """A file that lists images: one path a line, or JSON lines `{"path", "caption"?, "nouns"?}`."""

    kind: Literal["list"]
    path: str


class WebdatasetSource(_PixelLimits):
    """Shards in webdataset form; a picture a sample, and a caption where there is one."""

    kind: Literal["webdataset"]
    path: str = Field(description="A folder, a tar file, or a brace pattern (`x-{000..012}.tar`).")


SourceConfig = Annotated[
    TabletopSource | FolderSource | ListSource | WebdatasetSource, Field(discriminator="kind")
]


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


class EngineConfig(_Model):
    """How the build runs; changes nothing in what is built."""

    block_size: int = Field(
        default=8,
        gt=0,
        description="Scenes that travel through the stages together: the unit of work and resume.",
    )
    max_error_rate: Fraction = Field(
        default=0.05, description="Quarantined share of the scenes seen above which a build stops."
    )
    ray_address: str | None = Field(
        default=None, description="A running cluster (`auto`, `ray://host:10001`); null: start one."
    )


class Recipe(_Model):
    """A build from beginning to end."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    subset: Subset = "basic"
    seed: int = Field(default=0, ge=0)
    models: str | None = Field(
        default=None, description="Weights for every model of the recipe, e.g. `tiny`."
    )
    engine: EngineConfig = EngineConfig()
    source: SourceConfig
    caption: CaptionConfig | None = None
    ground: GroundConfig | None = None
    segment: SegmentConfig | None = None
    crop: CropConfig | None = None
    score: ScoreConfig | None = None
    filter: FilterConfig | None = None
    write: WriteConfig = WriteConfig()
