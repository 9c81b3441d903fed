"""Classes from outside imig, which a recipe names: `package.module:Class`.

They are imported from a recipe that is given to a build, and never from one that is read out of a
dataset: to import is to run code.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from pathlib import Path

from imig.errors import UsageError


def import_class(name: str) -> type:
    """The class that `package.module:Class` names.

    Raises UsageError when it cannot be imported, or the module has no such class.
    """
    module, _, class_name = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # what a stranger's module raises is not ours to know
        raise UsageError(
            f"{name} cannot be imported: {type(error).__name__}: {error}",
            cure="is its package installed, or its folder on PYTHONPATH?",
        ) from error
    found = getattr(imported, class_name, None)
    if not isinstance(found, type):
        raise UsageError(
            f"{name}: the module {module} has no such class",
            cure="write it as `package.module:Class`: docs/extending.md",
        )
    return found


def code_to_sha256(name: str) -> str:
    """Twelve hexadecimal digits of the file that a class stands in; "" where it stands in none.

    Raises UsageError as `import_class` does.
    """
    try:
        data = Path(inspect.getfile(import_class(name))).read_bytes()
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(data).hexdigest()[:12]
