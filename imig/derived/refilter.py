"""Filter a finished dataset again, from the scores that are stored: `imig refilter`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from imig.derived.copying import copy_samples
from imig.derived.output import derivation_of, derived_output, is_finished, open_outputs
from imig.derived.thresholds import NewThresholds, new_thresholds
from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.find import STAGE, find_duplicates
from imig.duplicates.signatures import Signatures
from imig.duplicates.signing import NO_FEATURES, SIGNED_MEMBERS, add_signature
from imig.errors import UsageError
from imig.output.seal import seal
from imig.output.writing import Contents
from imig.packed import Packed
from imig.sample import Sample
from imig.schema import Manifest, Reject, SkippedStage
from imig.shards.card import parents_licence
from imig.shards.dataset import Dataset
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.funnel import FunnelRow
from imig.stages.filter import FilterConfig
from imig.stages.instances import keep_instances
from imig.stages.verdict import Measured, judge
from imig.stores.path import OutputPath
from imig.stores.places import output_folder

OPERATION: Final = "refilter"


@dataclass(frozen=True)
class Refiltered:
    """A dataset that was filtered again."""

    manifest: Manifest
    funnel: list[FunnelRow]
    """What this run turned down, not the build before."""
    thresholds: NewThresholds
    without_features: bool
    """Features should have been compared, and none is stored."""


@dataclass
class _Foresight:
    """What must be known before the first sample is written."""

    duplicates: dict[str, Reject] = field(default_factory=dict)
    losing: int = 0
    """Scenes that stay and lose an instance."""
    without_features: bool = False


def refilter_dataset(
    folder: str | Path,
    *,
    overrides: list[str],
    output: str | OutputPath,
    overwrite: bool = False,
    drop_encoding: bool = False,
) -> Refiltered | None:
    """Write a dataset with what of `folder` passes the thresholds.

    Returns None when it is finished already.

    Raises
    ------
    UsageError
        The call is at fault: paths, keys, or an encoding that would no longer fit its scenes.
    DataError
        A sample is damaged, or the output cannot be written.
    """
    started, output = time.monotonic(), output_folder(output)
    parent = Dataset(folder)
    thresholds = new_thresholds(parent.manifest.recipe, overrides)
    derivation = derivation_of(
        OPERATION, [parent], thresholds.settings, drop_encoding=drop_encoding
    )
    encoding = None if drop_encoding else parent.manifest.encoding
    outputs = [derived_output(output, derivation, [parent], encoding=encoding)]
    if is_finished(outputs, overwrite=overwrite):
        return None
    foresight = _look_ahead(parent, thresholds, drop_encoding=drop_encoding)
    with open_outputs(outputs, overwrite=overwrite):
        contents, funnel = _write(parent, thresholds, foresight, output, drop_encoding)
        recipe, sha256 = thresholds.recipe(parent.manifest.recipe)
        update = {
            "recipe": recipe,
            "recipe_sha256": sha256,
            "derived": [*parent.manifest.derived, derivation],
            "skipped": _skipped(parent, foresight),
            **({"encoding": None, "encoded_from": None} if drop_encoding else {}),
        }
        manifest = seal(
            output,
            parent.manifest.model_copy(update=update),
            contents,
            funnel=[*parent.funnel(), *funnel],
            seconds=time.monotonic() - started,
            licence=parents_licence(parent),
        )
    return Refiltered(manifest, funnel, thresholds, foresight.without_features)


def refilter_sample(
    sample: Sample, config: FilterConfig, *, place: str | None = None
) -> Reject | None:
    """Take out the instances that fail; why the scene goes, None where it stays.

    A sample that loses nothing stays as it is to the last byte. `place` is where it is stored, for
    messages.
    """
    verdict = judge(Measured(sample.scene, place), config)
    if verdict.reason:
        return Reject(
            id=sample.scene.id, stage=OPERATION, reason=verdict.reason, figures=verdict.figures
        )
    if len(verdict.kept) < len(sample.scene.instances):
        keep_instances(sample, verdict.kept)
    return None


def _look_ahead(parent: Dataset, thresholds: NewThresholds, *, drop_encoding: bool) -> _Foresight:
    """Read what decides about duplicates and encodings; no picture where it is not needed."""
    encoded = parent.manifest.encoding is not None and not drop_encoding
    if thresholds.duplicates is None and not encoded:
        return _Foresight()
    foresight = _Foresight()
    signatures, config = Signatures(), thresholds.duplicates
    only = SIGNED_MEMBERS if config is not None else ()
    for scene, files in parent.walk_shards(only=only):
        place = parent.place_of(scene.id)
        verdict = judge(Measured(scene, place), thresholds.filter)
        if not verdict.reason:
            foresight.losing += len(verdict.kept) < len(scene.instances)
            if config is not None:
                add_signature(signatures, scene, files, config, place=place)
    if encoded and foresight.losing:
        raise UsageError(
            f"{foresight.losing} scenes would lose instances that their encodings show",
            cure="refilter the dataset that was encoded and encode the result; or leave the "
            "encodings out with --drop-encoding",
        )
    if config is not None:
        _find_duplicates(foresight, signatures, config)
    return foresight


def _find_duplicates(
    foresight: _Foresight, signatures: Signatures, config: DuplicatesConfig
) -> None:
    signed = signatures.sorted_by_id()
    foresight.duplicates = {one.id: one.to_reject() for one in find_duplicates(signed, config)}
    foresight.without_features = (
        config.similarity is not None and len(signed) > 0 and "features" not in signed.known()
    )


def _skipped(parent: Dataset, foresight: _Foresight) -> list[SkippedStage]:
    others = [one for one in parent.manifest.skipped if one.stage != STAGE]
    if not foresight.without_features:
        return others
    return [*others, SkippedStage(stage=STAGE, reason=NO_FEATURES)]


def _write(
    parent: Dataset,
    thresholds: NewThresholds,
    foresight: _Foresight,
    output: OutputPath,
    drop_encoding: bool,
) -> tuple[Contents, list[FunnelRow]]:
    contents = Contents(quarantined=Packed(parent.quarantined()))
    rejects: list[Reject] = []
    seconds = time.monotonic()

    def passing(number: int, sample: Sample) -> Sample | None:
        if drop_encoding:
            sample.files.pop(ENCODED_MEMBER, None)
        place = parent.place_of(sample.scene.id)
        reject = refilter_sample(sample, thresholds.filter, place=place)
        reject = reject or foresight.duplicates.get(sample.scene.id)
        if reject is None:
            return sample
        rejects.append(reject.model_copy(update={"path": sample.scene.source.path}))
        return None

    copy_samples([parent], output, contents, change=passing)
    contents.rejects = Packed([*parent.rejects(), *rejects])
    return contents, _funnel(
        rejects,
        seen=parent.manifest.counts.written,
        seconds=time.monotonic() - seconds,
        duplicates=thresholds.duplicates is not None,
    )


def _funnel(
    rejects: list[Reject], *, seen: int, seconds: float, duplicates: bool
) -> list[FunnelRow]:
    rows = []
    for stage in (OPERATION, *([STAGE] if duplicates else [])):
        reasons = Counter(one.reason for one in rejects if one.stage == stage)
        rows.append(
            FunnelRow(
                stage=stage,
                seen=seen,
                rejected=reasons.total(),
                quarantined=0,
                passed=seen - reasons.total(),
                seconds=round(seconds, 3) if stage == OPERATION else 0.0,
                reasons=dict(reasons.most_common()),
            )
        )
        seen -= reasons.total()
    return rows
