"""What a machine has of what a build needs; runs on every node of a cluster.

Only the standard library, but for outputs in a store: where imig is missing, the answer has to say
so. The function travels by value, code and all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Iterable, Sequence
from importlib import metadata, util
from pathlib import Path


def answer(
    *,
    packages: Iterable[str],
    modules: Iterable[str],
    paths: Iterable[str],
    variables: Iterable[str],
    folder: str,
    token: str,
) -> dict[str, dict[str, str | None]]:
    """What this machine has, by kind and name; null is what it lacks.

    Versions of ``packages`` with that of Python, digests of ``code`` with that of imig, the size of
    each of ``paths`` in bytes ("folder" for one), "set" for ``variables``, and for the folder of
    the ``output`` what is wrong with it, or "".

    Parameters
    ----------
    packages:
        Distributions by their names in `pip list`.
    modules:
        Those of stages from outside.
    paths:
        Weights, and what the source reads.
    variables:
        Of the environment; their values stay where they are.
    folder:
        In which the workers write.
    token:
        Name of a file in that folder, which the asking machine has put there.
    """
    return {
        "packages": {
            "python": platform.python_version(),
            **{name: _version(name) for name in packages},
        },
        "code": {name: _code(name) for name in ("imig", *modules)},
        "paths": {path: _size(path) for path in paths},
        "variables": {name: "set" if os.environ.get(name) else None for name in variables},
        "output": {folder: _writable(folder, token)},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _code(module: str) -> str | None:
    """Twelve digits of a module's file, or of all Python files of a package."""
    try:
        spec = util.find_spec(module)
        if spec is None or spec.origin is None:
            return None
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        return _digest(files, below=origin.parent)
    except (ImportError, OSError, ValueError):
        return None


def _digest(files: Sequence[Path], *, below: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(below).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _size(path: str) -> str | None:
    try:
        return "folder" if os.path.isdir(path) else str(os.stat(path).st_size)
    except OSError:
        return None


def _writable(folder: str, token: str) -> str:
    if "://" in folder:
        return _store_writable(folder, token)
    if not os.path.exists(os.path.join(folder, token)):
        return "is not the same folder there"
    # Processes of two nodes may well have the same number.
    probe = os.path.join(folder, f".{token}.tmp-{uuid.uuid4().hex}")
    try:
        with open(probe, "wb"):
            pass
        os.unlink(probe)
    except OSError as error:
        return f"cannot be written there: {error.strerror or error}"
    return ""


def _store_writable(address: str, token: str) -> str:
    """Of a folder in an object store, which each node reaches with its own keys."""
    try:
        from imig.stores.path import StorePath

        folder = StorePath(address)
        if not (folder / token).is_file():
            return "is not the same there"
        probe = folder / f".{token}.tmp-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except Exception as error:  # of any class: the store's library may be missing, or its keys
        lines = str(error).splitlines()
        return f"cannot be written there: {lines[0] if lines else type(error).__name__}"
    return ""
