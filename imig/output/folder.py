"""A folder that a dataset is written into: whose it is, and who writes.

::

    <output>/.build/lock            held while it is written
    <output>/.build/build.json      which work this is; anything else is refused
    <output>/dataset.json           written last: its presence means that the dataset is finished
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imig.errors import DataError, UsageError
from imig.output.identity import OTHER_OUTPUT
from imig.output.lock import folder_lock
from imig.shards.atomic import is_temporary
from imig.shards.card import PICTURES_FOLDER
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.names import KNOWN_NAMES, SHARD_PATTERN

BUILD_FOLDER = ".build"


def require_ours(output: Path) -> None:
    """Raise UsageError when `output` is a file, or a folder with other things than imig's."""
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is not a folder", cure="give a folder with --output")
    ours = (output / MANIFEST_NAME).is_file() or (output / BUILD_FOLDER).is_dir()
    foreign = [one.name for one in output.iterdir() if not one.name.startswith(".")]
    if foreign and not ours:
        raise UsageError(
            f"{output} is not empty, and not imig's: it holds {min(foreign)}",
            cure="give an empty or a new folder with --output",
        )


@contextmanager
def build_lock(output: Path) -> Iterator[None]:
    """Hold the folder for one build; the system lets go of it when the process dies.

    Raises
    ------
    UsageError
        When another build holds it: says which process on which host. When the folder has other
        things in it than imig's.
    """
    require_ours(output)  # before there is a `.build` that would make it imig's
    with folder_lock(output / BUILD_FOLDER / "lock", folder=output, who="another build"):
        yield


def delete_dataset(output: Path) -> None:
    """Delete what imig made in a folder, and nothing else; the manifest first."""
    require_ours(output)
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    for path in sorted(output.glob(SHARD_PATTERN)):
        path.unlink()
    for name in sorted(KNOWN_NAMES):
        if (output / name).is_file():
            (output / name).unlink()
    shutil.rmtree(output / PICTURES_FOLDER, ignore_errors=True)
    for path in output.glob(f"{BUILD_FOLDER}/*"):
        # The lock is held by whoever calls this.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left half written directly in a folder."""
    if folder.is_dir():
        for path in folder.iterdir():
            if is_temporary(path.name):
                path.unlink(missing_ok=True)


def refuse_nameless(identity: Path, *folders: Path) -> None:
    """Raise DataError where an earlier run has left records of which nothing says what they are."""
    for folder in folders:
        for record in sorted(folder.glob("*.json")):
            raise DataError(
                f"{identity} is missing, and nothing else says what {record} is a part of",
                cure=OTHER_OUTPUT,
            )
