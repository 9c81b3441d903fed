"""What ai-toolkit and SimpleTuner find in an export, by the rules of their loaders.

The readers here do as those do (ostris/ai-toolkit 27a03a9, `ControlFileItemDTOMixin` and
`AiToolkitDataset`; bghira/SimpleTuner bc8e6ab, `BboxMetadata`, `get_conditioning_sample`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from support.tiny_dataset import SIZE, make_sample, make_samples, seal

import imig
from imig.errors import UsageError
from imig.interop.exporting import export_dataset
from imig.layout.masks import mask_to_rle
from imig.sample import Sample
from imig.shards.writer import write_tar
from imig.stages.instances import keep_instances

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def odd_samples() -> list[Sample]:
    """Two and three references, none, no masks at all, a box of one pixel, a caption of lines."""
    samples = make_samples(3)
    empty = make_sample(3)
    keep_instances(empty, [])
    bare = make_sample(4)
    for instance in bare.scene.instances:
        instance.mask = instance.area = None
        instance.references = []
    bare.files = {"target.jpg": bare.files["target.jpg"]}
    dot = make_sample(5)
    one = dot.scene.instances[2]
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    mask[63, 95] = True
    one.box, one.mask, one.area = (95, 63, 96, 64), mask_to_rle(mask), 1
    one.phrase = "ein grünes „Bällchen“ 球"
    dot.scene.caption = "Zwei Zeilen:\n球 und “more”."
    return [*samples, empty, bare, dot]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder, samples = tmp_path / "Ünï code", odd_samples()
    shards = {"basic-000000.tar": samples[:4], "basic-000001.tar": samples[4:]}
    seal(folder, shards, {name: write_tar(folder / name, some) for name, some in shards.items()})
    return folder


def read_ai_toolkit(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The items of a dataset of its configuration, by the target's name."""
    items = {}
    for root, folders, files in os.walk(entry["folder_path"]):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for file in files:
            if not file.lower().endswith(ENDINGS) or file.startswith("."):
                continue
            stem = os.path.splitext(file)[0]
            caption = Path(root, f"{stem}.{entry['caption_ext'].removeprefix('.')}")
            candidates = [
                [Path(folder, stem + ending) for ending in ENDINGS]
                for folder in entry.get("control_path", [])
            ]
            there = [[one for one in some if one.exists()] for some in candidates]
            controls = [some[0] for some in there if some]
            mask = entry.get("mask_path") and Path(entry["mask_path"], f"{stem}.png")
            items[stem] = {
                "size": Image.open(Path(root, file)).size,
                "caption": caption.read_text(encoding="utf-8") if caption.exists() else "",
                "controls": controls,
                "mask": mask,
            }
    return items


@pytest.mark.parametrize("workers", [1, 2])
def test_ai_toolkit_finds_every_scene_with_its_references(
    dataset: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "out"
    done = export_dataset(
        dataset, "ai-toolkit", output=out, overrides=["masks=true"], workers=workers
    )
    job = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    process = job["config"]["process"][0]
    found: dict[str, dict[str, Any]] = {}
    for entry in process["datasets"]:
        items = read_ai_toolkit(entry)
        # What a batch needs: all of its scenes have as many, and none closes up.
        assert {len(one["controls"]) for one in items.values()} == {
            len(entry.get("control_path", []))
        }
        found |= items
    original = imig.Dataset(dataset)
    assert sorted(found) == sorted(original.ids)
    for scene in original:
        item = found[scene.record.id]
        assert item["size"] == SIZE
        assert item["caption"] == scene.record.caption
        expected = [one.references[0] for one in scene.instances if one.references]
        assert [one.read_bytes() for one in item["controls"]] == [
            scene.files[one.record.image] for one in expected
        ]
        masks = [one.mask for one in scene.instances if one.mask is not None]
        wanted = np.logical_or.reduce(masks) if masks else np.ones((64, 96), bool)
        assert np.array_equal(np.asarray(Image.open(item["mask"])), wanted)
    lost = {kind: one.count for kind, one in done.losses.kinds.items()}
    assert lost["instances without a reference"] == 3
    assert lost["boxes and phrases"] == 5
    assert "masks" not in lost


def test_more_references_than_a_model_takes_are_left_out_and_told(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    overrides = ["max_references=2", "root=/data/x y"]
    done = export_dataset(dataset, "ai-toolkit", output=out, overrides=overrides)
    assert done.losses.kinds["references beyond max_references"].count == 2
    text = (out / "config.yaml").read_text()
    groups = [
        one["folder_path"] for one in yaml.safe_load(text)["config"]["process"][0]["datasets"]
    ]
    assert groups == ["/data/x y/0-references/target", "/data/x y/2-references/target"]
    with pytest.raises(UsageError, match="max_references"):
        export_dataset(
            dataset, "ai-toolkit", output=tmp_path / "x", overrides=["max_references=-1"]
        )
    with pytest.raises(UsageError, match="imig only writes ai-toolkit"):
        imig.import_dataset(out, "ai-toolkit", output=tmp_path / "x")


def read_bbox(picture: Path) -> list[dict[str, Any]]:
    """Its sidecar: clamped, and refused where nothing is left."""
    path = picture.with_suffix(".bbox")
    if not path.exists():
        return []
    entities = json.loads(path.read_text(encoding="utf-8").strip())
    for one in entities:
        x1, y1, x2, y2 = (max(0.0, min(1.0, float(value))) for value in one["bbox"])
        assert x1 < x2
        assert y1 < y2
    return list(entities)


def test_simpletuner_finds_every_scene_with_its_boxes(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export_dataset(dataset, "simpletuner", output=out, overrides=["loss_masks=true"])
    backends = {one["id"]: one for one in json.loads((out / "multidatabackend.json").read_text())}
    assert [one["id"] for one in backends.values() if one.get("default")] == ["text-embeds"]
    caches = [one.get("cache_dir_vae") for one in backends.values() if "cache_dir_vae" in one]
    assert len(set(caches)) == len(caches)
    original, seen = imig.Dataset(dataset), set()
    for backend in backends.values():
        if backend["dataset_type"] != "image":
            continue
        assert backend["grounding"]["enabled"] is True
        assert backend["disable_multiline_split"] is True
        paired = [backends[one] for one in backend["conditioning_data"]]
        assert all(one["source_dataset_id"] == backend["id"] for one in paired)
        for picture in sorted(Path(backend["instance_data_dir"]).rglob("*.jpg")):
            scene = original[picture.stem]
            seen.add(picture.stem)
            assert picture.read_bytes() == scene.files["target.jpg"]
            assert picture.with_suffix(".txt").read_text("utf-8") == scene.record.caption
            # A picture of the same name in every folder of its conditioning.
            files = [Path(one["instance_data_dir"], picture.name) for one in paired]
            kinds = [one["conditioning_type"] for one in paired]
            assert kinds == ["reference_loose"] * (len(paired) - 1) + ["mask"]
            expected = [one.references[0] for one in scene.instances if one.references]
            assert [one.read_bytes() for one in files[:-1]] == [
                scene.files[one.record.image] for one in expected
            ]
            assert Image.open(files[-1]).size == SIZE
            entities = read_bbox(picture)
            assert [one["label"] for one in entities] == [one.phrase for one in scene.instances]
            for entity, instance in zip(entities, scene.instances, strict=True):
                pixels = np.multiply(entity["bbox"], (*SIZE, *SIZE))
                assert np.allclose(pixels, instance.record.box, atol=1e-9)
                if instance.mask is None:
                    assert "mask" not in entity
                else:
                    mask = np.asarray(Image.open(picture.parent / entity["mask"]))
                    assert np.array_equal(mask, instance.mask)
    assert sorted(seen) == sorted(original.ids)
    assert done.losses.kinds["instances without a reference"].count == 3


@pytest.mark.parametrize("name", ["ai-toolkit", "simpletuner"])
def test_an_export_again_finds_its_work_done(dataset: Path, tmp_path: Path, name: str) -> None:
    first = export_dataset(dataset, name, output=tmp_path / "out")
    files = [one for one in (tmp_path / "out").rglob("*") if one.is_file()]
    assert first.files == len([one for one in files if ".imig-export" not in str(one)])
    assert export_dataset(dataset, name, output=tmp_path / "out").finished_already
