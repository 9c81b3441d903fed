"""Families from outside imig, which a recipe names: `family: "my_package.models:MyGrounder"`."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from imig.errors import UsageError
from imig.models.family import Family
from imig.outside import import_class


def is_outside(name: str) -> bool:
    """Whether a recipe's `family` names a class, and no family of imig's own."""
    return ":" in name


def outside_class(name: str) -> Any:
    """The class that `package.module:Class` names; its attribute `family` says what it is for.

    Raises UsageError when there is no such class.
    """
    found: Any = import_class(name)
    if not isinstance(getattr(found, "family", None), Family):
        raise UsageError(
            f"{name}: the class has no attribute `family` that says what it is for",
            cure="a family is a class with `family: ClassVar[Family]`: docs/extending.md",
        )
    return found


def outside_family(name: str) -> Family:
    """What the class says of itself, under the name by which the recipe knows it."""
    family: Family = outside_class(name).family
    return replace(family, name=name)


def outside_code(name: str) -> Path:
    """The file that the class stands in: of a family without weights it is what decides."""
    try:
        return Path(inspect.getfile(outside_class(name)))
    except (OSError, TypeError) as error:
        raise UsageError(
            f"{name}: the class stands in no file, so that a build could not say what it was",
            cure="put it into a module",
        ) from error


def require_methods(name: str, protocol: type[Any]) -> None:
    """UsageError when the class of a family from outside lacks a method that its task needs."""
    found = outside_class(name)
    wanted = [one for one, value in vars(protocol).items() if inspect.isfunction(value)]
    missing = [one for one in wanted if one[0] != "_" and not callable(getattr(found, one, None))]
    if missing:
        raise UsageError(
            f"{name}: the class has no method {missing[0]}()",
            cure=f"it must obey imig.models.protocols.{protocol.__name__}",
        )
