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
from imig.engine.folder import (
    BUILD_FOLDER,
    build_lock,
    delete_dataset,
    remove_temporaries,
    require_ours,
)
from imig.errors import UsageError
from imig.schema import Derivation
from imig.shards.atomic import atomic_write_bytes
from imig.shards.manifest import MANIFEST_NAME

_CURE = "take another --output, or --overwrite to delete what is there"


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
    text = json.dumps(identity, indent=1, ensure_ascii=False)
    atomic_write_bytes(folder / BUILD_FOLDER / "build.json", text.encode())


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
    state = folder / BUILD_FOLDER / "build.json"
    if state.is_file():
        try:
            if json.loads(state.read_bytes()) == identity:
                return
        except (OSError, ValueError):
            pass  # half written or unreadable: nothing that could be told apart from other work
        raise UsageError(f"{folder} holds unfinished work that differs", cure=_CURE)
    if (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"{folder} holds a dataset already", cure=_CURE)
