import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_sample, write_tiny_dataset

from imig.display.plots import draw_plots
from imig.display.stats import DatasetStats, dataset_stats, render_table, scene_stats
from imig.shards.dataset import Dataset


def text_of(stats: DatasetStats) -> str:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(render_table(stats))
    return console.export_text()


def test_figures_of_a_known_dataset(tmp_path: Path) -> None:
    # Six scenes of 96 x 64 with 2, 3, 2, 3, 2, 3 balls; a crop each, the first has a face too.
    stats = dataset_stats(Dataset(write_tiny_dataset(tmp_path)))
    assert (stats.scenes, stats.instances, stats.references) == (6, 15, 21)
    assert stats.identities == 15
    assert stats.subsets == {"basic": 6}
    assert stats.styles == {"plain": 6}
    assert stats.instances_per_scene == {2: 3, 3: 3}
    assert stats.target_sizes == {(96, 64): 6}
    assert stats.nouns == {"ball": 15}
    assert stats.phrases == {"a red ball": 6, "a blue ball": 6, "a green ball": 3}
    assert stats.reference_kinds == {"crop": 15, "face": 6}
    assert len(stats.scores["caption similarity"]) == 6
    assert stats.quantiles("grounding")[[0, 3, 6]] == pytest.approx([0.7, 0.8, 0.9])
    assert "aesthetics" not in stats.scores  # nobody computed it

    text = text_of(stats)
    for part in ("15 (2.50 a scene)", "96×64 6", "a blue ball 6", "crop 15", "2: 3, 3: 3"):
        assert part in text


def test_box_areas_are_shares_of_their_own_target() -> None:
    samples = [make_sample(0), tabletop_sample(2, width=320, height=192)]
    stats = scene_stats(sample.scene for sample in samples)
    expected = [
        (x2 - x1) * (y2 - y1) / (scene.width * scene.height)
        for scene in (sample.scene for sample in samples)
        for x1, y1, x2, y2 in (one.box for one in scene.instances)
    ]
    np.testing.assert_allclose(stats.box_area_fractions, expected)


def test_long_lists_are_cut_and_say_so() -> None:
    stats = scene_stats([])
    stats.nouns.update({f"thing {number}": 100 - number for number in range(30)})
    text = text_of(stats)
    assert "thing 9 91, and 20 more" in text
    assert "thing 10" not in text


def plotted(stats: DatasetStats) -> np.ndarray:
    image = Image.open(io.BytesIO(draw_plots(stats, title="a test")))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def test_plots_show_bars_and_an_empty_dataset_shows_none() -> None:
    bar = (0, 114, 178)
    full = plotted(scene_stats(make_sample(n, things=3).scene for n in range(4)))
    assert (full == bar).all(axis=2).mean() > 0.02
    empty = scene_stats([])
    assert not (plotted(empty) == bar).all(axis=2).any()
    assert "scenes" in text_of(empty)


def test_names_that_look_like_formulas_are_drawn_as_they_are() -> None:
    stats = scene_stats([])
    stats.nouns.update(["a $5 note and $", "x" * 200, "夏", r"\frac{"])
    assert plotted(stats).size
