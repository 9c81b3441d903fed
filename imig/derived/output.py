"""The folder of a dataset that is made of others: whose it is, and that nothing is half there.

As `imig.output.folder` says, but an unfinished one is begun anew, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from imig.output.folder import OutputFolder, delete_dataset, hold, require_apart, require_ours
from imig.schema import Derivation, EncodingRecord, Manifest, ParentDataset
from imig.shards.dataset import Dataset
from imig.shards.folders import location
from imig.stores.path import OutputPath


def derivation_of(
    operation: Literal["refilter", "split", "merge"],
    parents: Sequence[Dataset],
    settings: Mapping[str, Any],
    *,
    drop_encoding: bool = False,
) -> Derivation:
    """What the new manifest says of the operation."""
    return Derivation(
        operation=operation,
        settings={**settings, **({"drop_encoding": True} if drop_encoding else {})},
        parents=[
            ParentDataset(name=one.manifest.name, manifest_sha256=one.fingerprint)
            for one in parents
        ],
    )


def derived_output(
    folder: OutputPath,
    derivation: Derivation,
    parents: Sequence[Dataset],
    *,
    encoding: EncodingRecord | None,
) -> OutputFolder:
    """A folder for a dataset that is made of `parents`, with encoded samples of that kind.

    Raises
    ------
    UsageError
        When it is the folder of one of them, or they lie in each other.
    """
    for parent in parents:
        require_apart(folder, location(parent.folder))
    identity = {
        **_identity(derivation, encoding),
        "scenes": sum(parent.manifest.counts.written for parent in parents),
        "models": [],
    }
    named = ", ".join(str(parent.path) for parent in parents)
    return OutputFolder(
        folder,
        lambda: identity,
        of_manifest=_manifest_identity,
        compare=partial(_differences, parents=named),
    )


def is_finished(outputs: Sequence[OutputFolder], *, overwrite: bool) -> bool:
    """Whether all datasets are there, made by this very operation.

    Raises what would keep `open_outputs` from holding the folders, before long work.

    Raises
    ------
    UsageError
        A folder holds something else: says what differs.
    DataError
        A folder's dataset was finished, and its manifest cannot be read or a file is missing; or
        what says what its unfinished work is, is damaged.
    """
    for one in outputs:
        require_ours(one.path)
    if overwrite:
        return False
    manifests = [one.finished() for one in outputs]
    if all(manifests):
        for one in outputs:
            one.remove_leftovers()
        return True
    for one in outputs:
        one.require_same()
    return False


@contextmanager
def open_outputs(outputs: Sequence[OutputFolder], *, overwrite: bool) -> Iterator[None]:
    """Hold empty folders while datasets are written into them, manifests included.

    What an interrupted run of the same operation left is deleted. When the block raises, the
    folders stay as they are, without a manifest; the next run clears them. Raises as `is_finished`.
    """
    with hold(*(one.path for one in outputs), overwrite=overwrite):
        for one in outputs:
            one.require_same()
        for one in outputs:
            delete_dataset(one.path)
            one.prepare()
        yield
        for one in outputs:
            one.remove_state()


def _identity(derivation: Derivation, encoding: EncodingRecord | None) -> dict[str, Any]:
    sources = " ".join(one.manifest_sha256 for one in derivation.parents)
    return {
        "recipe_sha256": f"{derivation.operation} of {sources}",
        "recipe": {
            "operation": derivation.operation,
            "settings": derivation.model_dump(mode="json")["settings"],
            "encoding": None if encoding is None else encoding.model_dump(mode="json"),
        },
    }


def _manifest_identity(manifest: Manifest) -> dict[str, Any]:
    if not manifest.derived:
        return {"recipe": {}}
    return _identity(manifest.derived[-1], manifest.encoding)


def _differences(there: dict[str, Any], here: dict[str, Any], *, parents: str) -> Iterator[str]:
    old, new = there["recipe"], here["recipe"]
    if not isinstance(old.get("settings"), dict):
        yield "it was not made of another dataset"
        return
    if old.get("operation") != new["operation"]:
        yield f"it was made by `imig {old.get('operation')}`"
        return
    if there["recipe_sha256"] != here["recipe_sha256"]:
        yield f"it was made of other datasets, or {parents} has changed"
    for key in {**old["settings"], **new["settings"]}:
        before, now = (_shown(one["settings"].get(key)) for one in (old, new))
        if before != now:
            yield f"{key} is {before} there and {now} here"
    if old.get("encoding", new["encoding"]) != new["encoding"]:
        before, now = ("encoded" if one.get("encoding") else "not encoded" for one in (old, new))
        yield f"it is {before}, this one {now}" if before != now else "it is encoded otherwise"


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
