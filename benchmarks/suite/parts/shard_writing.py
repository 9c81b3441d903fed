"""Writing shards, with index and checksums, beside webdataset's TarWriter and bare `tarfile`.

All of them write the same members and flush the file to the disk. Ours also turns every scene into
JSON, makes the rows of the index, writes that, and reads the shard again for its SHA-256; the
others are given the JSON's bytes and do no more than the tar.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import webdataset

from benchmarks.suite.parts._scenes import draw_samples, with_new_ids
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.sample import Sample
from imig.shards.index import INDEX_NAME, scene_to_row, write_index
from imig.shards.manifest import shard_record
from imig.shards.tar import split_member
from imig.shards.writer import sample_to_members, write_tar

BAR = Bar(at_least=0.9)
Members = Sequence[Sequence[tuple[str, bytes]]]


def measure(*, small: bool) -> list[Row]:
    """Two sizes of pictures: those of the embedded default and those of the released pipeline."""
    if small:
        return _measure(size=128, drawn=2, count=8, repeats=1)
    return [
        *_measure(size=256, drawn=16, count=1000, repeats=7),
        *_measure(size=1024, drawn=8, count=200, repeats=7),
    ]


def _measure(*, size: int, drawn: int, count: int, repeats: int) -> list[Row]:
    samples = list(with_new_ids(draw_samples(drawn, size=size), count))
    members = [sample_to_members(one) for one in samples]
    with TemporaryDirectory() as folder:
        paths = {one: Path(folder) / one / "basic-000000.tar" for one in ("ours", "peer", "bare")}
        for path in paths.values():
            path.parent.mkdir()
        seconds = seconds_in_turn(
            {
                "ours": lambda: write_ours(paths["ours"], samples),
                "peer": lambda: write_by_webdataset(paths["peer"], members),
                "bare": lambda: write_by_tarfile(paths["bare"], members),
            },
            repeats=repeats,
        )
        megabytes = paths["ours"].stat().st_size / 1e6
        assert paths["ours"].read_bytes() == paths["bare"].read_bytes()
    speed = {name: megabytes / one for name, one in seconds.items()}
    return [
        Row(
            part="shard_writing",
            case=f"{count} scenes of {size} px, {megabytes:.0f} MB",
            unit="MB/s",
            ours=speed["ours"],
            theirs=speed[name],
            against=against,
            ratio=speed["ours"] / speed[name],
            bar=BAR,
        )
        for name, against in (
            ("peer", "peer: webdataset TarWriter, fsync"),
            ("bare", "peer: tarfile, fsync"),
        )
    ]


def write_ours(path: Path, samples: Sequence[Sample]) -> None:
    """Shard, checksum and index, as a build writes them."""
    spans = write_tar(path, samples)
    shard_record(path, samples=len(spans))
    rows = [
        scene_to_row(sample.scene, shard=path.name, offset=span.offset, size=span.size)
        for sample, span in zip(samples, spans, strict=True)
    ]
    write_index(path.parent / INDEX_NAME, rows)


def write_by_webdataset(path: Path, members: Members) -> None:
    """The tar only."""
    with path.open("wb") as file:
        with webdataset.TarWriter(file, encoder=False, mtime=0) as writer:
            for sample in members:
                named = {split_member(name)[1]: data for name, data in sample}
                writer.write({"__key__": split_member(sample[0][0])[0], **named})
        file.flush()
        os.fsync(file.fileno())


def write_by_tarfile(path: Path, members: Members) -> None:
    """The tar only, to the byte ours."""
    with path.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in members:
                for name, data in sample:
                    info = tarfile.TarInfo(name)
                    info.size, info.mode = len(data), 0o644
                    tar.addfile(info, io.BytesIO(data))
        file.flush()
        os.fsync(file.fileno())
