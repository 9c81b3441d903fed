"""Training input: from plain shards beside the released loader's way, from encoded ones beside
reading the bytes.

Processor time of one process on one thread, with all files in the page cache; encoded shards from
the disk too, by the clock. Targets are stored at
1024 px and trained on at 768 px, references at 512 px squared (REFERENCE 3.5). Both ways begin with
files and end with what the trainer's step is given: the released loader's floats, our bytes (they
become floats on the device). The encoded way ends with what goes into a batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.suite.parts._encoded_scenes import write_encoded
from benchmarks.suite.parts._released_input import ReleasedData, write_published
from benchmarks.suite.parts._scenes import draw_samples, with_new_ids, write_dataset
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.schema import EncodingRecord
from imig.shards.encoded import ENCODED_MEMBER
from imig.training.data import TrainingData
from imig.training.recipe import DataConfig


def measure(*, small: bool) -> list[Row]:
    """Both kinds of shards."""
    torch.set_num_threads(1)
    size, scenes, repeats = (128, 4, 1) if small else (1024, 24, 5)
    config = DataConfig(
        target_width=size * 3 // 4,
        reference_side=size // 2,
        validation_fraction=0.0,
        bucket_window=4,
        caption_dropout=0.0 if small else 0.2,
    )
    samples = list(with_new_ids(draw_samples(2 if small else 8, size=size), scenes))
    with TemporaryDirectory() as temporary:
        plain = write_dataset(Path(temporary) / "plain", samples, scenes_per_shard=12)
        loose = write_published(Path(temporary) / "loose", samples)
        encoded, record = write_encoded(Path(temporary) / "encoded", samples, config=config)
        return [
            _plain(plain, loose, config=config, repeats=repeats),
            *_encoded(encoded, lambda: record, config=config, repeats=2 * repeats),
        ]


def _plain(plain: Path, loose: Path, *, config: DataConfig, repeats: int) -> Row:
    data = TrainingData([plain], config=config, seed=0, batch_size=1)
    released = ReleasedData(
        loose, target_width=config.target_width, reference_side=config.reference_side
    )
    scenes = data.scenes
    assert scenes == len(released)
    seconds = seconds_in_turn(
        {
            "ours": _going_on(data, plain_batch),
            "peer": lambda: [released[n] for n in range(scenes)],
        },
        repeats=repeats,
        clock=time.process_time,
    )
    return Row(
        part="training_input",
        case=f"plain shards, {scenes} scenes at {config.target_width} px",
        unit="samples/s",
        ours=scenes / seconds["ours"],
        theirs=scenes / seconds["peer"],
        against="peer: the released loader's way, loose files",
        ratio=seconds["peer"] / seconds["ours"],
        bar=Bar(at_least=2),
    )


def _encoded(
    encoded: Path, record: Callable[[], EncodingRecord], *, config: DataConfig, repeats: int
) -> list[Row]:
    data = TrainingData([encoded], config=config, seed=0, batch_size=1, encode_as=record)
    # The order of a training: what is read next lies anywhere.
    ids = [data.order.entries[data.plan(number)[0].entry].id for number in range(data.scenes)]
    shards = sorted(encoded.glob("*.tar"))

    def read() -> list[int]:
        return [len(data.datasets[0].read_member(one, ENCODED_MEMBER)) for one in ids]

    size = sum(read()) / len(ids) / 1e6
    ours = _going_on(data, encoded_batch)
    cached = seconds_in_turn(
        {"ours": ours, "limit": read}, repeats=repeats, clock=time.process_time
    )
    # More samples than memory, as real trainings have: every read goes to the disk.
    stored = seconds_in_turn(
        {"ours": lambda: (forget(shards), ours()), "limit": lambda: (forget(shards), read())},
        repeats=repeats,
    )
    return [
        Row(
            part="training_input",
            case=f"encoded shards, {len(ids)} scenes of {size:.1f} MB, {where}",
            unit="samples/s",
            ours=len(ids) / seconds["ours"],
            theirs=len(ids) / seconds["limit"],
            against="limit: reading the members' bytes",
            ratio=seconds["limit"] / seconds["ours"],
            bar=Bar(at_least=0.7),
        )
        for where, seconds in (("in the page cache", cached), ("from the disk", stored))
    ]


def forget(files: Sequence[Path]) -> None:
    """Drop the files' pages from the cache, as far as the system does it."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _going_on(
    data: TrainingData, prepare: Callable[[TrainingData, int], object]
) -> Callable[[], None]:
    """Each call prepares as many micro-batches of one as there are scenes, those that come next."""
    numbers = count()

    def way() -> None:
        for number in islice(numbers, data.scenes):
            prepare(data, number)

    return way


def plain_batch(data: TrainingData, number: int) -> list[Tensor]:
    """Every picture of one sample as `imig.contextgen.encode` hands it over: a batch of bytes."""
    [sample] = data[number]
    assert isinstance(sample, PictureSample)
    assert sample.target is not None
    pictures = [sample.target, sample.layout, *(one.image for one in sample.references)]
    return [torch.from_numpy(np.stack([one])) for one in pictures]


def encoded_batch(data: TrainingData, number: int) -> EncodedSample:
    """One sample, ready to go into a batch."""
    [sample] = data[number]
    assert isinstance(sample, EncodedSample)
    return sample
