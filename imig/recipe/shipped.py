"""Recipes that ship with imig, and the file that a name or a path stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imig.errors import UsageError
from imig.paths import command_text, input_path, shown_path
from imig.recipe.errors import nearest

_SUFFIXES = (".yaml", ".yml", ".json")


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe: a shipped recipe's name, or a path."""
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    if name_or_path:
        path = input_path(name_or_path)
        if path.is_file():
            return path
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder, and a recipe is a file",
                cure="give one of its files, for example "
                + command_text(next(_recipes_in(path), path / "recipe.yaml")),
            )
        if path.suffix in _SUFFIXES or len(path.parts) > 1:
            raise UsageError(
                f"there is no recipe file {path}", cure="`imig recipes` lists what ships with imig"
            )
    guess = nearest(name_or_path, shipped)
    names = ", ".join(sorted(shipped))
    raise UsageError(
        f"there is no recipe {name_or_path!r}",
        cure=f"did you mean {guess!r}?" if guess else f"shipped recipes: {names}; or give a path",
    )


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that ship with imig."""
    return {path.stem: path for path in sorted(shipped_folder("pipelines").glob("*.yaml"))}


def _recipes_in(folder: Path) -> Iterator[Path]:
    names = sorted(os.listdir(folder))
    return (folder / name for name in names if Path(name).suffix in _SUFFIXES)


def shipped_folder(name: str) -> Path:
    """`pipelines` or `schemas`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def recipe_description(path: Path) -> str:
    """The first comment line of a recipe file."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def name_to_give(path: Path) -> str | Path:
    """What a command calls a recipe: the name of one that ships with imig, else its file."""
    return path.stem if shipped_recipes().get(path.stem) == path else shown_path(path)
