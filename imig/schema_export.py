"""Write the JSON Schemas in `schemas/` (`make schemas`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from imig.contextgen.layout_file import LayoutFile
from imig.recipe.root import Recipe
from imig.schema import Manifest, Scene
from imig.training.recipe import TrainRecipe

EXPORTED: Final[dict[str, type[BaseModel]]] = {
    "scene": Scene,
    "manifest": Manifest,
    "recipe": Recipe,
    "train-recipe": TrainRecipe,
    "layout": LayoutFile,
}
"""Schema name -> the class that defines it."""


def schema_text(name: str) -> str:
    """The JSON Schema of `scene`, `manifest` or `recipe`, as it stands in the file."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **EXPORTED[name].model_json_schema(),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def export_schemas(folder: Path) -> list[Path]:
    """Write all schemas into `folder`; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in EXPORTED:
        path = folder / f"{name}.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for file in export_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")):
        print(file)
