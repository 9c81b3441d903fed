"""A folder that a dataset is written into: whose it is, who writes, what of it is finished.

Builds, encodings and datasets made of others all write by this protocol::

    <output>/.build/lock            held while it is written
    <output>/.build/build.json      which work this is; other work is refused
    <output>/.build/shards/         a record for each finished shard, where a run can go on
    <output>/dataset.json           written last: its presence means that the dataset is finished

Whoever makes a dataset describes its work once, as an `OutputFolder`, and then asks in this order::

    if not overwrite and output.finished() is not None:
        output.remove_leftovers()
        return                                      # the same command has made it before
    with hold(output.path, overwrite=overwrite):
        output.prepare()
        ...                                         # shards; `write_record` for each
        output.finish(manifest)
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, get_args

from imig.console.interrupt import interrupt_once
from imig.errors import DataError, UsageError
from imig.output.identity import (
    OTHER_OUTPUT,
    differences,
    manifest_identity,
    read_identity,
    write_identity,
)
from imig.output.lock import folder_lock
from imig.output.record import Record, read_record
from imig.paths import command_text, is_within
from imig.regular_file import NotAFileError, open_regular_file
from imig.schema import Manifest, Subset
from imig.shards.atomic import is_temporary
from imig.shards.card import PICTURES_FOLDER
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME, read_manifest, write_manifest
from imig.shards.names import KNOWN_NAMES, shard_pattern
from imig.stores.path import OutputPath, StorePath, size_of, sizes_in

BUILD_FOLDER: Final = ".build"
_OF_STATE: Final = ("lock", "build.json", "remove.json")
"""One of these is in every `.build` of imig."""
_VERSION: Final = b'"schema_version"'
"""The first key of every manifest."""
_HEAD: Final = 1 << 16
"""Bytes in which it is looked for."""


@dataclass(frozen=True)
class OutputFolder:
    """A folder for one dataset, and the work that makes it."""

    path: OutputPath
    """Of this machine, or of an object store."""
    identity: Callable[[], dict[str, Any]]
    """What makes two runs the same work, as JSON values; keys as in `imig.output.identity`.

    Asked for when something is there to compare it with, or it is written down: a build's source
    may only be there by then.
    """
    of_manifest: Callable[[Manifest], dict[str, Any]] = manifest_identity
    """The identity of the work that has made a finished dataset, as far as its manifest knows."""
    compare: Callable[[dict[str, Any], dict[str, Any]], Iterable[str]] = differences
    """In what the identity that is there differs from ours, in words; nothing: the same work."""

    @property
    def state(self) -> OutputPath:
        """What is kept until the dataset is finished."""
        return self.path / BUILD_FOLDER

    @property
    def identity_file(self) -> OutputPath:
        return self.state / "build.json"

    def shard_record(self, name: str) -> OutputPath:
        """The file of a finished shard's record; the name is the maker's to choose."""
        return self.state / "shards" / f"{name}.json"

    def shard_records(self) -> set[str]:
        """Names of the records that are there, by one listing."""
        names = sizes_in(self.state / "shards")
        return {one.removesuffix(".json") for one in names if one.endswith(".json")}

    def lost_shard(self, record: Record) -> OutputPath | None:
        """The shard of a record where it is missing or has another size; None: all is well."""
        if record.shard is None:  # no sample survived
            return None
        path = self.path / record.shard.name
        return None if size_of(path) == record.shard.bytes else path

    def has_shard(self, name: str) -> bool:
        """Whether a shard need not be made again. Raises DataError when its record is damaged."""
        record = self.shard_record(name)
        return record.is_file() and self.lost_shard(read_record(record)) is None

    def finished(self) -> Manifest | None:
        """The manifest where this very work has finished the dataset; None where there is none.

        Raises
        ------
        UsageError
            When the folder holds a finished dataset of other work (says what differs), or files
            that are not imig's.
        DataError
            When it was finished, and its manifest cannot be read or a file is missing.
        """
        require_ours(self.path)
        if not (self.path / MANIFEST_NAME).is_file():
            return None
        try:
            manifest = read_manifest(self.path / MANIFEST_NAME)
        except DataError as error:
            raise DataError(error.message, cure=OTHER_OUTPUT) from error
        if why := list(self.compare(self.of_manifest(manifest), self.identity())):
            raise UsageError(
                f"{self.path} holds a finished dataset that differs: {'; '.join(why)}",
                cure=OTHER_OUTPUT,
            )
        require_whole(self.path, manifest)
        return manifest

    def require_same(self) -> None:
        """Refuse a folder in which other work has been begun; changes nothing.

        Raises
        ------
        UsageError
            When it holds unfinished work that differs; says in what.
        DataError
            When what says which work it is, is damaged or gone.
        """
        there = read_identity(self.identity_file)
        if there is None:
            for record in sorted(self.state.glob("*/*.json")):
                raise DataError(
                    f"{self.identity_file} is missing, and nothing else says what {record} is a "
                    "part of",
                    cure=OTHER_OUTPUT,
                )
        elif why := list(self.compare(there, self.identity())):
            raise UsageError(
                f"{self.path} holds unfinished work that differs: {'; '.join(why)}",
                cure=f"go on with the same command, {OTHER_OUTPUT}",
            )

    def prepare(self) -> None:
        """Begin, or go on: note the identity, and clear what a kill has left half written.

        The folder must be held. Raises as `require_same` does.
        """
        self.require_same()
        write_identity(self.identity_file, self.identity())
        if isinstance(self.path, StorePath):
            self.path.abort_uploads()
            return
        state = self.path / BUILD_FOLDER
        for folder in (self.path, self.path / PICTURES_FOLDER, state, *state.iterdir()):
            remove_temporaries(folder)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, when all else is there; the folder must be held."""
        write_manifest(self.path / MANIFEST_NAME, manifest)
        self.remove_state()

    def remove_state(self) -> None:
        """Remove `.build`; the dataset is finished and the folder held."""
        if isinstance(self.state, StorePath):
            delete_state(self.state)
        else:
            shutil.rmtree(self.state, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove the `.build` of a run that was killed between the manifest and clearing up."""
        if self.state.exists():
            with build_lock(self.path):
                self.remove_state()


@contextmanager
def hold(*folders: OutputPath, overwrite: bool = False) -> Iterator[None]:
    """Hold folders while datasets are written into them; one Ctrl-C ends the block in good order.

    With `overwrite` what imig has made in them before is deleted first. Raises as `build_lock`.
    """
    with interrupt_once(), ExitStack() as locks:
        for folder in folders:
            locks.enter_context(build_lock(folder))
        if overwrite:
            for folder in folders:
                delete_dataset(folder)
        yield


@contextmanager
def build_lock(output: OutputPath) -> Iterator[None]:
    """Hold the folder for one build; the system lets go of it when the process dies.

    A store does not, and lets somebody else have it after a while (`imig.stores.lock`).

    Raises
    ------
    UsageError
        When another build holds it: says which process on which host. When the folder has other
        things in it than imig's.
    """
    require_ours(output)  # before there is a `.build` that would make it imig's
    with folder_lock(output / BUILD_FOLDER / "lock", folder=output, who="another build"):
        yield


def forget_lock(dataset: Path) -> None:
    """Leave no `.build` behind where a finished dataset was held to change something beside it.

    What a killed run has left in it stays. The folder must be held.
    """
    state = dataset / BUILD_FOLDER
    if [one.name for one in state.iterdir()] == ["lock"]:
        shutil.rmtree(state, ignore_errors=True)


def require_ours(output: OutputPath) -> None:
    """Raise UsageError when `output` is a file, or a folder with other things than imig's."""
    if isinstance(output, StorePath):
        _require_ours_there(output)
        return
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is not a folder", cure="give a folder with --output")
    ours = _is_manifest(output / MANIFEST_NAME) or _is_state(output / BUILD_FOLDER)
    foreign = [one.name for one in output.iterdir() if not one.name.startswith(".")]
    if foreign and not ours:
        raise UsageError(
            f"{output} is not empty, and not imig's: it holds {min(foreign)}",
            cure="give an empty or a new folder with --output",
        )


def _require_ours_there(output: StorePath) -> None:
    """As `require_ours`: objects have no folders, so that there is only what is in it."""
    names = output.sizes()
    foreign = [one for one in names if not one.startswith(".")]
    if not foreign:
        return
    state = (output / BUILD_FOLDER).sizes() if BUILD_FOLDER in names else {}
    if not any(one in state for one in _OF_STATE):
        manifest = (output / MANIFEST_NAME).read_bytes() if MANIFEST_NAME in names else b"{"
        if _VERSION not in manifest:
            raise UsageError(
                f"{output} is not empty, and not imig's: it holds {min(foreign)}",
                cure="give an empty or a new folder with --output",
            )


def _is_manifest(path: Path) -> bool:
    """Whether it is a manifest, or was one: other programs have a `dataset.json`, too."""
    try:
        with open_regular_file(path) as file:
            text = file.read(_HEAD)
            if _VERSION in text:
                return True
            return not json.loads(text + file.read())  # an empty value is nobody's
    except (FileNotFoundError, NotAFileError):
        return False
    except (OSError, ValueError, RecursionError):
        return True  # damaged: nobody can say any more whose it was


def _is_state(folder: Path) -> bool:
    """Whether it is the `.build` of ours: Swift has a folder of that name, too."""
    return folder.is_dir() and any(os.path.lexists(folder / name) for name in _OF_STATE)


def require_apart(output: OutputPath, dataset: OutputPath) -> None:
    """Raise UsageError when an output and the dataset that it is made of lie in each other.

    Whatever links, dots and mounts lead there.
    """
    if isinstance(output, StorePath) and isinstance(dataset, StorePath):
        inside, around = output.is_within(dataset), dataset.is_within(output)
    elif isinstance(output, Path) and isinstance(dataset, Path):
        inside, around = is_within(output, dataset), is_within(dataset, output)
    else:
        return
    if inside or around:
        how = "is" if inside and around else "lies inside of" if inside else "holds"
        raise UsageError(
            f"{output} {how} the dataset {dataset} that is read", cure="give another --output"
        )


def delete_dataset(output: OutputPath) -> None:
    """Delete what imig made in a folder, and nothing else; the manifest first."""
    require_ours(output)
    if isinstance(output, StorePath):
        _delete_there(output)
        return
    shards = _shards(output)
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    for path in shards:
        path.unlink(missing_ok=True)
    for name in sorted(KNOWN_NAMES):
        if (output / name).is_file():
            (output / name).unlink()
    _delete_pictures(output / PICTURES_FOLDER)
    for path in output.glob(f"{BUILD_FOLDER}/*"):
        # The lock is held by whoever calls this.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def _delete_there(output: StorePath) -> None:
    names = output.sizes()
    shards = {
        one for one in names for subset in get_args(Subset) if fnmatch(one, shard_pattern(subset))
    }
    with suppress(DataError):  # it is damaged, or there is none
        shards |= {one.name for one in read_manifest(output / MANIFEST_NAME).shards}
    for name in sorted((KNOWN_NAMES | shards) & names.keys(), key=lambda one: one != MANIFEST_NAME):
        if names[name] is not None:
            (output / name).unlink(missing_ok=True)
    for path in (output / PICTURES_FOLDER).glob("*.jpg"):
        path.unlink(missing_ok=True)
    delete_state(output / BUILD_FOLDER)


def delete_state(state: StorePath) -> None:
    """Delete the `.build` of a store but for the lock, which whoever holds it gives back."""
    for path in state.iterdir():
        if path.name != "lock":
            path.remove_all()


def _shards(output: Path) -> list[Path]:
    """The shards of a folder, finished or not: those of its manifest, and those of our names."""
    names = {one.name for subset in get_args(Subset) for one in output.glob(shard_pattern(subset))}
    with suppress(DataError):  # it is damaged, or there is none
        names |= {one.name for one in read_manifest(output / MANIFEST_NAME).shards}
    return sorted(output / one for one in names)


def _delete_pictures(folder: Path) -> None:
    """The card's pictures; the folder stays where somebody has put something else into it."""
    if folder.is_symlink() or not folder.is_dir():
        return
    remove_temporaries(folder)
    for path in folder.glob("*.jpg"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()


def remove_temporaries(folder: Path, *, of: str = "") -> None:
    """Remove what killed processes left half written directly in a folder.

    With `of` only that of a file of this name: the folder may hold other things than ours.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if is_temporary(path.name) and path.name.startswith(f".{of}"):
                path.unlink(missing_ok=True)


def require_whole(output: OutputPath, manifest: Manifest) -> None:
    """Raise DataError when a finished dataset lacks one of its files; their bytes are not read."""
    found = output.sizes() if isinstance(output, StorePath) else None
    for name, size in [(INDEX_NAME, None), *((one.name, one.bytes) for one in manifest.shards)]:
        try:
            there = size_of(output / name) if found is None else found.get(name)
        except OSError:
            there = None
        if there is None:
            problem = f"{name} is missing"
        elif size is not None and there != size:
            problem = f"{name} has {there} bytes and should have {size}"
        else:
            continue
        raise DataError(
            f"{output} was finished, and is damaged: {problem}",
            cure=f"`{command_text('imig', 'validate', output)}` lists everything that is damaged; "
            "--overwrite makes it anew",
        )
