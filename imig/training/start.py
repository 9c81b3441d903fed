"""What a recipe says of the adapter that a training starts from, against what its file says."""

from __future__ import annotations

import math
from collections.abc import Callable

from imig.contextgen.adapter_config import AdapterScale
from imig.errors import UsageError
from imig.training.recipe import TrainRecipe


def recipe_with_scale(
    recipe: TrainRecipe, scale: AdapterScale, *, place: Callable[[str], str] | None = None
) -> TrainRecipe:
    """The recipe with rank and alpha of the file `adapter.start`, as the run records it.

    Defaults that the recipe does not spell out give way to the file.

    Parameters
    ----------
    scale:
        Of the file; where its layers differ, the recipe's keys are about most of them.
    place:
        Where a key of the recipe stands, in words.

    Raises
    ------
    UsageError
        The recipe asks for another rank or alpha. The adapter could be scaled to another alpha, but
        not what its training has learned of it.
    """
    config = recipe.adapter
    differing = [
        (key, asked, there)
        for key, asked, there in (
            ("rank", config.rank, scale.rank),
            ("alpha", config.alpha, scale.alpha),
        )
        if key in config.model_fields_set and not math.isclose(asked, there, rel_tol=1e-6)
    ]
    if differing:
        key, asked, there = differing[0]
        where = f"recipe {recipe.name}" if place is None else place(f"adapter.{key}")
        wanted = " ".join(f"--set adapter.{name}={value:.15g}" for name, _, value in differing)
        raise UsageError(
            f"{where}: adapter.{key} is {asked:g}, and {config.start}, which the "
            f"training starts from, has {there:g}",
            cure=f"{wanted}, or leave rank and alpha out of the recipe: the file has them",
        )
    update = {"rank": scale.rank, "alpha": float(scale.alpha)}
    return recipe.model_copy(update={"adapter": config.model_copy(update=update)})
