"""`models: tiny`, the same weights for all, and ``~`` in paths: what a recipe's values become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from imig.paths import expand_home
from imig.recipe.parts import ModelConfig, Resources
from imig.recipe.reading import located, place_of, set_key
from imig.recipe.yaml_lines import KeyPath, Written


def apply_tiny(
    raw: dict[str, Any],
    settings: Sequence[tuple[KeyPath, Written]],
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
) -> dict[KeyPath, str]:
    """With `models: tiny`, what the block `tiny` says, in place; key path -> file and line."""
    asked = [value.text for key, value in settings if key == ("models",)]
    weights = asked[-1] if asked else raw.get("models")
    changes = raw.get("tiny")
    if weights != "tiny" or not isinstance(changes, dict):
        return {}
    origins: dict[KeyPath, str] = {}
    for key, value in changes.items():
        name = tuple(key.split("."))
        origin = place_of(("tiny", key), path=path, lines=lines, overrides={})
        set_key(raw, name, value, origin=origin)
        origins[name] = origin
    return origins


def resolve_value(value: Any, key: str, *, weights: str | None, where: Callable[[str], str]) -> Any:
    """A part of a recipe with `weights` in all its models, and ``~`` in paths expanded.

    Parameters
    ----------
    key:
        Where in the recipe the part stands; "" for the whole.
    weights:
        None: every model keeps its own.
    where:
        Of a key, the place in the recipe's file, for messages.
    """

    def below(name: str) -> str:
        return f"{key}.{name}".removeprefix(".")

    def expanded(text: str, name: str) -> str:
        return _expand(text, where("models" if name == "weights" and weights else below(name)))

    if isinstance(value, ModelConfig):
        # A config file belongs to the weights that it came with.
        config = value.config if weights is None else None
        return value.model_copy(
            update={
                "weights": expanded(weights or value.weights, "weights"),
                "config": None if config is None else expanded(config, "config"),
            }
        )
    if isinstance(value, Resources) and weights == "tiny":
        return value.model_copy(update={"gpus": 0.0})
    if isinstance(value, BaseModel):
        update = {
            name: expanded(inner, name)
            if name == "path" and isinstance(inner, str)
            else resolve_value(inner, below(name), weights=weights, where=where)
            for name, inner in value
        }
        return value.model_copy(update=update)
    return value


def _expand(path: str, where: str) -> str:
    return str(located(path, expand_home, where)) if path.startswith("~") else path
