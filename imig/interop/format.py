"""What a format is: how its files become scenes, and how scenes become its files.

A format is one file of this package with an `Importer`, an `Exporter` or both, and a line in
`imig.interop.formats`. It knows nothing of processes, resuming, progress or where datasets keep
their files: `imig.interop.importing` and `imig.interop.exporting` do that for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Generic

from pydantic import Field
from typing_extensions import TypeVar

from imig.errors import DataError
from imig.recipe.parts import RecipePart
from imig.sample import Sample
from imig.schema import Licence, Manifest, ModelRecord, Scene, Subset
from imig.shards.card import given_under
from imig.shards.dataset import Dataset
from imig.shards.funnel import Oddity
from imig.shards.views import SceneView


class FormatSettings(RecipePart):
    """What `--set` may say of a format; one without settings takes this."""


class ImportSettings(FormatSettings):
    """Of an import of other people's files, which seldom say under which licence they are."""

    licence: Licence | None = Field(
        default=None,
        exclude_if=lambda licence: licence is None,
        description="of the pictures whose own record says none: an SPDX identifier, or free text "
        "with an address.",
    )


SettingsT = TypeVar("SettingsT", bound=FormatSettings, default=FormatSettings)


@dataclass
class Losses:
    """What a format could not carry: kinds, how often, and the first few places."""

    kinds: dict[str, Oddity] = field(default_factory=dict)

    def note(self, kind: str, place: str) -> None:
        """`kind` is a short fixed phrase ("faces"), `place` says of which scene, and what."""
        self.kinds.setdefault(kind, Oddity()).add(Oddity(1, [place]))

    def add(self, other: Losses) -> None:
        for kind, oddity in other.kinds.items():
            self.kinds.setdefault(kind, Oddity()).add(oddity)


def losses_to_text(losses: Losses, *, where: str) -> list[str]:
    """Lines for a person: ``no place in coco: faces: 12, the first: basic-00000003: ..``."""
    return [
        f"no place in {where}: {kind}: {one.count}, the first: {one.first[0]}"
        for kind, one in sorted(losses.kinds.items())
    ]


def losses_to_json(losses: Losses) -> dict[str, int]:
    """How often, by kind."""
    return {kind: one.count for kind, one in sorted(losses.kinds.items())}


def is_file_name(name: str) -> bool:
    """Whether it is the relative name of a file that lies below a folder."""
    return not any(one in ("", ".", "..") for one in name.split("/"))


def temporary_name(path: Path) -> Path:
    """Of a file that is being written; the same each time.

    One process writes a file, so that what a killed one has left is written over.
    """
    return path.with_name(f".{path.name}.tmp-0")


class CannotWriteError(DataError):
    """A file of an export cannot be written: the disk is at fault, and not the scene."""


class ExportFolder:
    """Where an exporter writes: files by relative names, each whole or not there.

    `announce` is told every name before its file is begun.
    """

    def __init__(self, path: Path, *, announce: Callable[[str], object] | None = None) -> None:
        self.path = path
        self.names: list[str] = []
        """Of what was written, in order."""
        self.losses = Losses()
        self._announce = announce

    def write(self, name: str, data: bytes) -> None:
        """Write a file; its folders are made.

        Not flushed to the disk one by one, which would take most of the time: whoever calls the
        exporter does it for many at once.

        Raises `CannotWriteError`, and DataError when `name` leads out of the folder.
        """
        with self.writing(name) as file:
            file.write(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file that is written piece by piece, there once the block has ended; as `write`."""
        if not is_file_name(name):
            raise DataError(f"{name!r} is no name of a file below {self.path}")
        path = self.path / name
        temporary = temporary_name(path)
        try:
            if self._announce is not None:
                self._announce(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield file
            temporary.replace(path)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink()
            if not isinstance(error, OSError):
                raise
            raise CannotWriteError(
                f"cannot write {path}: {error.strerror or error}",
                cure="make room on the disk, or give another --output; the same command goes on",
            ) from error
        self.names.append(name)

    def take_back(self, count: int) -> list[str]:
        """Remove all files but the first so many that were written; gives their names."""
        names = self.names[count:]
        for name in names:
            with suppress(OSError):
                (self.path / name).unlink()
        del self.names[count:]
        return names


class Exporter(ABC, Generic[SettingsT]):
    """Writes scenes of a dataset as files of a format.

    Constructed in every worker process: what it reads of the dataset is the index. It may not
    depend on which scenes it has seen before.
    """

    settings_type: ClassVar[type[FormatSettings]] = FormatSettings
    carries_licences: ClassVar[bool] = False
    """Whether it writes `licence_of` a scene; else that is noted among what has no place."""

    def __init__(self, dataset: Dataset, settings: SettingsT) -> None:
        self.dataset = dataset
        self.settings = settings

    def inputs(self) -> Sequence[Path]:
        """Files that are read beside the dataset: the output may not hold one.

        Asked before anything is written; an export is another one when their bytes have changed.
        Raises UsageError for a file that is not what a setting says it is.
        """
        return []

    def licence_of(self, scene: Scene) -> str | None:
        """What a scene is under: its own licence, else what the whole dataset is given under."""
        return scene.source.licence or self._given_under

    @cached_property
    def _given_under(self) -> str | None:
        return given_under(self.dataset)

    @abstractmethod
    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Any:
        """Write the scene's own files; gives what `finish` is to know of it, as JSON values.

        Pictures go through as they are stored (`scene.files`), never decoded and encoded again.
        What the format has no place for goes to `folder.losses`. Of a scene for which it raises
        DataError nothing is exported.
        """

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """Write what stands once for all scenes, from what `write_scene` gave, in their order.

        `rows` may be gone through several times: they are read anew each time, and never held.
        """


class Importer(ABC, Generic[SettingsT]):
    """Reads files of a format as samples. Pickles: it goes to every worker process.

    Raises UsageError when it is made of something that is not of its format.
    """

    settings_type: ClassVar[type[FormatSettings]] = FormatSettings
    """One that is an `ImportSettings` can state a licence, which scenes get that say none."""

    def __init__(self, source: Path, settings: SettingsT) -> None:
        self.source = source
        self.settings = settings

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """What there is to read, a key a scene, sorted; opens no picture."""

    def subset(self, key: str) -> Subset:
        """The subset of the scene of a key: shards hold one each. Opens no picture."""
        return "basic"

    def inputs(self) -> Sequence[Path]:
        """What is read: the output may not lie in one of these, nor hold one."""
        return [self.source]

    def version(self) -> str | None:
        """Tells contents of the source apart that have the same keys; None: the keys do.

        Asked before anything is read, and again at the end: an import of a source that has changed
        in between is not finished. Files that it cannot read have a version too.
        """
        return None

    def models(self) -> Sequence[ModelRecord]:
        """Models that took part in making the scenes, as far as the source says."""
        return []

    def remarks(self) -> Sequence[str]:
        """What is odd about the source as a whole, a line for each kind, counted.

        Printed at the end of an import, and in its report. Losses are of single scenes.
        """
        return []

    def complete(self, manifest: Manifest) -> Manifest:
        """The new dataset's manifest, with what the source says of all scenes together."""
        return manifest

    def recipes(self) -> Sequence[dict[str, Any]]:
        """Of the builds that have made the scenes, for the manifest; empty: nobody knows them."""
        return []

    def card_licence(self) -> Mapping[str, str]:
        """Licence entries of the new card's front matter; empty: they follow from the scenes."""
        return {}

    @abstractmethod
    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """The scene of a key, under this id.

        Raises DataError for what is damaged or missing: it is quarantined with that message, and
        the others go on.
        """


@dataclass(frozen=True)
class Format:
    """A format by its name."""

    name: str
    """As in `imig export NAME`: small letters, digits and hyphens."""
    summary: str
    """What it is, in a line."""
    importer: type[Importer[Any]] | None = None
    """None: it is only written."""
    exporter: type[Exporter[Any]] | None = None
    """None: it is only read."""
