"""What an output folder is the work of: written down as it begins, compared when it goes on.

An identity is a JSON object with the keys `recipe_sha256`, `recipe` (whatever settings decide),
`scenes` (how many go in), `models`, and, where the manifest does not tell, `source`. All who make
datasets write one, so that each can refuse the others' folders and say why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from imig.errors import DataError
from imig.recipe.identity import decisive_values
from imig.regular_file import open_regular_file
from imig.schema import Manifest, first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.stores.path import OutputPath, StorePath

OTHER_OUTPUT: Final = "take another --output, or --overwrite to delete what is there"
_MOST: Final = 16 << 20
"""Bytes of an identity; it is a recipe and a few names."""


class _Identity(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    recipe_sha256: str
    recipe: dict[str, Any]
    scenes: int
    models: list[Any]


def write_identity(path: OutputPath, identity: dict[str, Any]) -> None:
    atomic_write_bytes(path, json.dumps(identity, indent=1, ensure_ascii=False).encode())


def read_identity(path: OutputPath) -> dict[str, Any] | None:
    """The identity that a run has left; None where nothing is there.

    Raises
    ------
    DataError
        Something is there that says nothing: what it belongs to cannot be told from other work.
    """
    if isinstance(path, Path) and not os.path.lexists(path):
        return None
    try:
        data = _read(path)
        if len(data) > _MOST:
            raise ValueError(f"it has more than {_MOST >> 20} MiB")
        value = json.loads(data)
        _Identity.model_validate(value)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(path, StorePath) and isinstance(error, FileNotFoundError):
            return None
        raise DataError(
            f"{path} is damaged, and nothing else says what the unfinished work beside it is: "
            f"{_reason(error)}",
            cure=OTHER_OUTPUT,
        ) from error
    identity: dict[str, Any] = value
    return identity


def _read(path: OutputPath) -> bytes:
    """All of it, or more than `_MOST` bytes."""
    if isinstance(path, StorePath):
        return path.read_bytes()
    with open_regular_file(path) as file:
        return file.read(_MOST + 1)


def manifest_identity(manifest: Manifest) -> dict[str, Any]:
    """The identity of the work that has made a dataset, as far as its manifest knows it."""
    return {
        "recipe_sha256": manifest.recipe_sha256,
        "recipe": manifest.recipe,
        "scenes": manifest.counts.input,
        "models": [record.model_dump() for record in manifest.models],
    }


def differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """In what two identities differ, in words; nothing: it is the same work."""
    old, new = (_flat(decisive_values(one["recipe"])) for one in (there, here))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in changed[:5]:
        yield f"{key} is {old.get(key)} there and {new.get(key)} here"
    if len(changed) > 5:
        yield f"and {len(changed) - 5} more"
    if there["scenes"] != here["scenes"]:
        yield f"it has {there['scenes']} input scenes, this one {here['scenes']} (--limit?)"
    if there["models"] != here["models"]:
        yield "the models' weights have changed"
    if there.get("source", here.get("source")) != here.get("source"):
        yield "the source lists other files than it did, or (a list) says other things of them"
    if there.get("extra", here.get("extra")) != here.get("extra"):
        yield "the code of its stages from outside imig has changed"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_problem(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys; the blocks of a list by their numbers, as `--set` has them."""
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        value = {str(number): one for number, one in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return flat
