"""Stages from outside imig, which a recipe names: `extra: [{stage: "my_package.blur:BlurStage"}]`.

They are imported when a recipe is given to a build (`imig.outside` says why only then), checked as
far as that goes without running them, and put into the order of the stages.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from imig.errors import UsageError
from imig.outside import import_class
from imig.recipe.errors import explain_validation_error
from imig.recipe.parts import StageConfig
from imig.recipe.root import ExtraStage, Recipe
from imig.stages.base import Stage

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""Stages' names go into reports and tables beside imig's own."""


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
    # every key of a recipe: a stage called `engine` or `duplicates` would be taken for that
    taken = set(type(recipe).model_fields)
    names = [name for name in type(recipe).model_fields if _takes_part(recipe, name)]
    configs = []
    for number, extra in enumerate(recipe.extra):
        key = f"extra.{number}"
        try:
            stage = import_stage(extra)
            if stage.name in taken:
                raise UsageError(
                    f"{extra.stage} has the name of another stage, or of a key of the recipe, "
                    f"{stage.name!r}",
                    cure="give the class a `name` of its own",
                )
        except UsageError as error:
            raise UsageError(
                f"{where(key + '.stage')}: {error.message}", cure=error.cure
            ) from error
        if extra.after not in names or extra.after == "write":
            raise UsageError(
                f"{where(key + '.after')}: no stage {extra.after!r} runs before it",
                cure=f"one of {', '.join(one for one in names if one != 'write')}",
            )
        taken.add(stage.name)
        names.append(stage.name)
        configs.append(_settings(extra, stage, key, where))
    return configs


def import_stage(extra: ExtraStage) -> type[Stage]:
    """The class that a recipe's line names. Raises UsageError when it is no stage that can run."""
    found = import_class(extra.stage)
    if not issubclass(found, Stage):
        raise UsageError(
            f"{extra.stage} is no such stage: a class made of imig.stages.base.Stage",
            cure="docs/extending.md shows one",
        )
    if inspect.isabstract(found):
        raise UsageError(
            f"{extra.stage} has no method {min(found.__abstractmethods__)}",
            cure="a stage is called with a list of samples: docs/extending.md",
        )
    name = getattr(found, "name", None)
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UsageError(
            f"{extra.stage} has {'no name' if name is None else f'the name {name!r}'}",
            cure='give the class a name in small letters, for example `name = "blur"`',
        )
    kind = found.config_type()
    if not (isinstance(kind, type) and issubclass(kind, StageConfig)):
        raise UsageError(
            f"{extra.stage}: its settings are no imig.recipe.parts.StageConfig",
            cure="write `class MyStage(Stage[MyConfig])`, with MyConfig made of StageConfig",
        )
    if clash := sorted(set(ExtraStage.model_fields) & _keys(kind)):
        raise UsageError(
            f"{extra.stage}: one of its settings is called {clash[0]!r}, which a recipe's line "
            "says of every stage",
            cure="give that setting another name",
        )
    return found


def order_after(names: Sequence[str], after: str, afters: Mapping[str, str]) -> int:
    """Where a stage comes that runs behind `after`: also behind those that were put there earlier.

    Parameters
    ----------
    names:
        Stages in their order.
    afters:
        Of the stages from outside among them: name -> the stage behind which each runs.
    """
    place = names.index(after) + 1
    while place < len(names) and after in _chain(names[place], afters):
        place += 1
    return place


def _chain(name: str, afters: Mapping[str, str]) -> list[str]:
    """The stages behind which one runs, the nearest first."""
    found = []
    while name in afters:
        name = afters[name]
        found.append(name)
    return found


def _takes_part(recipe: Recipe, name: str) -> bool:
    return isinstance(getattr(recipe, name), StageConfig)


def _keys(kind: type[StageConfig]) -> set[str]:
    """What the settings are called in a recipe."""
    fields = kind.model_fields.items()
    return {name for name, _ in fields} | {one.alias for _, one in fields if one.alias}


def _settings(
    extra: ExtraStage, stage: type[Stage], key: str, where: Callable[[str], str]
) -> StageConfig:
    kind: type[StageConfig] = stage.config_type()
    try:
        return kind.model_validate(extra.settings)
    except ValidationError as error:
        inner, message, cure = explain_validation_error(error, extra.settings, kind)
        raise UsageError(f"{where('.'.join((key, *inner)))}: {message}", cure=cure) from error
