"""Families that live in optional Python packages, some of which ship the weights too.

Packages are looked for, not imported: that is left to the worker that loads the model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from imig.errors import UsageError
from imig.models.family import Family


def require_packages(family: Family) -> None:
    """UsageError with the command that installs them, when packages of the family are missing."""
    missing = [one for one in family.packages if find_spec(one) is None]
    if missing:
        raise UsageError(
            f"{family.name}: Python packages that are not installed: {', '.join(missing)}",
            cure=f"pip install 'imig[{family.extra}]'",
        )


def shipped_folder(family: Family) -> Path:
    """Where the installed package keeps the family's weights (`Family.ships_in`)."""
    package, _, below = family.ships_in.partition("/")
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    assert folders, "`require_packages` comes first"
    return Path(next(iter(folders))) / below
