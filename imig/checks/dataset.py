"""Check a dataset from the first to the last byte.

Each shard is checked by itself (`imig.checks.shard`), several at a time; then index, manifest
and folder are compared with what the shards hold (`imig.checks.folder`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from imig.checks.faults import Fault
from imig.checks.folder import check_files, check_index, check_manifest, read_folder_manifest
from imig.checks.shard import ShardCheck, check_shard
from imig.errors import DataError, UsageError
from imig.paths import input_path
from imig.shards.card import PICTURES_FOLDER
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.names import KNOWN_NAMES
from imig.stores.filesystem import WRITABLE, scheme_of
from imig.stores.path import OutputPath, StorePath, local_copy
from imig.stores.places import dataset_folder
from imig.stores.scratch import scratch_file


@dataclass(frozen=True)
class ValidationReport:
    """What was checked, and what is wrong with it."""

    path: Path | str
    shards: int
    samples: int
    images: int
    masks: int
    seconds: float
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def by_kind(self) -> dict[str, list[Fault]]:
        """Faults by kind, the most frequent kind first."""
        groups: dict[str, list[Fault]] = {}
        for fault in self.faults:
            groups.setdefault(fault.kind, []).append(fault)
        return dict(sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def validate_dataset(
    path: str | Path,
    *,
    workers: int = 1,
) -> ValidationReport:
    """Check every shard, sample and file of a dataset folder, of this machine or of a store.

    Faults are collected, not raised: one bad sample never stops the check. Of a store's shards as
    many lie on this machine at a time as there are workers.

    Raises
    ------
    UsageError
        When the folder does not exist, or holds neither a manifest nor a shard.
    DataError
        When a worker process dies (out of memory), or the store does not answer.
    """
    place = dataset_folder(path)
    if isinstance(place, str) and scheme_of(place) in WRITABLE:
        return _validate_in_store(StorePath(place.rstrip("/")), workers=workers)
    started = time.perf_counter()
    folder = input_path(place)
    if not folder.is_dir():
        raise UsageError(
            f"there is no dataset folder {folder}",
            cure="`make build-dataset` or `imig build demo` makes one.",
        )
    shards = sorted(one for one in folder.glob("*.tar") if not one.name.startswith("."))
    if not shards and not (folder / MANIFEST_NAME).is_file():
        raise UsageError(
            f"{folder} holds no dataset: neither a {MANIFEST_NAME} nor a shard (*.tar)",
            cure="Name the folder that `imig build --output` wrote.",
        )
    checks = list(_check_shards(shards, workers=workers))
    return _report(folder, checks, _faults_of(folder, checks), started=started)


def _validate_in_store(address: StorePath, *, workers: int) -> ValidationReport:
    started = time.perf_counter()
    names = address.sizes()
    shards = sorted(
        address / name
        for name, size in names.items()
        if size is not None and name.endswith(".tar") and not name.startswith(".")
    )
    if not shards and MANIFEST_NAME not in names:
        raise UsageError(
            f"{address} holds no dataset: neither a {MANIFEST_NAME} nor a shard (*.tar)",
            cure="Name the folder that `imig build --output` wrote.",
        )
    checks = list(_check_shards(shards, workers=workers))
    with scratch_file(address.name) as folder:
        _mirror(address, names, folder)
        faults = [
            replace(one, message=one.message.replace(str(folder), str(address)))
            for one in _faults_of(folder, checks)
        ]
    return _report(str(address), checks, faults, started=started)


def _mirror(address: StorePath, names: Mapping[str, int | None], folder: Path) -> None:
    """The dataset's folder on this machine but for its shards; other files are empty there."""
    folder.mkdir()
    for name, size in names.items():
        if size is None:
            (folder / name).mkdir()
        elif name in KNOWN_NAMES:
            (address / name).download(folder / name)
        else:
            (folder / name).touch()
    for picture in (address / PICTURES_FOLDER).iterdir():
        picture.download(folder / PICTURES_FOLDER / picture.name)


def _faults_of(folder: Path, checks: Sequence[ShardCheck]) -> list[Fault]:
    """What is wrong with the shards, and with all that stands beside them."""
    faults = [fault for check in checks for fault in check.faults]
    faults += _doubled_across_shards(checks)
    manifest = read_folder_manifest(folder)
    if isinstance(manifest, Fault):
        faults += [manifest, *check_index(folder, checks, sha256=None)]
    else:
        faults += check_manifest(folder, manifest, checks)
        faults += check_index(folder, checks, sha256=manifest.index_sha256)
    faults += check_files(folder)
    return faults


def _report(
    path: Path | str, checks: Sequence[ShardCheck], faults: list[Fault], *, started: float
) -> ValidationReport:
    return ValidationReport(
        path=path,
        shards=len(checks),
        samples=sum(len(check.sample_ids) for check in checks),
        images=sum(check.images for check in checks),
        masks=sum(check.masks for check in checks),
        seconds=time.perf_counter() - started,
        faults=faults,
    )


def _check_shards(shards: Sequence[OutputPath], *, workers: int) -> Iterator[ShardCheck]:
    if min(workers, len(shards)) <= 1:
        yield from map(_check_shard, shards)
        return
    try:
        with ProcessPoolExecutor(max_workers=min(workers, len(shards))) as pool:
            yield from pool.map(_check_shard, shards)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that checked a shard died, most likely for lack of memory",
            cure="Use fewer workers: `imig validate --workers 1`.",
        ) from error


def _check_shard(shard: OutputPath) -> ShardCheck:
    with local_copy(shard) as path:
        return check_shard(path)


def _doubled_across_shards(checks: Sequence[ShardCheck]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for check in checks:
        for sample_id in check.sample_ids:
            if sample_id in first:
                message = f"also in {first[sample_id]}"
                yield Fault("duplicate-sample", message, shard=check.name, sample=sample_id)
            else:
                first[sample_id] = check.name
