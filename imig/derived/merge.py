"""Several datasets become one: `imig merge`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from imig.derived.copying import copy_samples
from imig.derived.names import NewNames, find_new_names
from imig.derived.output import derivation_of, derived_output, is_finished, open_outputs
from imig.errors import UsageError
from imig.licences.refusals import check_declared
from imig.licences.table import find_terms
from imig.output.seal import seal
from imig.output.writing import Contents
from imig.packed import Packed
from imig.recipe.identity import stored_recipe_to_sha256
from imig.sample import Sample
from imig.schema import (
    Derivation,
    Licences,
    Manifest,
    ModelTerms,
    Quarantine,
    Reject,
    SourceTerms,
)
from imig.shards.card import licence_text, parents_licence
from imig.shards.dataset import Dataset
from imig.shards.encoded import ENCODED_MEMBER, encoded_from_bytes, encoded_to_bytes
from imig.shards.funnel import FunnelRow, Oddity
from imig.stores.path import OutputPath
from imig.stores.places import output_folder

_Row = TypeVar("_Row", bound=BaseModel)
_Lost = Reject | Quarantine


@dataclass(frozen=True)
class Merged:
    """A dataset that was merged."""

    manifest: Manifest
    subsets: dict[str, int]
    """Scenes of each."""
    renamed: list[NewNames]
    """Of each parent."""


def merge_datasets(
    folders: Sequence[str | Path],
    *,
    output: str | OutputPath,
    name: str | None = None,
    overwrite: bool = False,
    drop_encoding: bool = False,
    licence: str | None = None,
    despite_licences: bool = False,
) -> Merged | None:
    """Write a dataset with all scenes of several, in their order, subset by subset.

    `name` is that of the new manifest; None: the parents' names, joined by ``+``.
    `licence` is what the whole is given under; None: as the parents declare, where all declare the
    same. Returns None when the dataset is finished already.

    Raises
    ------
    UsageError
        The call is at fault: paths, a dataset given twice, encodings that differ, scenes that the
        declared licence contradicts (not with `despite_licences`).
    DataError
        A sample is damaged, or the output cannot be written.
    """
    started, output = time.monotonic(), output_folder(output)
    parents = [Dataset(folder) for folder in folders]
    _require_mergeable(parents, drop_encoding=drop_encoding)
    ledger = _merged_ledger(parents, licence=licence, despite=despite_licences)
    settings: dict[str, Any] = {
        **({} if name is None else {"name": name}),
        **({} if licence is None else {"licence": licence}),
        **({"despite_licences": True} if despite_licences else {}),
    }
    derivation = derivation_of("merge", parents, settings, drop_encoding=drop_encoding)
    manifest = _manifest(parents, derivation, name=name, drop_encoding=drop_encoding)
    manifest = manifest.model_copy(update={"licences": ledger})
    outputs = [derived_output(output, derivation, parents, encoding=manifest.encoding)]
    if is_finished(outputs, overwrite=overwrite):
        return None
    lost: list[list[_Lost]] = [[*one.rejects(), *one.quarantined()] for one in parents]
    ids = [[*one.ids, *(row.id for row in rows)] for one, rows in zip(parents, lost, strict=True)]
    names = find_new_names(parents, ids)
    renamed = [_renamed(row, new) for rows, new in zip(lost, names, strict=True) for row in rows]
    contents = Contents(
        rejects=Packed(row for row in renamed if isinstance(row, Reject)),
        quarantined=Packed(row for row in renamed if isinstance(row, Quarantine)),
    )

    def change(number: int, sample: Sample) -> Sample:
        if drop_encoding:
            sample.files.pop(ENCODED_MEMBER, None)
        _rename(sample, names[number])
        return sample

    with open_outputs(outputs, overwrite=overwrite):
        copy_samples(parents, output, contents, change=change)
        seconds = time.monotonic() - started
        manifest = seal(output, manifest, contents, funnel=_funnel(parents), seconds=seconds)
    return Merged(manifest, dict(Counter(row.subset for row in contents.rows)), names)


def _require_mergeable(parents: Sequence[Dataset], *, drop_encoding: bool) -> None:
    if len(parents) < 2:
        raise UsageError("one dataset alone cannot be merged", cure="give two or more")
    by_sha: dict[str, Dataset] = {}
    for parent in parents:
        if parent.fingerprint in by_sha:
            raise UsageError(
                f"{by_sha[parent.fingerprint].path} and {parent.path} are the same dataset",
                cure="give each once",
            )
        by_sha[parent.fingerprint] = parent
    if drop_encoding:
        return
    first = parents[0]
    for parent in parents[1:]:
        if parent.manifest.encoding != first.manifest.encoding:
            raise UsageError(
                f"{first.path} is {_encoding(first)}, {parent.path} is {_encoding(parent)}",
                cure="merge the datasets that were encoded and encode the result; or leave the "
                "encodings out with --drop-encoding",
            )


def _merged_ledger(parents: Sequence[Dataset], *, licence: str | None, despite: bool) -> Licences:
    """What the parents' ledgers add up to, and what is declared for the whole.

    Raises
    ------
    UsageError
        When what one of them, or the caller, declares is not what all scenes are under.
    """
    there = [one.manifest.licences for one in parents if one.manifest.licences is not None]
    claims = {str(one.path): _claims(one) for one in parents}
    stated = {_known_as(claim[-1]): claim[-1] for claim in claims.values() if claim}
    declared = licence
    if declared is None and len(stated) == 1 and all(claims.values()):
        declared = next(iter(stated.values()))
    ledger = Licences(
        sources=[row for one in there for row in one.sources],
        models=_once(row for one in there for row in one.models),
        declared=declared,
        license="unknown",  # `seal` counts the scenes that are written, and says
    )
    whole = ledger.model_copy(update={"sources": [*ledger.sources, *_declared(parents, claims)]})
    said = [(what, claim) for what, its in claims.items() for claim in its]
    for what, claim in said if licence is None else [("--licence", licence)]:
        check_declared(whole, claim, what=what, despite=despite)
    if said and declared is None and not despite:
        what, claim = said[0]
        raise UsageError(
            f"{what} declares {claim}, and not all the others do: nothing says what the whole is "
            "given under",
            cure="declare it with --licence; --despite-licences declares nothing",
        )
    return ledger


def _claims(parent: Dataset) -> list[str]:
    """What a dataset is given under: as it was declared, and as its owner has written since."""
    ledger, written = parent.manifest.licences, parents_licence(parent)
    declared = None if ledger is None else ledger.declared
    return [*([declared] if declared else []), *([licence_text(written)] if written else [])]


def _declared(
    parents: Sequence[Dataset], claims: Mapping[str, Sequence[str]]
) -> Iterator[SourceTerms]:
    """What a dataset is given under holds for its scenes, whatever is declared for the whole."""
    for parent in parents:
        for claim in claims[str(parent.path)]:
            terms = find_terms(claim)
            name = None if terms is None else terms.id
            yield SourceTerms(kind="file", licence=claim, terms=name, scenes=len(parent))


def _known_as(licence: str) -> str:
    """One name for all that a licence is called."""
    terms = find_terms(licence)
    return licence if terms is None else terms.id


def _once(models: Iterable[ModelTerms]) -> list[ModelTerms]:
    """Each model once, however many parents it took part in."""
    return list({(one.family, one.weights): one for one in models}.values())


def _encoding(parent: Dataset) -> str:
    encoding = parent.manifest.encoding
    if encoding is None:
        return "not encoded"
    return (
        f"encoded with {encoding.weights} ({encoding.revision}, {encoding.dtype}, targets of "
        f"{encoding.target_width}, references of {encoding.reference_side})"
    )


def _rename(sample: Sample, new: NewNames) -> None:
    scene = sample.scene
    for instance in scene.instances:
        instance.identity_id = new.identities.get(instance.identity_id, instance.identity_id)
    for correction in scene.corrections:
        if correction.identity_id is not None:
            correction.identity_id = new.identities.get(
                correction.identity_id, correction.identity_id
            )
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


def _renamed(lost: _Lost, new: NewNames) -> _Lost:
    update: dict[str, Any] = {"id": new.ids.get(lost.id, lost.id)}
    if isinstance(lost, Reject) and lost.figures.get("of") in new.ids:
        update["figures"] = {**lost.figures, "of": new.ids[str(lost.figures["of"])]}
    return lost.model_copy(update=update)


def _manifest(
    parents: Sequence[Dataset], derivation: Derivation, *, name: str | None, drop_encoding: bool
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
            "recipe_sha256": stored_recipe_to_sha256(recipe),
            "models": _union(manifests, lambda one: one.models),
            "packages": _packages(manifests),
            "encoding": None if drop_encoding else first.encoding,
            # Several datasets were encoded: no single one that this is made of.
            "encoded_from": encoded_from.pop() if len(encoded_from) == 1 else None,
            "skipped": _union(manifests, lambda one: one.skipped),
            "batch_sizes": _union(manifests, lambda one: one.batch_sizes),
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


def _funnel(parents: Sequence[Dataset]) -> list[FunnelRow]:
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
