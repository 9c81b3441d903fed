"""Several datasets become one: `imig merge`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from imig.derived.names import NewNames, find_new_names
from imig.derived.output import is_finished, open_outputs, require_outputs
from imig.derived.parents import Parent, open_parent
from imig.derived.writing import Contents, recipe_sha256, seal, write_shards
from imig.errors import UsageError
from imig.paths import output_path
from imig.sample import Sample
from imig.schema import Derivation, Manifest, Quarantine, Reject, Subset
from imig.shards.encoded import ENCODED_MEMBER, encoded_from_bytes, encoded_to_bytes
from imig.shards.funnel import FunnelRow, Oddity

_Row = TypeVar("_Row", bound=BaseModel)
_Lost = TypeVar("_Lost", Reject, Quarantine)


@dataclass(frozen=True)
class Merged:
    """A dataset that was merged."""

    manifest: Manifest
    subsets: dict[Subset, int]
    """Scenes of each."""
    renamed: list[NewNames]
    """Of each parent."""


def merge_datasets(
    folders: Sequence[Path],
    *,
    output: Path,
    name: str | None = None,
    overwrite: bool = False,
    drop_encoding: bool = False,
) -> Merged | None:
    """Write a dataset with all scenes of several, in their order, subset by subset.

    `name` is that of the new manifest; None: the parents' names, joined by ``+``.
    Returns None when the dataset is finished already.

    Raises
    ------
    UsageError
        The call is at fault: paths, a dataset given twice, encodings that differ.
    DataError
        A sample is damaged, or the output cannot be written.
    """
    started, output = time.monotonic(), output_path(output)
    parents = [open_parent(folder) for folder in folders]
    _require_mergeable(parents, drop_encoding=drop_encoding)
    derivation = Derivation(
        operation="merge",
        settings={
            **({} if name is None else {"name": name}),
            **({"drop_encoding": True} if drop_encoding else {}),
        },
        parents=[parent.record() for parent in parents],
    )
    if not overwrite and is_finished([output], [derivation], parents, drop_encoding=drop_encoding):
        return None
    require_outputs([output], derivation, parents, overwrite=overwrite)
    rejects = [parent.rejects() for parent in parents]
    quarantined = [parent.quarantined() for parent in parents]
    names = find_new_names(
        parents,
        [
            [*parent.ids(), *(one.id for one in lost), *(one.id for one in raised)]
            for parent, lost, raised in zip(parents, rejects, quarantined, strict=True)
        ],
    )
    with open_outputs([output], derivation, parents, overwrite=overwrite):
        contents = Contents(
            rejects=[
                one for rows, new in zip(rejects, names, strict=True) for one in _renamed(rows, new)
            ],
            quarantined=[
                one
                for rows, new in zip(quarantined, names, strict=True)
                for one in _renamed(rows, new)
            ],
        )
        subsets = sorted({subset for parent in parents for subset in parent.subsets()})
        for subset in subsets:
            write_shards(
                output,
                _samples(parents, names, subset=subset, drop_encoding=drop_encoding),
                contents,
                subset=subset,
                scenes_per_shard=max(parent.scenes_per_shard() for parent in parents),
            )
        manifest = _manifest(parents, derivation, name=name, drop_encoding=drop_encoding)
        manifest = seal(
            output,
            manifest,
            contents,
            funnel=_funnel(parents),
            seconds=time.monotonic() - started,
        )
    counts = {one: sum(row.subset == one for row in contents.rows) for one in subsets}
    return Merged(manifest, counts, names)


def _require_mergeable(parents: Sequence[Parent], *, drop_encoding: bool) -> None:
    if len(parents) < 2:
        raise UsageError("one dataset alone cannot be merged", cure="give two or more")
    by_sha: dict[str, Parent] = {}
    for parent in parents:
        if parent.sha256 in by_sha:
            raise UsageError(
                f"{by_sha[parent.sha256].folder} and {parent.folder} are the same dataset",
                cure="give each once",
            )
        by_sha[parent.sha256] = parent
    if drop_encoding:
        return
    first = parents[0]
    for parent in parents[1:]:
        if parent.manifest.encoding != first.manifest.encoding:
            raise UsageError(
                f"{first.folder} is {_encoding(first)}, {parent.folder} is {_encoding(parent)}",
                cure="merge the datasets that were encoded and encode the result; or leave the "
                "encodings out with --drop-encoding",
            )


def _encoding(parent: Parent) -> str:
    encoding = parent.manifest.encoding
    if encoding is None:
        return "not encoded"
    return (
        f"encoded with {encoding.weights} ({encoding.revision}, {encoding.dtype}, targets of "
        f"{encoding.target_width}, references of {encoding.reference_side})"
    )


def _samples(
    parents: Sequence[Parent], names: Sequence[NewNames], *, subset: Subset, drop_encoding: bool
) -> Iterator[Sample]:
    for parent, new in zip(parents, names, strict=True):
        if subset not in parent.subsets():
            continue
        for sample in parent.samples(subset=subset):
            if drop_encoding:
                sample.files.pop(ENCODED_MEMBER, None)
            _rename(sample, new)
            yield sample


def _rename(sample: Sample, new: NewNames) -> None:
    scene = sample.scene
    for instance in scene.instances:
        instance.identity_id = new.identities.get(instance.identity_id, instance.identity_id)
    if scene.id not in new.ids:
        return
    scene.id = new.ids[scene.id]
    if ENCODED_MEMBER in sample.files:
        # It says of which sample it is.
        header, tensors = encoded_from_bytes(
            sample.files[ENCODED_MEMBER], place=f"sample {scene.id}"
        )
        header = header.model_copy(update={"id": scene.id})
        sample.files[ENCODED_MEMBER] = encoded_to_bytes(header, tensors)


def _renamed(rows: Sequence[_Lost], new: NewNames) -> list[_Lost]:
    renamed = []
    for one in rows:
        update: dict[str, Any] = {"id": new.ids.get(one.id, one.id)}
        if isinstance(one, Reject) and one.figures.get("of") in new.ids:
            update["figures"] = {**one.figures, "of": new.ids[str(one.figures["of"])]}
        renamed.append(one.model_copy(update=update))
    return renamed


def _manifest(
    parents: Sequence[Parent], derivation: Derivation, *, name: str | None, drop_encoding: bool
) -> Manifest:
    """Of the merged dataset, but for counts and shards.

    The recipe keeps those of the parents whole, in their order, under `merged`.
    """
    manifests = [parent.manifest for parent in parents]
    names = dict.fromkeys(one.name for one in manifests)
    recipe: dict[str, Any] = {
        "name": name or "+".join(names),
        "merged": [one.recipe for one in manifests],
    }
    first = manifests[0]
    encoded_from = {one.encoded_from for one in manifests}
    return first.model_copy(
        update={
            "name": recipe["name"],
            "recipe": recipe,
            "recipe_sha256": recipe_sha256(recipe),
            "models": _union(manifests, lambda one: one.models),
            "packages": _packages(manifests),
            "encoding": None if drop_encoding else first.encoding,
            # Several datasets were encoded: no single one that this is made of.
            "encoded_from": encoded_from.pop() if len(encoded_from) == 1 else None,
            "skipped": _union(manifests, lambda one: one.skipped),
            "derived": [*_union(manifests, lambda one: one.derived), derivation],
        }
    )


def _union(manifests: Sequence[Manifest], rows: Callable[[Manifest], Sequence[_Row]]) -> list[_Row]:
    """Each row once, in the order of the parents."""
    unique = {one.model_dump_json(): one for manifest in manifests for one in rows(manifest)}
    return list(unique.values())


def _packages(manifests: Sequence[Manifest]) -> dict[str, str]:
    """All versions that took part, where they differ."""
    versions: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        for package, version in manifest.packages.items():
            versions.setdefault(package, {})[version] = None
    return {package: ", ".join(found) for package, found in versions.items()}


def _funnel(parents: Sequence[Parent]) -> list[FunnelRow]:
    """The parents' funnels, stage by stage."""
    rows: dict[str, FunnelRow] = {}
    for parent in parents:
        for row in parent.funnel():
            before = rows.get(row.stage)
            rows[row.stage] = row if before is None else _add(before, row)
    return list(rows.values())


def _add(one: FunnelRow, other: FunnelRow) -> FunnelRow:
    reasons = {
        reason: one.reasons.get(reason, 0) + other.reasons.get(reason, 0)
        for reason in dict.fromkeys((*one.reasons, *other.reasons))
    }
    oddities: dict[str, Oddity] = {}
    for row in (one, other):
        for kind, oddity in row.oddities.items():
            oddities.setdefault(kind, Oddity()).add(oddity)
    return replace(
        one,
        seen=one.seen + other.seen,
        rejected=one.rejected + other.rejected,
        quarantined=one.quarantined + other.quarantined,
        passed=one.passed + other.passed,
        seconds=round(one.seconds + other.seconds, 3),
        reasons=reasons,
        oddities=oddities,
    )
