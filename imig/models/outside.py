"""Families from outside imig, which a recipe names: `family: "my_package.models:MyGrounder"`.

They are imported from a recipe that is given to a build, and never from one that is read out of a
dataset: to import is to run code.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from imig.errors import UsageError
from imig.models.family import Family


def is_outside(name: str) -> bool:
    """Whether a recipe's `family` names a class, and no family of imig's own."""
    return ":" in name


def outside_class(name: str) -> Any:
    """The class that `package.module:Class` names; its attribute `family` says what it is for.

    Raises UsageError when there is no such class.
    """
    module, _, class_name = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # what a stranger's module raises is not ours to know
        raise UsageError(
            f"the family {name} cannot be imported: {type(error).__name__}: {error}",
            cure="is its package installed, or its folder on PYTHONPATH?",
        ) from error
    found = getattr(imported, class_name, None)
    if not isinstance(getattr(found, "family", None), Family):
        raise UsageError(
            f"the family {name}: the module has no such class with an attribute `family`",
            cure="a family is a class with `family: ClassVar[Family]`: docs/extending.md",
        )
    return found


def outside_family(name: str) -> Family:
    """What the class says of itself, under the name by which the recipe knows it."""
    family: Family = outside_class(name).family
    return replace(family, name=name)


def outside_code(name: str) -> Path:
    """The file that the class stands in: of a family without weights it is what decides."""
    return Path(inspect.getfile(outside_class(name)))
