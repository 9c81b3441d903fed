"""Prompts that a language model writes for a build, before its stages start."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from imig.engine.plan import Plan
from imig.errors import UsageError
from imig.prompts.config import LanguageModelWriter, PromptsSource
from imig.prompts.output import OutputPaths, count_written
from imig.prompts.writing import prompts_identity, write_prompts
from imig.recipe.root import Recipe
from imig.stages.sources.prompts import WRITTEN_NAME
from imig.stores.path import StorePath


def write_missing_prompts(plan: Plan, console: Console, *, overwrite: bool) -> None:
    """Write the prompts that the build needs and that are not there, into the dataset's folder.

    They have cost time and money: a build anew (`overwrite`) keeps those that the recipe would ask
    for again, and removes others.
    """
    recipe = plan.loaded.recipe
    if isinstance(plan.output, StorePath):
        return  # the source has been refused: such prompts are files of this machine
    path = plan.output / WRITTEN_NAME
    if overwrite and not _are_wanted(recipe, path):
        for one in OutputPaths(path).all():
            one.unlink(missing_ok=True)
    if not _asks_a_model(recipe):
        return
    if count_written(path, identity=prompts_identity(recipe)) < plan.scenes:
        write_prompts(recipe, count=plan.scenes, output=path, console=console)


def _asks_a_model(recipe: Recipe) -> bool:
    source = recipe.source
    return (
        isinstance(source, PromptsSource)
        and source.path is None
        and isinstance(source.writer, LanguageModelWriter)
    )


def _are_wanted(recipe: Recipe, path: Path) -> bool:
    """Whether prompts of an earlier build in this folder serve this one."""
    source = recipe.source
    if not _asks_a_model(recipe):
        given = source.path if isinstance(source, PromptsSource) else None
        return given is not None and Path(given).resolve() == path.resolve()
    try:
        count_written(path, identity=prompts_identity(recipe))
    except UsageError:
        return False
    return True
