"""What of a recipe decides about what is built, and its hash.

A field is part of the identity of a build unless it is marked as `Means` where it is defined. What
is compared are JSON values: those of a manifest may be another version's.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from pydantic import ValidationError

from imig.recipe.parts import ENDPOINT_MARK, EndpointConfig, Resources, means_of
from imig.recipe.root import EngineConfig, Recipe

_ENGINE_MEANS: Final = means_of(EngineConfig)
_ENDPOINT_MEANS: Final = means_of(EndpointConfig)
_RESOURCES_MEANS: Final = means_of(Resources)


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The whole effective recipe, defaults included, as JSON values."""
    return recipe.model_dump(mode="json")


def recipe_to_sha256(recipe: Recipe) -> str:
    """Hex SHA-256 of everything in the recipe that decides what is built.

    Batch sizes and `engine.block_size` do: the composition of a model's batches depends on them,
    and with it the last bits of its figures. Other resources, the rest of `engine`, and of an
    endpoint all but model and temperature, say how and where the work is done.
    """
    values = decisive_values(recipe_to_dict(recipe))
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def decisive_values(recipe: dict[str, Any]) -> dict[str, Any]:
    """A whole recipe's JSON values without what says only how, and where, the work is done."""
    values: dict[str, Any] = without_means(recipe)
    engine = values.get("engine")
    return {**values, "engine": _without(engine, _ENGINE_MEANS)} if engine else values


def without_means(value: Any) -> Any:
    """The same of a part of a recipe."""
    if isinstance(value, list):
        return [without_means(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if ENDPOINT_MARK in value:
        value = _without(value, _ENDPOINT_MEANS)
    return {
        key: without_means(_without(inner, _RESOURCES_MEANS) if key == "resources" else inner)
        for key, inner in value.items()
    }


def _without(value: Any, keys: frozenset[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if key not in keys}


def merged_recipes(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipes of the builds behind a manifest's recipe: several where datasets were merged."""
    merged = recipe.get("merged")
    if not isinstance(merged, list):
        return [recipe]
    return [one for inner in merged for one in merged_recipes(inner)]


def stored_recipe_to_sha256(recipe: dict[str, Any]) -> str:
    """As a build computes it; of what is no build's recipe, of its JSON."""
    try:
        return recipe_to_sha256(Recipe.model_validate(recipe))
    except ValidationError:
        text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
