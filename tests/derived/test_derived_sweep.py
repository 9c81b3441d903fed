"""`imig refilter --report`: every value keeps what a refilter with it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from support.derived_datasets import make_scene, write_dataset

from imig.cli import main
from imig.derived.refilter import refilter_dataset
from imig.derived.sweep import sweep
from imig.derived.sweep_report import BAR, bar
from imig.derived.thresholds import new_thresholds
from imig.shards.dataset import Dataset


@pytest.fixture
def small(tmp_path: Path) -> Path:
    samples = [make_scene(n, things=2 + n % 2) for n in range(6)]
    for number, sample in enumerate(samples):
        sample.scene.scores.aesthetics = 4 + number / 4
        for instance in sample.scene.instances:
            for view in instance.references:
                view.similarity.dino = 0.6 + number / 20 - instance.index / 10
    return write_dataset(tmp_path / "d", samples)


def test_each_value_keeps_what_a_refilter_keeps(small: Path, tmp_path: Path) -> None:
    parent = Dataset(small)
    config = new_thresholds(parent.manifest.recipe, []).filter
    result = sweep(parent, config)
    curves = {one.threshold.key: one for one in result.curves}
    assert {"dino", "min_aesthetics", "min_box_area", "min_instances"} <= curves.keys()
    # Nothing of these is stored.
    assert not {"min_preference", "max_watermark"} & curves.keys()
    for key in ("dino", "face", "min_aesthetics", "min_instances", "min_grounding_score"):
        curve = curves[key]
        assert 1 <= len(curve.values) <= 9
        for value, scenes, instances in zip(
            curve.values, curve.scenes, curve.instances, strict=True
        ):
            refiltered = refilter_dataset(
                small, overrides=[f"filter.{key}={value}"], output=tmp_path / "new", overwrite=True
            )
            assert refiltered is not None
            assert refiltered.manifest.counts.written == scenes
            assert pd.read_parquet(tmp_path / "new" / "index.parquet").instances.sum() == instances


def test_it_prints_tables_and_draws_curves_and_writes_no_dataset(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["refilter", str(small), "--report"]) == 0
    printed = capsys.readouterr().out
    assert "filter.dino  at least, now 0.5" in printed
    assert "◂ now" in printed
    assert "█" in printed
    assert sorted(tmp_path.iterdir()) == before
    for name in ("a.png", "b.png", "c.html"):
        path = tmp_path / name
        assert main(["refilter", str(small), "--report", "--output", str(path)]) == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "min_aesthetics" in (tmp_path / "c.html").read_text()


def test_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["refilter", str(small), "--report", "--json", "--set", "filter.dino=0.7"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["scenes"], report["instances"]) == (6, 15)
    assert report["thresholds"]["filter.dino"]["now"] == 0.7
    assert report["kept_scenes"] < 6


def test_an_empty_dataset_has_no_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path / "d", [])
    picture = tmp_path / "c.png"
    assert main(["refilter", str(folder), "--report", "--output", str(picture)]) == 0
    assert "0 scenes" in capsys.readouterr().out
    assert picture.is_file()


@pytest.mark.parametrize(("share", "shown"), [(0, ""), (1, "█" * BAR), (0.5, "█" * 12)])
def test_bars(share: float, shown: str) -> None:
    assert bar(share) == shown.ljust(BAR)
