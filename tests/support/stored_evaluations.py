"""Evaluations on disk, with figures of the test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.evaluation.result import EvaluationResult, PictureResult
from imig.evaluation.run import summarise

RECIPE = load_evaluation_recipe("evaluate", overrides=["models=tiny"]).recipe


def stored_picture(number: int, **values: list[float | None]) -> PictureResult:
    return PictureResult(
        case=f"{number:03d}", group="", file=f"{number:03d}-1.png", sha256="0", values=dict(values),
        found=[(1, 1, 9, 9), None], size=(32, 32),
    )  # fmt: skip


def save_evaluation(folder: Path, pictures: list[PictureResult], **changes: Any) -> Path:
    """An evaluation on disk."""
    folder.mkdir(parents=True)
    values = {
        "imig": "1", "packages": {}, "recipe": RECIPE.model_dump(mode="json"), "models": [],
        "against": {"kind": "shards", "place": str(folder), "sha256": "a"},
        "generated": str(folder / "pictures"), "cases": len(pictures), "pictures": len(pictures),
        "missing": [], "unmeasured": {}, "figures": summarise(pictures, recipe=RECIPE),
        "groups": {}, "leakage": None,
    }  # fmt: skip
    result = EvaluationResult.model_validate({**values, **changes})
    (folder / "evaluation.json").write_text(result.model_dump_json())
    lines = [json.dumps({"of": "x", **one.model_dump(mode="json")}) for one in pictures]
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "evaluation.json"
