"""A recipe -> its stages, those from outside included."""

from __future__ import annotations

from pathlib import Path

from imig.recipe.extra import import_stage
from imig.recipe.root import Recipe
from imig.stages.base import BuildContext, Stage
from imig.stages.order import STAGES, stage_order


def build_stages(recipe: Recipe, *, output: Path | None = None) -> list[Stage]:
    """The recipe's stages in their order, the source first; no model is loaded.

    `output` is the dataset's folder.

    Raises UsageError when the source's path is wrong.
    """
    context = BuildContext(recipe_seed=recipe.seed, subset=recipe.subset, output=output)
    blocks = [(name, getattr(recipe, name)) for name in stage_order(recipe.subset)]
    stages = [STAGES[name](block, context) for name, block in blocks if block is not None]
    for number, extra in enumerate(recipe.extra):
        stage_class = import_stage(extra)
        stage = stage_class(stage_class.config_type().model_validate(extra.settings), context)
        stage.key = f"extra.{number}"
        place = [one.name for one in stages].index(extra.after) + 1
        stages.insert(place, stage)
    return stages
