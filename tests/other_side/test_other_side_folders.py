"""Plain folders read with Pillow alone, which is what everybody has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from support.other_side import Imig, read_scenes


def test_pillow_reads_what_the_shards_hold(imig: Imig, dataset: Path, tmp_path: Path) -> None:
    imig("export", "folders", dataset, "--output", tmp_path / "out")
    scenes = read_scenes(dataset)
    assert len(scenes) == 5
    for sample_id, scene in scenes.items():
        folder = tmp_path / "out" / sample_id
        assert (folder / "target.jpg").read_bytes() == scene.files["target.jpg"]
        layout = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
        assert [one["name"] for one in layout["references"]]
        for instance in scene.record["instances"]:
            with Image.open(folder / f"mask{instance['index']:02d}.png") as picture:
                mask = np.asarray(picture)
            assert (mask == coco.decode(instance["mask"]).astype(bool)).all()
