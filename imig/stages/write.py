"""write: the last look at a sample before the engine puts it into a shard."""

from __future__ import annotations

from imig.errors import DataError
from imig.recipe import WriteConfig
from imig.sample import Sample
from imig.schema import scene_from_json, scene_to_json
from imig.shards.features import FEATURES_MEMBER
from imig.shards.writer import named_members
from imig.stages.base import BuildContext, Stage


class WriteStage(Stage):
    """Makes sure that scene and members agree; changes nothing.

    Raises DataError when a member is missing or unnamed, or the scene's JSON does not read back:
    a fault of a stage, which puts the sample into quarantine instead of into the dataset.
    """

    name = "write"
    reads = frozenset({"target"})

    def __init__(self, config: WriteConfig, context: BuildContext) -> None:
        super().__init__(context)
        self.config = config

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            _check(sample)
        return samples


def _check(sample: Sample) -> None:
    scene = sample.scene
    odd = sorted(named_members(scene) ^ (sample.files.keys() - {FEATURES_MEMBER}))
    if odd:
        raise DataError(f"sample {scene.id}: scene and members disagree about {', '.join(odd)}")
    if scene_from_json(scene_to_json(scene)) != scene:
        raise DataError(f"sample {scene.id}: its JSON does not read back as the same scene")
