"""Take samples out of a finished dataset, in its own folder: `imig remove`.

Shards that hold none of them stay as they are. The work is in two parts::

    <folder>/.build/shards/      the shards without those samples, made beside the old ones
    <folder>/.build/remove.json  written when all are there: from here on nothing turns back

Before `remove.json` the dataset is whole and as it was, and a run that is cut off has done nothing.
With it `dataset.json` goes first, so that no reader sees old and new files together; then shards,
tables, report and card are replaced, and the new `dataset.json` comes last. Cut off there, the next
`imig remove` of the folder ends that work before its own.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from imig.derived.selection import Selection
from imig.derived.split import SIDES
from imig.errors import VALIDATE, DataError, UsageError
from imig.output.folder import BUILD_FOLDER, OutputFolder, hold, remove_temporaries
from imig.output.identity import write_identity
from imig.output.record import Record
from imig.output.seal import check_shards, write_side_files
from imig.output.writing import Contents
from imig.packed import Packed
from imig.paths import command_text
from imig.regular_file import read_regular_file
from imig.schema import (
    Derivation,
    Manifest,
    ParentDataset,
    Quarantine,
    Reject,
    Scene,
    first_problem,
    scene_from_json,
)
from imig.shards.atomic import atomic_write_bytes, remove_file, replace_file
from imig.shards.card import (
    CARD_NAME,
    PICTURES_FOLDER,
    owners_licence,
    read_front_matter,
    write_split_card,
)
from imig.shards.dataset import REMOVAL, Dataset
from imig.shards.funnel import REPORT_JSON, FunnelRow
from imig.shards.hub_columns import Part, hub_configurations
from imig.shards.index import (
    INDEX_NAME,
    IndexRow,
    absent_columns,
    index_schema,
    plain_to_row,
    shard_to_rows,
)
from imig.shards.manifest import MANIFEST_NAME, read_manifest, shard_record
from imig.shards.writer import JSON_MEMBER, read_tar, write_members

OPERATION: Final = "remove"
_SHOWN: Final = 3
"""Names that a message gives of those that are there."""


@dataclass(frozen=True)
class Removed:
    """What went out of one dataset, or would."""

    folder: Path
    scenes: int
    left: int
    """Scenes that stay."""
    rejects: int
    """Rows of `rejects.parquet`."""
    quarantined: int
    shards: list[str]
    """Those that are written anew, or go with all that they had."""

    @property
    def total(self) -> int:
        return self.scenes + self.rejects + self.quarantined


@dataclass(frozen=True)
class Removal:
    """What was done in a folder, dataset by dataset."""

    datasets: list[Removed]
    ended: list[Path] = field(default_factory=list)
    """Datasets in which an earlier removal was cut off, and is finished now."""


class _Journal(BaseModel):
    """All that is needed to end the work when `dataset.json` is gone. Names nothing that goes."""

    manifest: Manifest
    shards: list[Record]
    """Rows and entry of each shard that there will be, in order."""
    replaced: list[str]
    """Shards of which a new one lies in `.build/shards`, or has been put into place."""
    emptied: list[str]
    """Shards of which nothing stays."""
    rejects: list[Reject]
    quarantined: list[Quarantine]
    funnel: list[FunnelRow]
    remarks: list[str]
    licence: dict[str, str] = {}
    """What its owner has written into the card."""
    seconds: float


@dataclass(frozen=True)
class _Found:
    """A dataset, and what of it goes."""

    dataset: Dataset
    root: Path
    gone: dict[str, set[str]]
    """Shard -> ids."""
    rejects: list[Reject]
    """Those that stay."""
    quarantined: list[Quarantine]
    """Those that stay."""
    names: frozenset[str]
    """Ids and paths of all that goes, which no report may name any more."""
    there: list[str]
    """Some of what the selection was compared with."""

    @property
    def removed(self) -> Removed:
        counts, scenes = self.dataset.manifest.counts, sum(map(len, self.gone.values()))
        return Removed(
            folder=self.root,
            scenes=scenes,
            left=len(self.dataset) - scenes,
            rejects=counts.rejected - len(self.rejects),
            quarantined=counts.quarantined - len(self.quarantined),
            shards=[one.name for one in self.dataset.manifest.shards if one.name in self.gone],
        )


def find_datasets(folder: Path) -> list[Path]:
    """The datasets of a folder: itself, and those directly in it, as `imig split` makes them.

    Raises UsageError when there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", cure="name the folder of a dataset")
    inside = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    found = [
        one
        for one in (folder, *inside)
        if (one / MANIFEST_NAME).is_file() or _journal_path(one).is_file()
    ]
    if not found:
        raise UsageError(
            f"{folder} is not a dataset: it has no {MANIFEST_NAME}",
            cure="what is still being made is finished first, by the same command",
        )
    return found


def plan_removal(folder: Path, selection: Selection) -> Removal:
    """What `remove_samples` would do; changes nothing.

    Raises
    ------
    UsageError
        When nothing is found, or a removal was cut off and must be ended first.
    DataError
        When a dataset is damaged.
    """
    datasets = find_datasets(folder)
    for one in datasets:
        if _journal_path(one).is_file():
            raise UsageError(
                f"a removal from {one} was cut off, and nobody can read it before that is ended",
                cure=f"`{command_text('imig', OPERATION, folder)} ..` without --dry-run ends it",
            )
    found = [_find(one, selection) for one in datasets]
    _require_some(folder, found)
    return Removal([one.removed for one in found])


def remove_samples(folder: Path, selection: Selection, *, everything: bool = False) -> Removal:
    """Take samples out of all datasets of a folder; their bytes are gone when it returns.

    Parameters
    ----------
    everything:
        Whether it may leave no scene at all.

    Raises
    ------
    UsageError
        When nothing is found, all scenes would go, a shard is a link, or somebody else writes into
        the folder. Nothing is changed then.
    DataError
        When a dataset is damaged, or the disk is full: the same command goes on.
    """
    datasets = find_datasets(folder)
    with hold(*datasets):
        try:
            licence = _licence_above(folder, datasets)
            ended = [one for one in datasets if _journal_path(one).is_file()]
            for one in ended:
                _commit(one)
            # Also where nothing is found now: the removal that was cut off may have left it behind.
            _renew_split_card(folder, datasets, licence=licence, stale=True)
            found = [_find(one, selection) for one in datasets]
            if not ended or any(one.removed.total for one in found):
                _require_some(folder, found)
                _require_left(folder, found, everything=everything)
            for each in found:
                if each.removed.total:
                    _prepare(each, selection)
                    _commit(each.root)
            _renew_split_card(folder, datasets, licence=licence)
        finally:
            for one in datasets:
                if not _journal_path(one).is_file():
                    shutil.rmtree(one / BUILD_FOLDER, ignore_errors=True)
    return Removal([one.removed for one in found], ended)


def _output(root: Path, *, fingerprint: str = "", scenes: int = 0) -> OutputFolder:
    """The dataset's folder; as it is being written, other work in it is refused."""

    def identity() -> dict[str, Any]:
        return {
            "recipe_sha256": f"{OPERATION} from {fingerprint}",
            "recipe": {"operation": OPERATION},
            "scenes": scenes,
            "models": [],
        }

    return OutputFolder(root, identity)


def _journal_path(root: Path) -> Path:
    return root / REMOVAL


def _new_shard(root: Path, name: str) -> Path:
    return root / BUILD_FOLDER / "shards" / name


def _find(root: Path, selection: Selection) -> _Found:
    dataset = Dataset(root)
    shards = dict.fromkeys(one.name for one in dataset.manifest.shards)
    if selection.by == "ids":  # the index says it all; no other shard is opened
        rows = zip(dataset.ids, dataset.shards, strict=True)
        wanted = {shard for scene_id, shard in rows if scene_id in selection.ids}
        shards = dict.fromkeys(one for one in shards if one in wanted)
    gone: dict[str, set[str]] = {}
    names: set[str] = set()
    there: dict[str, None] = {}
    for shard in shards:
        for scene in _scenes(root / shard):
            if selection.takes(scene):
                gone.setdefault(shard, set()).add(scene.id)
                names.update(one for one in (scene.id, scene.source.path) if one)
            elif len(there) < _SHOWN:
                there |= dict.fromkeys(_compared(scene, selection))
    rejects, quarantined = dataset.rejects(), dataset.quarantined()
    every: list[Reject | Quarantine] = [*rejects, *quarantined]
    lost = [one for one in every if selection.takes_row(one)]
    names.update(text for one in lost for text in (one.id, one.path) if text)
    lost_ids = {one.id for one in lost}
    return _Found(
        dataset=dataset,
        root=root,
        gone=gone,
        rejects=[_without_mention(one, names) for one in rejects if one.id not in lost_ids],
        quarantined=[one for one in quarantined if one.id not in lost_ids],
        names=frozenset(names),
        there=list(there or dict.fromkeys(dataset.ids))[:_SHOWN],
    )


def _scenes(shard: Path) -> Iterator[Scene]:
    for span, files in read_tar(shard, only={JSON_MEMBER}):
        try:
            yield scene_from_json(files[JSON_MEMBER])
        except (KeyError, ValidationError) as error:
            why = first_problem(error) if isinstance(error, ValidationError) else "it has no JSON"
            raise DataError(f"sample {span.id} in {shard}: {why}", cure=VALIDATE) from error


def _compared(scene: Scene, selection: Selection) -> list[str]:
    """What of a scene a selection looks at."""
    if selection.by == "identity":
        return [one.identity_id for one in scene.instances]
    if selection.by == "source":
        return [scene.source.path] if scene.source.path else []
    return [scene.id]


def _without_mention(reject: Reject, gone: set[str]) -> Reject:
    """A near copy of what goes was turned down, and stays so, without saying of which."""
    if reject.figures.get("of") not in gone:
        return reject
    figures = {name: value for name, value in reject.figures.items() if name != "of"}
    return reject.model_copy(update={"figures": figures})


def _require_some(folder: Path, found: list[_Found]) -> None:
    if any(one.removed.total for one in found):
        return
    before = sum(
        one.operation == OPERATION for each in found for one in each.dataset.manifest.derived
    )
    hint = f" Removals before this one: {before}." if before else ""
    there = ", ".join(dict.fromkeys(name for one in found for name in one.there))
    raise UsageError(
        f"nothing in {folder} is meant by that; nothing was changed.{hint}",
        cure=f"what is there looks like: {there or 'nothing at all'}",
    )


def _require_left(folder: Path, found: list[_Found], *, everything: bool) -> None:
    if not everything and not any(one.removed.left for one in found):
        raise UsageError(
            f"all {sum(one.removed.scenes for one in found):,} scenes of {folder} would go; "
            "nothing was changed",
            cure="delete the folder; or keep an empty dataset, with a record of it: --everything",
        )
    for one in found:
        for name in one.gone:
            if (one.root / name).is_symlink():
                raise UsageError(
                    f"{one.root / name} is a link: where it leads to the samples would stay",
                    cure="put the file itself there, or remove from the dataset that it belongs to",
                )


def _prepare(found: _Found, selection: Selection) -> None:
    """Make the new shards and the journal; the dataset itself is not touched."""
    started = time.monotonic()
    root, dataset = found.root, found.dataset
    output = _output(root, fingerprint=dataset.fingerprint, scenes=len(dataset))
    shutil.rmtree(root / BUILD_FOLDER / "shards", ignore_errors=True)
    remove_temporaries(root)
    remove_temporaries(root / BUILD_FOLDER)
    indexed = _indexed_rows(root, dataset)
    shards, emptied = [], []
    for record in dataset.manifest.shards:
        rows = indexed.get(record.name, [])
        gone = found.gone.get(record.name)
        if gone is None:
            shards.append(Record(input=len(rows), rows=rows, shard=record))
        elif len(gone) == record.samples:
            emptied.append(record.name)
        else:
            shards.append(_rewrite(root / record.name, _new_shard(root, record.name), gone))
    removed = found.removed
    derivation = Derivation(
        operation=OPERATION,
        settings={
            "by": selection.by,
            "scenes": removed.scenes,
            "rejected": removed.rejects,
            "quarantined": removed.quarantined,
            "shards": len(removed.shards),
        },
        parents=[ParentDataset(name=dataset.manifest.name, manifest_sha256=dataset.fingerprint)],
    )
    seconds = time.monotonic() - started
    journal = _Journal(
        manifest=dataset.manifest.model_copy(
            update={"derived": [*dataset.manifest.derived, derivation]}
        ),
        shards=shards,
        replaced=[one for one in removed.shards if one not in emptied],
        emptied=emptied,
        rejects=found.rejects,
        quarantined=found.quarantined,
        funnel=[*_funnel(dataset, found.names), _funnel_row(removed, seconds)],
        remarks=[one for one in _remarks(root) if not _names(one, found.names)],
        licence=owners_licence(root / CARD_NAME, dataset.manifest),
        seconds=seconds,
    )
    # While there is a way back: what is damaged would end the work below, each time.
    check_shards([_made(root, journal, one.shard.name) for one in shards if one.shard is not None])
    write_identity(output.identity_file, output.identity())
    atomic_write_bytes(_journal_path(root), journal.model_dump_json().encode())


def _made(root: Path, journal: _Journal, name: str) -> Path:
    return _new_shard(root, name) if name in journal.replaced else root / name


def _rewrite(old: Path, new: Path, gone: set[str]) -> Record:
    """A shard without some samples; the others keep their bytes and their order."""
    write_members(
        new,
        (
            [(f"{span.id}.{name}", data) for name, data in files.items()]
            for span, files in read_tar(old)
            if span.id not in gone
        ),
    )
    rows = shard_to_rows(new)
    return Record(input=len(rows), rows=rows, shard=shard_record(new, samples=len(rows)))


def _indexed_rows(root: Path, dataset: Dataset) -> dict[str, list[IndexRow]]:
    """Shard -> the rows of its samples: from the index, of an older one from the shards."""
    if absent_columns(root / INDEX_NAME):
        return {one.name: shard_to_rows(root / one.name) for one in dataset.manifest.shards}
    rows: dict[str, list[IndexRow]] = {}
    for plain in dataset.read_columns(*index_schema().names).to_pylist():
        rows.setdefault(plain["shard"], []).append(plain_to_row(plain))
    return rows


def _commit(root: Path) -> None:
    """Put everything into place. Safe to be killed anywhere and done again."""
    journal, output = _read_journal(root), _output(root)
    remove_file(root / MANIFEST_NAME)  # from here on there is no dataset, until there is a new one
    remove_temporaries(root)
    for name in journal.replaced:
        if (new := _new_shard(root, name)).is_file():
            replace_file(new, root / name)
    for name in journal.emptied:
        remove_file(root / name)
    remove_temporaries(root / PICTURES_FOLDER)
    for picture in sorted((root / PICTURES_FOLDER).glob("*.jpg")):
        remove_file(picture)
    contents = Contents(rejects=Packed(journal.rejects), quarantined=Packed(journal.quarantined))
    for record in journal.shards:
        contents.add(record)
    manifest = write_side_files(
        root,
        journal.manifest,
        contents,
        funnel=journal.funnel,
        seconds=journal.seconds,
        remarks=journal.remarks,
        licence=journal.licence or None,
    )
    # Killed before `.build` is gone, the next run does all of this again, to the same end.
    output.finish(manifest)


def _licence_above(folder: Path, datasets: list[Path]) -> dict[str, str]:
    """What the owner has written into the card above both sides of `imig split`."""
    if folder in datasets:
        return {}
    paths = [one / MANIFEST_NAME for one in datasets]
    manifests = [read_manifest(one) for one in paths if one.is_file()]
    return owners_licence(folder / CARD_NAME, *manifests)


def _renew_split_card(
    folder: Path, datasets: list[Path], *, licence: dict[str, str], stale: bool = False
) -> None:
    """The card above the two sides of `imig split` has their figures and shows their pictures.

    With `stale` only where it is seen to be of what they were before.
    """
    by_name = {one.name: Dataset(one) for one in datasets if one != folder}
    card = read_front_matter(folder / CARD_NAME)
    if folder in datasets or set(SIDES) - set(by_name) or card is None:
        return
    parts = [
        Part(
            folder / side,
            by_name[side].manifest,
            [row for rows in _indexed_rows(folder / side, by_name[side]).values() for row in rows],
            side,
            prefix=f"{side}/",
        )
        for side in SIDES
    ]
    info = hub_configurations(parts).get("dataset_info")
    if not stale or ("dataset_info" in card and card["dataset_info"] != info):
        write_split_card(folder, parts, licence=licence or None)


def _read_journal(root: Path) -> _Journal:
    path = _journal_path(root)
    try:
        return _Journal.model_validate_json(read_regular_file(path))
    except (OSError, ValidationError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"{path}, which says how a removal that was cut off goes on, cannot be read: {why}",
            cure="what the shards hold is whole; build the dataset anew, or ask for help with it",
        ) from error


def _funnel(dataset: Dataset, names: frozenset[str]) -> list[FunnelRow]:
    """What the report had, without oddities that name what goes; they stay counted."""
    rows = dataset.funnel()
    for row in rows:
        for oddity in row.oddities.values():
            oddity.first = [one for one in oddity.first if not _names(one, names)]
    return rows


def _funnel_row(removed: Removed, seconds: float) -> FunnelRow:
    return FunnelRow(
        stage=OPERATION,
        seen=removed.scenes + removed.left,
        rejected=0,
        quarantined=0,
        passed=removed.left,
        seconds=round(seconds, 3),
        reasons={"taken out": removed.scenes},
    )


def _remarks(root: Path) -> list[str]:
    """What the report said of the source."""
    with suppress(OSError, ValueError, RecursionError):
        report: Any = json.loads(read_regular_file(root / REPORT_JSON))
        said = report.get("source") if isinstance(report, dict) else None
        if isinstance(said, list):
            return [one for one in said if isinstance(one, str)]
    return []


def _names(text: str, names: frozenset[str]) -> bool:
    return any(one in text for one in names)
