"""The JSON Schemas in the repository are those of the code, and they fit what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from support.tiny_dataset import make_sample

from imig.recipe.file import load_recipe
from imig.recipe.identity import recipe_to_dict
from imig.recipe.shipped import shipped_folder
from imig.schema import scene_to_json
from imig.schema_export import EXPORTED, export_schemas, schema_text


@pytest.mark.parametrize("name", EXPORTED)
def test_schemas_are_fresh(name: str) -> None:
    stored = (shipped_folder("schemas") / f"{name}.json").read_text(encoding="utf-8")
    assert stored == schema_text(name), "run `make schemas`"


def test_export(tmp_path: Path) -> None:
    assert {path.name for path in export_schemas(tmp_path / "new")} == {
        f"{name}.json" for name in EXPORTED
    }


def test_a_scene_obeys_its_schema() -> None:
    scene = json.loads(scene_to_json(make_sample(0).scene))
    jsonschema.validate(scene, json.loads(schema_text("scene")))
    scene["width"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(scene, json.loads(schema_text("scene")))


def test_a_recipe_obeys_its_schema() -> None:
    jsonschema.validate(
        recipe_to_dict(load_recipe("demo").recipe), json.loads(schema_text("recipe"))
    )
