"""What can be wrong between a source and the build that is to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from imig.engine.failures import Failures
from imig.errors import DataError, UsageError
from imig.paths import is_within
from imig.sample import Sample
from imig.stores.path import OutputPath, StorePath


class SceneSource(Protocol):
    """What the first stage offers beside being a stage."""

    def count(self) -> int: ...

    def enumerate(self, start: int, stop: int) -> list[Sample]:
        """Placeholders of scenes `start` to `stop`, ids set; cheap."""
        ...

    def fingerprint(self) -> str:
        """Hash of the listing: the same as long as every number means the same picture."""
        ...

    def describe(self) -> list[str]:
        """Lines for the plan: what was understood of the source, with its first samples."""
        ...

    def remarks(self) -> list[str]:
        """What is odd about the listing, a line for each kind."""
        ...

    def missing(self, stop: int) -> int:
        """How many of the first `stop` pictures are known not to be there."""
        ...

    def folders(self) -> list[Path]:
        """Folders whose whole content is listed: nothing may be written into them."""
        ...

    def files(self) -> Sequence[OutputPath]:
        """Files that are read: the output's folder may hold none of them."""
        ...

    def can_open(self, sample_id: str) -> bool:
        """Whether the system gives the sample's picture now."""
        ...


def check_output(source: SceneSource, output: OutputPath) -> None:
    """Raise UsageError when the output could be read as input, or deleting it would take the input.

    Whatever links, dots and mounts lead there.
    """
    files = [one for one in source.files() if isinstance(one, type(output))]
    if isinstance(output, StorePath):
        for one in files:
            if isinstance(one, StorePath) and one.is_within(output):
                raise _reads(one, output)
        return
    for folder in source.folders():
        if is_within(output, folder):
            how = "is" if is_within(folder, output) else "lies inside of"
            raise UsageError(
                f"the output {output} {how} the folder that the source reads, {folder}",
                cure="give an --output elsewhere: what a build writes must never be its input",
            )
    for path in (*source.folders(), *files):
        if isinstance(path, Path) and is_within(path, output):
            raise _reads(path, output)


def _reads(path: OutputPath, output: OutputPath) -> UsageError:
    return UsageError(
        f"the source reads {path}, which lies inside of the output {output}",
        cure="give an --output elsewhere: what a build writes must never be its input",
    )


def check_missing(source: SceneSource, *, scenes: int, limit: float) -> None:
    """Raise DataError when more pictures are known to be missing than the build would bear.

    `limit` is the recipe's `engine.max_error_rate`.
    """
    missing = source.missing(scenes)
    failures = Failures(limit)
    failures.add(seen=scenes, written=scenes - missing, errors=["missing"] * missing)
    try:
        failures.require_success()
    except DataError as error:
        raise DataError(
            f"{missing} of the {scenes} pictures are not there, more than a build bears "
            f"(engine.max_error_rate is {limit:g}): {'; '.join(source.remarks())}",
            cure="bring them back (is the disk mounted?), or take them out of the source"
            + ("" if missing == scenes else "; or --set engine.max_error_rate=RATE"),
        ) from error
