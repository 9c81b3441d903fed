"""The end of a build: scenes of which an earlier one is a near copy leave the shards.

What goes is written down before the first shard is touched (``.build/duplicates.json``). Killed
anywhere, the next run reads it and takes out what is still in: the shards end with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.find import STAGE, find_duplicates
from imig.duplicates.signatures import Signatures
from imig.duplicates.signing import NO_FEATURES, SIGNED_MEMBERS, add_signature
from imig.engine.folder import BuildFolder
from imig.errors import DataError
from imig.output.record import Record
from imig.output.tally import StageTally
from imig.schema import Reject, ShardRecord, SkippedStage, scene_from_json
from imig.shards.atomic import atomic_write_bytes
from imig.shards.index import IndexRow, shard_to_rows
from imig.shards.manifest import shard_record
from imig.shards.writer import JSON_MEMBER, member_names, read_tar, write_members
from imig.stores.path import OutputPath
from imig.stores.scratch import scratch_file

ShardRecords = Callable[[], Iterator[Record]]
"""Reads the records of all joined shards, one after the other."""


class Decision(BaseModel):
    """Which scenes go."""

    rejects: list[Reject]
    without_features: bool
    """Features should have been compared, and there are none."""
    seconds: float


def decide_duplicates(folder: BuildFolder, shards: ShardRecords) -> Decision | None:
    """Which scenes go, as the recipe says; None where it does not.

    Written down before anything is changed, and read where an earlier run has decided.

    Raises
    ------
    DataError
        When a shard is damaged.
    """
    config = folder.plan.loaded.recipe.duplicates
    if config is None:
        return None
    decision = _read(folder.decision)
    if decision is None:
        decision = _decide(folder.plan.output, shards, config)
        atomic_write_bytes(folder.decision, decision.model_dump_json().encode())
    return decision


def without_duplicates(
    folder: BuildFolder, shards: ShardRecords, decision: Decision
) -> Iterator[Record]:
    """The records with duplicates taken out of them, and of their shards, one after the other.

    Safe to be killed anywhere and done again. Raises DataError where a shard cannot be written.
    """
    output = folder.plan.output
    gone = {one.id: one for one in decision.rejects}
    for number, record in enumerate(shards()):
        rejects = [gone[row.id] for row in record.rows if row.id in gone]
        seen = len(record.rows)
        if rejects and record.shard is not None:
            with _rewritten(output / record.shard.name) as shard:
                record.rows = drop_samples(shard, gone)
                record.shard = _record_of(shard, record.rows)
                record.members = sorted(member_names(shard)) if record.rows else []
        record.rejects = [*record.rejects, *rejects]
        record.tallies[STAGE] = StageTally(seen=seen, rejected=len(rejects))
        if number == 0:
            record.tallies[STAGE].seconds = decision.seconds
        yield record


def skipped_comparison(decision: Decision | None) -> list[SkippedStage]:
    """What could not be compared."""
    skipped = decision is not None and decision.without_features
    return [SkippedStage(stage=STAGE, reason=NO_FEATURES)] if skipped else []


def drop_samples(shard: Path, gone: Collection[str]) -> list[IndexRow]:
    """Rewrite a shard without some samples, atomically; the index rows of those that stay.

    A shard of which none stays is removed; one that is not there had none.
    """
    if not shard.exists():
        return []
    ids = [span.id for span, _ in read_tar(shard, only=())]
    if all(one in gone for one in ids):
        shard.unlink()
        return []
    if any(one in gone for one in ids):
        write_members(
            shard,
            (
                [(f"{span.id}.{name}", data) for name, data in files.items()]
                for span, files in read_tar(shard)
                if span.id not in gone
            ),
        )
    return shard_to_rows(shard)


@contextmanager
def _rewritten(shard: OutputPath) -> Iterator[Path]:
    """A shard on this machine, to be changed or removed: itself, or a copy that takes its place."""
    if isinstance(shard, Path):
        yield shard
        return
    with scratch_file(shard.name) as copy:
        # One that is not there had no sample that stays.
        with suppress(FileNotFoundError):
            shard.download(copy)
        before = copy.stat().st_mtime_ns if copy.exists() else None
        yield copy
        if not copy.exists():
            shard.unlink(missing_ok=True)
        elif copy.stat().st_mtime_ns != before:
            shard.upload(copy)


def _decide(output: OutputPath, shards: ShardRecords, config: DuplicatesConfig) -> Decision:
    started = time.perf_counter()
    signatures = None if config.similarity is not None else _indexed_hashes(shards)
    if signatures is None:
        signatures = Signatures()
        for record in shards():
            if record.shard is None:
                continue
            for _, files in read_tar(output / record.shard.name, only=SIGNED_MEMBERS):
                scene = scene_from_json(files[JSON_MEMBER])
                place = f"sample {scene.id} in {output / record.shard.name}"
                add_signature(signatures, scene, files, config, place=place)
    signed = signatures.sorted_by_id()
    rejects = [one.to_reject() for one in find_duplicates(signed, config)]
    paths = _source_paths(output, shards, {one.id for one in rejects})
    return Decision(
        rejects=[one.model_copy(update={"path": paths[one.id]}) for one in rejects],
        without_features=(
            config.similarity is not None and len(signed) > 0 and "features" not in signed.known()
        ),
        seconds=time.perf_counter() - started,
    )


def _indexed_hashes(shards: ShardRecords) -> Signatures | None:
    """The hashes that the index has; None where it lacks some."""
    signatures = Signatures()
    for record in shards():
        for row in record.rows:
            if not (hash_ := row.scores["perceptual_hash"]):
                return None
            signatures.add(row.id, hash_=str(hash_))
    return signatures


def _source_paths(
    output: OutputPath, shards: ShardRecords, ids: Collection[str]
) -> dict[str, str | None]:
    """Where the pictures of some samples come from, which their scenes say."""
    paths: dict[str, str | None] = {}
    if not ids:
        return paths
    for record in shards():
        if record.shard is not None and any(row.id in ids for row in record.rows):
            for span, files in read_tar(output / record.shard.name, only={JSON_MEMBER}):
                if span.id in ids:
                    paths[span.id] = scene_from_json(files[JSON_MEMBER]).source.path
    return paths


def _read(path: OutputPath) -> Decision | None:
    try:
        return Decision.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            f"the build's own record {path} cannot be read: {error}",
            cure="--overwrite builds anew",
        ) from error


def _record_of(shard: Path, rows: Sequence[IndexRow]) -> ShardRecord | None:
    return shard_record(shard, samples=len(rows)) if rows else None
