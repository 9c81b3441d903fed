"""The ways to read a dataset, called in this process."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.hostile.good import SCENES
from support.hostile.victim import SAMPLE


def validate(folder: Path, good: Path, output: Path) -> int:
    return _imig("validate", folder)


def preview(folder: Path, good: Path, output: Path) -> int:
    return _imig("preview", SAMPLE, "--shards", folder, "--out", output / "preview.png")


def stats(folder: Path, good: Path, output: Path) -> int:
    return _imig("stats", folder, "--out", output / "stats.png")


def iterate(folder: Path, good: Path, output: Path) -> int:
    """Every picture and mask of every scene."""
    from imig import Dataset

    for scene in Dataset(folder):
        assert scene.target.size == (scene.width, scene.height)
        for instance in scene.instances:
            assert instance.mask is not None
            for view in instance.references:
                assert view.mask is not None
                assert view.image.size == view.mask.shape[::-1]
    return 0


def records(folder: Path, good: Path, output: Path) -> int:
    from imig import Dataset

    assert len(list(Dataset(folder).records())) == SCENES
    return 0


def refilter(folder: Path, good: Path, output: Path) -> int:
    return _imig("refilter", folder, "--output", output / "refiltered")


def split(folder: Path, good: Path, output: Path) -> int:
    return _imig("split", folder, "--validation", "0.3", "--output", output / "split")


def merge(folder: Path, good: Path, output: Path) -> int:
    """With a good one that is encoded alike, or not."""
    other = good.with_name("other-encoded" if good.name == "encoded" else "other")
    return _imig("merge", folder, other, "--output", output / "merged")


def encode(folder: Path, good: Path, output: Path) -> int:
    return _imig("encode", folder, "--recipe", "train-tiny", "--output", output / "encoded")


def train(folder: Path, good: Path, output: Path) -> int:
    """Twice as many samples as there are, as a training loads them; no network is needed."""
    from imig.training.data import TrainingData
    from imig.training.recipe_file import load_training_recipe
    from support.encoded_samples import ENCODING

    recipe = load_training_recipe("train-tiny", overrides=["data.validation_fraction=0"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = TrainingData(
            [folder],
            config=recipe.data,
            seed=recipe.seed,
            batch_size=1,
            drop_background=recipe.attention.drop_background,
            encode_as=(lambda: ENCODING) if good.name == "encoded" else None,
        )
    for number in range(2 * SCENES):
        assert data[number]
    return 0


def coco(folder: Path, good: Path, output: Path) -> int:
    return _imig("export", "coco", folder, "--output", output / "coco")


def yolo(folder: Path, good: Path, output: Path) -> int:
    return _imig("export", "yolo", folder, "--output", output / "yolo")


def card(folder: Path, good: Path, output: Path) -> int:
    """Of a copy: it is written into the dataset."""
    copied = subprocess.run(["cp", "-a", folder, output / "copy"], capture_output=True)
    return _imig("card", folder if copied.returncode else output / "copy")


def _imig(*words: str | Path) -> int:
    from imig.cli import main

    return main([str(word) for word in words])


CALLS: Final[dict[str, Callable[[Path, Path, Path], int]]] = {
    "validate": validate,
    "preview": preview,
    "stats": stats,
    "iterate": iterate,
    "records": records,
    "refilter": refilter,
    "split": split,
    "merge": merge,
    "encode": encode,
    "train": train,
    "coco": coco,
    "yolo": yolo,
    "card": card,
}
"""Each takes the folder, the good dataset that it is a copy of, and a folder for what it writes."""
