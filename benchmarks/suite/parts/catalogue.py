"""The trainer's catalogue from the index, beside reading every record and bare reading of it.

Microseconds of processor time a scene. What is read has no pictures: the index alone, or, as for
datasets whose index lacks the column, the JSON of every scene.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from benchmarks.suite.parts._scenes import draw_samples, with_new_ids, write_dataset
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.shards.dataset import Dataset
from imig.shards.index import INDEX_NAME, INSTANCE_RECORDS
from imig.training.catalogue import read_catalogue
from imig.training.recipe import DataConfig

WANTED_MICROSECONDS = 20.0


def measure(*, small: bool) -> list[Row]:
    """10,000 scenes of two to six instances."""
    count, drawn, repeats = (20, 2, 1) if small else (10_000, 32, 3)
    samples = draw_samples(drawn, size=128)
    with TemporaryDirectory() as temporary:
        folder, older = Path(temporary) / "shards", Path(temporary) / "older"
        write_dataset(folder, with_new_ids(samples, count), scenes_per_shard=1000)
        older.mkdir()
        for path in folder.iterdir():
            if path.is_file():
                (older / path.name).symlink_to(path)
        (older / INDEX_NAME).unlink()
        table = pq.read_table(folder / INDEX_NAME)
        pq.write_table(table.drop_columns([INSTANCE_RECORDS]), older / INDEX_NAME)
        seconds = seconds_in_turn(
            {
                "ours": lambda: read_ours(folder),
                "records": lambda: read_ours(older),
                "bare": lambda: pq.read_table(folder / INDEX_NAME),
            },
            repeats=repeats,
            clock=time.process_time,
        )
    microseconds = {name: one / count * 1e6 for name, one in seconds.items()}

    def row(name: str, against: str, *, theirs: float, bar: Bar | None = None) -> Row:
        return Row(
            part="catalogue",
            case=f"{count} scenes, {name}",
            unit="us/scene",
            ours=microseconds["ours"],
            theirs=theirs,
            against=against,
            ratio=microseconds["ours"] / theirs,
            bar=bar,
        )

    return [
        row(
            "opening included",
            "wanted: 20 us a scene",
            theirs=WANTED_MICROSECONDS,
            bar=Bar(at_most=1.0),
        ),
        row("beside records", "every scene's record read", theirs=microseconds["records"]),
        row("beside the file", "limit: pyarrow reads the index", theirs=microseconds["bare"]),
    ]


def read_ours(folder: Path) -> None:
    """As a training opens its data."""
    assert read_catalogue([Dataset(folder)], config=DataConfig()).training
