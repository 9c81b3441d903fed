"""Stages from outside imig, which a recipe names: `extra: [{stage: "my_package.blur:BlurStage"}]`.

They are imported from a recipe that is given to a build, and never from one that is read out of a
dataset: to import is to run code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pydantic import ValidationError

from imig.errors import UsageError
from imig.recipe.errors import explain_validation_error
from imig.recipe.parts import StageConfig
from imig.recipe.root import STAGE_NAMES, ExtraStage, Recipe
from imig.stages.base import Stage


def stages_from_outside(recipe: Recipe, where: Callable[[str], str]) -> list[StageConfig]:
    """The settings of each stage of a recipe's `extra`, in their order.

    Parameters
    ----------
    where:
        Dotted key -> file and line, for messages.

    Raises
    ------
    UsageError
        A stage cannot be imported, has a name that is taken, comes behind one that takes no part,
        or its settings are wrong.
    """
    names = [name for name in STAGE_NAMES if getattr(recipe, name) is not None]
    configs = []
    for number, extra in enumerate(recipe.extra):
        key = f"extra.{number}"
        try:
            stage = import_stage(extra)
        except UsageError as error:
            raise UsageError(
                f"{where(key + '.stage')}: {error.message}", cure=error.cure
            ) from error
        if stage.name in (*STAGE_NAMES, *names):
            raise UsageError(
                f"{where(key + '.stage')}: {extra.stage} has the name of another stage, "
                f"{stage.name!r}",
                cure="give the class a `name` of its own",
            )
        if extra.after not in names or extra.after == "write":
            raise UsageError(
                f"{where(key + '.after')}: no stage {extra.after!r} runs before it",
                cure=f"one of {', '.join(one for one in names if one != 'write')}",
            )
        names.insert(names.index(extra.after) + 1, stage.name)
        configs.append(_settings(extra, stage, key, where))
    return configs


def import_stage(extra: ExtraStage) -> type[Stage]:
    """The class that a recipe's line names. Raises UsageError when there is no such stage."""
    module, _, name = extra.stage.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # what a stranger's module raises is not ours to know
        raise UsageError(
            f"{extra.stage} cannot be imported: {type(error).__name__}: {error}",
            cure="is its package installed, or its folder on PYTHONPATH?",
        ) from error
    found = getattr(imported, name, None)
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise UsageError(
            f"{extra.stage}: the module has no such stage",
            cure="a stage is a class made of imig.stages.base.Stage: docs/extending.md",
        )
    return found


def _settings(
    extra: ExtraStage, stage: type[Stage], key: str, where: Callable[[str], str]
) -> StageConfig:
    kind: type[StageConfig] = stage.config_type()
    try:
        return kind.model_validate(extra.settings)
    except ValidationError as error:
        inner, message, cure = explain_validation_error(error, extra.settings, kind)
        raise UsageError(f"{where('.'.join((key, *inner)))}: {message}", cure=cure) from error
