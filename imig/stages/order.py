"""Every stage, in the order in which they run. A stage takes part when the recipe has its block."""

from __future__ import annotations

from typing import Final

from imig.schema import Subset
from imig.stages.agree import AgreeStage
from imig.stages.base import Stage
from imig.stages.caption import CaptionStage
from imig.stages.compose import ComposeStage
from imig.stages.crop import CropStage
from imig.stages.draw import DrawStage
from imig.stages.edit import EditStage
from imig.stages.faces import FacesStage
from imig.stages.filter import FilterStage
from imig.stages.ground import GroundStage
from imig.stages.match import MatchStage
from imig.stages.quality import QualityStage
from imig.stages.reground import RegroundStage
from imig.stages.score import ScoreStage
from imig.stages.segment import SegmentStage
from imig.stages.source import SourceStage
from imig.stages.write import WriteStage

StageClass = type[Stage]

FROM_TARGET: Final[tuple[StageClass, ...]] = (
    SourceStage, DrawStage, CaptionStage, GroundStage, SegmentStage, CropStage, EditStage,
    RegroundStage, FacesStage, ScoreStage, QualityStage, AgreeStage, FilterStage, WriteStage,
)  # fmt: skip
"""basic and complex: the target comes first, references are made from it."""

FROM_REFERENCES: Final[tuple[StageClass, ...]] = (
    SourceStage, DrawStage, RegroundStage, ComposeStage, GroundStage, SegmentStage, FacesStage,
    MatchStage, ScoreStage, QualityStage, AgreeStage, FilterStage, WriteStage,
)  # fmt: skip
"""flexible: the references come first, the target is composed of them."""

STAGES: Final[dict[str, StageClass]] = {
    stage.name: stage for stage in (*FROM_TARGET, *FROM_REFERENCES)
}
"""Each once, by the name of its block."""


def stage_order(subset: Subset) -> tuple[str, ...]:
    """The stages that a subset may have, in the order in which they run."""
    stages = FROM_REFERENCES if subset == "flexible" else FROM_TARGET
    return tuple(stage.name for stage in stages)
