"""What of a recipe decides about what is built, and its hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from imig.recipe.parts import ENDPOINT_DECISIVE, ENDPOINT_MARK
from imig.recipe.root import Recipe


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The whole effective recipe, defaults included, as JSON values."""
    return recipe.model_dump(mode="json")


def recipe_to_sha256(recipe: Recipe) -> str:
    """Hex SHA-256 of everything in the recipe that decides what is built.

    `engine` and `resources` say how it is built and stay out, except `engine.block_size`: the
    composition of a model's batches depends on it, and with it the last bits of its figures. Of
    an endpoint only model and temperature count.
    """
    values = without_means(recipe_to_dict(recipe))
    values["engine"] = {"block_size": recipe.engine.block_size}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def without_means(value: Any) -> Any:
    """JSON values of a recipe without what says only how, and where, the work is done."""
    if isinstance(value, list):
        return [without_means(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if ENDPOINT_MARK in value:
        value = {key: value[key] for key in ENDPOINT_DECISIVE}
    return {key: without_means(inner) for key, inner in value.items() if key != "resources"}


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
