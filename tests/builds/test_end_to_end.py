"""What a user types, with the tiny models: the demo, and a folder of real photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import webdataset
from PIL import Image
from support.commands import call, run

import imig


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "shards"
    assert "wrote" in run("build", "demo", "--limit", "16", "--output", folder)
    return folder


def test_the_demo_is_valid_and_annotated(demo: Path) -> None:
    run("validate", demo)
    dataset = imig.Dataset(demo)
    assert len(dataset) >= 4
    assert dataset.manifest.counts.input == 16
    families = {model.family for model in dataset.manifest.models}
    assert families == {"blip", "grounding-dino", "segment-anything", "open-clip", "dinov2"}
    for scene in dataset:
        assert len(scene.instances) >= 2
        for instance in scene.instances:
            assert instance.phrase in scene.nouns
            mask, reference = instance.mask, instance.references[0]
            assert mask is not None
            assert mask.any()
            assert reference.mask is not None
            assert reference.image.size == reference.mask.shape[::-1]
            assert instance.scores.phrase_margin is not None


def test_webdataset_reads_the_demo_without_imig(demo: Path) -> None:
    shards = sorted(str(path) for path in demo.glob("*.tar"))
    samples: list[dict[str, Any]] = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == imig.Dataset(demo).ids
    for sample in samples:
        scene = json.loads(sample["json"])
        names = {one["image"] for i in scene["instances"] for one in i["references"]}
        assert names <= set(sample)


def test_a_second_run_does_nothing(demo: Path) -> None:
    before = {path.name: path.read_bytes() for path in demo.iterdir() if path.is_file()}
    assert "finished already" in run("build", "demo", "--limit", "16", "--output", demo)
    assert before == {path.name: path.read_bytes() for path in demo.iterdir() if path.is_file()}


def test_preview_and_stats_draw_pictures(demo: Path, tmp_path: Path) -> None:
    sample_id = imig.Dataset(demo).ids[0]
    call("preview", sample_id, "--shards", demo, "--out", tmp_path / "one.png")
    call("preview", "--random", "--shards", demo, "--out", tmp_path / "any.png")
    call("stats", demo, "--out", tmp_path / "stats.png")
    for name in ("one", "any", "stats"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 300


@pytest.mark.long
def test_photographs_run_through_with_the_tiny_models(tmp_path: Path) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    datasets = pytest.importorskip("sklearn.datasets")
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("astronaut", "coffee", "chelsea", "camera"):  # colour and greyscale, no download
        Image.fromarray(getattr(skimage_data, name)()).save(photos / f"{name}.png")
    china = Image.fromarray(datasets.load_sample_image("china.jpg"))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    china.save(photos / "china.jpg", exif=rotated)
    china.convert("CMYK").save(photos / "cmyk.jpg")
    china.convert("P").save(photos / "palette.gif")
    (photos / "truncated.jpg").write_bytes((photos / "china.jpg").read_bytes()[:20_000])
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.jpg").write_text("not a picture")

    out = tmp_path / "shards"
    run("build", "photos", "--set", f"source.path={photos}", "--set", "models=tiny",
        "--set", "source.min_side=128", "--output", out)  # fmt: skip
    call("validate", out)
    counts = json.loads((out / "dataset.json").read_text())["counts"]
    assert counts["input"] == 10
    assert counts["quarantined"] == 0
    assert counts["written"] + counts["rejected"] == 10
    import pandas as pd

    rejects = pd.read_parquet(out / "rejects.parquet")
    assert (rejects["reason"] == "unreadable image").sum() == 3
