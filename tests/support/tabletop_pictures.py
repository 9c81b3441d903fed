"""What tabletop draws, in few numbers: kept for each revision in `tests/data/tabletop/`.

`python -m support.tabletop_pictures` (from `tests/`) writes those of a new revision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import (
    RenderedScene,
    draw_prompt,
    render_identity,
    render_scene,
    sample_identity,
    sample_scene,
    simple_caption,
)
from imig.tabletop.revision import REVISION

FOLDER = Path(__file__).parents[1] / "data" / "tabletop"
SIDE = 6
"""Cells a side: the mean colours of each are kept."""


def summary() -> list[dict[str, Any]]:
    """Scenes of several sizes, scenes drawn of prompts, and views of identities."""
    rows = []
    for seed in range(16):
        width, height = ((256, 256), (384, 192), (160, 288))[seed % 3]
        rendered = render_scene(sample_scene(seed, width=width, height=height))
        rows.append(_row(f"scene {seed}", rendered.image, rendered))
        drawn = draw_prompt(simple_caption(rendered), width=192, height=160, seed=seed)
        rows.append(_row(f"prompt {seed}", drawn.image, drawn))
    for seed in range(8):
        identity = sample_identity(np.random.default_rng(seed))
        picture, mask, box = render_identity(identity, width=160, height=128, seed=seed)
        rows.append(
            {**_row(f"view {seed}", picture), "box": list(map(int, box)), "area": int(mask.sum())}
        )
    return rows


def read() -> list[dict[str, Any]]:
    text = (FOLDER / f"{REVISION}.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def _row(name: str, image: NDArray[np.uint8], scene: RenderedScene | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "colours": _colours(image)}
    if scene is not None:
        row["caption"] = scene.caption
        row["things"] = [
            [one.phrase, *map(int, one.box), int(one.mask.sum())] for one in scene.instances
        ]
    return row


def _colours(image: NDArray[np.uint8]) -> list[int]:
    """Mean colours of the cells, row by row."""
    rows = np.array_split(image.astype(np.float64), SIDE, axis=0)
    cells = [cell for row in rows for cell in np.array_split(row, SIDE, axis=1)]
    return [round(value) for cell in cells for value in cell.mean(axis=(0, 1))]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in summary())
    (FOLDER / f"{REVISION}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
