"""The folder of a training, and its checkpoints as files: written aside, renamed, checked.

::

    runs/<name>/
      checkpoints/step-000500/   a checkpoint is complete when it has this name
        *.pt, *.json             written by `imig.training.checkpoint`
        files.json               size and SHA-256 of each of them
      checkpoints/.step-001000.tmp-<pid>/   unfinished, or being deleted; nobody reads it
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from imig.errors import DataError, UsageError
from imig.output.lock import folder_lock
from imig.paths import output_path
from imig.regular_file import read_regular_file
from imig.shards.atomic import atomic_write, atomic_write_bytes, is_temporary, temporary_path
from imig.shards.manifest import file_sha256

FILES = "files.json"
_STEP = re.compile(r"step-(\d{6,})")


def open_run(run: Path, *, resume: bool, steps: int | None = None) -> Path | None:
    """The checkpoint that a training starts from; None when it starts at its beginning.

    With `resume` in a folder that has no checkpoint yet it starts at its beginning too: whoever
    gives the same command again after every interruption need not know how far the last one came.
    A run that has come to `steps` exactly is given back without `resume` too: whoever asks for it
    finds out whether it is the same one, and finished.

    Raises
    ------
    UsageError
        The folder has checkpoints and `resume` was not asked for, or it cannot be made.
    """
    run = output_path(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {run}: {error}", cure="choose another --output") from error
    latest = latest_checkpoint(run)
    if latest is not None and not resume and step_of(latest) != steps:
        raise UsageError(
            f"{run} has a training in it, which came to step {step_of(latest)}",
            cure="go on with it by --resume, or choose another --output",
        )
    return latest


def run_lock(run: Path) -> AbstractContextManager[None]:
    """Hold the folder for one training; errors as `imig.output.lock.folder_lock`'s."""
    return folder_lock(run / ".lock", folder=run, who="another training")


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints, in the order of their steps."""
    folder = run / "checkpoints"
    names = [one for one in folder.iterdir() if _is_complete(one)] if folder.is_dir() else []
    return sorted(names, key=step_of)


def latest_checkpoint(run: Path) -> Path | None:
    """The complete checkpoint with the most steps, if there is one."""
    return max(checkpoints(run), key=step_of, default=None)


def checkpoint_path(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:06d}"


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    match = _STEP.fullmatch(checkpoint.name)
    if match is None:
        raise UsageError(f"{checkpoint} is not a checkpoint", cure="their names are step-000500")
    return int(match[1])


@contextmanager
def new_checkpoint(path: Path) -> Iterator[Path]:
    """Give the folder to write a checkpoint's files into; on success it takes its name.

    Write each file with `atomic_write`, which flushes it to the disk. The list of files with their
    checksums is added here. When the block raises, nothing of the checkpoint stays.

    Raises
    ------
    DataError
        The disk is full or the folder cannot be written.
    """
    aside = temporary_path(path)
    _remove_leftovers(path.parent)
    try:
        with atomic_write(path):
            aside.mkdir()
            yield aside
            files = {one.name: _fingerprint(one) for one in sorted(aside.iterdir())}
            atomic_write_bytes(aside / FILES, json.dumps(files, indent=2).encode())
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def keep_last(run: Path, count: int) -> None:
    """Delete all but the last `count` checkpoints.

    Each is first renamed, so that a kill in between leaves no half of one under its name.
    """
    for old in checkpoints(run)[:-count]:
        aside = temporary_path(old)
        old.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def verify_checkpoint(checkpoint: Path) -> None:
    """Check that every file is as it was written.

    Raises
    ------
    DataError
        A file is missing or has changed; says which, and which older checkpoint is intact.
    """
    fault = _find_fault(checkpoint)
    if fault:
        raise DataError(f"the checkpoint {checkpoint} is damaged: {fault}", cure=_cure(checkpoint))


def _cure(damaged: Path) -> str:
    run = damaged.parent.parent
    for one in reversed(checkpoints(run)):
        if step_of(one) < step_of(damaged) and not _find_fault(one):
            return f"{one.name} is intact: delete {damaged} and --resume goes on from there"
    return "no older checkpoint is intact: start again with another --output"


def _find_fault(checkpoint: Path) -> str:
    """What is wrong with a checkpoint's files; empty when nothing is."""
    try:
        files = json.loads(read_regular_file(checkpoint / FILES))
        expected = {
            str(name): (int(one["size"]), str(one["sha256"])) for name, one in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{FILES} cannot be read"
    for name, (size, sha256) in expected.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes and should have {size}"
        try:
            changed = file_sha256(path) != sha256
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if changed:
            return f"{name} has changed since it was written (SHA-256)"
    return ""


def _is_complete(path: Path) -> bool:
    return _STEP.fullmatch(path.name) is not None and path.is_dir()


def _fingerprint(path: Path) -> dict[str, int | str]:
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def _remove_leftovers(folder: Path) -> None:
    """What a killed process left aside; a run has one process that writes, and it is this one."""
    for one in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(one.name):
            shutil.rmtree(one, ignore_errors=True)
