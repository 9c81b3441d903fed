"""What importers of annotation tools share: the dataset that was exported, and where in the file
each of its scenes is.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal

from pydantic import Field
from typing_extensions import TypeVar

from imig.errors import DataError, UsageError
from imig.interop.corrections import Returned, carried, correct
from imig.interop.format import FormatSettings, Importer, Losses
from imig.interop.regions import Region
from imig.recipe.identity import merged_recipes
from imig.sample import Sample
from imig.schema import (
    Derivation,
    Manifest,
    ModelRecord,
    ParentDataset,
    Scene,
    Subset,
    scene_to_json,
)
from imig.shards.card import parents_licence
from imig.shards.dataset import Dataset
from imig.shards.folders import LocalFolder
from imig.shards.manifest import file_sha256
from imig.stages.crop import CropConfig


class CorrectingSettings(FormatSettings):
    """Of an import that goes back into a dataset."""

    dataset: str = Field(
        description="The dataset that was exported: for its pictures, and all that the tool does "
        "not carry."
    )
    scenes: Literal["all", "file"] = Field(
        default="all",
        description="`file`: leave out scenes that the file does not have; else they stay as they "
        "are.",
    )


PlaceT = TypeVar("PlaceT", bound=Any, default=Any)


class CorrectingImporter(Importer[CorrectingSettings], Generic[PlaceT]):
    """Reads what an annotation tool exports, and corrects the scenes of a dataset by it."""

    settings_type = CorrectingSettings
    tool: str
    """As `imig import` names it."""

    def __init__(self, source: Path, settings: CorrectingSettings) -> None:
        super().__init__(source, settings)
        if not source.is_file():
            raise UsageError(f"{source} is no file", cure=f"name the file that {self.tool} exports")
        self.dataset = Dataset(settings.dataset)
        self._places = self.find_places()
        if not any(one in self.dataset for one in self._places):
            raise UsageError(
                f"{source} has no scene of {settings.dataset}",
                cure="name the dataset that was exported with --set dataset=DIR",
            )

    @abstractmethod
    def find_places(self) -> Mapping[str, PlaceT]:
        """Where in the file what is: by id of a scene. The file is not held."""

    @abstractmethod
    def returned(self, scene: Scene, place: PlaceT, losses: Losses) -> Returned | None:
        """What the file has of a scene; None: nobody has worked on it."""

    def inputs(self) -> Sequence[Path]:
        """See `Importer.inputs`."""
        folder = self.dataset.folder
        return [self.source, *([folder.root] if isinstance(folder, LocalFolder) else [])]

    def version(self) -> str:
        """Of file and dataset: the file may have been exported again, with more corrections."""
        return f"{file_sha256(self.source)} {self.dataset.fingerprint_now()}"

    def models(self) -> Sequence[ModelRecord]:
        """See `Importer.models`: the dataset's."""
        return self.dataset.manifest.models

    def complete(self, manifest: Manifest) -> Manifest:
        """See `Importer.complete`: the dataset's history goes on, and what it declares holds."""
        parent = self.dataset.manifest
        correction = Derivation(
            operation="correct",
            settings={"tool": self.tool, "scenes": self.settings.scenes},
            parents=[
                ParentDataset(name=parent.name, manifest_sha256=self.dataset.fingerprint),
            ],
        )
        # What a merge has declared stands nowhere but in the ledger: the scenes do not say it.
        return manifest.model_copy(
            update={"derived": [*parent.derived, correction], "licences": parent.licences}
        )

    def recipes(self) -> Sequence[dict[str, Any]]:
        """See `Importer.recipes`: thresholds and margins stay known."""
        return merged_recipes(self.dataset.manifest.recipe)

    def card_licence(self) -> Mapping[str, str]:
        """See `Importer.card_licence`: the owner's own word in the dataset's card."""
        return parents_licence(self.dataset)

    @cached_property
    def _subsets(self) -> dict[str, Subset]:
        subsets = self.dataset.read_columns("subset")["subset"].to_pylist()
        return dict(zip(self.dataset.ids, subsets, strict=True))

    @cached_property
    def _crop_margin(self) -> float:
        """Of the recipe that the dataset was built by; where several say different ones, the
        default."""
        crops = [one.get("crop") for one in merged_recipes(self.dataset.manifest.recipe)]
        margins = [one.get("margin") for one in crops if isinstance(one, dict)]
        margin = margins[0] if margins and all(one == margins[0] for one in margins) else None
        if isinstance(margin, int | float) and 0 <= margin <= 1:
            return float(margin)
        return CropConfig().margin

    def keys(self) -> Sequence[str]:
        """Ids, in the dataset's order."""
        if self.settings.scenes == "all":
            return self.dataset.ids
        return [one for one in self.dataset.ids if one in self._places]

    def subset(self, key: str) -> Subset:
        """See `Importer.subset`."""
        return self._subsets[key]

    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """See `Importer.read`."""
        scene = self.dataset[key]
        if key not in self._places:
            losses.note("scenes that the file does not have: they are as they were", key)
            return carried(scene, losses)
        returned = self.returned(scene.record, self._places[key], losses)
        if returned is None:
            losses.note("scenes that nobody has worked on: they are as they were", key)
            return carried(scene, losses)
        return correct(scene, returned, losses, crop_margin=self._crop_margin)


def kinds_shown(shapes: object, regions: Sequence[Region]) -> tuple[bool, bool]:
    """Whether boxes and masks were exported, by the setting `shapes` that came back.

    A file that does not say so was not written by imig, and what is nowhere in a picture was not
    shown: nobody has removed it.
    """
    if shapes in ("both", "masks", "boxes"):
        return shapes != "masks", shapes != "boxes"
    return any(one.box for one in regions), any(one.mask for one in regions)


def scene_mark(scene: Scene) -> str:
    """Tells whether a scene is still what it was when it was exported."""
    return hashlib.sha256(scene_to_json(scene)).hexdigest()[:12]


def require_mark(scene: Scene, mark: object, *, place: str) -> None:
    """Raises DataError when the scene is another than the one that was exported."""
    if isinstance(mark, str) and mark and mark != scene_mark(scene):
        raise DataError(
            f"{place} was exported from another version of {scene.id}",
            cure="name the very dataset that was exported with --set dataset=DIR",
        )
