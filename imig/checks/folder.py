"""Check what belongs to the dataset as a whole: index, manifest, tables, and other files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel, ValidationError

from imig.checks.faults import Fault
from imig.checks.json_keys import KIND as DOUBLED_KEY
from imig.checks.json_keys import doubled_keys
from imig.checks.shard import ShardCheck
from imig.errors import DataError
from imig.regular_file import open_regular_file, read_regular_file
from imig.schema import Manifest, first_problem
from imig.shards.atomic import is_temporary
from imig.shards.card import CARD_NAME, PICTURES_FOLDER, is_jpeg
from imig.shards.croissant import CROISSANT_NAME, stated_checksums
from imig.shards.funnel import REPORT_JSON, read_funnel
from imig.shards.index import (
    INDEX_NAME,
    IndexRow,
    absent_columns,
    read_index_table,
    row_to_plain,
)
from imig.shards.manifest import MANIFEST_NAME, file_sha256, read_manifest
from imig.shards.names import KNOWN_NAMES, QUARANTINE_NAME, REJECTS_NAME, REPORT_HTML, begins_as
from imig.shards.parquet import footer_rows

if TYPE_CHECKING:
    import pyarrow as pa

_HARMLESS = re.compile(
    r"\.git.*|\.DS_Store|\.cache|LICENSE.*|.*\.(md|png|jpg|html)"
    r"|prompts(\.quarantine)?\.jsonl|prompts\.state\.json",
    re.IGNORECASE,
)
"""What people and hubs add to a dataset, and the prompts that were written for it: no shard,
nothing that a reader would take for data."""


_FEW_NAMES: Final = 5
"""Of files that are named in one fault."""
_FEW_ROWS: Final = 1000
"""Rows of an index without a sample that are named one by one."""
_ROWS_TOGETHER: Final = 1000
"""Rows of an index that are Python's objects at a time, 5 KB each."""


def read_folder_manifest(folder: Path) -> Manifest | Fault:
    """The manifest, or what is wrong with it."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        message = f"{path} is not there: unfinished, or not a dataset of imig"
        return Fault("missing-manifest", message)
    try:
        return read_manifest(path)
    except DataError as error:
        return Fault("bad-manifest", error.message)


def check_manifest(
    folder: Path, manifest: Manifest, checks: Sequence[ShardCheck]
) -> Iterator[Fault]:
    """The manifest against the shards that are there, and its counts against each other."""
    if keys := doubled_keys(read_regular_file(folder / MANIFEST_NAME)):
        message = f"{MANIFEST_NAME}: {', '.join(map(repr, keys))} more than once"
        yield Fault(DOUBLED_KEY, message)
    found = {check.name: check for check in checks}
    for record in manifest.shards:
        check = found.pop(record.name, None)
        if check is None:
            yield Fault("missing-shard", "listed in the manifest, not there", shard=record.name)
            continue
        if check.bytes != record.bytes:
            message = f"{check.bytes} bytes, the manifest says {record.bytes}"
            yield Fault("shard-size", message, shard=record.name)
        elif check.sha256 != record.sha256:
            message = f"SHA-256 {check.sha256[:12]}..., the manifest says {record.sha256[:12]}..."
            yield Fault("shard-checksum", message, shard=record.name)
        if len(check.sample_ids) != record.samples:
            message = f"{len(check.sample_ids)} samples, the manifest says {record.samples}"
            yield Fault("shard-samples", message, shard=record.name)
    for name in found:
        yield Fault("unlisted-shard", f"{name} is not in the manifest", shard=name)
    yield from _check_counts(folder, manifest)
    yield from _check_croissant(folder / CROISSANT_NAME, manifest)
    yield from _check_thresholds(manifest)
    for check in checks:
        yield from _check_encodings(check, manifest)


def check_index(
    folder: Path, checks: Sequence[ShardCheck], *, sha256: str | None
) -> Iterator[Fault]:
    """The index against the samples that the shards hold, and against the build's checksum.

    `sha256` is the manifest's; null where it has none or cannot be read.
    """
    faults = list(_check_index_rows(folder, checks))
    if sha256 is not None and not faults:
        # What no row shows: damage to the statistics, types or metadata of the Parquet file.
        actual = file_sha256(folder / INDEX_NAME)
        if actual != sha256:
            message = (
                f"{INDEX_NAME} has SHA-256 {actual[:12]}..., the manifest says {sha256[:12]}..."
            )
            faults.append(Fault("index-checksum", message))
    yield from faults


def _check_index_rows(folder: Path, checks: Sequence[ShardCheck]) -> Iterator[Fault]:
    path = folder / INDEX_NAME
    if not path.is_file():
        yield Fault("missing-index", f"{path} is not there")
        return
    try:
        samples = sum(len(check.sample_ids) for check in checks)
        rows = _index_rows(path)
        if rows > 2 * samples + _FEW_ROWS:
            raise DataError(f"{path} has {rows} rows, the shards {samples} samples")
        stored = read_index_table(path)
        absent = absent_columns(path)
    except DataError as error:
        yield Fault("bad-index", error.message)
        return
    by_name = {check.name: check for check in checks}
    missing = {check.name: set(check.sample_ids) for check in checks}
    for rows in _by_shard(stored):
        shard = rows["shard"][0].as_py()
        yield from _check_shard_rows(rows, by_name.get(shard), absent=absent)
        missing.get(shard, set()).difference_update(rows["id"].to_pylist())
    # What lies in a missing shard is that fault, not one of each of its rows.
    for shard, lacking in sorted(missing.items()):
        for sample_id in sorted(lacking):
            yield Fault("index-missing-row", "not in the index", shard=shard, sample=sample_id)


def _check_shard_rows(
    rows: pa.Table, check: ShardCheck | None, *, absent: frozenset[str]
) -> Iterator[Fault]:
    """The rows of one shard; `check` is None where the shard is not there."""
    present = set() if check is None else set(check.sample_ids)
    expected = {} if check is None else {row.id: row for row in check.rows}
    indexed: set[str] = set()
    for start in range(0, len(rows), _ROWS_TOGETHER):
        for row in rows.slice(start, _ROWS_TOGETHER).to_pylist():
            shard, sample = row["shard"], row["id"]
            if sample in indexed:
                message = "twice in the index"
                yield Fault("index-duplicate-row", message, shard=shard, sample=sample)
            elif sample in expected:
                yield from _compare_row(row, expected[sample], absent=absent)
            elif check is not None and sample not in present:
                message = "in the index, but not in the shard"
                yield Fault("index-stale-row", message, shard=shard, sample=sample)
            indexed.add(sample)


def _by_shard(table: pa.Table) -> Iterator[pa.Table]:
    """The rows of each shard, in the order in which the index first names it."""
    if not len(table):
        return
    encoded = table["shard"].combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    changes = np.flatnonzero(np.diff(codes)) + 1
    if len(changes) >= len(np.unique(codes)):  # no build leaves them so
        order = np.argsort(codes, kind="stable")
        table, codes = table.take(order), codes[order]
        changes = np.flatnonzero(np.diff(codes)) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(table)]):
        yield table.slice(start, stop - start)


def _index_rows(path: Path) -> int:
    """As its footer says; 0 where that cannot be read, which reading the table explains."""
    try:
        return footer_rows(path)
    except DataError:
        return 0


def check_files(folder: Path) -> Iterator[Fault]:
    """Files that should be there and are not, and the other way round."""
    if not (folder / CARD_NAME).is_file():
        yield Fault("missing-file", f"there is no {CARD_NAME}")
    yield from _check_report(folder / REPORT_JSON)
    yield from _check_page(folder / REPORT_HTML)
    yield from _check_pictures(folder / PICTURES_FOLDER)
    for entry in sorted(folder.iterdir()):
        name = entry.name
        if name in KNOWN_NAMES or (entry.suffix == ".tar" and not name.startswith(".")):
            continue
        if is_temporary(name) or (entry.is_dir() and name.startswith(".build")):
            yield Fault("unfinished-build", f"{name}: the same command again finishes it")
        elif not _HARMLESS.fullmatch(name):
            yield Fault("unexpected-file", f"{name} belongs to no dataset")


def _compare_row(
    stored: Mapping[str, Any], expected: IndexRow, *, absent: Collection[str]
) -> Iterator[Fault]:
    true = row_to_plain(expected)
    wrong = [name for name in true if name not in absent and stored[name] != true[name]]
    for kind, names in (
        ("index-offset", [name for name in wrong if name in ("offset", "size")]),
        ("index-values", [name for name in wrong if name not in ("offset", "size")]),
    ):
        if names:
            message = ", ".join(f"{name} {stored[name]!r}, not {true[name]!r}" for name in names)
            yield Fault(kind, message, shard=expected.shard, sample=expected.id)


def _check_counts(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    counts = manifest.counts
    total = counts.written + counts.rejected + counts.quarantined
    if total != counts.input:
        message = (
            f"{counts.written} written + {counts.rejected} rejected + {counts.quarantined} "
            f"quarantined are {total}, not the {counts.input} of the input"
        )
        yield Fault("counts", message)
    in_shards = sum(record.samples for record in manifest.shards)
    if in_shards != counts.written:
        message = f"{counts.written} written, but the listed shards have {in_shards} samples"
        yield Fault("counts", message)
    for name, count in ((REJECTS_NAME, counts.rejected), (QUARANTINE_NAME, counts.quarantined)):
        yield from _check_table(folder / name, count)


def _check_thresholds(manifest: Manifest) -> Iterator[Fault]:
    """What later commands take from the recipe."""
    from imig.duplicates.config import DuplicatesConfig
    from imig.stages.filter import FilterConfig

    blocks: dict[str, type[BaseModel]] = {"filter": FilterConfig, "duplicates": DuplicatesConfig}
    for block, kind in blocks.items():
        try:
            if manifest.recipe.get(block) is not None:
                kind.model_validate(manifest.recipe[block])
        except ValidationError as error:
            yield Fault("bad-manifest", f"recipe.{block}: {first_problem(error)}")


def _check_report(path: Path) -> Iterator[Fault]:
    try:
        read_funnel(path)
    except FileNotFoundError:
        return  # derived datasets of older versions, and what others have made, have none
    except (OSError, DataError) as error:
        yield Fault("bad-report", str(error))


def _check_croissant(path: Path, manifest: Manifest) -> Iterator[Fault]:
    try:
        stated = stated_checksums(read_regular_file(path))
    except FileNotFoundError:
        return  # datasets of older versions have none
    except OSError as error:
        yield Fault("bad-croissant", f"{path}: {error.strerror}")
        return
    except DataError as error:
        yield Fault("bad-croissant", f"{path}: {error.message}")
        return
    true = {record.name: record.sha256 for record in manifest.shards}
    if manifest.index_sha256 is not None:
        true[INDEX_NAME] = manifest.index_sha256
    wrong = sorted(name for name in {**true, **stated} if true.get(name) != stated.get(name))
    if wrong:
        message = f"{path.name} and the manifest differ in {', '.join(wrong[:_FEW_NAMES])}"
        yield Fault("bad-croissant", message)


def _check_page(path: Path) -> Iterator[Fault]:
    try:
        with open_regular_file(path) as file:
            is_page = begins_as(REPORT_HTML, file.read(100))
    except FileNotFoundError:
        return
    except OSError as error:
        yield Fault("bad-report", f"{path}: {error.strerror}")
        return
    if not is_page:
        yield Fault("bad-report", f"{path} is no page")


def _check_pictures(folder: Path) -> Iterator[Fault]:
    """What the card shows is copied along with the dataset: it must be pictures."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not is_jpeg(path):
            name = f"{PICTURES_FOLDER}/{path.name}"
            yield Fault("unexpected-file", f"{name} is no picture of the dataset's card")


def _check_encodings(check: ShardCheck, manifest: Manifest) -> Iterator[Fault]:
    for sample_id, encoding in check.encodings.items():
        if encoding == manifest.encoding:
            continue
        if encoding is None:
            message = "has no encoding, though the manifest says that samples are encoded"
            yield Fault("missing-encoding", message, shard=check.name, sample=sample_id)
            continue
        if manifest.encoding is None:
            message = "is encoded, though the manifest does not say so"
        else:
            fields = [
                f"{name} {getattr(encoding, name)!r}, not {value!r}"
                for name, value in manifest.encoding
                if getattr(encoding, name) != value
            ]
            message = ", ".join(fields)
        yield Fault("encoding-mismatch", message, shard=check.name, sample=sample_id)


def _check_table(path: Path, count: int) -> Iterator[Fault]:
    from imig.shards.tables import read_quarantine, read_rejects  # which needs the tables' names

    if not path.is_file():
        if count:
            yield Fault("table-rows", f"{path.name} is not there, the manifest counts {count}")
        return
    try:
        rows = footer_rows(path)
    except DataError as error:
        yield Fault("table-rows", error.message)
        return
    if rows != count:
        yield Fault("table-rows", f"{path.name} has {rows} rows, the manifest counts {count}")
        return
    try:
        (read_rejects if path.name == REJECTS_NAME else read_quarantine)(path.parent, counted=count)
    except DataError as error:
        yield Fault("table-rows", error.message)
