"""A recipe -> its stages, those from outside included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imig.errors import ImigError, UsageError
from imig.recipe.extra import import_stage, order_after
from imig.recipe.root import ExtraStage, Recipe
from imig.stages.base import BuildContext, Stage
from imig.stages.order import STAGES, stage_order
from imig.stages.source import SourceStage


def build_stages(recipe: Recipe, *, output: Path | None = None) -> list[Stage]:
    """The recipe's stages in their order, the source first; no model is loaded.

    `output` is the dataset's folder.

    Raises UsageError when the source's path is wrong, or a stage from outside cannot be made.
    """
    context = BuildContext(recipe_seed=recipe.seed, subset=recipe.subset, output=output)
    blocks = [(name, getattr(recipe, name)) for name in stage_order(recipe.subset)]
    stages: list[Stage] = []
    for name, block in blocks:
        if block is not None:
            stages.append(STAGES[name](block, context))
        if name == SourceStage.name:
            context = replace(context, given=stages[0].writes)
    afters: dict[str, str] = {}
    for number, extra in enumerate(recipe.extra):
        stage = _from_outside(extra, context)
        stage.key = f"extra.{number}"
        place = order_after([one.name for one in stages], extra.after, afters)
        afters[stage.name] = extra.after
        stages.insert(place, stage)
    return stages


def _from_outside(extra: ExtraStage, context: BuildContext) -> Stage:
    stage_class = import_stage(extra)
    try:
        stage = stage_class(stage_class.config_type().model_validate(extra.settings), context)
    except ImigError:
        raise
    except Exception as error:  # what a stranger's class raises is not ours to know
        raise UsageError(
            f"{extra.stage} cannot be made: {type(error).__name__}: {error}",
            cure="the fault is in its `prepare`, `__init__` or settings",
        ) from error
    for words, attribute in ((stage.reads, "reads"), (stage.writes, "writes")):
        if not isinstance(words, frozenset):
            raise UsageError(
                f"{extra.stage}: `{attribute}` is no frozenset of words",
                cure=f'for example `{attribute} = frozenset({{"target"}})`',
            )
    return stage
