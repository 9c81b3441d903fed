"""A recipe -> its stages."""

from __future__ import annotations

from imig.recipe import STAGE_ORDER, Recipe
from imig.stages.base import BuildContext, Stage
from imig.stages.caption import CaptionStage
from imig.stages.crop import CropStage
from imig.stages.filter import FilterStage
from imig.stages.ground import GroundStage
from imig.stages.score import ScoreStage
from imig.stages.segment import SegmentStage
from imig.stages.source import SourceStage
from imig.stages.write import WriteStage


def build_stages(recipe: Recipe) -> list[Stage]:
    """The recipe's stages in `STAGE_ORDER`, the source first; no model is loaded.

    Raises UsageError when the source's path is wrong.
    """
    context = BuildContext(recipe_seed=recipe.seed, subset=recipe.subset)
    stages: list[Stage] = [SourceStage(recipe.source, context)]
    if recipe.caption is not None:
        stages.append(CaptionStage(recipe.caption, context))
    if recipe.ground is not None:
        stages.append(GroundStage(recipe.ground, context))
    if recipe.segment is not None:
        stages.append(SegmentStage(recipe.segment, context))
    if recipe.crop is not None:
        stages.append(CropStage(recipe.crop, context))
    if recipe.score is not None:
        stages.append(ScoreStage(recipe.score, context))
    if recipe.filter is not None:
        stages.append(FilterStage(recipe.filter, context))
    stages.append(WriteStage(recipe.write, context))
    assert [stage.name for stage in stages] == [
        name for name in STAGE_ORDER if getattr(recipe, name) is not None
    ]
    return stages
