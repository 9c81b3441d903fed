"""Good inputs of every command, side by side in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from PIL import Image

from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.evaluation.result import EvaluationResult, PictureResult
from imig.interop.exporting import export_dataset
from imig.shards.dataset import Dataset
from support.benchmark_files import DATA, write_lamicbench, write_layoutsam
from support.tiny_dataset import write_tiny_dataset

SCENES: Final = 4
VICTIM: Final = "basic-00000001"
"""Id of the scene, in the middle of a shard, that faults are planted into."""
IMPORTED: Final = ("folders", "coco", "yolo", "cvat", "label-studio", "imig100k")
LABELS: Final = (
    "a red mug", "a green cube", "a yellow duck", "a white lamp", "a black boat", "a blue toy car",
)  # fmt: skip
PACK: Final = "bench_instance_categories_filtered.json"


def write_stage(root: Path) -> Path:
    """Everything; takes a second."""
    dataset = write_tiny_dataset(root / "dataset", scenes=SCENES, scenes_per_shard=2)
    for name in IMPORTED:
        export_dataset(dataset, name, output=root / name)
        shutil.rmtree(root / name / ".imig-export")
    _write_pairs(root / "pairs", dataset)
    _write_pictures(root / "pictures", dataset)
    _write_layouts(root / "layouts")
    _write_coco_mig(root / "coco-mig")
    write_lamicbench(root / "lamicbench")
    for stem in ("0000", "0007"):
        _picture(root / "lamicbench-pictures" / f"{stem}_0.jpg")
    _write_results(root / "results")
    write_layoutsam(root / "layoutsam" / "data" / "test-00000.parquet")
    for stem in ("sa_11", "sa_12"):
        _picture(root / "layoutsam-pictures" / f"{stem}.jpg")
    return root


def _write_results(root: Path) -> None:
    """Two evaluations of the same cases."""
    recipe = load_evaluation_recipe("evaluate", overrides=["models=tiny"]).recipe
    for number, name in enumerate(("one", "two")):
        pictures = [
            PictureResult(
                case=f"{case}", group="", file=f"{case}.png", sha256="0",
                values={"box_iou": [0.5 + 0.1 * number, 0.1 * case]},
            )
            for case in range(4)
        ]  # fmt: skip
        result = EvaluationResult(
            imig="1", packages={}, recipe=recipe.model_dump(mode="json"), models=[],
            against={"kind": "shards", "sha256": "a"}, generated="pictures", cases=4, pictures=4,
            missing=[], unmeasured={}, figures={}, groups={}, leakage=None,
        )  # fmt: skip
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(result.model_dump_json())
        lines = [json.dumps({"of": "x", **one.model_dump(mode="json")}) for one in pictures]
        (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")


def _write_pairs(folder: Path, dataset: Path) -> None:
    folder.mkdir()
    records = []
    for number, scene in enumerate(Dataset(dataset)):
        files = scene.files
        names = {"target.jpg": f"{number}.jpg", "ref00.jpg": f"{number}-ref.jpg"}
        names["ref00.mask.png"] = f"{number}-mask.png"
        for member, name in names.items():
            (folder / name).write_bytes(files[member])
        instance = scene.record.instances[0]
        reference = {
            "image": names["ref00.jpg"],
            "mask": names["ref00.mask.png"],
            "phrase": instance.phrase,
            "box": list(instance.box),
        }
        records.append(
            {"target": names["target.jpg"], "caption": "Balls.", "references": [reference]}
        )
    (folder / "list.json").write_text(json.dumps(records, indent=1))
    (folder / "list.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


def _write_pictures(folder: Path, dataset: Path) -> None:
    folder.mkdir()
    for scene in Dataset(dataset):
        (folder / f"{scene.id}.jpg").write_bytes(scene.files["target.jpg"])


def _write_layouts(folder: Path) -> None:
    folder.mkdir()
    ball = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ball.paste((220, 30, 30, 255), (10, 5, 30, 15))
    ball.save(folder / "ball.png")
    for name in ("one", "two"):
        reference = {"name": "ball", "image": "ball.png", "box": [8, 8, 40, 24]}
        layout = {"caption": "A ball.", "width": 96, "height": 64, "references": [reference]}
        (folder / f"{name}.json").write_text(json.dumps({**layout, "seed": 5}, indent=1))
        _picture(folder.with_name("layouts-pictures") / f"{name}.jpg")


def _write_coco_mig(folder: Path) -> None:
    shutil.copytree(DATA / "coco-mig", folder)
    for name in ("reference_images", "reference_masks"):
        (folder / name).mkdir()
    entries = []
    for index, label in enumerate(LABELS):
        entries.append({"index": index, "caption": label, "available_mask_image": [3]})
        stem = f"{index:04d}_03_{label.replace(' ', '_')}"
        Image.new("RGB", (32, 32), (200, 20, 20)).save(folder / "reference_images" / f"{stem}.jpg")
        mask = Image.new("1", (32, 32), 1)
        mask.save(folder / "reference_masks" / f"{stem}_mask.png")
    (folder / PACK).write_text(json.dumps(entries))
    for key in ("0", "6", "12"):
        _picture(folder.with_name("coco-mig-pictures") / f"{key}.jpg")


def _picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(path)
