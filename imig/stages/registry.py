"""A recipe -> its stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from imig.recipe import Recipe, stage_order
from imig.stages.agree import AgreeStage
from imig.stages.base import BuildContext, Stage
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

_STAGES: Final[dict[str, Callable[[Any, BuildContext], Stage]]] = {
    "source": SourceStage,
    "caption": CaptionStage,
    "draw": DrawStage,
    "compose": ComposeStage,
    "edit": EditStage,
    "reground": RegroundStage,
    "match": MatchStage,
    "ground": GroundStage,
    "segment": SegmentStage,
    "crop": CropStage,
    "faces": FacesStage,
    "score": ScoreStage,
    "quality": QualityStage,
    "agree": AgreeStage,
    "filter": FilterStage,
    "write": WriteStage,
}


def build_stages(recipe: Recipe, *, output: Path | None = None) -> list[Stage]:
    """The recipe's stages in their order, the source first; no model is loaded.

    `output` is the dataset's folder.

    Raises UsageError when the source's path is wrong.
    """
    context = BuildContext(recipe_seed=recipe.seed, subset=recipe.subset, output=output)
    blocks = [(name, getattr(recipe, name)) for name in stage_order(recipe.subset)]
    return [_STAGES[name](block, context) for name, block in blocks if block is not None]
