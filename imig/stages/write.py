"""write: the last look at a sample before the engine puts it into a shard."""

from __future__ import annotations

from pydantic import Field

from imig.errors import DataError
from imig.recipe.parts import StageConfig
from imig.sample import Sample
from imig.schema import scene_from_json, scene_to_json
from imig.shards.features import FEATURES_MEMBER
from imig.shards.writer import named_members
from imig.stages.base import Stage


class WriteConfig(StageConfig):
    """Shards."""

    scenes_per_shard: int = Field(
        default=1000, gt=0, description="Input scenes a shard covers; what survives is written."
    )


class WriteStage(Stage[WriteConfig]):
    """Makes sure that scene and members agree; changes nothing.

    Raises DataError when a member is missing or unnamed, or the scene's JSON does not read back:
    a fault of a stage, which puts the sample into quarantine instead of into the dataset.
    """

    name = "write"
    reads = frozenset({"target"})

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
