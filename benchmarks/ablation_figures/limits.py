"""The table's first rows: what no adapter can be better than, and what needs no model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.learning_figures.drawing import Picture, Studio
from imig.contextgen.layout_pictures import open_layout_to_pictures
from imig.contextgen.scene_pictures import open_scene
from imig.models.device import choose_device, choose_dtype
from imig.shards.dataset import Dataset
from imig.training.recipe import TrainRecipe

TRUE = "limit: true pictures"
CODEC = "limit: true pictures through the autoencoder"
LAYOUTS = "layout images, no model"


def draw_limits(
    cases: Path, *, recipe: TrainRecipe, runs: Path, limit: int | None
) -> dict[str, Path]:
    """Title of a row -> folder of its pictures, ``ID.png``; folders that are there are kept.

    Parameters
    ----------
    recipe:
        Names the autoencoder, and the width of the pictures.
    limit:
        Only the first so many scenes.
    """
    titles = (TRUE, CODEC, LAYOUTS)
    folders = {title: runs / f"limit-{number}" for number, title in enumerate(titles)}
    if all(folder.is_dir() for folder in folders.values()):
        return folders
    ids, true, layouts = _pictures(cases, recipe=recipe, limit=limit)
    device = choose_device(recipe.device)
    studio = Studio(recipe, device=device, dtype=choose_dtype(recipe.model.dtype, device))
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    drawn = {TRUE: true, CODEC: studio.through_codec(true), LAYOUTS: layouts}
    for title, pictures in drawn.items():
        unfinished = folders[title].with_suffix(".unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        for name, picture in zip(ids, pictures, strict=True):
            Image.fromarray(picture).save(unfinished / f"{name}.png")
        unfinished.rename(folders[title])
    return folders


def _pictures(
    cases: Path, *, recipe: TrainRecipe, limit: int | None
) -> tuple[Sequence[str], list[Picture], list[Picture]]:
    ids, true, layouts = [], [], []
    for scene in islice(Dataset(cases), limit):
        sample = open_layout_to_pictures(
            open_scene(scene),
            reference_side=recipe.data.reference_side,
            instruction="{caption}",
            target_width=recipe.data.target_width,
        )
        height, width, _ = sample.layout.shape
        target = scene.target.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        ids.append(scene.record.id)
        true.append(np.asarray(target))
        layouts.append(sample.layout)
    return ids, true, layouts
