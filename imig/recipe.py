"""The recipe: which stages run, with which models and thresholds.

A recipe is a YAML file; this module says what may stand in it and what it means. A stage takes part
in a build when its key is present; the order is always that of `stage_order`. `imig.recipe_file`
reads recipes from disk and turns what pydantic finds wrong into errors that name file, line and the
nearest right key.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from imig.recipe_parts import (
    EndpointConfig,
    Fraction,
    ModelConfig,
    RecipePart,
    Resources,
    StageConfig,
)
from imig.recipe_sources import (
    FolderSource,
    GrammarWriter,
    LanguageModelWriter,
    ListSource,
    PromptsSource,
    SourceConfig,
    TabletopSource,
    WebdatasetSource,
)
from imig.recipe_stages import (
    CaptionConfig,
    CropConfig,
    FilterConfig,
    GroundConfig,
    ScoreConfig,
    SegmentConfig,
    WriteConfig,
)
from imig.recipe_views import (
    AgreeConfig,
    ComposeConfig,
    DrawConfig,
    DuplicatesConfig,
    EditConfig,
    EditInstruction,
    FacesConfig,
    MatchConfig,
    QualityConfig,
    RegroundConfig,
    Sampling,
)
from imig.schema import Subset

__all__ = [
    "STAGE_NAMES",
    "AgreeConfig",
    "CaptionConfig",
    "ComposeConfig",
    "CropConfig",
    "DrawConfig",
    "DuplicatesConfig",
    "EditConfig",
    "EditInstruction",
    "EndpointConfig",
    "EngineConfig",
    "FacesConfig",
    "FilterConfig",
    "FolderSource",
    "Fraction",
    "GrammarWriter",
    "GroundConfig",
    "LanguageModelWriter",
    "ListSource",
    "MatchConfig",
    "ModelConfig",
    "PromptsSource",
    "QualityConfig",
    "Recipe",
    "RecipePart",
    "RegroundConfig",
    "Resources",
    "Sampling",
    "ScoreConfig",
    "SegmentConfig",
    "SourceConfig",
    "StageConfig",
    "TabletopSource",
    "WebdatasetSource",
    "WriteConfig",
    "stage_order",
]

_FROM_TARGET: Final = (
    "source", "draw", "caption", "ground", "segment", "crop", "edit", "reground", "faces", "score",
    "quality", "agree", "filter", "write",
)  # fmt: skip
_FROM_REFERENCES: Final = (
    "source", "draw", "reground", "compose", "ground", "segment", "faces", "match", "score",
    "quality", "agree", "filter", "write",
)  # fmt: skip

STAGE_NAMES: Final = tuple(dict.fromkeys((*_FROM_TARGET, *_FROM_REFERENCES)))
"""Every stage, once."""


def stage_order(subset: Subset) -> tuple[str, ...]:
    """The stages that a subset may have, in the order in which they run.

    In the basic and the complex subset the target comes first and references are made from it; in
    the flexible subset the references come first and the target is composed of them.
    """
    return _FROM_REFERENCES if subset == "flexible" else _FROM_TARGET


class EngineConfig(RecipePart):
    """How the build runs; changes nothing in what is built."""

    block_size: int = Field(
        default=8,
        gt=0,
        description="Scenes that travel through the stages together: the unit of work and resume.",
    )
    max_error_rate: Fraction = Field(
        default=0.05, description="Quarantined share of the scenes seen above which a build stops."
    )
    fuse: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Stages that share worker processes. `auto`: where models are small, one "
        "worker a core (a few a GPU) carries all stages; `imig build --plan` shows it.",
    )
    ray_address: str | None = Field(
        default=None, description="A running cluster (`auto`, `ray://host:10001`); null: start one."
    )


class Recipe(RecipePart):
    """A build from beginning to end."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    subset: Subset = "basic"
    seed: int = Field(default=0, ge=0)
    models: str | None = Field(
        default=None,
        description="Weights for every model of the recipe; `tiny` asks for no GPU, and applies "
        "the block `tiny`.",
    )
    engine: EngineConfig = EngineConfig()
    tiny: dict[str, Any] = Field(
        default_factory=dict,
        description="What `models: tiny` changes beside the weights: dotted keys and their values.",
    )
    source: SourceConfig
    draw: DrawConfig | None = None
    caption: CaptionConfig | None = None
    compose: ComposeConfig | None = None
    ground: GroundConfig | None = None
    segment: SegmentConfig | None = None
    crop: CropConfig | None = None
    edit: EditConfig | None = None
    reground: RegroundConfig | None = None
    match: MatchConfig | None = None
    faces: FacesConfig | None = None
    score: ScoreConfig | None = None
    quality: QualityConfig | None = None
    agree: AgreeConfig | None = None
    filter: FilterConfig | None = None
    duplicates: DuplicatesConfig | None = None
    write: WriteConfig = WriteConfig()
