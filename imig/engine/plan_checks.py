"""What can be wrong with a recipe as a whole: stages that are missing, or have no place in it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from imig.errors import UsageError
from imig.models.families import FAMILIES
from imig.recipe.file import LoadedRecipe
from imig.recipe.root import STAGE_NAMES
from imig.schema import INSTANCE_BOUNDS, SCENE_BOUNDS, Subset
from imig.stages.base import Stage
from imig.stages.order import stage_order

_WRITER_OF: Final = {
    "target": "draw",
    "caption": "caption",
    "nouns": "caption",
    "boxes": "ground",
    "masks": "segment",
    "references": "crop",
    "drawn views": "draw",
    "edited views": "edit",
    "views": "reground",
    "scores": "score",
}
"""Word of `Stage.reads` -> the stage to add to a recipe when nobody writes it."""

_FLEXIBLE_WRITER_OF: Final = {**_WRITER_OF, "target": "compose", "references": "match"}
"""The same where references come first."""

_PROMISED_STAGES: Final[dict[Subset, tuple[str, ...]]] = {
    "basic": (),
    "complex": ("crop", "edit", "reground"),
    "flexible": ("draw", "reground", "compose", "ground", "segment", "match"),
}
"""Without these no scene of the subset has the views that `imig validate` asks for."""

_COMPUTED_BY: Final = {
    **{
        f"filter.{one.key}": one.figure.made_by
        for one in (*INSTANCE_BOUNDS, *SCENE_BOUNDS)
        if one.figure.made_by != "score"
    },
    "filter.agreement": "agree",
    "duplicates.similarity": "quality.features",
}
"""Threshold -> the key of the recipe without which its figure is never computed.

The others are found by `check_inputs`, from what the stages say they read.
"""


def check_subset_stages(loaded: LoadedRecipe) -> None:
    """Raise UsageError for a stage that has no place in the recipe's subset, or lacks in it."""
    recipe = loaded.recipe
    order = stage_order(recipe.subset)
    for name in STAGE_NAMES:
        given = getattr(recipe, name) is not None
        if given and name not in order:
            raise UsageError(
                f"{loaded.where(name)}: the subset {recipe.subset!r} has no stage {name!r}",
                cure=f"remove it (--set {name}=null); its stages are {', '.join(order)}",
            )
        if not given and name in _PROMISED_STAGES[recipe.subset]:
            raise UsageError(
                f"{loaded.where('subset')}: the subset {recipe.subset!r} needs the stage {name!r}",
                cure=f"add it to the recipe; `{recipe.subset}` of `imig recipes` is a start",
            )


def check_inputs(loaded: LoadedRecipe, stages: Sequence[Stage]) -> None:
    """Raise UsageError when a stage reads what no stage before it writes."""
    written: set[str] = set()
    for stage in stages:
        missing = sorted(stage.reads - written)
        if missing:
            flexible = loaded.recipe.subset == "flexible"
            writer = (_FLEXIBLE_WRITER_OF if flexible else _WRITER_OF).get(missing[0])
            cure = f"add the stage {writer!r} to the recipe" if writer else ""
            if missing[0] == "grounded masks":
                cure = _cure_without_masks()
            raise UsageError(
                f"{loaded.where(stage.key)}: stage {stage.name!r} needs {missing[0]}, "
                "which no stage before it writes",
                cure=cure,
            )
        written |= stage.writes


def _cure_without_masks() -> str:
    able = ", ".join(one.name for one in FAMILIES.values() if one.grounds_masks)
    return (
        f"let `ground.model` be of a family that finds masks with its boxes ({able}), or name a "
        "model in `segment.model`"
    )


def check_figures(loaded: LoadedRecipe) -> None:
    """Raise UsageError for a threshold on a figure that no stage computes."""
    for threshold, maker in _COMPUTED_BY.items():
        if _value(loaded, threshold) in (None, False) or _value(loaded, maker) is not None:
            continue
        raise UsageError(
            f"{loaded.where(threshold)}: {threshold} is a threshold on a figure that this recipe "
            "does not compute",
            cure=f"add {maker!r} to the recipe, or remove the threshold",
        )


def _value(loaded: LoadedRecipe, key: str) -> object:
    """What the recipe has at a dotted key; None where the block is not there."""
    block, _, name = key.partition(".")
    found: object = getattr(loaded.recipe, block)
    return found if found is None or not name else attrgetter(name)(found)
