"""source: targets, and captions and nouns where the source has them; or prompts for targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imig.errors import SourceLostError
from imig.prompts.config import PromptsSource
from imig.sample import Sample, derive_seed
from imig.schema import ModelRecord, Scene, Source
from imig.stages.base import BuildContext, Stage
from imig.stages.sources.base import STAGE, SourceKind
from imig.stages.sources.config import (
    CocoSource,
    FolderSource,
    ListSource,
    SourceConfig,
    TabletopSource,
    WebdatasetSource,
    YoloSource,
)
from imig.stores.path import OutputPath


def make_source_kind(config: SourceConfig, context: BuildContext) -> SourceKind:
    """The kind that a recipe's block names; raises UsageError when its path is wrong."""
    # Imported here, since a build uses one kind and each brings its own libraries.
    match config:
        case TabletopSource():
            from imig.stages.sources.tabletop import TabletopPictures

            return TabletopPictures(config)
        case FolderSource():
            from imig.stages.sources.files import FolderPictures

            return FolderPictures(config)
        case ListSource():
            from imig.stages.sources.listed import ListedPictures

            return ListedPictures(config)
        case WebdatasetSource():
            from imig.stages.sources.webdataset import WebdatasetPictures

            return WebdatasetPictures(config)
        case CocoSource():
            from imig.stages.sources.coco import CocoPictures

            return CocoPictures(config)
        case YoloSource():
            from imig.stages.sources.yolo import YoloPictures

            return YoloPictures(config)
        case PromptsSource():
            from imig.stages.sources.prompts import Prompts

            return Prompts(config, context)


class SourceStage(Stage[SourceConfig]):
    """Numbers the pictures on the driver, reads them in the workers.

    Turns down: "unreadable image", "too many pixels", "too many bytes", "image too small", "no
    image in the sample", "too few subjects", "prompt that shows nothing", "too few annotations",
    "another size than its annotations", "name that leads outside", "unreadable labels". Raises
    CannotOpenError for a picture that the system does not give, and SourceLostError when all are
    gone.
    """

    name = STAGE

    def prepare(self) -> None:
        self._kind = make_source_kind(self.config, self.context)
        self.writes = self._kind.writes
        self._licence: str | None = getattr(self.config, "licence", None)

    def count(self) -> int:
        """How many samples there are; opens no picture. Raises UsageError when there are none."""
        return self._kind.count()

    def enumerate(self, start: int, stop: int) -> list[Sample]:
        """Samples `start` to `stop` (exclusive) with id, seed and source record, but no target.

        Width and height are 1 until `__call__` has read the picture, or `draw` has drawn it.
        """
        return [self._placeholder(number) for number in range(start, min(stop, self.count()))]

    def fingerprint(self) -> str:
        """Hash of the listing: the same as long as every number means the same picture."""
        return self._kind.fingerprint()

    def describe(self) -> list[str]:
        """Lines for the plan: what was understood of the source, with its first samples."""
        return self._kind.describe()

    def remarks(self) -> list[str]:
        """What is odd about the listing, a line for each kind."""
        return self._kind.remarks()

    def missing(self, stop: int) -> int:
        """How many of the first `stop` pictures are known not to be there."""
        return self._kind.missing(stop)

    def folders(self) -> list[Path]:
        """Folders whose whole content is listed: nothing may be written into them."""
        return self._kind.folders()

    def files(self) -> Sequence[OutputPath]:
        """Files that are read: the output's folder may hold none of them."""
        return self._kind.files()

    def can_open(self, sample_id: str) -> bool:
        """Whether the system gives the sample's picture now."""
        return self._kind.can_open(_number(sample_id))

    def models(self) -> list[ModelRecord]:
        return self._kind.models()

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            number = _number(sample.scene.id)
            if self._record(number).path != sample.scene.source.path:
                raise SourceLostError(
                    f"sample {sample.scene.id}: the source has changed since the build began",
                    cure="leave the source alone during a build, or start anew with --overwrite",
                )
            self._kind.fill(sample, number)
        return samples

    def _id(self, number: int) -> str:
        return f"{self.context.subset}-{number:08d}"

    def _seed(self, number: int) -> int:
        return derive_seed(self.context.recipe_seed, self._id(number))

    def _record(self, number: int) -> Source:
        record = self._kind.record(number, seed=self._seed(number))
        if record.licence is None:
            record.licence = self._licence
        return record

    def _placeholder(self, number: int) -> Sample:
        return Sample(
            Scene.model_validate(
                {
                    "id": self._id(number),
                    "subset": self.context.subset,
                    "width": 1,
                    "height": 1,
                    "source": self._record(number),
                    "seed": self._seed(number),
                }
            )
        )


def _number(sample_id: str) -> int:
    return int(sample_id.rpartition("-")[2])
