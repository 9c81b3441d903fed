"""What of a recipe is the identity of a build, and what only the means by which it is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel

from imig.output.identity import differences
from imig.recipe.file import load_recipe
from imig.recipe.identity import decisive_values, recipe_to_dict, recipe_to_sha256
from imig.recipe.parts import EndpointConfig, Resources
from imig.recipe.root import EngineConfig, Recipe

MEANS, IDENTITY = "means", "identity"

DECIDED: Final[dict[str, dict[str, str]]] = {
    "Resources": {
        "batch_size": IDENTITY,
        "concurrency": MEANS,
        "cpus": MEANS,
        "gpus": MEANS,
        "custom": MEANS,
        "timeout": MEANS,
    },
    "EngineConfig": {
        "block_size": IDENTITY,
        "max_error_rate": MEANS,
        "fuse": MEANS,
        "patience": MEANS,
        "ray_address": MEANS,
    },
    "EndpointConfig": {
        "url": MEANS,
        "model": IDENTITY,
        "key_variable": MEANS,
        "concurrency": MEANS,
        "requests_per_minute": MEANS,
        "timeout_seconds": MEANS,
        "max_retries": MEANS,
        "backoff_seconds": MEANS,
        "temperature": IDENTITY,
        "max_tokens": MEANS,
        "price_per_million_input": MEANS,
        "price_per_million_output": MEANS,
    },
}
"""Every key of the blocks that say how the work is done. One that is new has to be decided here:
may a build that was begun go on with another value of it, and write the bytes that it would have?
All other keys of a recipe belong to the identity."""

Leaf = tuple[tuple[str, ...], type[BaseModel]]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from models_in(one)


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every key that a recipe may have, and the block that it stands in."""
    for name, field in model.model_fields.items():
        inner = list(models_in(field.annotation))
        for one in inner:
            yield from leaves(one, (*above, name))
        if not inner:
            yield (*above, name), model


def recipe_with(leaf: Leaf, value: object) -> dict[str, Any]:
    """JSON values of a recipe that has the block of a key, with that value."""
    path, block = leaf
    values: dict[str, Any] = {**dict.fromkeys(block.model_fields, 0), path[-1]: value}
    for name in reversed(path[:-1]):
        values = {name: values}
    return values


def identity(recipe: dict[str, Any]) -> dict[str, Any]:
    return {"recipe_sha256": "", "recipe": recipe, "scenes": 8, "models": []}


def kind_of(leaf: Leaf) -> str:
    """What the code makes of a key, in the hash as in the comparison of two identities."""
    there, here = recipe_with(leaf, 1), recipe_with(leaf, 2)
    why = list(differences(identity(there), identity(here)))
    key = ".".join(leaf[0])
    assert why in ([], [f"{key} is 1 there and 2 here"]), key
    assert bool(why) == (decisive_values(there) != decisive_values(here)), key
    return IDENTITY if why else MEANS


@pytest.mark.parametrize("block", [Resources, EngineConfig, EndpointConfig])
def test_every_key_of_means_has_been_decided(block: type[BaseModel]) -> None:
    assert DECIDED[block.__name__].keys() == block.model_fields.keys()


def test_every_key_of_a_recipe_is_identity_but_for_those_decided_to_be_means() -> None:
    found = list(leaves(Recipe))
    assert {block.__name__ for _, block in found} >= DECIDED.keys()
    assert ("ground", "resources", "batch_size") in {path for path, _ in found}
    wrong = {
        ".".join(path): kind
        for path, block in found
        if (kind := kind_of((path, block)))
        != DECIDED.get(block.__name__, {}).get(path[-1], IDENTITY)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("ground.resources.batch_size=3", "ground.resources.batch_size is 8 there and 3 here"),
        ("engine.block_size=4", "engine.block_size is 8 there and 4 here"),
        ("seed=1", "seed is 0 there and 1 here"),
        ("ground.model.dtype=bfloat16", "ground.model.dtype is auto there and bfloat16 here"),
        ("write.scenes_per_shard=7", "write.scenes_per_shard is 100 there and 7 here"),
        ("ground.resources.concurrency=2", None),
        ("ground.resources.cpus=2", None),
        ("ground.resources.gpus=0.5", None),
        ("engine.fuse=never", None),
        ("engine.ray_address=auto", None),
        ("engine.max_error_rate=1", None),
    ],
)
def test_a_setting_changes_the_hash_where_it_makes_another_build(
    setting: str, what: str | None
) -> None:
    there = load_recipe("demo").recipe
    here = load_recipe("demo", overrides=[setting]).recipe
    assert recipe_to_dict(there) != recipe_to_dict(here)
    why = list(differences(identity(recipe_to_dict(there)), identity(recipe_to_dict(here))))
    assert why == ([] if what is None else [what])
    assert (recipe_to_sha256(there) == recipe_to_sha256(here)) == (what is None)


def test_settings_of_stages_from_outside_are_named_by_their_key() -> None:
    def recipe(radius: int, gpus: float) -> dict[str, Any]:
        resources = {"batch_size": 8, "gpus": gpus}
        return {"extra": [{"stage": "a:B", "radius": radius, "resources": resources}]}

    why = list(differences(identity(recipe(3, 0)), identity(recipe(4, 1))))
    assert why == ["extra.0.radius is 3 there and 4 here"]
