"""`dataset.json`: the dataset's table of contents."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from imig.errors import DataError, UsageError
from imig.schema import SCHEMA_VERSION, Manifest, ShardRecord, first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.stores.path import OutputPath, read_file

MANIFEST_NAME = "dataset.json"

RECORDED_PACKAGES = (
    "imig",
    "dlib-bin",
    "groundingdino-py",
    "insightface",
    "numpy",
    "onnxruntime",
    "open_clip_torch",
    "pillow",
    "pyarrow",
    "pycocotools",
    "ray",
    "segment-anything",
    "torch",
    "transformers",
)
"""Packages whose version can change what is built."""


def write_manifest(path: OutputPath, manifest: Manifest) -> None:
    """Write `dataset.json`: indented UTF-8, the keys in the schema's order."""
    atomic_write_bytes(path, (manifest.model_dump_json(indent=1) + "\n").encode())


def read_manifest(path: OutputPath) -> Manifest:
    """Read `dataset.json`.

    Raises
    ------
    DataError
        When it cannot be read or does not obey the schema.
    """
    try:
        return manifest_from_json(read_file(path), place=str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def manifest_from_json(data: bytes, *, place: str) -> Manifest:
    """The manifest in those bytes; `place` is for the message. Raises as `read_manifest` does."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{place} does not obey the schema: {first_problem(error)}") from error


def refuse_newer(data: bytes, *, place: str) -> None:
    """Raise UsageError where a newer imig has written the manifest in those bytes."""
    try:
        version = json.loads(data).get("schema_version")
    except (ValueError, AttributeError, RecursionError):
        return  # what is wrong is said when the manifest is read
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{place} has schema version {version}, this imig knows versions up to "
            f"{SCHEMA_VERSION}",
            cure="install the imig that wrote it, or a newer one",
        )


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change what is built."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            # An environment that only reads datasets need not have the models' packages.
            continue
    return versions


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shard_record(path: Path, *, samples: int) -> ShardRecord:
    """The manifest's entry of a finished shard with that many samples."""
    return ShardRecord(
        name=path.name, samples=samples, bytes=path.stat().st_size, sha256=file_sha256(path)
    )
