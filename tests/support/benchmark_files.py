"""Small made-up samples in the published forms of benchmarks, with pictures that tabletop draws.

The lists are in `tests/data/`; no case of a benchmark is among them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from imig.tabletop import draw_prompt

DATA = Path(__file__).parents[1] / "data"
MUG_AND_DUCK = "A striped red mug and a plain blue duck."

ROWS: tuple[dict[str, Any], ...] = (
    {
        "image_id": 11,
        "global_caption": "A yellow lamp.",
        "region_captions": "['a yellow lamp']",
        "detail_region_captions": '["A yellow lamp with the maker\'s name on its shade."]',
        "bbox_list": "[[10, 20, 110, 220]]",
        "width": 200,
        "height": 300,
        "file_name": "sa_11.jpg",
    },
    {
        "image_id": 12,
        "global_caption": "A striped red mug beside a plain blue duck on a table.",
        "region_captions": "['a red mug/cup', 'a blue duck']",
        "detail_region_captions": "['A red mug with broad white stripes.', 'A smooth blue duck.']",
        "bbox_list": "[[120, 300, 620, 900], [750, 450.5, 1350, 1200]]",
        "width": 1500,
        "height": 1500,
        "file_name": "sa_12.jpg",
    },
)
"""Of LayoutSAM-Eval's table."""


def write_lamicbench(folder: Path, *, layout: bool = True) -> Path:
    """LAMICBench++ of two cases: with the pictures that 7, a mug and a duck, is drawn from."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("lamicbench_plus.json", *(["lamicbench_layout.json"] if layout else [])):
        shutil.copy(DATA / "lamicbench_plus" / name, folder / name)
    scene = draw_prompt(MUG_AND_DUCK, width=256, height=256, seed=3)
    for one in scene.instances:
        name = "object/mug_00" if "mug" in one.phrase else "animal/duck_00"
        x1, y1, x2, y2 = one.box
        _save(folder / "reference_images" / f"{name}.jpg", scene.image[y1:y2, x1:x2])
        mask = one.mask[y1:y2, x1:x2].astype(np.uint8) * 255
        _save(folder / "reference_masks" / f"{name}_mask.png", mask)
    for name in ("face/woman_00", "face/man_00", "object/tree_00", "object/lamp_00"):
        pixels = np.full((40, 30, 3), 90, np.uint8)
        _save(folder / "reference_images" / f"{name}.jpg", pixels)
        if not name.startswith("face/"):
            _save(folder / "reference_masks" / f"{name}_mask.png", np.full((40, 30), 255, np.uint8))
    return folder


def mug_and_duck() -> Image.Image:
    """Case 7 as it should be drawn."""
    return Image.fromarray(draw_prompt(MUG_AND_DUCK, width=256, height=256, seed=3).image)


def write_layoutsam(path: Path, rows: tuple[Mapping[str, Any], ...] = ROWS) -> Path:
    """LayoutSAM-Eval's table, with a column of pictures that nobody should decode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    given = [{"image": {"bytes": b"no picture", "path": None}, **row} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(given), path)
    return path


def changed(path: Path, change: Mapping[str, Any], *, case: int = 0) -> Path:
    """A JSON list of cases with keys of one case changed in place; None: taken away."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for key, value in change.items():
        if value is None:
            del values[case][key]
        else:
            values[case][key] = value
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def _save(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
