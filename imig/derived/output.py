"""The folder of a dataset that is made of others: whose it is, and that nothing is half there.

As a build's (`imig.engine.folder`), but an unfinished one is begun anew, which takes seconds::

    <output>/.build/lock            held while it is written
    <output>/.build/build.json      what is being made; anything else is refused
    <output>/dataset.json           written last: its presence means that the dataset is finished
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from imig.console.interrupt import interrupt_once
from imig.derived.parents import Parent
from imig.errors import UsageError
from imig.output.folder import (
    BUILD_FOLDER,
    build_lock,
    delete_dataset,
    remove_temporaries,
    require_ours,
)
from imig.output.identity import (
    OTHER_OUTPUT,
    read_finished,
    read_identity,
    require_whole,
    write_identity,
)
from imig.schema import Derivation, EncodingRecord, Manifest
from imig.shards.manifest import MANIFEST_NAME


@contextmanager
def open_outputs(
    folders: Sequence[Path],
    derivation: Derivation,
    parents: Sequence[Parent],
    *,
    overwrite: bool,
) -> Iterator[None]:
    """Hold empty folders while datasets are written into them.

    What an interrupted run of the same operation left is deleted. When the block raises, the
    folders stay as they are, without a manifest; the next run clears them.

    Raises
    ------
    UsageError
        A folder is one of the parents', has something else in it, or cannot be written.
    DataError
        What says what a folder's unfinished work is, is damaged.
    """
    require_outputs(folders, derivation, parents, overwrite=overwrite)
    identity = _identity(derivation, parents)
    with interrupt_once(), ExitStack() as locks:
        for folder in folders:
            locks.enter_context(build_lock(folder))
            _require_free(folder, identity, overwrite=overwrite)
        for folder in folders:
            _clear(folder, identity)
        yield
        for folder in folders:
            shutil.rmtree(folder / BUILD_FOLDER, ignore_errors=True)


def is_finished(
    folders: Sequence[Path],
    derivations: Sequence[Derivation],
    parents: Sequence[Parent],
    *,
    drop_encoding: bool = False,
) -> bool:
    """Whether the folders hold the datasets of this very operation, finished.

    What a run that was killed at its very end has left beside them is removed.

    Raises
    ------
    UsageError
        A folder holds a finished dataset of something else: says what differs.
    DataError
        A folder's dataset was finished, and its manifest cannot be read or a file is missing.
    """
    names = [folder / MANIFEST_NAME for folder in folders]
    if not all(name.is_file() for name in names):
        return False
    for folder in folders:
        _refuse_parent(folder, parents)
    encoding = None if drop_encoding else parents[0].manifest.encoding
    for folder, derivation in zip(folders, derivations, strict=True):
        manifest = read_finished(folder)
        why = list(_differences(manifest, derivation, parents, encoding=encoding))
        if why:
            raise UsageError(
                f"{folder} holds a dataset already, which differs: {'; '.join(why)}",
                cure=OTHER_OUTPUT,
            )
        require_whole(folder, manifest)
    for folder in folders:
        if (folder / BUILD_FOLDER).exists():
            with build_lock(folder):
                shutil.rmtree(folder / BUILD_FOLDER, ignore_errors=True)
    return True


def _differences(
    manifest: Manifest,
    derivation: Derivation,
    parents: Sequence[Parent],
    *,
    encoding: EncodingRecord | None,
) -> Iterator[str]:
    if not manifest.derived:
        yield "it was built, and not made of another"
        return
    there, here = manifest.derived[-1], _as_stored(derivation)
    if there.operation != here.operation:
        yield f"it was made by `imig {there.operation}`"
        return
    if there.parents != here.parents:
        folders = ", ".join(str(one.folder) for one in parents)
        yield f"it was made of other datasets, or {folders} has changed"
    for key in {**there.settings, **here.settings}:
        old, new = there.settings.get(key), here.settings.get(key)
        if old != new:
            yield f"{key} is {_shown(old)} there and {_shown(new)} here"
    if manifest.encoding != encoding:
        states = ("not encoded", "encoded")
        one, other = states[manifest.encoding is not None], states[encoding is not None]
        yield f"it is {one}, this one {other}" if one != other else "it is encoded otherwise"


def _as_stored(derivation: Derivation) -> Derivation:
    return Derivation.model_validate_json(derivation.model_dump_json())


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)


def require_outputs(
    folders: Sequence[Path],
    derivation: Derivation,
    parents: Sequence[Parent],
    *,
    overwrite: bool,
) -> None:
    """Raise what `open_outputs` would, before long work; changes nothing."""
    identity = _identity(derivation, parents)
    for folder in folders:
        _refuse_parent(folder, parents)
        _require_free(folder, identity, overwrite=overwrite)


def _clear(folder: Path, identity: dict[str, Any]) -> None:
    delete_dataset(folder)
    remove_temporaries(folder)
    remove_temporaries(folder / BUILD_FOLDER)
    write_identity(folder / BUILD_FOLDER / "build.json", identity)


def _identity(derivation: Derivation, parents: Sequence[Parent]) -> dict[str, Any]:
    """With the keys of `imig.engine.folder.build_identity`, so that `imig build` can refuse it."""
    sources = " ".join(one.manifest_sha256 for one in derivation.parents)
    return {
        "recipe_sha256": f"{derivation.operation} of {sources}",
        "recipe": {"operation": derivation.operation, "settings": derivation.settings},
        "scenes": sum(parent.manifest.counts.written for parent in parents),
        "models": [],
    }


def _refuse_parent(folder: Path, parents: Sequence[Parent]) -> None:
    for parent in parents:
        source, target = parent.folder.resolve(), folder.resolve()
        if source == target or source in target.parents or target in source.parents:
            how = "is" if source == target else "overlaps with"
            raise UsageError(
                f"{folder} {how} the dataset {parent.folder} that is read",
                cure="give another --output",
            )


def _require_free(folder: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
    require_ours(folder)
    if overwrite or not folder.exists():
        return
    there = read_identity(folder / BUILD_FOLDER / "build.json")
    if there is not None:
        if there != json.loads(json.dumps(identity)):
            raise UsageError(f"{folder} holds unfinished work that differs", cure=OTHER_OUTPUT)
    elif (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"{folder} holds a dataset already", cure=OTHER_OUTPUT)
