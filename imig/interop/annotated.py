"""Formats of pictures with boxes and masks: how all of them are read.

The reading itself is that of the sources of the same names (`imig.stages.sources.annotated`), which
make scenes for a build; here nothing is scaled or left out, and nothing runs after it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import Field

from imig.errors import DataError
from imig.interop.format import Importer, ImportSettings, Losses, SettingsT
from imig.sample import Sample, derive_seed
from imig.schema import MAX_INSTANCES, Scene
from imig.stages.pictures import MANY_PIXELS_CURE
from imig.stages.sources.annotated import AnnotatedPictures
from imig.stages.sources.config import DEFAULT_MAX_PIXELS

EVERYTHING: Final[dict[str, Any]] = {
    "min_side": 1,
    "max_side": 8192,
    "min_instances": 0,
    "max_instances": MAX_INSTANCES,
}
"""Settings of a source that turns nothing down, and scales what a scene cannot hold alone."""


class AnnotatedImportSettings(ImportSettings):
    """What every such format's `--set` may say."""

    max_pixels: int = Field(
        default=DEFAULT_MAX_PIXELS,
        gt=0,
        exclude_if=lambda pixels: pixels == DEFAULT_MAX_PIXELS,
        description="pictures above are quarantined unread. ",
    )


class AnnotatedImporter(Importer[SettingsT]):
    """Reads every picture as a scene: its objects as instances, and no references."""

    def __init__(self, source: Path, settings: SettingsT) -> None:
        super().__init__(source, settings)
        self._pictures = self.pictures()

    @abstractmethod
    def pictures(self) -> AnnotatedPictures:
        """What lies in `source`. Raises UsageError for what is no such thing."""

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Key -> number: the name without its suffix, where that names one picture alone."""
        names = self._pictures.names
        stems = {name: PurePosixPath(name.replace("\\", "/")).stem for name in names}
        times = Counter(stems.values())
        keys = [stems[name] if times[stems[name]] == 1 else name for name in names]
        return {key: number for number, key in enumerate(_to_distinct(keys))}

    def keys(self) -> Sequence[str]:
        """Names of the pictures."""
        self._pictures.count()
        return sorted(self._numbers)

    def inputs(self) -> Sequence[Path]:
        """What is read, the folder of the pictures included."""
        files = self._pictures.files()
        return [self.source, *(one for one in files if isinstance(one, Path))]

    def version(self) -> str | None:
        """Changes with the annotations, whatever the pictures are called."""
        return self._pictures.fingerprint()

    def remarks(self) -> Sequence[str]:
        """Those of the source: what it has left out of its files."""
        return self._pictures.remarks()

    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """See `Importer.read`."""
        number = self._numbers[key]
        seed = derive_seed(0, sample_id)
        sample = Sample(
            Scene(
                id=sample_id,
                subset="basic",
                width=1,  # until the picture is read
                height=1,
                source=self._pictures.record(number, seed=seed),
                seed=seed,
            )
        )
        self._pictures.fill(sample, number)
        if sample.reject is not None:
            figures = dict(sample.reject.figures)
            if figures.get("cure") == MANY_PIXELS_CURE:  # which names a recipe's key
                figures["cure"] = "scale it down, or raise --set max_pixels"
            said = ", ".join(f"{name} {value}" for name, value in figures.items())
            raise DataError(f"{sample.reject.reason}: {said}")
        return sample


def _to_distinct(keys: Sequence[str]) -> list[str]:
    """Of equal ones the first as it is, the later ones with a number behind: ``a``, ``a#2``."""
    taken, times = set(keys), Counter[str]()
    distinct = []
    for key in keys:
        times[key] += 1
        own = key
        if times[key] > 1:
            while (own := f"{key}#{times[key]}") in taken:
                times[key] += 1
            taken.add(own)
        distinct.append(own)
    return distinct
