"""One scene by its id through the index, beside scanning the tar for it.

The peer knows which shard the scene is in, and reads that from its beginning until the scene has
come, as one must without an index. Milliseconds a scene, over ids drawn at random; no picture is
decoded. The dataset is open in both cases.
"""

from __future__ import annotations

import tarfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import webdataset

from benchmarks.suite.parts._scenes import draw_samples, with_new_ids, write_dataset
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.shards.dataset import Dataset

BAR = Bar(at_least=100)


def measure(*, small: bool) -> list[Row]:
    """10,000 scenes in ten shards."""
    count, asked, repeats = (20, 4, 1) if small else (10_000, 20, 5)
    samples = draw_samples(2 if small else 16, size=128)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shards"
        write_dataset(folder, with_new_ids(samples, count), scenes_per_shard=-(-count // 10))
        dataset = Dataset(folder)
        rows = np.random.default_rng(0).choice(count, asked, replace=False).tolist()
        ids = [dataset.ids[row] for row in rows]
        shards = [folder / dataset.shards[row] for row in rows]
        seconds = seconds_in_turn(
            {
                "ours": lambda: read_ours(dataset, ids),
                "tarfile": lambda: scan_by_tarfile(shards, ids),
                "webdataset": lambda: scan_by_webdataset(shards, ids),
            },
            repeats=repeats,
            clock=time.process_time,
        )
    milliseconds = {name: one / asked * 1000 for name, one in seconds.items()}
    return [
        Row(
            part="random_access",
            case=f"{asked} of {count} scenes by id",
            unit="ms/scene",
            ours=milliseconds["ours"],
            theirs=milliseconds[name],
            against=f"peer: {name} scans the scene's shard",
            ratio=milliseconds[name] / milliseconds["ours"],
            bar=BAR,
        )
        for name in ("tarfile", "webdataset")
    ]


def read_ours(dataset: Dataset, ids: Sequence[str]) -> None:
    """Record and bytes of every member."""
    for sample_id in ids:
        assert dataset[sample_id].record.id == sample_id


def scan_by_tarfile(shards: Sequence[Path], ids: Sequence[str]) -> None:
    """Headers up to the scene, then its members' bytes."""
    for shard, sample_id in zip(shards, ids, strict=True):
        found = 0
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                if info.name.startswith(f"{sample_id}."):
                    file = tar.extractfile(info)
                    assert file is not None
                    found += len(file.read())
                elif found:
                    break
        assert found


def scan_by_webdataset(shards: Sequence[Path], ids: Sequence[str]) -> None:
    """Samples up to the wanted one."""
    for shard, sample_id in zip(shards, ids, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = webdataset.WebDataset(str(shard), shardshuffle=False)
            assert any(sample["__key__"] == sample_id for sample in samples)
