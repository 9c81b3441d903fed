"""`imig import`: files of another format become a dataset.

The dataset lies in its folder as a build's does, and is finished by the same command when a run was
cut off: whole shards are kept. What cannot be read is quarantined, and the others go on.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from imig.errors import DataError, SourceLostError, UnavailableError, UsageError
from imig.interop.format import FormatSettings, Importer, ImportSettings, Losses
from imig.interop.formats import find_importer, to_settings
from imig.interop.ids import keys_to_ids
from imig.interop.progress import SceneLine
from imig.output.folder import OutputFolder, hold
from imig.output.identity import differences
from imig.output.record import Record, merge_records, read_record, write_record
from imig.output.report import record_to_funnel
from imig.output.seal import write_side_files
from imig.output.tally import StageTally
from imig.output.writing import Contents, write_shard
from imig.paths import input_path, is_within
from imig.processes import each_in_processes
from imig.sample import Sample
from imig.schema import Manifest, Quarantine, Subset, first_problem
from imig.shards.manifest import package_versions
from imig.shards.names import shard_name
from imig.shards.writer import require_members
from imig.stages.sources.base import printable_path
from imig.stores.path import OutputPath
from imig.stores.places import output_folder

STAGE = "import"
"""As reports and quarantines name it."""
SCENES_PER_SHARD = 1000


@dataclass(frozen=True)
class Imported:
    """What was made of the source."""

    manifest: Manifest
    losses: Losses
    """What a dataset of imig has no place for."""
    remarks: Sequence[str] = ()
    """What is odd about the source as a whole, a line for each kind."""
    finished_already: bool = False


@dataclass(frozen=True)
class _Block:
    """What goes into one shard."""

    subset: Subset
    shard: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """Pickles: it goes to every worker."""

    format: str
    importer: Importer[Any]
    output: OutputPath
    name: str
    ids: dict[str, str]
    """Key -> sample id, in order."""
    version: str | None
    """Of the source, before anything of it was read."""
    scenes_per_shard: int
    blocks: list[_Block]

    @property
    def recipe(self) -> dict[str, Any]:
        known = self.importer.recipes()
        return {
            "name": self.name,
            "source": {
                "kind": self.format,
                "path": printable_path(str(self.importer.source)),
                **self.importer.settings.model_dump(mode="json"),
            },
            "write": {"scenes_per_shard": self.scenes_per_shard},
            **({"merged": list(known)} if known else {}),
        }

    @property
    def recipe_sha256(self) -> str:
        known: list[Any] = [self.recipe, [printable_path(key) for key in self.ids]]
        if self.version:
            known.append(self.version)
        return hashlib.sha256(json.dumps(known, ensure_ascii=False).encode()).hexdigest()

    def folder(self) -> OutputFolder:
        """The folder, and what makes two imports the same one."""
        identity = {
            "recipe_sha256": self.recipe_sha256,
            "recipe": self.recipe,
            "scenes": len(self.ids),
            "models": [one.model_dump() for one in self.importer.models()],
        }
        return OutputFolder(self.output, lambda: identity, compare=_differences)


def import_dataset(
    source: str | Path,
    format_name: str,
    *,
    output: str | OutputPath,
    overrides: Sequence[str] = (),
    name: str | None = None,
    scenes_per_shard: int = SCENES_PER_SHARD,
    workers: int = 1,
    overwrite: bool = False,
    console: Console | None = None,
) -> Imported:
    """Make a dataset of files of another format; a run that was cut off is finished.

    Parameters
    ----------
    source:
        Folder or file of that format.
    format_name:
        Of `imig.interop.formats.FORMATS`.
    output:
        The dataset's folder: empty, new, or an earlier run's of the same import.
    overrides:
        Settings of the format, as ``key=value``.
    name:
        Of the dataset; None: the source's.
    scenes_per_shard:
        Keys of the source that a shard covers; what can be read is written.
    workers:
        Processes; each imports a shard at a time.
    overwrite:
        Delete the dataset that is in the folder first.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The format, a setting or the source is not there, or the folder holds something else.
    DataError
        Nothing in the source can be read, or the disk is full; finished shards are kept.
    """
    plan = _make_plan(
        source,
        format_name,
        output=output_folder(output),
        overrides=overrides,
        name=name,
        scenes_per_shard=scenes_per_shard,
    )
    folder = plan.folder()
    if not overwrite and (manifest := folder.finished()) is not None:
        folder.remove_leftovers()
        return Imported(manifest, Losses(), finished_already=True)
    with hold(plan.output, overwrite=overwrite):
        folder.prepare()
        started = time.monotonic()
        _write_shards(plan, folder, console or Console(quiet=True), workers=workers)
        return _finish(plan, folder, seconds=time.monotonic() - started)


def _make_plan(
    source: str | Path,
    format_name: str,
    *,
    output: OutputPath,
    overrides: Sequence[str],
    name: str | None,
    scenes_per_shard: int,
) -> _Plan:
    kind = find_importer(format_name)
    path = input_path(source)
    if not path.exists():
        raise UsageError(f"there is no {path}", cure=f"name what holds the files of {format_name}")
    importer = kind(path, to_settings(kind.settings_type, list(overrides)))
    for one in importer.inputs():
        if isinstance(output, Path) and (is_within(output, one) or is_within(one, output)):
            raise UsageError(f"{output} and {one} lie in each other", cure="give another --output")
    ids = keys_to_ids(importer.keys())
    doubled = [one for one, times in Counter(ids.values()).items() if times > 1]
    if doubled:
        raise DataError(f"{path}: two scenes would have the id {doubled[0]}")
    subsets: dict[Subset, list[str]] = {}
    for key in ids:
        subsets.setdefault(importer.subset(key), []).append(key)
    return _Plan(
        format=format_name,
        importer=importer,
        output=output,
        name=name or printable_path(path.resolve().name),
        ids=ids,
        version=importer.version(),
        scenes_per_shard=scenes_per_shard,
        blocks=[
            _Block(subset, shard_name(subset, number), tuple(its[start : start + scenes_per_shard]))
            for subset, its in sorted(subsets.items())
            for number, start in enumerate(range(0, len(its), scenes_per_shard))
        ],
    )


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    why = list(differences(there, here))
    if not why and there["recipe_sha256"] != here["recipe_sha256"]:
        why.append("the source is not what it was")
    yield from why


def _write_shards(plan: _Plan, folder: OutputFolder, console: Console, *, workers: int) -> None:
    left = [block for block in plan.blocks if not folder.has_shard(block.shard)]
    done = len(plan.ids) - sum(len(block.keys) for block in left)
    work = each_in_processes(
        partial(_import_shard, plan), left, workers=workers, what="imported scenes"
    )
    with closing(work), SceneLine(console, total=len(plan.ids), done=done) as line:
        for block, record in work:
            write_record(folder.shard_record(block.shard), record)
            line.advance(record.input)


def _import_shard(plan: _Plan, block: _Block) -> Record:
    started = time.perf_counter()
    keys, losses = block.keys, Losses()
    quarantined: list[Quarantine] = []

    def samples() -> Iterator[Sample]:
        for key in keys:
            try:
                sample = plan.importer.read(key, plan.ids[key], losses)
                _state_licence(sample, plan.importer.settings)
                _check(sample, block)
            except (SourceLostError, UnavailableError, UsageError):
                raise  # no scene is at fault
            except (
                Exception
            ) as error:  # what a stranger's file makes of a reader is not ours to know
                quarantined.append(_quarantine(plan.ids[key], key, error))
                continue
            for kind, details in sample.oddities:
                losses.note(kind, f"{sample.scene.id}: {details}")
            yield sample

    record = write_shard(plan.output / block.shard, samples())
    record.input, record.quarantined = len(keys), quarantined
    record.tallies[STAGE] = StageTally(
        seen=len(keys),
        quarantined=len(quarantined),
        seconds=time.perf_counter() - started,
        oddities=losses.kinds,
    )
    return record


def _state_licence(sample: Sample, settings: FormatSettings) -> None:
    """What the caller says of all pictures; what a picture's own record says comes first."""
    source = sample.scene.source
    if source.licence is None and isinstance(settings, ImportSettings):
        source.licence = settings.licence


def _check(sample: Sample, block: _Block) -> None:
    scene = sample.scene
    require_members(scene, sample.files, place=f"sample {scene.id}")
    if scene.subset != block.subset:
        raise DataError(f"it is of the subset {scene.subset}, and was taken for {block.subset}")


def _quarantine(sample_id: str, key: str, error: Exception) -> Quarantine:
    if isinstance(error, ValidationError):
        error = DataError(f"it does not obey the schema: {first_problem(error)}")
    return Quarantine(
        id=sample_id,
        stage=STAGE,
        error=printable_path(f"{type(error).__name__}: {error}"),
        traceback="" if isinstance(error, DataError) else printable_path(traceback.format_exc()),
        path=printable_path(key),
    )


def _finish(plan: _Plan, folder: OutputFolder, *, seconds: float) -> Imported:
    records = [read_record(folder.shard_record(block.shard)) for block in plan.blocks]
    contents = Contents()
    for record in records:
        contents.add(record)
    if plan.importer.version() != plan.version:
        raise DataError(
            f"{plan.importer.source} has changed while it was read",
            cure="leave it alone during an import; --overwrite reads all of it again",
        )
    if not contents.rows:
        first = contents.quarantined[0]
        for block in plan.blocks:  # the same command is to look again
            folder.shard_record(block.shard).unlink()
        raise DataError(
            f"none of the {len(contents.quarantined)} scenes of {plan.importer.source} can be "
            f"read: {first.path}: {first.error}",
            cure="mend that, and run the same command again",
        )
    whole = merge_records(records)
    remarks = plan.importer.remarks()
    manifest = Manifest(
        name=plan.name,
        recipe=plan.recipe,
        recipe_sha256=plan.recipe_sha256,
        models=list(plan.importer.models()),
        packages=package_versions(),
        counts=contents.counts(),
        shards=contents.shards,
    )
    manifest = write_side_files(
        plan.output,
        plan.importer.complete(manifest),
        contents,
        funnel=record_to_funnel(whole),
        seconds=seconds,
        remarks=remarks,
        licence=plan.importer.card_licence(),
    )
    folder.finish(manifest)
    return Imported(manifest, Losses(whole.tallies[STAGE].oddities), remarks)
