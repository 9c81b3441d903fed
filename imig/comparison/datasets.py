"""Compare two datasets: what they say of themselves, then the scenes that have to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from imig.comparison.scenes import Change, Kind, Limits, compare_files, compare_scenes
from imig.console.live_line import LiveLine
from imig.errors import DataError
from imig.schema import Manifest
from imig.shards.dataset import Dataset
from imig.shards.writer import JSON_MEMBER

if TYPE_CHECKING:
    from rich.console import Console

_REQUESTS: Final = 16
"""Scenes that are read at once where a dataset is remote."""
_BATCH: Final = 64
"""Scenes whose bytes may wait in memory."""
_OF_THE_FILES: Final = frozenset({"shards", "index_sha256", "schema_version"})
"""Fields of a manifest about how the same scenes lie in files."""
_OF_THE_MAKING: Final = frozenset({"packages", "recipe_sha256", "encoded_from"})
"""Fields that follow from others, or from the machine: shown, and no difference by themselves."""


@dataclass(frozen=True)
class SettingChange:
    """A value of `dataset.json` that differs."""

    group: str
    """The field: ``recipe``, ``models``, ``counts``, ..."""
    key: str
    """Dotted: ``filter.dino``; of a model its family and weights."""
    before: Any
    after: Any


@dataclass(frozen=True)
class SceneChanges:
    """A scene that both have, and what differs."""

    id: str
    changes: tuple[Change, ...]


@dataclass
class Tally:
    """How often a kind of change was found."""

    scenes: int = 0
    places: int = 0
    min_iou: float | None = None
    max_difference: float | None = None

    def add(self, changes: Iterable[Change]) -> None:
        """Those of this kind, of one scene."""
        self.scenes += 1
        for one in changes:
            self.places += 1
            if one.iou is not None:
                self.min_iou = one.iou if self.min_iou is None else min(self.min_iou, one.iou)
            if (apart := one.difference) is not None:
                self.max_difference = max(self.max_difference or 0.0, apart)


@dataclass
class DatasetDifference:
    """What differs between two datasets."""

    before: str
    """Folder or address of the first."""
    after: str
    settings: list[SettingChange] = field(default_factory=list)
    """Recipe with its thresholds, models, licences, counts, derivations."""
    making: list[SettingChange] = field(default_factory=list)
    """Versions of packages, and checksums that follow: no difference by themselves."""
    added: list[str] = field(default_factory=list)
    """Ids that only the second has, in its order."""
    removed: list[str] = field(default_factory=list)
    """Ids that only the first has, in its order."""
    changed: list[str] = field(default_factory=list)
    """Ids that both have, with something else, in the order of the first."""
    equal: int = 0
    """Scenes that both have, the same."""
    read: int = 0
    """Scenes whose bytes had to be read; the others lie in shards with equal checksums."""
    reordered: bool = False
    """The scenes that both have come in another order."""
    pictures: bool = True
    """Whether stored files were compared too, beside the records."""
    tallies: dict[Kind, Tally] = field(default_factory=dict)
    details: list[SceneChanges] = field(default_factory=list)
    """Of the first changed scenes, as many as were asked for."""

    @property
    def differ(self) -> bool:
        """Whether there is any difference; order of scenes and versions of packages are none."""
        return bool(self.settings or self.added or self.removed or self.changed)


def compare_datasets(
    before: Dataset,
    after: Dataset,
    *,
    limits: Limits | None = None,
    scenes: int = 5,
    pictures: bool = True,
    console: Console | None = None,
) -> DatasetDifference:
    """Compare two datasets, reading as little as decides.

    Scenes of shards with equal checksums are equal and are not read. Of the others both samples are
    read; a record is parsed only where its bytes differ.

    Parameters
    ----------
    limits:
        How far apart values may be and still count as equal.
    scenes:
        How many changed scenes to keep with all their changes.
    pictures:
        Whether stored files are compared; without, only records are read.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    DataError
        When a sample that must be read is damaged.
    """
    found = DatasetDifference(str(before.path), str(after.path), pictures=pictures)
    changes = compare_manifests(before.manifest, after.manifest)
    found.settings = [one for one in changes if one.group not in _OF_THE_MAKING]
    found.making = [one for one in changes if one.group in _OF_THE_MAKING]
    found.added = [one for one in after.ids if one not in before]
    found.removed = [one for one in before.ids if one not in after]
    shared = [one for one in before.ids if one in after]
    found.reordered = shared != [one for one in after.ids if one in before]
    unsure = _scenes_to_read(before, after)
    found.equal, found.read = len(shared) - len(unsure), len(unsure)
    reader = _Reader(before, after, limits or Limits(), pictures)
    with _ReadLine(console, len(unsure)) as line:
        for scene in reader.read(unsure):
            line.advance()
            _count(scene, found, keep=scenes)
    found.tallies = dict(sorted(found.tallies.items(), key=lambda item: _rank(item[0])))
    return found


def compare_manifests(before: Manifest, after: Manifest) -> list[SettingChange]:
    """What two manifests say differently, shards left out: field by field, key by key."""
    first, second = (
        one.model_dump(mode="json", exclude={*_OF_THE_FILES}) for one in (before, after)
    )
    changes = []
    for group in {**first, **second}:
        one, other = (_flatten(group, values.get(group)) for values in (first, second))
        changes += [
            SettingChange(group, key, one.get(key), other.get(key))
            for key in {**one, **other}
            if one.get(key) != other.get(key)
        ]
    return changes


def _flatten(group: str, value: Any) -> dict[str, Any]:
    """Leaves by dotted keys; models by what they are, so that one more moves no other."""
    if group == "models":
        return {f"{one['family']} {one['weights']}": one["revision"] for one in value or []}
    return {} if value is None else dict(_leaves(value, ""))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for number, one in enumerate(value):
            yield from _leaves(one, f"{key}[{number}]")
    elif key or value:
        yield key, value


def _scenes_to_read(before: Dataset, after: Dataset) -> list[str]:
    """Ids that both have, in shards of different bytes."""
    first, second = (
        {record.name: record.sha256 for record in one.manifest.shards} for one in (before, after)
    )
    shard_after = dict(zip(after.ids, after.shards, strict=True))
    return [
        sample_id
        for sample_id, shard in zip(before.ids, before.shards, strict=True)
        if sample_id in shard_after and first[shard] != second[shard_after[sample_id]]
    ]


class _Reader(NamedTuple):
    """Reads a scene of both datasets, and says what differs."""

    before: Dataset
    after: Dataset
    limits: Limits
    pictures: bool

    def read(self, ids: Sequence[str]) -> Iterator[SceneChanges]:
        if not (self.before.folder.remote or self.after.folder.remote):
            yield from map(self._compare, ids)
            return
        with ThreadPoolExecutor(_REQUESTS) as pool:
            for start in range(0, len(ids), _BATCH):
                yield from pool.map(self._compare, ids[start : start + _BATCH])

    def _compare(self, sample_id: str) -> SceneChanges:
        first, second = self._files(self.before, sample_id), self._files(self.after, sample_id)
        if first == second:
            return SceneChanges(sample_id, ())
        one = self.before.parse_scene(sample_id, first.pop(JSON_MEMBER, None))
        other = self.after.parse_scene(sample_id, second.pop(JSON_MEMBER, None))
        try:
            changes = [*compare_scenes(one, other, self.limits)]
        except DataError as error:
            raise DataError(
                f"{self.before.place_of(sample_id)}, or the one in {self.after.path}: "
                f"{error.message}",
                cure=error.cure,
            ) from error
        if self.pictures:
            changes += compare_files(one, other, (first, second))
        return SceneChanges(sample_id, tuple(sorted(changes, key=lambda one: _rank(one.kind))))

    def _files(self, dataset: Dataset, sample_id: str) -> dict[str, bytes]:
        if self.pictures:
            return dataset.read_files(sample_id)
        return {JSON_MEMBER: dataset.read_member(sample_id, JSON_MEMBER)}


def _count(scene: SceneChanges, found: DatasetDifference, *, keep: int) -> None:
    if not scene.changes:
        found.equal += 1
        return
    found.changed.append(scene.id)
    if len(found.details) < keep:
        found.details.append(scene)
    for kind in {one.kind for one in scene.changes}:
        tally = found.tallies.setdefault(kind, Tally())
        tally.add(one for one in scene.changes if one.kind == kind)


def _rank(kind: Kind) -> int:
    return get_args(Kind).index(kind)


class _ReadLine:
    """How many scenes are read, where there is a console."""

    def __init__(self, console: Console | None, total: int) -> None:
        self._line = None if console is None else LiveLine(console)
        self._total, self._done = total, 0

    def __enter__(self) -> _ReadLine:
        if self._line is not None:
            self._line.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._line is not None:
            self._line.__exit__(*exception)

    def advance(self) -> None:
        self._done += 1
        if self._line is not None:
            self._line.show_line(lambda: f"{self._done}/{self._total} scenes read")
