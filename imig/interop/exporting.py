"""`imig export`: scenes of a dataset become files of another format.

::

    <output>/.imig-export/lock            held while it is written
    <output>/.imig-export/export.json     what is exported, and how; anything else is refused
    <output>/.imig-export/files/          names of the files of each shard, noted before they are
                                          written: `--overwrite` deletes these, and no others
    <output>/.imig-export/shards/         what is left of each finished shard: rows, losses
    <output>/.imig-export/finished.json   written last

Work goes shard by shard, in several processes; what is finished is kept when a run is cut off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console

from imig.console.interrupt import interrupt_once
from imig.errors import VALIDATE, DataError, UnavailableError, UsageError
from imig.interop.format import (
    CannotWriteError,
    Exporter,
    ExportFolder,
    FormatSettings,
    Losses,
    is_file_name,
    temporary_name,
)
from imig.interop.formats import find_exporter, to_settings
from imig.interop.progress import SceneLine
from imig.output.folder import remove_temporaries
from imig.output.lock import folder_lock
from imig.paths import is_within
from imig.processes import each_in_processes
from imig.regular_file import open_regular_file, read_regular_file
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
    damaged: dict[str, str] = field(default_factory=dict)
    """Scenes that cannot be read, which are left out, and why."""


class _Identity(BaseModel):
    format: str
    settings: dict[str, Any]
    dataset: str
    inputs: str = ""


class _Part(BaseModel):
    """What is left of a shard."""

    scenes: int
    files: int
    rows: list[Any]
    losses: dict[str, Oddity]
    damaged: dict[str, str] = {}


class _Finished(BaseModel):
    scenes: int
    files: int
    losses: dict[str, Oddity]
    damaged: dict[str, str] = {}


@dataclass(frozen=True)
class _Plan:
    """Pickles: it goes to every worker."""

    dataset: Dataset
    format: str
    settings: FormatSettings
    output: Path
    inputs: str
    """SHA-256 of the files that are read beside the dataset; "" without any."""

    @property
    def state(self) -> Path:
        return self.output / STATE_FOLDER

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "settings": self.settings.model_dump(mode="json"),
            "dataset": self.dataset.fingerprint,
            "inputs": self.inputs,
        }

    @cached_property
    def exporter(self) -> Exporter[Any]:
        return find_exporter(self.format)(self.dataset, self.settings)

    @property
    def finished(self) -> Path:
        return self.state / "finished.json"

    def part(self, shard: str) -> Path:
        return self.state / "shards" / f"{shard}.json"

    def names(self, shard: str = "") -> Path:
        """Where the names of a shard's files are noted; of those that stand once for all: ""."""
        return self.state / "files" / f"{shard or 'whole'}.jsonl"


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

    A scene that cannot be read is left out, and named; the others are written.

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
        No scene can be read, or the disk is full; finished shards are kept.
    """
    exporter = find_exporter(format_name)
    dataset = Dataset(source)
    settings = to_settings(exporter.settings_type, list(overrides))
    inputs = exporter(dataset, settings).inputs()
    for one in inputs:
        if is_within(one, output):
            raise UsageError(
                f"{one}, which is read, lies in {output}", cure="give another --output"
            )
    plan = _Plan(dataset, format_name, settings, output, _inputs_sha256(inputs))
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
        _require_ours(plan, overwrite=overwrite)  # another may have been there in between
        if overwrite:
            _delete(plan)
        for folder in (plan.state, plan.part("").parent):
            remove_temporaries(folder)
        _forget_what_lacks_files(plan)
        if plan.finished.is_file():
            done = _read(plan.finished, _Finished)
            return Exported(
                done.scenes,
                done.files,
                Losses(done.losses),
                finished_already=True,
                damaged=done.damaged,
            )
        identity = json.dumps(plan.identity, indent=1, ensure_ascii=False)
        atomic_write_bytes(plan.state / "export.json", identity.encode())
        _write_shards(plan, console or Console(quiet=True), workers=workers)
        return _finish(plan)


def _inputs_sha256(paths: Iterable[Path]) -> str:
    digests = []
    for path in paths:
        try:
            with open_regular_file(path) as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return " ".join(digests)


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
    dataset = plan.dataset
    ids = [one for one, its in zip(dataset.ids, dataset.shards, strict=True) if its == shard]
    rows: list[Any] = []
    losses, damaged = Losses(), dict[str, str]()
    with _noting(plan.names(shard)) as note:
        folder = ExportFolder(plan.output, announce=note)
        for sample_id in ids:
            begun, folder.losses = len(folder.names), Losses()
            try:
                scene = dataset[sample_id]
                rows.append(plan.exporter.write_scene(scene, folder))
                licence = plan.exporter.licence_of(scene.record)
            except (CannotWriteError, UnavailableError):
                raise
            except DataError as error:
                damaged[sample_id] = error.message
                for name in folder.take_back(begun):
                    note([name])
            else:
                if licence is not None and not plan.exporter.carries_licences:
                    folder.losses.note("licences", f"{sample_id}: {licence}")
                losses.add(folder.losses)
    part = _Part(
        scenes=len(rows),
        files=len(folder.names),
        rows=rows,
        losses=losses.kinds,
        damaged=damaged,
    )
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
    if plan.dataset.fingerprint_now() != plan.dataset.fingerprint:
        raise DataError(
            f"{plan.dataset.path} has changed while it was read",
            cure="leave it alone during an export; --overwrite writes all of it again",
        )
    if _inputs_sha256(plan.exporter.inputs()) != plan.inputs:
        raise DataError(
            "what the export reads beside the dataset has changed meanwhile",
            cure="leave it alone during an export; --overwrite writes all of it again",
        )
    scenes, files, losses = 0, 0, Losses()
    damaged: dict[str, str] = {}
    for part in _parts(plan):
        scenes, files = scenes + part.scenes, files + part.files
        losses.add(Losses(part.losses))
        damaged |= part.damaged
    if damaged and not scenes:
        for one in plan.dataset.manifest.shards:  # the same command is to look again
            plan.part(one.name).unlink()
        raise DataError(
            f"none of the {len(damaged)} scenes of {plan.dataset.path} can be read: "
            f"{next(iter(damaged.values()))}",
            cure=VALIDATE,
        )
    with _noting(plan.names()) as note:
        folder = ExportFolder(plan.output, announce=note)
        plan.exporter.finish(_Rows(plan), folder)
    losses.add(folder.losses)
    files += len(folder.names)
    record = _Finished(scenes=scenes, files=files, losses=losses.kinds, damaged=damaged)
    os.sync()  # as after a shard
    atomic_write_bytes(plan.finished, record.model_dump_json().encode())
    return Exported(scenes, files, losses, damaged=damaged)


@contextmanager
def _noting(path: Path) -> Iterator[Callable[[str | list[str]], None]]:
    """A function that adds a name to a list in a file, there before it returns.

    A list of a name says that its file was taken away again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(b"\n")  # a run that was killed may have left half a line

        def note(name: str | list[str]) -> None:
            line = json.dumps(name).encode() + b"\n"
            if file.write(line) < len(line):  # it was the last room on the disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        yield note


def _noted(path: Path) -> list[str]:
    """The names in a list; what is no name of a file below the folder is passed over."""
    names: dict[str, None] = {}
    try:
        lines = read_regular_file(path).splitlines()
    except OSError as error:
        raise DataError(
            f"the export's own list {path} cannot be read: {error.strerror or error}", cure=_OTHER
        ) from error
    for line in lines:
        try:
            name = json.loads(line or b"0")
        except (ValueError, RecursionError):
            continue
        if isinstance(name, list):
            for one in name:
                names.pop(str(one), None)
        elif isinstance(name, str) and "\0" not in name and is_file_name(name):
            names[name] = None
    return list(names)


def _forget_what_lacks_files(plan: _Plan) -> None:
    """Take shards, and the whole, for unfinished when somebody has removed files of theirs."""

    def lacks(names: Path) -> bool:
        return not names.is_file() or not all(
            os.path.lexists(plan.output / one) for one in _noted(names)
        )

    whole = plan.finished.is_file() and not lacks(plan.names())
    for one in plan.dataset.manifest.shards:
        part = plan.part(one.name)
        if part.is_file() and lacks(plan.names(one.name)):
            part.unlink()
        whole = whole and part.is_file()
    if not whole:
        plan.finished.unlink(missing_ok=True)


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
    """Files that exports have written, finished or not; folders that are empty then.

    What is known of them goes last, so that the same command goes on when it is killed.
    """
    folders: dict[Path, bool] = {}
    for names in sorted((plan.state / "files").glob("*.jsonl")):
        for name in _noted(names):
            path = plan.output / name
            # The list may be somebody else's, and a folder may be a link to elsewhere.
            if folders.setdefault(path.parent, is_within(path.parent, plan.output)):
                for one in (path, temporary_name(path)):
                    if one.is_symlink() or one.is_file():
                        one.unlink()
    ours = {folder for folder, is_ours in folders.items() if is_ours}
    ours |= {one for folder in ours for one in folder.parents if plan.output in one.parents}
    for folder in sorted(ours - {plan.output}, key=lambda one: -len(one.parts)):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    plan.finished.unlink(missing_ok=True)
    for kind in ("shards/*.json", "files/*.jsonl", "export.json"):
        for path in plan.state.glob(kind):
            path.unlink()
