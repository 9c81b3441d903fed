"""What recipes of builds and of trainings have in common when they are read.

Every error names file and line (or the `--set` that brought the value in) and, for a misspelt key,
the nearest right one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from imig.errors import UsageError
from imig.paths import command_text, shown_path
from imig.recipe.errors import explain_validation_error
from imig.recipe.shipped import name_to_give
from imig.recipe.values import to_values, without_other_kind
from imig.recipe.yaml_lines import (
    KeyPath,
    LinedYaml,
    Written,
    parse_json,
    parse_setting,
    parse_yaml,
    read_text,
)

AnyRecipe = TypeVar("AnyRecipe", bound=BaseModel)


def read_document(path: Path) -> LinedYaml:
    """A recipe's file as a mapping of its keys, with their lines. Raises UsageError."""
    parse = parse_json if path.suffix.lower() == ".json" else parse_yaml
    document = parse(read_text(path), shown_path(path))
    if not isinstance(document.value, dict):
        raise UsageError(
            f"{shown_path(path)}:1: a recipe is a mapping of keys to values",
            cure="`imig recipes` lists recipes to start from",
        )
    return document


def parse_override(text: str) -> tuple[KeyPath, Written]:
    """Key path and value of `a.b=value`."""
    name, separator, value = text.partition("=")
    key = tuple(name.strip().split("."))
    if not separator or not all(key):
        raise UsageError(
            f"--set {text}: not of the form a.b=value",
            cure="for example --set ground.box_threshold=0.4",
        )
    return key, parse_setting(value, setting=f"--set {text}")


def apply_overrides(
    raw: dict[str, Any], settings: Sequence[tuple[KeyPath, Written]]
) -> dict[KeyPath, str]:
    """Apply all, in place; key path -> the text that set it."""
    for key, value in settings:
        set_key(raw, key, value, origin=value.setting)
    return {key: value.setting for key, value in settings}


def set_key(raw: dict[str, Any], key: KeyPath, value: Any, *, origin: str) -> None:
    """Set a key of nested mappings and lists, in place; `origin` is for messages."""
    inner: dict[str, Any] | list[Any] = raw
    for end, part in enumerate(key, start=1):
        place: Any = part
        if isinstance(inner, list):
            place = int(part) if part.isdecimal() else len(inner)
            if place >= len(inner):
                raise UsageError(
                    f"{origin}: {'.'.join(key[: end - 1])} is a list of {len(inner)}, which has no "
                    f"{part!r}",
                    cure=f"count from 0, or give the whole: {'.'.join(key[: end - 1])}=[..]",
                )
        if end == len(key):
            inner[place] = value
            return
        below = inner[place] if isinstance(inner, list) else inner.get(place)
        below = below.value if isinstance(below, Written) else below
        if below is not None and not isinstance(below, dict | list):
            raise UsageError(f"{origin}: {'.'.join(key[:end])} is {below!r}, which has no keys")
        # Copied on the way down, so that YAML aliases and the caller's mapping stay as they are.
        inner[place] = below.copy() if below is not None else {}
        inner = inner[place]


def settled_values(
    before: Mapping[str, Any], raw: Mapping[str, Any], kind: type[BaseModel]
) -> dict[str, Any]:
    """The document after its settings, as what the fields of the recipe want; `before`: without."""
    values: dict[str, Any] = to_values(without_other_kind(before, raw, kind), kind)
    return values


def validate_recipe(
    kind: type[AnyRecipe],
    raw: Mapping[str, Any],
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
    origins: Mapping[KeyPath, str],
) -> AnyRecipe:
    """The recipe that the values make.

    Parameters
    ----------
    lines, origins:
        Where each key stands, and the text of the `--set` that gave it.

    Raises UsageError, with the place of what is wrong.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        _refuse_other_kind(kind, raw, path)
        key, message, cure = explain_validation_error(error, raw, kind)
        place = place_of(key, path=path, lines=lines, overrides=origins)
        raise UsageError(f"{place}: {message}", cure=cure) from error


def _refuse_other_kind(kind: type[BaseModel], raw: Mapping[str, Any], path: Path) -> None:
    """A recipe of a training given to a build, or the other way round, is wrong in every line."""
    if "source" in kind.model_fields and "adapter" in raw:
        raise UsageError(
            f"{shown_path(path)} is the recipe of a training",
            cure=command_text("imig", "train", "--recipe", name_to_give(path)),
        )
    if "adapter" in kind.model_fields and "source" in raw:
        raise UsageError(
            f"{shown_path(path)} is the recipe of a build",
            cure=command_text("imig", "build", name_to_give(path)),
        )


def place_of(
    key: KeyPath,
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
    overrides: Mapping[KeyPath, str],
) -> str:
    """``pipelines/demo.yaml:14``, or the text of the `--set` that decides about the key."""
    ancestors = [key[:end] for end in range(len(key), 0, -1)]
    below = [text for given, text in overrides.items() if given[: len(key)] == key]
    # An override replaces what the file has at and below its key, and may make a block wrong.
    for text in [overrides[one] for one in ancestors if one in overrides] + below:
        return text
    line = next((f":{lines[one]}" for one in ancestors if one in lines), "")
    return f"{shown_path(path)}{line}"


def located(path: str, check: Callable[[str], Path], where: str) -> Path:
    """What `check` gives; what it raises names the recipe's line."""
    try:
        return check(path)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", cure=error.cure) from error
