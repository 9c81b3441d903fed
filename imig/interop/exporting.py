"""`imig export`: scenes of a dataset become files of another format.

::

    <output>/.imig-export/lock            held while it is written
    <output>/.imig-export/export.json     what is exported, and how; anything else is refused
    <output>/.imig-export/shards/         what is left of each finished shard: files, rows, losses
    <output>/.imig-export/finished.json   written last

Work goes shard by shard, in several processes; what is finished is kept when a run is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console

from imig.console.interrupt import interrupt_once
from imig.errors import DataError, UsageError
from imig.interop.format import Exporter, ExportFolder, FormatSettings, Losses
from imig.interop.formats import find_exporter, to_settings
from imig.interop.progress import SceneLine
from imig.output.lock import folder_lock
from imig.paths import is_within
from imig.processes import each_in_processes
from imig.regular_file import read_regular_file
from imig.schema import first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.shards.dataset import Dataset
from imig.shards.folders import LocalFolder
from imig.shards.funnel import Oddity

Kind = TypeVar("Kind", bound=BaseModel)

STATE_FOLDER: Final = ".imig-export"
_OTHER: Final = "take another --output, or --overwrite to delete what the export wrote"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    scenes: int
    files: int
    losses: Losses
    """What the format could not carry."""
    finished_already: bool = False


class _Identity(BaseModel):
    format: str
    settings: dict[str, Any]
    dataset: str


class _Part(BaseModel):
    """What is left of a shard."""

    scenes: int
    names: list[str]
    rows: list[Any]
    losses: dict[str, Oddity]


class _Finished(BaseModel):
    scenes: int
    files: int
    names: list[str]
    """Of what stands once for all scenes."""
    losses: dict[str, Oddity]


@dataclass(frozen=True)
class _Plan:
    """Pickles: it goes to every worker."""

    dataset: Dataset
    format: str
    settings: FormatSettings
    output: Path

    @property
    def state(self) -> Path:
        return self.output / STATE_FOLDER

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "settings": self.settings.model_dump(mode="json"),
            "dataset": self.dataset.fingerprint,
        }

    @cached_property
    def exporter(self) -> Exporter[Any]:
        return find_exporter(self.format)(self.dataset, self.settings)

    def part(self, shard: str) -> Path:
        return self.state / "shards" / f"{shard}.json"


def export_dataset(
    source: str | Path,
    format_name: str,
    *,
    output: Path,
    overrides: Sequence[str] = (),
    workers: int = 1,
    overwrite: bool = False,
    console: Console | None = None,
) -> Exported:
    """Write all scenes of a dataset in another format; a run that was cut off is finished.

    Parameters
    ----------
    source:
        A dataset's folder or address.
    format_name:
        Of `imig.interop.formats.FORMATS`.
    output:
        An empty or a new folder.
    overrides:
        Settings of the format, as ``key=value``.
    workers:
        Processes; each exports a shard at a time.
    overwrite:
        Delete the files that an earlier export wrote there first.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The format, a setting or the dataset is not there, or the folder holds something else.
    DataError
        A sample is damaged, or the disk is full; finished shards are kept.
    """
    exporter = find_exporter(format_name)
    dataset = Dataset(source)
    settings = to_settings(exporter.settings_type, list(overrides))
    plan = _Plan(dataset, format_name, settings, output)
    if isinstance(dataset.folder, LocalFolder):
        root = dataset.folder.root
        if is_within(output, root) or is_within(root, output):
            raise UsageError(
                f"{output} and the dataset {root} lie in each other", cure="give another --output"
            )
    _require_ours(plan, overwrite=overwrite)
    with (
        interrupt_once(),
        folder_lock(plan.state / "lock", folder=output, who="another export"),
    ):
        if overwrite:
            _delete(plan)
        finished = plan.state / "finished.json"
        if finished.is_file():
            done = _read(finished, _Finished)
            return Exported(done.scenes, done.files, Losses(done.losses), finished_already=True)
        identity = json.dumps(plan.identity, indent=1, ensure_ascii=False)
        atomic_write_bytes(plan.state / "export.json", identity.encode())
        _write_shards(plan, console or Console(quiet=True), workers=workers)
        return _finish(plan)


def _write_shards(plan: _Plan, console: Console, *, workers: int) -> None:
    dataset = plan.dataset
    shards = [one.name for one in dataset.manifest.shards]
    left = [shard for shard in shards if not plan.part(shard).is_file()]
    scenes = {one.name: one.samples for one in dataset.manifest.shards}
    done = len(dataset) - sum(scenes[shard] for shard in left)
    work = each_in_processes(
        partial(_write_shard, plan), left, workers=workers, what="exported scenes"
    )
    with closing(work), SceneLine(console, total=len(dataset), done=done) as line:
        for shard, _ in work:
            line.advance(scenes[shard])


def _write_shard(plan: _Plan, shard: str) -> None:
    folder = ExportFolder(plan.output)
    dataset = plan.dataset
    ids = [one for one, its in zip(dataset.ids, dataset.shards, strict=True) if its == shard]
    rows = [plan.exporter.write_scene(dataset[sample_id], folder) for sample_id in ids]
    part = _Part(scenes=len(rows), names=folder.names, rows=rows, losses=folder.losses.kinds)
    os.sync()  # the record may not be on the disk before what it is of
    atomic_write_bytes(plan.part(shard), part.model_dump_json().encode())


def _parts(plan: _Plan) -> Iterator[_Part]:
    for one in plan.dataset.manifest.shards:
        yield _read(plan.part(one.name), _Part)


@dataclass(frozen=True)
class _Rows(Iterable[Any]):
    """What `write_scene` gave, of all scenes; read from the disk each time."""

    plan: _Plan

    def __iter__(self) -> Iterator[Any]:
        for part in _parts(self.plan):
            yield from part.rows


def _finish(plan: _Plan) -> Exported:
    folder, scenes, files, losses = ExportFolder(plan.output), 0, 0, Losses()
    for part in _parts(plan):
        scenes, files = scenes + part.scenes, files + len(part.names)
        losses.add(Losses(part.losses))
    plan.exporter.finish(_Rows(plan), folder)
    losses.add(folder.losses)
    files += len(folder.names)
    record = _Finished(scenes=scenes, files=files, names=folder.names, losses=losses.kinds)
    atomic_write_bytes(plan.state / "finished.json", record.model_dump_json().encode())
    return Exported(scenes, files, losses)


def _require_ours(plan: _Plan, *, overwrite: bool) -> None:
    output = plan.output
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is no folder", cure="give another --output")
    known = plan.state / "export.json"
    if known.is_file():
        there = _read(known, _Identity)
        if not overwrite and there != _Identity(**plan.identity):
            here = plan.identity
            why = [key for key in here if getattr(there, key) != here[key]]
            raise UsageError(
                f"{output} holds another export: its {' and '.join(why)} differ", cure=_OTHER
            )
        return
    strange = [one.name for one in sorted(output.iterdir()) if one.name != STATE_FOLDER]
    if strange:
        raise UsageError(
            f"{output} holds other things than an export of imig, {strange[0]} for one",
            cure="give an empty or a new folder with --output",
        )


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(read_regular_file(path))
    except ValidationError as error:
        why = first_problem(error)
    except OSError as error:
        why = error.strerror or str(error)
    raise DataError(f"the export's own record {path} cannot be read: {why}", cure=_OTHER)


def _delete(plan: _Plan) -> None:
    """Files that an export has written, and what it knew of them; folders that are empty then."""
    names: list[str] = []
    finished = plan.state / "finished.json"
    if finished.is_file():
        names += _read(finished, _Finished).names
        finished.unlink()
    for path in sorted((plan.state / "shards").glob("*.json")):
        names += _read(path, _Part).names
        path.unlink()
    (plan.state / "export.json").unlink(missing_ok=True)
    folders = set()
    for name in names:
        path = plan.output / name
        path.unlink(missing_ok=True)
        folders |= set(path.parents) - {plan.output, *plan.output.parents}
    for folder in sorted(folders, key=lambda one: -len(one.parts)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
