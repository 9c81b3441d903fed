"""benchmarks/learning.py: its eyes tell right pictures from wrong ones, and all of it runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import seal

from benchmarks.learning import main
from benchmarks.learning_figures.measuring import Eyes
from imig.shards.dataset import Dataset
from imig.shards.writer import write_tar


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of tabletop scenes with their true annotations."""
    folder = tmp_path_factory.mktemp("learning") / "shards"
    folder.mkdir()
    samples = [tabletop_sample(seed) for seed in range(8)]
    name = "basic-000000.tar"
    seal(folder, {name: samples}, {name: write_tar(folder / name, samples)})
    return folder


def test_eyes_tell_right_pictures_from_wrong_ones(shards: Path) -> None:
    scenes = list(Dataset(shards))
    true = [np.asarray(scene.target) for scene in scenes]
    eyes = Eyes()
    right = eyes.measure(true, scenes)
    assert right.success > 0.8
    assert right.own_similarity > right.other_similarity + 0.2
    wrong = eyes.measure([*true[1:], true[0]], scenes)
    assert wrong.success < 0.3
    assert wrong.box_iou < right.box_iou / 2
    assert wrong.own_similarity < right.own_similarity


def test_it_trains_draws_and_writes_what_it_saw(shards: Path, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.json", tmp_path / "sheet.png"
    arguments = ["--shards", str(shards), "--runs", str(tmp_path / "runs"), "--steps", "1"]
    arguments += ["--only", "middle", "--layouts", "1", "--shown", "1"]
    arguments += ["--json", str(report), "--picture", str(picture)]
    for text in ("data.validation_fraction=0.5", "watch.sampling_steps=2", "batch_size=2"):
        arguments += ["--set", text]
    arguments += ["--set", "watch.pictures=0", "--set", "adapter.rank=2"]
    assert main(arguments) == 0
    rows = json.loads(report.read_text(encoding="utf-8"))["rows"]
    assert [row["row"].split(":")[0] for row in rows] == ["limit"] * 3 + [
        "before training",
        "CLA, ICA in the middle third (the recipe)",
    ]
    assert all(0 <= row["success"] <= 1 for row in rows)
    assert picture.stat().st_size > 10_000
